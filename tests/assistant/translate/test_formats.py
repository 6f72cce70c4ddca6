"""Formats: what is read is written back byte for byte, and only words change."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

import docx
import polib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.assistant.translate.document import Format, plain, skeleton, written
from colosse.assistant.translate.formats import FORMATS, format_of
from colosse.assistant.translate.units import Plan, Unit, units_of
from colosse.core.errors import TooLargeError, UserError
from tests.assistant.translate.conftest import (
    HTML,
    JSON,
    MARKDOWN,
    PO,
    SAMPLES,
    SRT,
    XLIFF1,
    XLIFF2,
    shouted,
    word_file,
)


def through(form: Format, text: str, model: Any = shouted) -> str:
    """The document after a model that keeps all tokens."""
    source = form.read(text)
    for slot in source.slots:
        assert text[slot.start : slot.end] or slot.apart
    return written(source, Plan(source).targets(lambda unit: model(unit.text)))


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_identity_is_exact_and_words_alone_change(name: str, ends: str, mark: str) -> None:
    form, text = FORMATS[name], mark + SAMPLES[name].replace("\n", ends)
    if name not in ("po", "xliff"):  # there, a target beside the source is made
        assert through(form, text, lambda said: said) == text
    assert written(form.read(text), {}) == text
    done = through(form, text)
    assert done != text
    assert skeleton(form, done) == skeleton(form, text)
    if name not in ("po", "xliff"):
        assert done.count(ends) == text.count(ends)
    assert form.pack(text.encode(), done).decode() == done


def test_markdown() -> None:
    done = through(FORMATS["markdown"], MARKDOWN)
    for kept in (
        'title: "MY GUIDE',
        "date: 2024-01-01",
        "`code`",
        '](https://x.org/a_b "T")',
        "😀",
        "<https://y.org>",
        "{name}",
        "|------|:----:|",
        "`b|c`",
        'x = "not this"',
        '<div class="x">',
        "](img.png)",
        "[ref]: http://x",
        "======",
        "- [ ] ITEM",
        "\\* HERE",
        "2. TWO",
        "> AGAIN",
        "1\\. 100 %",
        "![ALT TEXT]",
    ):
        assert kept in done, kept
    assert "CODE IN THE LIST" in done


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ('See [it](u "Our \\"title\\"") now', 'SEE [IT](u "OUR \\"TITLE\\"") NOW'),
        ("See [it](u 'a title')", "SEE [IT](u 'A TITLE')"),
        ('![a cat](c.png "on a mat")', '![A CAT](c.png "ON A MAT")'),
        ('<a title="the tip" href=x>here</a> it is', '<a title="THE TIP" href=x>HERE</a> IT IS'),
        (
            "See [the Doc], [the doc][] or [no].\n\n[The  doc]: u 'Its title'",
            "SEE [THE DOC][The  doc], [THE DOC][The  doc] OR [NO].\n\n[The  doc]: u 'ITS TITLE'",
        ),
        ("Said[^n].\n\n[^n]: a note\n    that goes on", "SAID[^n].\n\n[^n]: A NOTE\n    THAT GOES ON"),
        (
            "- a list\n\n  ```py\n  code = 1\n  ```\n\n      more code",
            "- A LIST\n\n  ```py\n  code = 1\n  ```\n\n      more code",
        ),
        ("The sum\n\n$$\na_b * c\n$$", "THE SUM\n\n$$\na_b * c\n$$"),
        ("::: note\na note\n:::", "::: note\nA NOTE\n:::"),
        ("> <div>\n> some text</div>", "> <div>\n> some text</div>"),
    ],
)
def test_corners_of_markdown(text: str, done: str) -> None:
    assert through(FORMATS["markdown"], text, lambda said: re.sub(r"[a-z]", lambda c: c[0].upper(), said)) == done


def test_markup_that_a_model_writes_is_escaped() -> None:
    form = FORMATS["markdown"]
    evil = "1. *x* [y](z) `q` [b] | ~~s~~ # _u_"
    for text in ("Some words\n", "| some words |\n|---|\n| more words |\n", "- some words\n", "A title\n=====\n"):
        assert skeleton(form, through(form, text, lambda said: evil)) == skeleton(form, text)
    assert through(form, "Some words\n", lambda said: "# Titre") == "\\# Titre\n"
    assert through(form, "Some words\n", lambda said: "1. Un") == "1\\. Un\n"
    assert through(form, "word snake_case\n", lambda said: "mot snake_case") == "mot snake_case\n"
    assert (
        through(FORMATS["html"], "<p>Some words</p>", lambda said: "a < b & <i>") == "<p>a &lt; b &amp; &lt;i&gt;</p>"
    )
    assert json.loads(through(FORMATS["json"], '["some words"]', lambda said: 'a "b" \\ é')) == ['a "b" \\ é']


def test_html() -> None:
    done = through(FORMATS["html"], HTML)
    for kept in (
        "<title>HI THERE</title>",
        "p { color: red }",
        'content="AÉ PAGE',
        "<!-- a comment -->",
        "title='AÉ TIP'",
        "<b>BOLD <i>AND</i></b> &amp; <code>x y</code>&nbsp;WORLD<br>\n &lt;3 NEXT",
        '<img src=a alt="AÉ CAT"> WITH',
        "<pre>not this</pre>",
        'var a = "<p>no</p>";',
        'placeholder="YOUR NAME" value=3',
        '<p translate="no">not this</p>',
        "<li>ONE<li>TWO 👩‍👩‍👧",
        'href="https://x.org?a=1&b=2"',
    ):
        assert kept in done, kept
    assert FORMATS["html"].to_language(HTML, "en", "fr").startswith('<!DOCTYPE html>\n<html lang="fr">')


def test_texts_within_tags_are_texts_of_their_own() -> None:
    form = FORMATS["html"]
    seen: list[str] = []

    def model(said: str) -> str:
        seen.append(said)
        return f"[{said}]"

    text = (
        '<p title="a tip">See <a href=u title="our &quot;link&quot;">it</a> or <img alt=\'a cat\' src=c>.</p>'
        '<img alt="a dog">'
    )
    done = through(form, text, model)
    assert seen == ["a tip", "See <1>it<2> or <3>.", 'our "link"', "a cat", "a dog"]
    assert done == (
        '<p title="[a tip]">[See <a href=u title="[our &quot;link&quot;]">it</a> or <img alt=\'[a cat]\' src=c>.]</p>'
        '<img alt="[a dog]">'
    )
    assert skeleton(form, done) == skeleton(form, text)
    kept = "<style>a > b { /* <i title='x'> */</style><template><p title='nor this'></p></template><!-- <i title=x>-->"
    assert through(form, kept) == kept


def test_subtitles_keep_lines_and_speakers() -> None:
    done = through(
        FORMATS["srt"], SRT, lambda said: "un deux trois quatre" if "Hello" not in said else "<1>Bonjour<2> toi"
    )
    assert [line for line in done.split("\n") if "-->" in line] == [line for line in SRT.split("\n") if "-->" in line]
    assert len(done.split("\n")) == len(SRT.split("\n"))
    assert "<i>Bonjour</i>\ntoi\n" in done


def test_po_reads_as_gettext() -> None:
    done = polib.pofile(through(FORMATS["po"], PO))
    plural, verb, fuzzy, finished = done[:4]
    assert plural.msgstr_plural == {0: "%d FILE IN %s", 1: "%d FILES IN %s"}
    assert (verb.msgstr, fuzzy.msgstr, finished.msgstr) == ('OPEN "IT" NOW\nAND CLOSE IT', "NEW %(name)s", "Fini")
    assert fuzzy.flags == ["fuzzy", "python-format"]
    assert plural.comment == "for the menu"
    assert [slot.note for slot in FORMATS["po"].read(PO).slots][:3] == ["for the menu", "for the menu", "verb"]
    assert '"Language: fr\\n"' in FORMATS["po"].to_language(PO, "en", "fr")
    one_form = PO.replace('msgstr[1] ""\n', "")
    assert polib.pofile(through(FORMATS["po"], one_form))[0].msgstr_plural == {0: "%d FILES IN %s"}


def test_json_icu_and_escapes() -> None:
    done = json.loads(through(FORMATS["json"], JSON))
    assert done["hello world"] == "HELLO {{name}}, WELCOME <1>HERE</1>"
    assert done["n"] == {
        "items": "{count, plural, one {# DAY LEFT} other {# DAYS LEFT}}",
        "key": "snake_case_id",
        "u": "https://x.org",
    }
    assert done["esc"] == ['CAFÉ OUVERT\nSECOND LINE "QUOTED"', 12, True, None, "", "🎉 PARTY TIME"]
    assert "CAF\\u00c9" in through(FORMATS["json"], JSON)


def test_xliff() -> None:
    form = FORMATS["xliff"]
    done = through(form, XLIFF1)
    assert '\n    <target>HELLO <g id="1">BIG</g> <x id="2"/> WORLD &amp; ALL</target>\n' in done
    assert '<target state="new">OPEN <ph id="1">%s</ph> NOW</target>' in done
    assert "<target>Fini</target>" in done
    assert "<target>Vieux</target>" in done
    assert 'source-language="en" target-language="fr"' in form.to_language(done, "en", "fr")
    second = through(form, XLIFF2)
    assert '<target>SAVE THE <pc id="1">FILE</pc></target>' in second
    assert "<target>CLOSE IT</target>" in second
    assert skeleton(form, second) == skeleton(form, XLIFF2)
    assert 'trgLang="fr"' in form.to_language(second, "en", "fr")


def test_word() -> None:
    form, data = FORMATS["docx"], word_file()
    text = form.unpack(data)
    assert form.unpack(form.pack(data, text)) == text
    done = form.pack(data, through(form, text))
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(io.BytesIO(done)) as after:
        assert before.namelist() == after.namelist()
        changed = [name for name in before.namelist() if before.read(name) != after.read(name)]
    assert changed == ["word/document.xml", "word/header1.xml"] or "word/document.xml" in changed
    document = docx.Document(io.BytesIO(done))
    title, body = document.paragraphs[:2]
    assert title.text == "AÉ TITLE HERE"
    assert [run.text for run in body.runs if run.bold] == ["BOLD"]
    assert body.text == "SOME BOLD WORDS & MORE <of> THEM\tAFTER THE TAB"
    assert document.tables[0].cell(0, 1).text == "IN A CELL"
    assert document.sections[0].header.paragraphs[0].text == "THE HEADER"
    assert skeleton(form, form.unpack(done)) == skeleton(form, text)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("json", '{"a": }', "not JSON"),
        ("json", "[" * 100_000, "not JSON"),
        ("srt", "Hello\nworld", "no subtitles"),
        ("po", "Hello world", "not a gettext catalogue"),
        ("po", 'msgid "a', "not a gettext catalogue"),
        ("po", 'msgid "a"\nmsgstr "b', "not a gettext catalogue: 'msgstr"),
        ("po", 'msgstr "a"', "not a gettext catalogue"),
        ("xliff", "<xliff><file></xliff>", "not XLIFF"),
        ("xliff", "<a/>", "not XLIFF"),
    ],
)
def test_malformed_is_one_line(name: str, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        FORMATS[name].read(text)
    assert "\n" not in str(error.value)


def test_files_that_are_none() -> None:
    for data in (b"PK", b"", b"hello world"):
        with pytest.raises(UserError, match="not a Word document"):
            FORMATS["docx"].unpack(data)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * (257 << 20))
    with pytest.raises(TooLargeError):
        FORMATS["docx"].unpack(made.getvalue())
    with pytest.raises(UserError, match="not UTF-8"):
        FORMATS["text"].unpack(b"\xff\xe9")
    wide = "Hello there".encode("utf-16")
    assert FORMATS["text"].pack(wide, FORMATS["text"].unpack(wide)) == wide


def test_format_of() -> None:
    assert format_of("po").name == "po"
    assert format_of("a/b.VTT").name == "vtt"
    assert format_of("", "plain words").name == "text"
    assert format_of("", "# A title").name == "markdown"
    assert format_of("README.rst", "words").name == "text"
    with pytest.raises(UserError, match="did you mean 'html'"):
        format_of("htlm")


PIECES = st.sampled_from(
    [
        "word",
        "two words",
        " ",
        "\n",
        "\n\n",
        "*",
        "**",
        "_",
        "`",
        "```\n",
        "[a](b)",
        "![i](j)",
        "# ",
        "- ",
        "1. ",
        "> ",
        "| a | b |\n",
        "|---|---|\n",
        "<b>",
        "</b>",
        "<br>",
        "<p>",
        "&amp;",
        "&",
        "<",
        ">",
        "\\",
        "😀",
        "é",
        "日本語",
        "שלום",
        "\u00a0",
        "{x}",
        "%s",
        "https://x.org",
        "    ",
        "\t",
        "\r\n",
        "---\n",
        "===\n",
        "~~",
        "$",
        "<!-- c -->",
        "<pre>",
        "12",
        "<1>",
        "]",
        "(",
        ")",
        "</p>",
        "\u2028",
        "\x0b",
    ]
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(PIECES, max_size=30).map("".join), st.sampled_from(["text", "markdown", "html"]))
def test_any_text_survives(text: str, name: str) -> None:
    form = FORMATS[name]
    assert through(form, text, lambda said: said) == text
    source = form.read(text)
    ends = 0
    for slot in source.slots:
        assert ends <= slot.start <= slot.end
        ends = slot.end
        units = list(units_of(0, slot))
        assert plain([p for u in units for p in ([*u.head, *u.inner, *u.tail] if isinstance(u, Unit) else u)]) == plain(
            slot.parts
        )


CUES = st.lists(st.text(st.sampled_from("ab é-<i>{}&\u00a0日"), max_size=20).filter(str.strip), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(CUES, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_any_subtitles_survive(cues: list[list[str]], ends: str) -> None:
    form = FORMATS["srt"]
    blocks = [ends.join([str(i), "00:00:01,000 --> 00:00:02,000", *lines]) for i, lines in enumerate(cues)]
    text = (ends * 2).join(blocks) + ends
    assert through(form, text, lambda said: said) == text
    assert skeleton(form, through(form, text)) == skeleton(form, text)


VALUES = st.recursive(
    st.text(max_size=20) | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(VALUES, st.booleans())
def test_any_json_survives(value: Any, ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=1)
    assert through(FORMATS["json"], text, lambda said: said) == text
    json.loads(through(FORMATS["json"], text))
