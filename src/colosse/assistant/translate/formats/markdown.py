"""Markdown: front matter, headings, lists, tables, links, images' descriptions, HTML inside; code is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from colosse.assistant.translate.document import Format, Kept, Part, Slot, Source, joined
from colosse.assistant.translate.formats import html
from colosse.assistant.translate.formats.text import has_letter

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_FRONT_TEXT = re.compile(
    r"^[ ]*(?:title|description|summary|subtitle|excerpt|abstract)[ ]*:[ ]*(?P<quote>[\"']?)(?P<text>[^\r\n]*?)"
    r"(?P=quote)[ ]*\r?$",
    re.MULTILINE | re.IGNORECASE,
)
_NEWLINE = re.compile(r"\r\n?|\n")
_TASK = re.compile(r"\[[ xX]\][ \t]+")
_ROW_PREFIX = re.compile(r"(?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])))*[ \t]*")
_ASIDE = re.compile(r"[ \t>]*(?::::|\{%.*%\}[ \t]*$|\[(?P<label>[^\]\n]+)\]:[ \t]*)")
"""A line that is none of its paragraph's: a directive, a definition, the beginning of a footnote."""
_TITLE = re.compile(r"(?<=[\s])(?:\"(?P<double>(?:[^\"\\]|\\.)*)\"|'(?P<single>(?:[^'\\]|\\.)*)')\s*\)?$", re.DOTALL)
_MAX_NESTING = 100
_INLINE = re.compile(
    r"(?P<code>(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<math>\$\$[^$]+\$\$|\$(?![\s\d])[^$\n]*[^$\s]\$(?!\d))"
    r"|(?P<escape>\\[!-/:-@\[-`{-~])"
    r"|(?P<auto><(?:[A-Za-z][A-Za-z0-9+.-]*:[^\s<>]*|[\w.+-]+@[\w.-]+)>|\[\^[^\[\]\s]+\]:?|\[\[[^\[\]\n]*\]\])"
    r"|(?P<comment><!--.*?-->)"
    r"|(?P<tag></?[A-Za-z][^<>]*>)"
    r"|(?P<image>!\[)"
    r"|(?P<entity>&(?:#\d+|#[xX][0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]*);)"
    r"|(?P<emphasis>\*{1,3}|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)|~~)"
    r"|(?P<line>[ \t\\]*(?:\r\n|\n|\r)(?:[ ]{0,3}>[ ]?)*[ \t]*)",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\[!-/:-@\[-`{-~]")
_TARGET = re.compile(
    r"\]\((?:<[^<>\n]*>|[^\s()<>]*(?:\([^\s()]*\)[^\s()]*)*)(?:\s+(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'))?\s*\)"
    r"|\]\[(?P<label>[^\]\n]*)\]",
    re.DOTALL,
)
_HAZARD = re.compile(r"^([-+*]|\d{1,9}[.)])(?=\s|$)|^(#{1,6}\s|>|=+\s*$|-{2,}|`{3}|~{3}|\||:::|\[[^\]]+\]:|\t| {4})")


def read(text: str) -> Source:
    """Slots for paragraphs, headings, cells, and the titles of the front matter."""
    slots: list[Slot] = []
    position = 0
    if front := _FRONT.match(text):
        titles = _FRONT_TEXT.finditer(text, front.start(1), front.end(1))
        slots += [_front_slot(found) for found in titles if found["text"][:1] not in tuple("|>[{&*")]
        position = front.end()
    labels = _labels(text)
    for start, end, kind in _blocks(text, position):
        if kind == "html":
            slots += html.slots(text[start:end], start, inline=lambda raw: _inline(raw, labels))
        elif kind == "table":
            slots += _cells(text, start, end, labels)
        elif kind == "definition":
            slots += _title(text[start:end], start)
        else:
            slots.append(_slot(text, start, end, labels))
    slots = [slot for slot in slots if html.has_text(slot.parts)]
    title = next((text[s.start : s.end] for s in slots if text[max(s.start - 2, 0) : s.start] == "# "), "")
    return Source(text, tuple(slots), title)


def _labels(text: str) -> dict[str, str]:
    """The labels that are defined, as they are compared."""
    found = re.findall(r"^[ \t>]{0,9}\[(?!\^)([^\]\n]+)\]:", text, re.MULTILINE)
    return {" ".join(label.split()).casefold(): label for label in found}


def _front_slot(found: re.Match[str]) -> Slot:
    quote = found["quote"]

    def encode(text: str) -> str:
        text = " ".join(text.split())
        if quote:
            return text.replace("\\", "\\\\").replace('"', '\\"') if quote == '"' else text.replace("'", "''")
        # A plain scalar may not hold these; with them it becomes a quoted one.
        unsafe = ": " in text or " #" in text or text.endswith(":") or text[:1] in "&*!|>%@`\"'[]{}#,?-"
        return f'"{text.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"' if unsafe else text

    said = found["text"]
    said = said.replace('\\"', '"') if quote == '"' else said.replace("''", "'") if quote else said
    return Slot(found.start("text"), found.end("text"), (said,), encode)


@cache
def _parser() -> MarkdownIt:
    """CommonMark's blocks and tables; definitions are paragraphs, since their titles are texts."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable("table")
    return parser.disable(["reference", "inline", "text_join"])


def _blocks(text: str, position: int) -> Iterator[tuple[int, int, str]]:
    """(start, end, kind) of what holds text; code and rules are left out."""
    position += text.startswith("\ufeff", position)
    starts = [position, *(found.end() for found in _NEWLINE.finditer(text, position)), len(text)]
    before = ""
    for token in _parser().parse(text[position:]):
        first, stop = token.map or (0, 0)
        if token.type == "tr_open":
            start = starts[first]
            yield start + len(_ROW_PREFIX.match(text[start : starts[stop]])[0]), starts[stop], "table"  # type: ignore[index]
        elif token.type == "html_block" or (token.type == "inline" and before not in ("td_open", "th_open")):
            lines = token.content.rstrip("\n").split("\n")
            places = [_place(text, starts[first + n], starts[first + n + 1], line) for n, line in enumerate(lines)]
            if token.type == "inline":
                yield from _paragraph(text, places)
            elif not any(text[starts[first + n] : start].strip() for n, (start, _) in enumerate(places) if n):
                yield places[0][0], places[-1][1], "html"
        before = token.type


def _place(text: str, start: int, end: int, line: str) -> tuple[int, int]:
    """Where a line of a block stands within a line of the document."""
    body = line.strip()
    at = text.rfind(body, start, end)
    return (at, at + len(body)) if at >= 0 else (end, end)


def _paragraph(text: str, places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
    """The paragraph, or its pieces between lines that are none of it."""
    begin = -1
    for index, (start, end) in enumerate(places):
        aside = _ASIDE.match(text[start:end])
        task = _TASK.match(text, start, end) if index == 0 else None
        if aside and begin >= 0:
            yield begin, places[index - 1][1], "text"
            begin = -1
        if aside and not (aside["label"] or "").startswith("^"):
            yield start, end, "definition"
        elif begin < 0:
            begin = start + aside.end() if aside else task.end() if task else start
    if begin >= 0:
        yield begin, places[-1][1], "text"


def _slot(text: str, start: int, end: int, labels: Mapping[str, str], cell: bool = False) -> Slot:
    raw = text[start:end].rstrip()
    lines = [bool(_HAZARD.match(line)) for line in raw.splitlines()]

    def finish(written: str) -> str:
        done = written.splitlines(keepends=True)
        for index, line in enumerate(done):
            if not (index < len(lines) and lines[index]):
                body = line.lstrip(" \t>") if index else line
                done[index] = line[: len(line) - len(body)] + _HAZARD.sub(_escaped, body, count=1)
        return "".join(done)

    return Slot(start, start + len(raw), tuple(_inline(raw, labels)), _encoder(raw, "|" if cell else ""), finish)


def _escaped(found: re.Match[str]) -> str:
    marker = found[0]
    if marker[0].isdigit():
        return f"{marker[:-1]}\\{marker[-1]}"
    return marker.lstrip() if marker.isspace() else f"\\{marker}"


def _encoder(raw: str, more: str = "") -> Callable[[str], str]:
    """Escapes what would be markup, but for signs that stand bare in the source's own words."""
    escaped = {found["escape"][1] for found in _INLINE.finditer(raw) if found["escape"]}
    bare = {char for part in _inline(_ESCAPE.sub("", raw), {}) if isinstance(part, str) for char in part}
    special = {char for char in "*`[]<>~$" + more if char not in bare} | escaped | set(more)
    # An underscore within a word means nothing.
    sign = re.compile(("" if "_" in bare else r"(?<!\w)_|_(?!\w)|") + f"[{re.escape(''.join(special - {'_'}))}]")
    return lambda text: sign.sub(r"\\\g<0>", re.sub(r"\s*[\r\n]+\s*", " ", text))


def _cells(text: str, start: int, end: int, labels: Mapping[str, str]) -> Iterator[Slot]:
    for found in re.finditer(r"(?:\\.|`+[^`]*`+|[^|\\])+", text[start:end]):
        body = found[0].strip()
        if body:
            at = start + found.start() + found[0].index(body)
            yield _slot(text, at, at + len(body), labels, cell=True)


def _title(raw: str, offset: int = 0) -> Iterator[Slot]:
    """The title of a link or of a definition."""
    if (found := _TITLE.search(raw)) and has_letter(found[0]):
        group = "double" if found["double"] is not None else "single"
        sign = re.compile(r"[\\\"]" if group == "double" else r"[\\']")
        start, end = (offset + at for at in found.span(group))
        said = _ESCAPE.sub(lambda escape: escape[0][1], found[group])
        yield Slot(start, end, (said,), lambda text: sign.sub(r"\\\g<0>", " ".join(text.split())))


def _inline(raw: str, labels: Mapping[str, str]) -> list[Part]:
    """The parts of a paragraph."""
    parts: list[Part] = []
    position = 0
    links = _links(raw, labels)
    opened: list[str] = []
    while position < len(raw):
        if position in links:
            kept, position = links[position]
            parts.append(kept)
            continue
        found = _INLINE.match(raw, position)
        if found is None:
            parts.append(raw[position])
            position += 1
            continue
        parts.append(_kept(found, raw, opened))
        position = found.end()
    return joined(parts)


def _kept(found: re.Match[str], raw: str, opened: list[str]) -> Part:
    kind, span = found.lastgroup, found[0]
    if kind == "image":
        return span
    if kind in ("code", "ticks", "math", "auto"):
        return Kept(span)
    if kind == "tag":
        return html.tag_of(span)
    if kind == "escape":
        return span[1:]
    if kind == "line":
        hard = "\\" in span or re.match(r"[ ]{2,}[\r\n]", span)
        return Kept(span, "hard" if hard else "soft")
    if kind == "emphasis":
        before, after = raw[found.start() - 1 : found.start()], raw[found.end() : found.end() + 1]
        if span in opened and before and not before.isspace():
            opened[opened.index(span) :] = []
            return Kept(span, "close")
        if after and not after.isspace() and raw.find(span, found.end()) > 0:
            opened.append(span)
            return Kept(span, "open")
        return span
    if kind == "entity":
        return html.decoded(span) if span in ("&amp;", "&quot;", "&apos;", "&#39;") else Kept(span, "mark")
    return Kept(span, "mark")


def _links(raw: str, labels: Mapping[str, str]) -> dict[int, tuple[Kept, int]]:
    """Where the brackets of links and images stand: position to what is kept and its end.

    A link whose words are its label gets the label beside them, since the words change.
    """
    code = [found.span() for found in re.finditer(r"(`+)(?!`).*?(?<!`)\1(?!`)|\\.", raw, re.DOTALL)][::-1]
    places: dict[int, tuple[Kept, int]] = {}
    stack: list[int] = []
    position = 0
    while position < len(raw):
        while code and code[-1][1] <= position:
            code.pop()
        if code and code[-1][0] <= position:
            position = code.pop()[1]
            continue
        if raw[position] == "[" and not raw.startswith("[^", position) and not raw.startswith("[[", position):
            stack.append(position)
        elif raw[position] == "]" and stack:
            start = stack.pop()
            target = _TARGET.match(raw, position)
            words = " ".join(raw[start + 1 : position].split()).casefold()
            end = target.end() if target else position + 1
            if (target and target["label"]) or (target and target["label"] is None) or words in labels:
                close = raw[position:end]
                if target is None or target["label"] == "":
                    close = f"][{labels[words]}]"
                first = start - 1 if start and raw[start - 1] == "!" else start
                places[first] = (Kept(raw[first : start + 1], "open"), start + 1)
                places[position] = (Kept(close, "close", texts=tuple(_title(close))), end)
                position = end
                continue
        position += 1
    return places


FORMAT = Format("markdown", (".md", ".markdown", ".mdx"), read)
