"""The steps that documents go through, in order: each a small function of one document."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from colosse.data.config import StepsConfig
from colosse.data.document import Document, Dropped, Tally

if TYPE_CHECKING:
    from colosse.data.contamination import Contamination

Step = Callable[[Document], Document | Dropped]
"""Gives the document back (as it was, or rewritten), or says why it falls."""


def build(config: StepsConfig) -> list[tuple[str, Step]]:
    """(name, function) of the steps that `config` asks for, in the order that documents go through them.

    Raises:
        UserError: an evaluation file of `decontaminate` cannot be read.
    """
    steps: list[tuple[str, Step]] = []
    if config.boilerplate:
        from colosse.data.boilerplate import main_text

        steps.append(("boilerplate", lambda document: _main_text(document, main_text)))
    if config.repair:
        from colosse.data.repair import repair

        steps.append(("repair", lambda document: _rewritten(document, repair(document.text))))
    steps.append(("empty", _not_empty))
    if config.languages or "gopher" in config.quality:
        from colosse.data.language import LEAST, identify

        steps.append(
            ("language", partial(_language, wanted=frozenset(config.languages), identify=identify, least=LEAST))
        )
    for name in config.quality:
        from colosse.data.quality import RULES

        steps.append((name, partial(_quality, rules=RULES[name])))
    if config.pii:
        from colosse.data.pii import scrub

        steps.append(("pii", lambda document: _rewritten(document, scrub(document.text))))
    if config.decontaminate:
        from colosse.data.contamination import Contamination

        steps.append(("contamination", partial(_clean_of, contamination=Contamination(config.decontaminate))))
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


def _main_text(document: Document, extract: Callable[[str], str]) -> Document | Dropped:
    if document.html:
        document.text, document.html = extract(document.text), False
        if not document.text:
            return Dropped("no_main_text")
    return document


def _language(
    document: Document, wanted: frozenset[str], identify: Callable[[str], tuple[str, float]], least: float
) -> Document | Dropped:
    if not document.language:
        language, confidence = identify(document.text)
        if wanted and (language not in wanted or confidence < least):
            return Dropped("", f"{language}, {confidence:.2f}")
        document.language = language
    elif wanted and document.language not in wanted:
        return Dropped("", document.language)
    return document


def _quality(document: Document, rules: Callable[[str, str], str | Dropped]) -> Document | Dropped:
    found = rules(document.text, document.language)
    return found if isinstance(found, Dropped) else _rewritten(document, found)


def _clean_of(document: Document, contamination: Contamination) -> Document | Dropped:
    count = contamination.count(document.text)
    return Dropped("", f"{count} shared 13-grams") if count else document


def _not_empty(document: Document) -> Document | Dropped:
    return document if document.text and not document.text.isspace() else Dropped("")
