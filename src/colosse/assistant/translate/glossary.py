"""A glossary: how terms must be translated. It is told to the model where a term occurs, and checked there."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from colosse.assistant.skill import Check
from colosse.core.errors import UserError

_ENDING = r"(?:'s|’s|s|es|x|e|n|en|er)?"


class Term(NamedTuple):
    """A term and its translation; the note is for the model."""

    source: str
    target: str
    note: str = ""


def read_glossary(text: str) -> list[Term]:
    """The terms of a CSV text with the columns source, target and, if wanted, note; with a first line of these or not.

    Raises:
        UserError: a line without both, or that translates a term otherwise than one before it; names it.
    """
    terms: list[Term] = []
    told: dict[str, str] = {}
    dialect = ";" if text.count(";") > text.count(",") else "\t" if text.count("\t") > text.count(",") else ","
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=dialect), 1):
            cells = [cell.strip() for cell in row]
            if not any(cells) or (not terms and [cell.lower() for cell in cells[:2]] == ["source", "target"]):
                continue
            if len(cells) < 2 or not cells[0] or not cells[1]:
                raise UserError(f"line {number} of the glossary is not source,target", code="bad_glossary")
            before = told.setdefault(cells[0].casefold(), cells[1])
            if before != cells[1]:
                said = f"line {number} of the glossary translates {cells[0]!r} as {cells[1]!r}"
                raise UserError(f"{said}, a line before as {before!r}", hint="keep one of them", code="bad_glossary")
            terms.append(Term(cells[0], cells[1], ", ".join(cells[2:])))
    except csv.Error as error:
        raise UserError(f"the glossary is not CSV: {error}", code="bad_glossary") from None
    return terms


def occurring(terms: Iterable[Term], text: str) -> list[Term]:
    """The terms that a text has, as they are or with a common ending."""
    return [term for term in terms if _pattern(term.source).search(text)]


def _pattern(source: str) -> re.Pattern[str]:
    words = (re.escape(word) + _ENDING if word[-1].isalpha() else re.escape(word) for word in source.split())
    before = r"(?<!\w)" if re.match(r"[a-zA-Z0-9_À-ɏ]", source) else ""
    after = r"(?!\w)" if re.search(r"[a-zA-Z0-9_À-ɏ]$", source) else ""
    return re.compile(before + r"[\s-]+".join(words) + after, re.IGNORECASE)


def terms_used(terms: Sequence[Term], answer: str) -> Check:
    """Every term is translated as told, inflected or not: of each of its words, all but the last two letters stand."""
    words = re.findall(r"\w+", _plain(answer))
    missing = [f"{term.source} = {term.target}" for term in terms if not _stands(term.target, _plain(answer), words)]
    return Check(name="glossary", passed=not missing, detail=", ".join(missing))


def _stands(target: str, answer: str, words: Sequence[str]) -> bool:
    wanted = re.findall(r"\w+", _plain(target))
    if _plain(target) in answer and not re.search(r"[a-z0-9]", _plain(target)):
        return True  # a script without spaces
    stems = [word if len(word) < 4 else word[: max(3, len(word) - 2)] for word in wanted]
    return bool(stems) and all(
        any(word == stem if len(stem) < 3 else word.startswith(stem) and len(word) <= len(full) + 4 for word in words)
        for stem, full in zip(stems, wanted, strict=True)
    )


def _plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
