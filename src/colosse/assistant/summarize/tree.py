"""A document as passages that can be cited, and these as the leaves of a tree that follows its headings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from colosse.assistant.chat import count_tokens
from colosse.assistant.documents.blocks import SEPARATOR, Read
from colosse.assistant.ground import Source
from colosse.assistant.pieces import split

PASSAGE_TOKENS = 160
"""Length of a passage: short enough to be read by whoever checks a citation."""


class Piece(NamedTuple):
    """What a model reads in one go, or a part of it.

    Attributes:
        text: the words.
        path: where it stands: the document's number, then the headings above it.
        sources: the passages that it is, or was made from; none for a heading.
    """

    text: str
    path: tuple[str, ...]
    sources: tuple[Source, ...] = ()

    @property
    def shown(self) -> str:
        """The text as a model reads it, headings marked."""
        return self.text if self.sources else f"## {self.text}"


def pieces_of(reads: Sequence[Read]) -> list[Piece]:
    """Every block of the documents once, in order: headings as they are, the rest as passages numbered from 1.

    Neighbouring blocks of one section and page share a passage while they are short; long ones are cut at sentences.
    """
    found: list[Piece] = []
    for number, read in enumerate(reads):
        fresh = True
        for block in read.blocks:
            path = (str(number), *(block.section.split(SEPARATOR) if block.section else ()))
            if block.kind == "heading":
                found.append(Piece(block.text, path))
                fresh = True
                continue
            for part in split(block.text, PASSAGE_TOKENS):
                last = None if fresh else found[-1]
                if last and last.path == path and last.sources[0].page == block.page:
                    joined = f"{last.text}\n{part.strip()}"
                    if count_tokens(joined) <= PASSAGE_TOKENS:
                        kept = last.sources[0].model_copy(update={"text": joined})
                        found[-1] = Piece(joined, path, (kept,))
                        continue
                source = Source(id=0, text=part.strip(), title=read.title, page=block.page, section=block.section)
                found.append(Piece(part.strip(), path, (source,)))
                fresh = False
    numbered: list[Piece] = []
    count = 0
    for piece in found:
        sources = tuple(s.model_copy(update={"id": (count := count + 1)}) for s in piece.sources)
        numbered.append(piece._replace(sources=sources))
    return numbered


def leaves(pieces: Sequence[Piece], room: int) -> list[list[Piece]]:
    """The pieces in groups of at most `room` tokens each, cut where the outermost headings change when they can be.

    Every piece is in one group, in order; a piece over `room` is a group of its own.
    """
    groups = list(_cut(pieces, room, 1))
    if [piece for group in groups for piece in group] != list(pieces):
        raise AssertionError("a part of the text was lost or read twice")
    return groups


def size(pieces: Sequence[Piece]) -> int:
    """Tokens of the pieces as a model reads them."""
    return sum(count_tokens(piece.shown) + 2 for piece in pieces)


def _cut(pieces: Sequence[Piece], room: int, depth: int) -> Iterator[list[Piece]]:
    if size(pieces) <= room:
        yield list(pieces)
        return
    if all(len(piece.path) < depth for piece in pieces):
        sections = [[piece] for piece in pieces]
    else:
        sections = [list(group) for _, group in groupby(pieces, key=lambda piece: piece.path[:depth])]
    current: list[Piece] = []
    used = 0
    for section in sections:
        tokens = size(section)
        if current and used + tokens > room:
            yield current
            current, used = [], 0
        if len(section) > 1 and tokens > room:
            yield from _cut(section, room, depth + 1)
        else:
            current, used = [*current, *section], used + tokens
    if current:
        yield current
