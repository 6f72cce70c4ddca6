"""Cutting a document into passages: what is searched, and what a citation points at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from colosse.assistant.chat import count_tokens
from colosse.assistant.documents.blocks import Block
from colosse.assistant.pieces import split

TOKENS = 200
"""Length of a passage, by `count_tokens`; a shorter one ends where its section or page does."""


class Passage(NamedTuple):
    """A span of a document, on one page and of one section; `text` is in the document's own words."""

    text: str
    page: int | None
    section: str


def passages_of(blocks: Iterable[Block], max_tokens: int = TOKENS) -> list[Passage]:
    """The passages of a document, in its order: together its whole text, none overlapping another.

    Blocks of one section and page are put together up to `max_tokens`; a longer one is cut at the end of a paragraph,
    a line, a sentence or a word, whichever comes first in this order. A heading is in the section's path of what
    follows; one that nothing follows is a passage of its own.
    """
    found: list[Passage] = []
    group: list[str] = []
    place: tuple[int | None, str] = (None, "")
    size = 0
    heading: Block | None = None

    def end() -> None:
        nonlocal size
        if group:
            found.append(Passage("\n\n".join(group), *place))
        group.clear()
        size = 0

    for block in blocks:
        if heading is not None and not block.section.startswith(heading.section):
            end()
            found.append(Passage(heading.text, heading.page, heading.section))
        heading = block if block.kind == "heading" else None
        if heading:
            continue
        if (block.page, block.section) != place:
            end()
            place = (block.page, block.section)
        for piece in _pieces(block, max_tokens):
            tokens = count_tokens(piece)
            if group and size + tokens > max_tokens:
                end()
            group.append(piece)
            size += tokens
    end()
    if heading is not None:
        found.append(Passage(heading.text, heading.page, heading.section))
    return found


def _pieces(block: Block, max_tokens: int) -> Iterator[str]:
    """A block in pieces that fit, cut into parts of about the same length so that none is a mere rest."""
    total = count_tokens(block.text)
    if total <= max_tokens:
        yield block.text
        return
    parts = -(-total // max_tokens)
    even = min(max_tokens, round(total / parts * 1.15))
    for piece in split(block.text, even):
        if piece.strip():
            yield piece.strip("\n") if block.kind == "code" else piece.strip()
