"""Whether a translated unit is right: its checks, and how near its meaning is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from colosse.assistant import embed
from colosse.assistant.checks import (
    in_language,
    names_kept,
    not_copied,
    of_length,
    same_numbers,
)
from colosse.assistant.languages import name_of, prompt_language
from colosse.assistant.skill import Check
from colosse.assistant.translate.formats.text import has_letter
from colosse.assistant.translate.glossary import Term, terms_used
from colosse.assistant.translate.units import Unit, wrong_tokens

LEAST_WORDS = 3
"""Texts with fewer words say too little for a comparison of meanings."""
SIMILAR = {3: 0.3, 6: 0.4}
"""Words of the source, from, to the least cosine of source and translation (measured: see docs/translate.md)."""
_INFORMAL = {
    "de": r"(?i:du|dich|dir|dein(?:e[mnrs]?)?)",
    "es": r"(?i:tú|te|ti|tus?|contigo)",
    "fr": r"(?i:tu|toi|ton|ta|tes|t['’]\w+)",
}
_FORMAL = {
    "de": r"(?<=[^.!?:…] )(?:Sie|Ihnen|Ihr(?:e[mnrs]?)?)",  # at the beginning of a sentence, it may be she or they
    "es": r"(?i:ustedes|usted)",
    "fr": r"(?i:vous|votre|vos)",
}


class Wish(NamedTuple):
    """What a translation is to be."""

    source: str
    to: str
    tone: str = ""

    @property
    def addressed(self) -> re.Pattern[str] | None:
        """The words that address the reader in another tone than this; None where they are not known."""
        words = {"formal": _INFORMAL, "informal": _FORMAL}.get(self.tone, {}).get(self.to)
        return re.compile(rf"(?<![\w-]){words}(?!\w)") if words else None

    @property
    def comparable(self) -> bool:
        """Whether meanings can be compared: the embeddings are here and know both languages."""
        return embed.available() and {self.source, self.to} <= embed.LANGUAGES


class Attempt(NamedTuple):
    """An answer in the unit's tokens, and what its checks say; `similarity` is None where it was not measured."""

    answer: str
    checks: list[Check]
    similarity: float | None = None
    repaired: bool = False

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]

    @property
    def rank(self) -> tuple[bool, bool, int, float]:
        """Better is greater: something at all, its structure, few failures, near in meaning."""
        names = {check.name for check in self.failed}
        return "not_empty" not in names, "tokens" not in names, -len(names), self.similarity or 0.0


async def judged(unit: Unit, answer: str, wish: Wish, terms: Sequence[Term], *, whole: bool = True) -> Attempt:
    """Check an answer.

    Args:
        unit: what was asked.
        answer: what was written, cleaned.
        wish: languages and tone.
        terms: those of the glossary that the unit has.
        whole: the answer was not cut off.
    """
    said = Unit(0, (), answer, unit.kept, (), (), (), ()).words
    wrong = wrong_tokens(unit, answer)
    checks = [
        Check(name="complete", passed=whole),
        Check(name="not_empty", passed=has_letter(said)),
        Check(name="tokens", passed=not wrong, detail=" ".join(wrong)),
        same_numbers(unit.words, said),
        names_kept(unit.words, said),
        not_copied(unit.words, said),
        of_length(unit.words, said, wish.source, wish.to),
        in_language(said, wish.to, name_of(wish.to, prompt_language(wish.to))),
    ]
    if terms:
        checks.append(terms_used(terms, said))
    if addressed := wish.addressed:
        wrong = list(dict.fromkeys(addressed.findall(said)))
        checks.append(Check(name="tone", passed=not wrong, detail=", ".join(wrong)))
    similarity = None
    if wish.comparable and said.strip():
        similarity = round(await similar(unit.words, said), 3)
        words = len(re.findall(r"\w+", unit.words))
        if words >= LEAST_WORDS:
            least = max(least for count, least in SIMILAR.items() if words >= count)
            checks.append(Check(name="meaning", passed=similarity >= least, detail=f"{similarity:.2f}"))
    return Attempt(answer, checks, similarity)


async def similar(one: str, other: str) -> float:
    """The cosine of two texts' embeddings; the source's is made once for all its answers."""
    return await asyncio.to_thread(lambda: float(_vector(one) @ _vector(other)))


@lru_cache(maxsize=256)
def _vector(text: str) -> Any:
    return embed.encode([text])[0]


_OPENING = re.compile(
    r"^(?:\*\*)?[^\n.<]{0,60}(?:translat|traduction|traduit|text|texte|here is|voici)[^\n.<]{0,60}:(?:\*\*)?\s*\n+",
    re.I,
)
_QUOTES = (('"', '"'), ("«", "»"), ("“", "”"), ("'", "'"))


def cleaned(answer: str, source: str) -> str:
    """What was written, without what small models put around it: an announcement, fences, quotes, notes."""
    text = answer.strip()
    if "```" not in source:
        text = re.sub(r"^```\w*\n|\n?```$", "", text).strip()
    text = _OPENING.sub("", text).strip()
    for left, right in _QUOTES:
        inside = text[1:-1]
        if (
            text[:1] == left
            and text[-1:] == right
            and len(text) > 2
            and source[:1] not in "\"«“'"
            and right not in inside
        ):
            text = inside.strip()
    paragraphs = re.split(r"\n\s*\n", text)
    # What follows a blank line is a note on the translation, unless it belongs to it.
    if len(paragraphs) > 1 and len(paragraphs[0]) >= 0.5 * len(source):
        text = paragraphs[0]
    return re.sub(r"\s*\n\s*", " ", text)
