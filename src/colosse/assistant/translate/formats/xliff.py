"""XLIFF 1.2 and 2.0: targets are written beside their sources; inline elements are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple
from xml.parsers.expat import ExpatError, ParserCreate

from colosse.assistant.translate.document import Format, Kept, Part, Slot, Source, joined, kept_of
from colosse.assistant.translate.formats.messages import message_parts
from colosse.assistant.translate.formats.text import has_letter
from colosse.core.errors import UserError

_UNIT = re.compile(r"<(?P<name>trans-unit|segment)\b(?P<attributes>[^>]*)>(?P<body>.*?)</(?P=name)\s*>", re.DOTALL)
_SOURCE = re.compile(r"<source\b[^>]*>(?P<text>.*?)</source\s*>", re.DOTALL)
_TARGET = re.compile(r"(?P<tag><target\b(?P<attributes>[^>]*?))(?:/>|>(?P<text>.*?)</target\s*>)", re.DOTALL)
_ALTERNATIVES = re.compile(r"<alt-trans\b.*?</alt-trans\s*>|<!--.*?-->", re.DOTALL)
_DONE = re.compile(r'\b(?:state|approved)="(?:final|translated|reviewed|signed-off|yes)"')
_INLINE = re.compile(
    r"<(?P<held>ph|bpt|ept|it|sub)\b[^>]*?(?:/>|>.*?</(?P=held)\s*>)"
    r"|<!\[CDATA\[.*?\]\]>|<!--.*?-->|<(?P<close>/)?(?P<name>[A-Za-z][\w:.-]*)\b[^>]*>|(?P<entity>&[#\w]+;)",
    re.DOTALL,
)


class _Unit(NamedTuple):
    parts: list[Part]
    start: int
    end: int
    tag: str
    """The target's opening tag without its end; empty when there is no target yet."""
    indent: str
    target: str
    done: bool


def read(text: str) -> Source:
    """A slot for every unit without a finished target.

    Raises:
        UserError: not XLIFF.
    """
    check_xml(text, "XLIFF")
    if not re.search(r"<(?:\w+:)?xliff\b", text):
        raise UserError("this is not XLIFF: there is no element xliff", code="bad_xliff")
    slots = [
        Slot(unit.start, unit.end, tuple(unit.parts), _encode, _in_target(unit), apart=True)
        for unit in _units(text)
        if not unit.done and any(isinstance(part, str) and has_letter(part) for part in unit.parts)
    ]
    return Source(text, tuple(slots))


def check_xml(text: str, what: str) -> None:
    """Whether `text` is well-formed.

    Raises:
        UserError: it is not, at which line.
    """
    try:
        parser = ParserCreate()
        parser.Parse(
            re.sub(r"^\ufeff?(<\?xml[^>]*?)\s+encoding=[\"'][^\"']*[\"']", r"\1", text).removeprefix("\ufeff"), True
        )
    except ExpatError as error:
        raise UserError(
            f"this is not {what}: {error}", hint="mend it, or choose another --format", code="bad_xml"
        ) from None


def _units(text: str) -> Iterator[_Unit]:
    for unit in _UNIT.finditer(text):
        # Of the same length, so that places stay.
        body = _ALTERNATIVES.sub(lambda found: " " * len(found[0]), unit["body"])
        before = unit.start("body")
        source = _SOURCE.search(body)
        if source is None or 'translate="no"' in unit["attributes"]:
            continue
        target = _TARGET.search(body, source.end())
        parts = _parts(text[before + source.start("text") : before + source.end("text")])
        if target:
            said = target["text"] or ""
            done = bool(_DONE.search(target["attributes"] + unit["attributes"])) or bool(
                said.strip() and not re.search(r"\bstate=", target["attributes"] + unit["attributes"])
            )
            yield _Unit(parts, before + target.start(), before + target.end(), target["tag"], "", said, done)
        else:
            at = before + source.end()
            indent = re.search(r"\s*$", body[: source.start()])
            yield _Unit(parts, at, at, "", indent[0] if indent else "", "", False)


def _parts(raw: str) -> list[Part]:
    parts: list[Part] = []
    position = 0
    for found in _INLINE.finditer(raw):
        parts += message_parts(raw[position : found.start()])
        position = found.end()
        span, held, name = found[0], found["held"], found["name"]
        if found["entity"]:
            parts.append(unescape(span))
        elif held in ("bpt", "ept"):
            parts.append(Kept(span, "open" if held == "bpt" else "close"))
        elif name in ("sc", "ec"):
            parts.append(Kept(span, "open" if name == "sc" else "close"))
        elif name and not span.endswith("/>"):
            parts.append(Kept(span, "close" if found["close"] else "open"))
        else:
            parts.append(Kept(span))
    return joined([*parts, *message_parts(raw[position:])])


def _encode(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _in_target:
    def __init__(self, unit: _Unit) -> None:
        self.before = f"{unit.tag}>" if unit.tag else f"{unit.indent}<target>"

    def __call__(self, text: str) -> str:
        return f"{self.before}{text}</target>"


def _skeleton(text: str) -> list[str]:
    """Everything but the targets, and each target that does not keep what its source has."""
    found: list[str] = []
    position = 0
    for index, unit in enumerate(_units(text)):
        found.append(text[position : unit.start])
        if unit.target.strip() and kept_of(_parts(unit.target)) != kept_of(unit.parts):
            found.append(f"unit {index + 1}")
        position = unit.end
        # The line that a new target makes.
        if unit.tag and found[-1].rstrip().endswith("</source>"):
            found[-1] = found[-1].rstrip()
    return [*found, text[position:]]


def to_language(text: str, source: str, target: str) -> str:
    """The document says the target's language."""
    for name in ("target-language", "trgLang"):
        text, times = re.subn(rf'(\b{name}=")[^"]*', rf"\g<1>{target}", text)
        if times:
            return text
    return re.sub(
        r'(<file\b[^>]*?\bsource-language="[^"]*")',
        rf'\1 target-language="{target}"',
        re.sub(r'(<xliff\b[^>]*?\bsrcLang="[^"]*")', rf'\1 trgLang="{target}"', text),
    )


FORMAT = Format("xliff", (".xlf", ".xliff"), read, _skeleton, to_language)
