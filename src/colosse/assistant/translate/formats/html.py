"""HTML: its text and the attributes that people read; everything else byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from html import unescape

from colosse.assistant.translate.document import Format, Kept, Part, Role, Slot, Source
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
_FLAT = frozenset({"script", "style", "textarea", "xmp", "iframe", "noscript"})
"""Elements that hold text alone: the first end tag ends them."""
_WHOLE = frozenset({"code", "kbd", "samp", "var", "tt"})
"""Inline elements that are kept with what they hold."""
_ATTRIBUTE = re.compile(
    r"(?<=\s)(?:title|alt|placeholder|aria-label)\s*=\s*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')", re.IGNORECASE
)
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
    found: list[Slot] = []
    for start, end, is_tag in _places(text):
        if is_tag:
            found += attributes(text[start:end], offset + start)
            continue
        body = text[start:end].strip()
        start += len(text[start:end]) - len(text[start:end].lstrip())
        parts = tuple(parts_of(body))
        if inline is not None and not any(isinstance(p, Kept) and p.role == "word" for p in parts):
            parts = tuple(inline(body))
        if has_text(parts):
            found.append(Slot(offset + start, offset + start + len(body), parts, encoder(body)))
    return found


def has_text(parts: Sequence[Part]) -> bool:
    """Whether there is something to translate in the parts."""
    return any(bool(part.texts) if isinstance(part, Kept) else has_letter(part) for part in parts)


def attributes(tag: str, offset: int = 0) -> Iterator[Slot]:
    """The attributes of a tag that people read.

    Args:
        tag: the tag; of what is none, nothing is found.
        offset: where it begins.
    """
    if not re.match(r"<[A-Za-z]", tag) or _NO.search(tag):
        return
    for found in sorted([*_ATTRIBUTE.finditer(tag), *_META.finditer(tag)], key=lambda found: found.start()):
        group = "double" if found["double"] is not None else "single"
        value = found[group]
        if has_letter(value):
            start = offset + found.start(group)
            yield Slot(start, start + len(value), tuple(parts_of(value)), encoder(value, quotes=group))


def _places(text: str) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether it is a tag) of block tags and of the text between them."""
    start = position = 0
    while found := _TOKEN.search(text, position):
        name = (found["name"] or "").lower()
        closing = found[0].startswith("</")
        position = found.end()
        held = name in _RAW or (name and not closing and _NO.search(found[0]) and name not in _VOID)
        if held and not closing and not found[0].endswith("/>"):
            yield start, found.start(), False
            yield *found.span(), True
            start = position = _end_of(text, name, position)
        elif not _INLINE.fullmatch(name):
            yield start, found.start(), False
            yield *found.span(), True
            start = position
    yield start, len(text), False


def _end_of(text: str, name: str, position: int) -> int:
    """Where the element that was opened before `position` ends, with those of its name inside."""
    depth = 1
    for found in re.compile(rf"<(/?){re.escape(name)}\b[^>]*>", re.IGNORECASE).finditer(text, position):
        depth += -1 if found[1] else name not in _FLAT and not found[0].endswith("/>")
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
        else:
            parts.append(tag_of(found[0]))
    return parts


def tag_of(raw: str) -> Kept:
    """An inline tag or a comment, with its attributes that people read."""
    name = re.match(r"</?([A-Za-z][^\s/>]*)", raw)
    role: Role = "close" if raw.startswith("</") else "open"
    if name is None or name[1].lower() in _VOID or raw.endswith("/>"):
        role = "hard" if name is not None and name[1].lower() == "br" else "mark"
    return Kept(raw, role, texts=tuple(attributes(raw)))


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
    quoted = {"double": {'"': "&quot;"}, "single": {"'": "&#39;"}}.get(quotes, {})
    bare = _ENTITY.sub("", _TOKEN.sub("", raw))
    entities = {unescape(e): e for e in _ENTITY.findall(raw) if unescape(e) not in (e, *bare)}
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
