"""HTML: its text and the attributes that people read; everything else byte for byte."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from html import unescape

from colosse.assistant.translate.document import Format, Kept, Part, Slot, Source
from colosse.assistant.translate.formats.text import has_letter

_TOKEN = re.compile(
    r"<!--.*?(?:-->|$)|<!\[CDATA\[.*?\]\]>|<![^>]*>|<\?[^>]*>"
    r"|</?(?P<name>[A-Za-z][^\s/>]*)(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>",
    re.DOTALL,
)
_INLINE = re.compile(
    r"a|abbr|acronym|b|bdi|bdo|big|br|cite|code|data|del|dfn|em|font|i|img|input|ins|kbd|label|mark|q"
    r"|rp|rt|ruby|s|samp|small|span|strike|strong|sub|sup|time|tt|u|var|wbr"
)
_VOID = frozenset({"br", "img", "wbr", "input"})
_RAW = frozenset(
    {"script", "style", "pre", "textarea", "svg", "math", "template", "noscript", "xmp", "iframe", "object"}
)
_WHOLE = frozenset({"code", "kbd", "samp", "var", "tt"})
"""Inline elements that are kept with what they hold."""
_ATTRIBUTE = re.compile(
    r"(?<=\s)(?:title|alt|placeholder|aria-label)\s*=\s*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')", re.IGNORECASE
)
_ALT = re.compile(r"\salt\s*=\s*\"([^\"]*)\"", re.IGNORECASE)
_META = re.compile(
    r"<meta\b(?=[^>]*\b(?:name|property)\s*=\s*[\"'](?:description|og:title|og:description|twitter:title"
    r"|twitter:description)[\"'])[^>]*\bcontent\s*=\s*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')",
    re.IGNORECASE,
)
_NO = re.compile(r"\stranslate\s*=\s*[\"']?no\b|\sclass\s*=\s*[\"'][^\"']*\bnotranslate\b", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]*);?")
_SPACE = re.compile(r"\s+")
_KEPT_ENTITIES = frozenset({"&nbsp;", "&shy;", "&zwj;", "&zwnj;", "&lrm;", "&rlm;", "&ensp;", "&emsp;", "&thinsp;"})


def read(text: str) -> Source:
    """Slots for runs of text with their inline tags, and for attributes."""
    found = tuple(slots(text))
    title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
    return Source(text, found, unescape(title[1]).strip() if title else "")


def slots(text: str, offset: int = 0, inline: Callable[[str], list[Part]] | None = None) -> list[Slot]:
    """The slots of a piece of HTML.

    Args:
        text: the piece.
        offset: where it begins in the document.
        inline: reads a run of text that holds more than HTML, for Markdown.
    """
    found = [*_attributes(text, offset)]
    for start, end in _runs(text):
        body = text[start:end].strip()
        start += len(text[start:end]) - len(text[start:end].lstrip())
        parts = tuple(parts_of(body))
        if inline is not None and not any(isinstance(p, Kept) and p.role == "word" for p in parts):
            parts = tuple(inline(body))
        if any(isinstance(part, str) and has_letter(part) for part in parts):
            found.append(Slot(offset + start, offset + start + len(body), parts, encoder(body)))
    return sorted(_apart(found), key=lambda slot: slot.start)


def _apart(found: list[Slot]) -> Iterator[Slot]:
    """Attributes of tags within a run go with the run's tags: a place belongs to one slot."""
    runs = sorted((slot for slot in found if not slot.note), key=lambda slot: slot.start)
    yield from runs
    starts = [slot.start for slot in runs]
    for slot in found:
        if slot.note:
            before = bisect_right(starts, slot.start) - 1
            if before < 0 or runs[before].end <= slot.start:
                yield slot


def _attributes(text: str, offset: int) -> Iterator[Slot]:
    for tag in _TOKEN.finditer(text):
        if tag["name"] is None or tag[0].startswith("</") or _NO.search(tag[0]):
            continue
        for found in [*_ATTRIBUTE.finditer(tag[0]), *_META.finditer(tag[0])]:
            group = "double" if found["double"] is not None else "single"
            value = found[group]
            if has_letter(value):
                start = offset + tag.start() + found.start(group)
                yield Slot(start, start + len(value), tuple(parts_of(value)), encoder(value, quotes=group), note=" ")


