"""What a document is once it was read: blocks of text that know their page and their section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Kind = Literal["heading", "text", "code", "table", "list"]
SEPARATOR = " › "
"""Between the headings of a section's path."""


class Block(BaseModel):
    """A paragraph, a heading, a list, a table or a piece of code.

    Attributes:
        text: its words; of a table one line a row.
        page: page or slide, from 1, where the format has them.
        section: the headings above it, outermost first, joined by `SEPARATOR`; a heading's own path ends with itself.
        kind: what it is.
    """

    text: str
    page: int | None = None
    section: str = ""
    kind: Kind = "text"


class Read(BaseModel):
    """A document that was read.

    Attributes:
        title: by its own account, else the name of the file.
        media_type: what it is.
        language: code of its language; empty when it cannot be told.
        num_pages: pages or slides, where the format has them.
        blocks: its content in reading order.
    """

    title: str
    media_type: str
    language: str = ""
    num_pages: int | None = None
    blocks: list[Block] = []

    @property
    def text(self) -> str:
        """Everything, a blank line between blocks."""
        return "\n\n".join(block.text for block in self.blocks)


class Outline:
    """The headings above the place that is being read."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []

    def enter(self, level: int, heading: str) -> str:
        """The path of a heading of `level` (1 is the outermost), which is now the innermost."""
        self._path = [step for step in self._path if step[0] < level] + [(level, heading)]
        return self.path

    @property
    def path(self) -> str:
        """The headings, outermost first."""
        return SEPARATOR.join(heading for _, heading in self._path)
