"""Cheap checks of a text that was made from another: what must be the same in both."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches

from colosse.assistant.languages import is_in
from colosse.assistant.skill import Check

NUMBER = re.compile(r"\d+(?:(?:[.,’'\u202f\u00a0]| (?=\d{3}(?!\d)))\d+)*")
_SHOWN = 5


def numbers(text: str) -> Counter[str]:
    """The numbers of a text by their digits alone, since separators differ between languages (3.5 and 3,5)."""
    return Counter(_digits(found) for found in NUMBER.findall(text))


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)


def with_numbers_mended(source: str, answer: str) -> str:
    """The answer without the space that small models put into decimals (`3. 4` for 3.4), where the source has them."""
    known = numbers(source)

    def joined(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}{found[3]}" if found[1] + found[3] in known else found[0]

    return re.sub(r"(\d+)([.,]) (\d+)", joined, answer)


def not_empty(answer: str) -> Check:
    """There is an answer."""
    return Check(name="not_empty", passed=bool(answer.strip()))


def same_numbers(source: str, answer: str) -> Check:
    """Every number of the source is in the answer, as often, and no other one."""
    before, after = numbers(source), numbers(answer)
    written = {_digits(number): number for number in NUMBER.findall(answer) + NUMBER.findall(source)}
    differing = [*(before - after).elements(), *(after - before).elements()]
    return _check("numbers", [written[number] for number in differing])


_EXPANSION = {
    "ar": 0.95, "bn": 1.0, "cs": 0.98, "de": 1.15, "el": 1.15, "en": 1.0, "es": 1.06, "fa": 0.98, "fi": 1.08,
    "fr": 1.17, "he": 0.8, "hi": 1.0, "hu": 1.08, "it": 1.1, "ja": 0.5, "ko": 0.58, "nl": 1.1, "pl": 1.08, "pt": 1.06,
    "ro": 1.1, "ru": 1.05, "th": 0.95, "tr": 1.02, "uk": 1.02, "ur": 1.05, "vi": 1.08, "zh": 0.36,
}  # fmt: skip
"""Characters of a text in a language over those of the same text in English; fr, de and es measured on Tatoeba."""
_SHORTEST, _LONGEST = 0.62, 1.75
_LESS, _MORE = 6, 14
"""Bounds of a translation's length over the expected one, and characters that a text may be shorter or longer still."""


def of_length(source: str, answer: str, from_code: str, to_code: str) -> Check:
    """About as long as a translation between these languages is: nothing was dropped or invented."""
    wanted = len(source) * _EXPANSION.get(to_code, 1.0) / _EXPANSION.get(from_code, 1.0)
    passed = _SHORTEST * wanted - _LESS <= len(answer) <= _LONGEST * wanted + _MORE
    return Check(name="length", passed=passed, detail="" if passed else f"{len(answer)} / {wanted:.0f}")


_COPY_WORDS = 4
"""A shorter text may well be the same in both languages."""


def not_copied(source: str, answer: str) -> Check:
    """Not the source again: neither all of it nor most of its word sequences."""
    before, after = (re.findall(r"[^\W\d_]+", text.lower()) for text in (source, answer))
    rows = [tuple(before[i : i + _COPY_WORDS]) for i in range(len(before) - _COPY_WORDS + 1)]
    there = {tuple(after[i : i + _COPY_WORDS]) for i in range(len(after) - _COPY_WORDS + 1)}
    # Names stay: a text of capitalised words alone may be the same.
    words = re.findall(r"(?<![\w-])[a-zß-ÿ][^\W\d_]{2,}", source)
    passed = len(words) < _COPY_WORDS - 1 or not rows or sum(row in there for row in rows) <= len(rows) / 2
    return Check(name="translated", passed=passed)


_IDENTIFIER = re.compile(
    r"(?<![\w.])(?:[A-Za-z]+(?:_[A-Za-z0-9]+)+|_+[a-z]\w+|[a-z]+[A-Z]\w*|(?:[A-Z][a-z0-9]+){2,}|[A-Za-z]+\d+[A-Za-z]\w*)(?!\w)"
)
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-zß-ÿ]+(?: [A-Z][a-zß-ÿ]+)+")


def names_kept(source: str, answer: str) -> Check:
    """Identifiers (`snake_case`, `camelCase`) are there letter for letter, and names of several words by one of these.

    A word of a name may be spelt alike; in another script than the Latin one, such names are not looked for.
    """
    missing = [name for name in dict.fromkeys(_IDENTIFIER.findall(source)) if name not in answer]
    words = [_plain(word) for word in re.findall(r"[^\W\d_]{2,}", answer)]
    latin = sum(word.isascii() for word in words) > len(words) / 2
    names = dict.fromkeys(_NAME.findall(source)) if latin else {}
    missing += [name for name in names if not any(_alike(_plain(part), words) for part in name.split())]
    return _check("names_kept", missing)


def _alike(word: str, words: list[str]) -> bool:
    return any(w[:3] == word[:3] for w in words) or bool(get_close_matches(word, words, n=1, cutoff=0.65))


def _plain(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c))


def in_language(answer: str, code: str, name: str) -> Check:
    """Not clearly in another language than `code`; `name` is what it is called."""
    passed = is_in(answer, code)
    return Check(name="language", passed=passed, detail="" if passed else name)


def merged(checks: Iterable[Check]) -> list[Check]:
    """Checks of several pieces as one of each name: passed when all did, with the details of those that did not."""
    together: dict[str, Check] = {}
    for check in checks:
        seen = together.get(check.name)
        if seen is None:
            together[check.name] = check
        elif not check.passed:
            details = dict.fromkeys(d for d in (*seen.detail.split("; "), check.detail) if d)
            together[check.name] = Check(name=check.name, passed=False, detail="; ".join(details))
    return list(together.values())


def _check(name: str, wrong: list[str]) -> Check:
    shown = ", ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")
    return Check(name=name, passed=not wrong, detail=shown)