def _runs(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of text between block tags."""
    start = position = 0
    while found := _TOKEN.search(text, position):
        name = (found["name"] or "").lower()
        closing = found[0].startswith("</")
        position = found.end()
        held = name in _RAW or (name and not closing and _NO.search(found[0]) and name not in _VOID)
        if held and not closing and not found[0].endswith("/>"):
            yield start, found.start()
            start = position = _end_of(text, name, position)
        elif not _INLINE.fullmatch(name):
            yield start, found.start()
            start = position
    yield start, len(text)


def _end_of(text: str, name: str, position: int) -> int:
    """Where the element that was opened before `position` ends, with those of its name inside."""
    depth = 1
    for found in re.compile(rf"<(/?){re.escape(name)}\b[^>]*>", re.IGNORECASE).finditer(text, position):
        depth += -1 if found[1] else not found[0].endswith("/>")
        if depth == 0:
            return found.end()
    return len(text)


def parts_of(raw: str) -> list[Part]:
    """Text with inline tags as parts."""
    parts: list[Part] = []
    position = 0
    while position < len(raw):
        found = _TOKEN.search(raw, position)
        parts += _texts(raw[position : found.start() if found else len(raw)])
        if found is None:
            break
        name = (found["name"] or "").lower()
        position = found.end()
        if name in _WHOLE and not found[0].startswith("</"):
            position = _end_of(raw, name, position)
            parts.append(Kept(raw[found.start() : position]))
        elif name == "img" and (alt := _ALT.search(found[0])) and has_letter(alt[1]):
            before, after = found[0][: alt.start(1)], found[0][alt.end(1) :]
            parts += [Kept(before, "hard"), *_texts(alt[1]), Kept(after, "hard")]
        elif not name or name in _VOID or found[0].endswith("/>"):
            parts.append(Kept(found[0], "hard" if name == "br" else "mark"))
        else:
            parts.append(Kept(found[0], "close" if found[0].startswith("</") else "open"))
    return parts


def _texts(raw: str) -> Iterator[Part]:
    position = 0
    for found in re.finditer(rf"{_ENTITY.pattern}|[ \t]*[\r\n]\s*", raw):
        if found[0].isspace():
            yield raw[position : found.start()]
            yield Kept(found[0], "soft")
        else:
            yield raw[position : found.start()]
            yield Kept(found[0], "mark") if found[0].lower() in _KEPT_ENTITIES else decoded(found[0])
        position = found.end()
    yield raw[position:]


def decoded(entity: str) -> str:
    """The character of an entity."""
    return unescape(entity)


def encoder(raw: str, *, quotes: str = "") -> Callable[[str], str]:
    """Encodes text for a place whose source is `raw`: what was an entity there becomes one again.

    Args:
        raw: the source as it stands.
        quotes: `double` or `single`: those that end the place.
    """
    quoted = {"double": {'"': "&quot;"}, "single": {"'": "&#39;"}}.get(quotes or "double" * bool(_ALT.search(raw)), {})
    entities = {unescape(e): e for e in _ENTITY.findall(raw) if unescape(e) != e}
    table = {"&": "&amp;", "<": "&lt;", ">": "&gt;", **quoted, **entities}
    if re.search(r"&(?![#A-Za-z])", raw):
        table["&"] = "&amp;"
    one = re.compile("|".join(re.escape(char) for char in sorted(table, key=len, reverse=True)))
    return lambda text: one.sub(lambda found: table[found[0]], text)


def to_language(text: str, source: str, target: str) -> str:
    """`<html lang="en">` says the new language."""
    return re.sub(
        r"(<html\b[^>]*?\s(?:xml:)?lang\s*=\s*[\"']?)[A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*", rf"\g<1>{target}", text, count=1
    )


FORMAT = Format("html", (".html", ".htm", ".xhtml"), read, to_language=to_language)
