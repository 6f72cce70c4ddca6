"""Long texts in pieces that fit: cut where a reader would pause, nothing lost between them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from colosse.assistant.chat import count_tokens

_BOUNDARIES = [
    re.compile(r"\n[^\S\n]*\n\s*?(?=\S|\Z)|\n[^\S\n]*\n"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?…:;])\s+|(?<=[。！？；])"),
    re.compile(r"\s+"),
]
"""From the best place to cut to the worst: paragraph, line, sentence, word."""


def split(text: str, max_tokens: int) -> list[str]:
    """Pieces of at most `max_tokens` each (by `count_tokens`) that join to `text`, as few and as natural as can be."""
    return list(_cut(text, max_tokens, 0))


def _cut(text: str, limit: int, level: int) -> Iterator[str]:
    if count_tokens(text) <= limit:
        if text:
            yield text
        return
    if level == len(_BOUNDARIES):  # one endless word: by characters, each of which is two tokens at most
        width = max(limit // 2, 1)
        yield from (text[i : i + width] for i in range(0, len(text), width))
        return
    group, size = "", 0
    for part in _parts(text, _BOUNDARIES[level]):
        tokens = count_tokens(part)
        if group and size + tokens > limit:
            yield group
            group, size = "", 0
        if tokens > limit:
            yield from _cut(part, limit, level + 1)
        else:
            group, size = group + part, size + tokens
    if group:
        yield group


def _parts(text: str, boundary: re.Pattern[str]) -> Iterator[str]:
    """The text between boundaries, each part with the boundary that ends it."""
    start = 0
    for match in boundary.finditer(text):
        if match.end() > start:
            yield text[start : match.end()]
            start = match.end()
    if start < len(text):
        yield text[start:]
