"""The steps that documents go through, in order: each a small function of one document."""

from __future__ import annotations

from collections.abc import Callable

from colosse.data.config import StepsConfig
from colosse.data.document import Document, Dropped, Tally

Step = Callable[[Document], Document | Dropped]
"""Gives the document back (as it was, or rewritten), or says why it falls."""


def build(config: StepsConfig) -> list[tuple[str, Step]]:
    """(name, function) of the steps that `config` asks for, in the order that documents go through them.

    Raises:
        UserError: an evaluation file of `decontaminate` cannot be read.
    """
    steps: list[tuple[str, Step]] = []
    if config.repair:
        from colosse.data.repair import repair

        steps.append(("repair", lambda document: _rewritten(document, repair(document.text))))
    steps.append(("empty", _not_empty))
    return steps


def run(steps: list[tuple[str, Step]], document: Document, tally: Tally) -> Document | None:
    """Take a document through the steps and count what happens to it; None when it falls."""
    for name, step in steps:
        before = document.text
        result = step(document)
        if isinstance(result, Dropped):
            rule = f"{name}/{result.rule}" if result.rule else name
            tally.drop(rule, document.name, before, result.detail, utf8_length(before))
            return None
        document = result
        if document.text is not before:
            tally.changed[name] += 1
    if document.language:
        tally.languages[document.language] += 1
    return document


def utf8_length(text: str) -> int:
    """Bytes of a text."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _rewritten(document: Document, text: str) -> Document:
    if text != document.text:
        document.text = text
    return document


def _not_empty(document: Document) -> Document | Dropped:
    return document if document.text and not document.text.isspace() else Dropped("")
