"""Models that answer as told, and samples of every format."""

from __future__ import annotations

import io
import re
from typing import Any

import docx

MARKDOWN = """---
title: "My guide: it works"
date: 2024-01-01
---

# Hello `code` world

See [the **guide**](https://x.org/a_b "t") for
more *info* & things 😀, or <https://y.org>.\\
Another line\\* here.

- item one
  continues here
- [ ] item two

    code in the list stays a paragraph

| Name | What |
|------|:----:|
| foo  | a `b|c` thing |

```py
x = "not this"
```

> quoted text
> again

<div class="x">
Some <b>bold</b> text
</div>

![alt text](img.png) and {name}, 1\\. 100 %

[ref]: http://x

Setext title
======
1. one
2. two
"""
HTML = """<!DOCTYPE html>
<html lang="en"><head><title>Hi there</title><style>p { color: red }</style>
<meta name="description" content="A page of ours"></head>
<body class=x><!-- a comment --><p title='A tip'>Hello <b>bold <i>and</i></b> &amp; <code>x y</code>&nbsp;world<br>
 &lt;3 next line <img src=a alt="A cat"> with it</p><pre>not this</pre><script>var a = "<p>no</p>";</script>
<input placeholder="Your name" value=3><p translate="no">not this</p><ul><li>one<li>two 👩‍👩‍👧</ul>
<p>see <a href="https://x.org?a=1&b=2" title="Our link">the link</a>.</p></body></html>
"""
SRT = """1
00:00:01,000 --> 00:00:02,000
<i>Hello there</i>
my friend

2
00:00:03,000 --> 00:00:04,500 X1:1
- How are you?
- {\\an8}Fine, 2 times

3
00:00:05,000 --> 00:00:06,000

4
00:00:07,000 --> 00:00:08,000
♪ a song ♪"""
VTT = """WEBVTT - a title

NOTE a comment that stays

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.000 align:start
<v Mary>Hello <b>you</b> &amp; them

00:03.000 --> 00:04.000
Good evening
"""
PO = """# A comment
msgid ""
msgstr ""
"Language: en\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

#. for the menu
#: src/a.c:12
#, c-format
msgid "%d file in %s"
msgid_plural "%d files in %s"
msgstr[0] ""
msgstr[1] ""

msgctxt "verb"
msgid "Open \\"it\\" now\\n"
"and close it"
msgstr ""

#, fuzzy, python-format
#| msgid "Old"
msgid "New %(name)s"
msgstr "Vieux %(name)s"

msgid "Done"
msgstr "Fini"

#~ msgid "gone"
#~ msgstr "parti"
"""
JSON = """{
  "hello world": "Hello {{name}}, welcome <1>here</1>",
  "n": {"items": "{count, plural, one {# day left} other {# days left}}", "key": "snake_case_id", "u": "https://x.org"},
  "esc": ["caf\\u00e9 ouvert\\nsecond line \\"quoted\\"", 12, true, null, "", "🎉 party time"]
}
"""
XLIFF1 = """<?xml version="1.0" encoding="UTF-8"?>
<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2"><file source-language="en"><body>
  <trans-unit id="1">
    <source>Hello <g id="1">big</g> <x id="2"/> world &amp; all</source>
  </trans-unit>
  <trans-unit id="2" approved="yes"><source>Done</source><target>Fini</target></trans-unit>
  <trans-unit id="3"><source>Open <ph id="1">%s</ph> now</source><target state="new"/>
    <alt-trans><source>Old</source><target>Vieux</target></alt-trans></trans-unit>
</body></file></xliff>
"""
XLIFF2 = """<?xml version="1.0"?>
<xliff version="2.0" srcLang="en" xmlns="urn:oasis:names:tc:xliff:document:2.0"><file id="f"><unit id="u">
<segment><source>Save the <pc id="1">file</pc></source></segment>
<segment state="initial"><source>Close it</source><target>Close it</target></segment>
</unit></file></xliff>
"""
TEXT = """A title here

  An indented line, 12 of them.\t
This is a long line that was wrapped by an editor at seventy columns or
so, and that goes on.

¡🙂 https://x.org/a?b=c mail me@x.org {name} %s!
"""
SAMPLES = {
    "markdown": MARKDOWN,
    "html": HTML,
    "srt": SRT,
    "vtt": VTT,
    "po": PO,
    "json": JSON,
    "xliff": XLIFF1,
    "text": TEXT,
}


def word_file() -> bytes:
    """A Word document with formatting in a sentence, a table, a header and a tab."""
    document = docx.Document()
    document.add_heading("A title here", 1)
    paragraph = document.add_paragraph("Some ")
    paragraph.add_run("bold").bold = True
    paragraph.add_run(" words & ")
    paragraph.add_run("more <of> them")
    paragraph.add_run("\tafter the tab")
    document.add_table(1, 2).cell(0, 1).text = "in a cell"
    document.sections[0].header.paragraphs[0].text = "The header"
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


def shown(body: dict[str, Any]) -> str:
    """What a request asks to translate."""
    user = next(m["content"] for m in body["messages"] if m["role"] == "user")
    return str(user.split("\n\n", 1)[1])


def shouted(text: str) -> str:
    """A translation that keeps everything, and in which no word is as it was."""
    return re.sub(r"[^\W\d_]+", lambda word: word[0].upper() if not word[0].isupper() else word[0] + "É", text)


def shouting(body: dict[str, Any]) -> str:
    """Answers with `shouted`."""
    return shouted(shown(body))
