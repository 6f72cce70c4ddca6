"""Strings of message catalogues: line breaks are boundaries, ICU branches are texts of their own."""

from __future__ import annotations

import re

from colosse.assistant.translate.document import Kept, Part, joined

_ICU = re.compile(r"\{\s*[\w.]+\s*,\s*(?:plural|select|selectordinal)\s*,")
_BRANCH = re.compile(r"\s*(?:offset:\s*\d+\s*)?(?:=\d+|[\w-]+)\s*\{")
_DEPTH = 8
"""Branches within branches that are read; what is deeper is no message."""
_BREAK = re.compile(r"((?:\r\n|\n|\r)\s*)")


def message_parts(text: str) -> tuple[Part, ...]:
    """The parts of a string: `{n, plural, one {# day} other {# days}}` keeps all but `# day` and `# days`."""
    depth = _DEPTH if text.count("{") == text.count("}") else 0
    return tuple(joined(_parts(text, depth, in_plural=False)))


def _parts(text: str, depth: int, *, in_plural: bool) -> list[Part]:
    parts: list[Part] = []
    position = 0
    for found in _ICU.finditer(text) if depth else ():
        if found.start() < position:
            continue
        branches, end = _branches(text, found.end())
        if end < 0:
            continue
        parts += _lines(text[position : found.start()], in_plural)
        mark = found.start()
        for start, stop in branches:
            parts.append(Kept(text[mark:start], "hard"))
            parts += _parts(text[start:stop], depth - 1, in_plural="select," not in found[0])
            mark = stop
        parts.append(Kept(text[mark:end], "hard"))
        position = end
    return parts + _lines(text[position:], in_plural)


def _lines(text: str, in_plural: bool) -> list[Part]:
    parts: list[Part] = []
    for index, piece in enumerate(_BREAK.split(text)):
        if index % 2:
            parts.append(Kept(piece, "hard"))
        elif in_plural:
            parts += [Kept("#") if part == "#" else part for part in re.split(r"(#)", piece)]
        else:
            parts.append(piece)
    return parts


def _branches(text: str, position: int) -> tuple[list[tuple[int, int]], int]:
    """Where the branches' texts stand, and the end of the whole; -1 when its braces do not close."""
    found: list[tuple[int, int]] = []
    while opening := _BRANCH.match(text, position):
        start = position = opening.end()
        depth = 1
        while position < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            position += 1
        if depth:
            return [], -1
        found.append((start, position - 1))
    closing = re.compile(r"\s*\}").match(text, position)
    return (found, closing.end()) if found and closing else ([], -1)
