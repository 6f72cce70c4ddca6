"""Documents of every format that are hard to keep whole, made by chance."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import docx
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from hypothesis import strategies as st

WORDS = st.sampled_from(
    [
        "Hello",
        "the file",
        "open it now",
        "naïve café",
        "don't",
        "日本語",
        "שלום",
        "1,250 items",
        "A & B",
        "{name}",
        "%(n)s",
        "%s",
        "😀",
        "👩‍👩‍👧",
        "😀 👍",
        "${x}",
        "a/b",
        "50 %",
        "snake_case",
        "e-mail",
        "(see below)",
        "etc.",
        "Dr. Smith:",
    ]
)
SAID = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
MARKS = st.sampled_from(
    [
        "**{}**",
        "*{}*",
        "_{}_",
        "~~{}~~",
        "un*frigging*{}",
        "***{}***",
        "**a *{}* b**",
        "`x|{}`",
        "``a ` b`` {}",
        "[{}](https://x.org/a_b(c) 'A title')",
        '[{}](<a b> "Our \\"t\\"")',
        "[**{}**][Ref]",
        "[{}][]",
        "[ref]",
        "[not a ref]",
        '![{}](i.png "Shown *x*")',
        "[![{}](i.png)](https://x.org)",
        "$a_b * {{c}}$ {}",
        "<b>{}</b>",
        '<a title="A tip" href=x>{}</a>',
        "&copy; {} &amp; &nbsp;",
        "\\*{}\\*",
        "{}[^1]",
        "{}<br>",
        "<https://x.org/?a=1&b=2> {}",
        "{}<!-- a c -->",
        "<kbd>Ctrl</kbd>+{}",
        "{} 2 * 3 * 4",
        "{} a_b_c",
        "{} < 3 > 2",
        "1. {}",
        "{}\\\\",
        "{} ](",
        "{} `",
        "*{}",
        "# {}",
        "{} #",
        "+ {}",
        "{} |",
    ]
)
INLINE = st.tuples(SAID, MARKS, SAID, SAID).map(lambda t: f"{t[0]} {t[1].replace('{}', t[2])} {t[3]}")
LINES = st.lists(INLINE, min_size=1, max_size=3).flatmap(
    lambda lines: st.sampled_from(["\n", "  \n", "\\\n", " "]).map(lambda ends: ends.join(lines))
)


def _indented(text: str, by: str, first: str) -> str:
    return first + text.replace("\n", "\n" + by)


LEAVES = st.one_of(
    LINES,
    st.tuples(st.sampled_from(["# ", "### ", "###### "]), INLINE).map("".join),
    st.tuples(SAID, st.sampled_from(["\n=====", "\n---"])).map("".join),
    SAID.map(lambda s: f"```py title=x\n# {s}\n\nx = [a](b)\n```"),
    SAID.map(lambda s: f"~~~\n{s}\n```\n~~~"),
    SAID.map(lambda s: f"    code {s}\n\n    more"),
    st.tuples(SAID, INLINE.map(lambda s: s.replace("|", "")), SAID).map(
        lambda t: f"| {t[0]} | B |\n|:---|---:|\n| {t[1]} | a \\| b |\n|  | {t[2]} |"
    ),
    st.tuples(SAID, SAID).map(lambda t: f"{t[0]} | B\n--- | ---\n{t[1]} | `x`"),
    SAID.map(lambda s: f"$$\na_b * {s} * c\n$$"),
    SAID.map(lambda s: f"<details class='x'>\n<summary>{s}</summary>\n\n{s}\n\n</details>"),
    SAID.map(lambda s: f'<div align="center" title="A tip">\n  <b>{s}</b>\n  <pre>x {s}</pre>\n</div>'),
    SAID.map(lambda s: f"<!-- a note\n{s}\n-->"),
    SAID.map(lambda s: f"[^1]: {s} and more"),
    st.sampled_from(["***", "---", "<hr/>", ":::note", "- [ ] a task", "{% include x %}"]),
)
BLOCKS = st.recursive(
    LEAVES,
    lambda inner: st.tuples(
        st.lists(inner, min_size=1, max_size=2).map("\n\n".join),
        st.sampled_from([("- ", "  "), ("* ", "  "), ("1. ", "   "), ("10) ", "    "), ("> ", "> "), ("- [x] ", "  ")]),
    ).map(lambda t: _indented(t[0], t[1][1], t[1][0])),
    max_leaves=4,
)
FRONT = st.sampled_from(["", '---\ntitle: "A: title"\ntags: [a, b]\ndescription: Some words here\n---\n\n'])
MARKDOWN = st.tuples(FRONT, st.lists(BLOCKS, min_size=1, max_size=3).map("\n\n".join)).map(
    lambda t: f'{t[0]}{t[1]}\n\n[ref]: https://x.org "The title"\n[Hello]: <h>\n'
)

TAGS = st.sampled_from(
    [
        "<b>{}</b>",
        '<a href="x?a=1&amp;b=2" title="Our &quot;link&quot;">{}</a>',
        "<em><strong>{}</strong></em>",
        "<code>a  {}</code>",
        "{}<br/>",
        '<img src=a.png alt="A cat">{}',
        "<span lang=en data-x='>'>{}</span>",
        "&nbsp;{}&mdash;",
        "&lt;b&gt; {}",
        "{}<!-- a --> b",
        "H<sub>2</sub>O {}",
        '<span translate="no">{}</span>',
        "{} &hellip;",
        "{} a < b",
        "<i>{}",
        "<abbr title='As it is'>{}</abbr>",
        '<input placeholder="Your name" value="x"> {}',
        "{} &#8217;s &#x1F600;",
    ]
)
TEXTS = st.tuples(SAID, TAGS, SAID, SAID).map(
    lambda t: f"{t[0]} {t[1].replace('{}', t[2])}\n {t[3]}".replace(" & ", " &amp; ")
)
ELEMENTS = st.recursive(
    TEXTS,
    lambda inner: st.tuples(
        st.sampled_from(
            [
                "<p>{}</p>",
                "<div class=x id='y'>{}</div>",
                "<ul><li>{}<li>two</ul>",
                "<table><tr><td>{}</td></tr></table>",
                "<section aria-label=\"A part\" title='x y'>\n{}\n</section>",
                "<h1>{}</h1><hr>",
                "<pre>\n {}</pre>",
                "<template><p>{}</p></template>",
                "<script>let a = '<p>{}';</script>",
                "<style>p > a {{ }} /* {} */</style>",
                "<!-- {} -->",
                "<select><option selected>{}</select>",
                "<textarea>{}</textarea>",
                "<button disabled>{}</button>",
            ]
        ),
        st.lists(inner, min_size=1, max_size=2).map("".join),
    ).map(lambda t: t[0].replace("{}", re.sub(r"<!--|-->|</?textarea>", "", t[1]) if t[0][1] in "!t" else t[1])),
    max_leaves=4,
)
HTML = st.lists(ELEMENTS, min_size=1, max_size=3).map(
    lambda e: (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset=utf-8><title>Our page</title>'
        '<meta name="description" content="It is ours"></head><body>\n' + "\n".join(e) + "\n</body></html>\n"
    )
)

CUE_LINES = st.tuples(
    st.sampled_from(
        [
            "{}",
            "<i>{}</i>",
            "- {}",
            "<v Mary Ann>{}",
            "{{\\an8}}{}",
            "♪ {} ♪",
            "<c.yellow>{}</c> &amp; b",
            "NOTE {}",
            "12 {}",
        ]
    ),
    SAID,
).map(lambda t: t[0].replace("{{", "{").replace("}}", "}").replace("{}", t[1]))
CUES = st.lists(st.lists(CUE_LINES, min_size=1, max_size=3).map("\n".join), min_size=1, max_size=4)
SRT = CUES.map(
    lambda cues: "\n\n".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n},500 X1:1\n{c}" for n, c in enumerate(cues, 1)) + "\n"
)
VTT = CUES.map(
    lambda cues: (
        "WEBVTT - t\nKind: captions\n\nNOTE\nhello there\n\nSTYLE\n::cue { color: red }\n\n"
        + "\n\n".join(
            f"cue-{n}\n00:0{n}.000 --> 00:0{n}.500 align:start position:10%,line-left\n{c}" for n, c in enumerate(cues)
        )
        + "\n"
    )
)


def _po(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


MESSAGES = st.tuples(
    SAID,
    st.sampled_from(["Open {}", "{} has %d files\n", "two lines\n{}\n", "tab\there \\ {}", '"{}"']),
    st.sampled_from(["", '#, fuzzy, c-format\n#| msgid "Old"\n', "#. note\n#: a.c:1 b.c:2\n", 'msgctxt "menu"\n']),
    st.sampled_from(["one", "plural", "split", "done"]),
).map(lambda t: (t[1].replace("{}", t[0]), t[2], t[3]))


def _catalogue(messages: list[tuple[str, str, str]]) -> str:
    found = ['# A header\nmsgid ""\nmsgstr ""\n"Language: en\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n']
    for n, (text, before, kind) in enumerate(messages):
        text = f"{text} {'abc'[n]}"
        whole = (
            '""\n' + "\n".join(_po(line) for line in text.splitlines(keepends=True)) if kind == "split" else _po(text)
        )
        targets = (
            f'msgid_plural {_po("more " + text)}\nmsgstr[0] ""\nmsgstr[1] ""'
            if kind == "plural"
            else (f'msgstr "{"fini" if kind == "done" else ""}"')
        )
        found.append(f"{before}msgid {whole}\n{targets}\n")
    return "\n".join([*found, '#~ msgid "gone"\n#~ msgstr "parti"\n'])


PO = st.lists(MESSAGES, min_size=1, max_size=3).map(_catalogue)

STRINGS = st.one_of(
    SAID,
    SAID.map(lambda s: f'{s}\n\tand <b>{s}</b> "q" \\'),
    SAID.map(lambda s: "{count, plural, =0 {none} one {# file of " + s + "} other {# files}} left"),
    SAID.map(lambda s: "{g, select, male {he {n, plural, one {# day} other {# days}}} other {they " + s + "}}"),
    st.sampled_from(["key.name", "https://x.org/a b", "#fff", "2024-01-01", "", "camelCase", "$t(a.b) and more"]),
)
TREES = st.recursive(
    STRINGS | st.integers() | st.sampled_from([True, None, 1.5e10]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SAID | st.just("b.a"), inner, max_size=3),
    max_leaves=6,
)
JSON = st.tuples(TREES, st.booleans(), st.sampled_from([None, 1, 4, "\t"])).map(
    lambda t: json.dumps({"z": t[0], "a": "Some words"}, ensure_ascii=t[1], indent=t[2]) + "\n"
)

SPANS = st.sampled_from(
    [
        "{}",
        '<g id="1">{}</g>',
        'a <x id="2"/> {}',
        '<bpt id="3">&lt;b&gt;</bpt>{}<ept id="3">&lt;/b&gt;</ept>',
        '{} <ph id="4">%d</ph> of them',
        '<g id="5"><g id="6">{}</g> b</g>',
        '<mrk mtype="x">{}</mrk>',
        "{} &amp; &lt;b&gt;",
    ]
)
SPANS2 = st.sampled_from(
    [
        "{}",
        '<pc id="1">{}</pc>',
        'a <ph id="2"/> {}',
        '<sc id="3"/>{}<ec startRef="3"/>',
        '<mrk id="4" translate="no">x</mrk> {}',
    ]
)
ENDINGS = st.sampled_from(["", "<target/>", '<target state="new"></target>', "<target>Fini</target>"])


def _units(template: str, spans: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = st.tuples(spans, SAID, ENDINGS).map(
        lambda t: (
            t[0].replace("{}", t[1].replace("&", "&amp;")),
            "" if t[2] == "<target>Fini</target>" and "<" in t[0] else t[2],
        )
    )
    return st.lists(one, min_size=1, max_size=3).map(
        lambda units: "\n".join(
            template.replace("ID", str(n)).replace("SOURCE", source).replace("TARGET", target)
            for n, (source, target) in enumerate(units)
        )
    )


XLIFF1 = _units(
    '<trans-unit id="ID">\n  <source>SOURCE</source>\n  TARGET\n<note>a note</note></trans-unit>', SPANS
).map(
    lambda u: (
        '<?xml version="1.0" encoding="UTF-8"?>\n<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">'
        f'<file source-language="en" original="a" datatype="x"><body><group id="g">\n{u}\n</group></body></file>'
        "</xliff>\n"
    )
)
XLIFF2 = _units('<unit id="ID"><segment><source>SOURCE</source>TARGET</segment></unit>', SPANS2).map(
    lambda u: (
        '<xliff version="2.0" srcLang="en" xmlns="urn:oasis:names:tc:xliff:document:2.0"><file id="f">\n'
        f"{u}\n</file></xliff>\n"
    )
)


RICH = (
    f"<w:p {nsdecls('w')}><w:r><w:t xml:space='preserve'>See </w:t></w:r><w:hyperlink w:anchor='x'><w:r><w:rPr>"
    "<w:u w:val='single'/></w:rPr><w:t>the link</w:t></w:r></w:hyperlink><w:ins w:id='1' w:author='a'><w:r><w:t>Added."
    "</w:t></w:r></w:ins><w:del w:id='2' w:author='a'><w:r><w:delText>gone words</w:delText></w:r></w:del><w:r>"
    "<w:fldChar w:fldCharType='begin'/></w:r><w:r><w:instrText> DATE </w:instrText></w:r><w:r><w:fldChar"
    " w:fldCharType='end'/></w:r><w:r><w:t>Before</w:t><w:tab/><w:pict><w:txbxContent><w:p><w:r><w:t>In a &amp;"
    " box</w:t></w:r></w:p></w:txbxContent></w:pict><w:t>after it</w:t><w:footnoteReference w:id='3'/></w:r></w:p>"
)
"""A link, tracked changes, a field, a text box and a footnote in one paragraph."""


def _word(paragraphs: list[list[tuple[str, int]]]) -> bytes:
    document = docx.Document()
    table = document.add_table(1, 2)
    for number, runs in enumerate(paragraphs):
        paragraph = table.cell(0, 1).paragraphs[0] if number == 1 else document.add_paragraph(style="List Bullet")
        for text, look in runs:
            run = paragraph.add_run(text)
            run.bold, run.italic = look == 1, look == 2
            if look == 3:
                run.add_break()
    document.element.body.insert(0, parse_xml(RICH))
    document.sections[0].footer.paragraphs[0].text = "The footer"
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


WORD = st.lists(
    st.lists(st.tuples(SAID.map(lambda s: s + " "), st.integers(0, 3)), min_size=1, max_size=4), min_size=1, max_size=3
).map(_word)
DOCUMENTS: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "markdown": ("markdown", MARKDOWN),
    "html": ("html", HTML),
    "srt": ("srt", SRT),
    "vtt": ("vtt", VTT),
    "po": ("po", PO),
    "json": ("json", JSON),
    "xliff 1.2": ("xliff", XLIFF1),
    "xliff 2.0": ("xliff", XLIFF2),
    "docx": ("docx", WORD),
}
"""Name to the format, and the documents."""
