"""Quality rules for web text, as published: Gopher's, C4's and FineWeb's. Each says what it measured.

A rule set takes a text and gives it back (C4 drops lines), or the name of the first rule that it breaks with the value.
Words are what white space separates, lines what line ends separate, empty lines apart; lengths of words are in
characters, those of n-grams in bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from colosse.data.document import Dropped
from colosse.data.words import Words, find_words, hash_words, shingles

Rules = Callable[[str, str], str | Dropped]
"""(text, ISO 639-1 code or empty) to the text or why it falls."""

GOPHER = "Rae et al., Scaling Language Models, arXiv:2112.11446, appendix A.1.1 and table A1"
C4 = "Raffel et al., Exploring the Limits of Transfer Learning, arXiv:1910.10683, section 2.2"
FINEWEB = "Penedo et al., The FineWeb Datasets, arXiv:2406.17557, section 3.6"

WORDS = (50, 100_000)
WORD_LENGTH = (3.0, 10.0)
SYMBOLS = 0.1
BULLETS = 0.9
ELLIPSES = 0.3
ALPHABETIC = 0.8
STOP_WORDS = {
    "en": "the be to of and that have with",  # Gopher's own
    "fr": "le la les de des et que dans est un",
    "de": "der die das und ist von zu mit",
    "es": "el la los de que y en con",
    "it": "il la di che e per con non",
    "pt": "o a de que e do da em",
}
"""Two different ones must occur. Gopher's list is English; for other languages, their own commonest words; for a
language without a list the rule does not apply."""
DUPLICATE_LINES, DUPLICATE_CHARACTERS = 0.30, 0.20
TOP_NGRAMS = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}

_STOP = {code: re.compile(rf"\b(?:{words.replace(' ', '|')})\b", re.IGNORECASE) for code, words in STOP_WORDS.items()}
TERMINAL = (".", "!", "?", '"', "'", "”", "»", "’")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”»’)\]]*(?=\s|$)")
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]|\[réf\. nécessaire\]|\[modifier\]")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def gopher(text: str, language: str) -> str | Dropped:
    """Gopher's quality and repetition filters (`GOPHER`)."""
    words = find_words(text)
    count = len(words.begins)
    if not WORDS[0] <= count <= WORDS[1]:
        return Dropped("words", f"{count}")
    mean = words.characters / count
    if not WORD_LENGTH[0] <= mean <= WORD_LENGTH[1]:
        return Dropped("word_length", f"{mean:.2f}")
    symbols = max(text.count("#"), text.count("...") + text.count("…")) / count
    if symbols > SYMBOLS:
        return Dropped("symbols", f"{symbols:.2f}")
    alphabetic = words.alphabetic / count
    if alphabetic < ALPHABETIC:
        return Dropped("alphabetic", f"{alphabetic:.2f}")
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    bullets = sum(line.lstrip().startswith(("•", "-", "*")) for line in lines) / len(lines)
    if bullets > BULLETS:
        return Dropped("bullets", f"{bullets:.2f}")
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines)
    if ellipses > ELLIPSES:
        return Dropped("ellipses", f"{ellipses:.2f}")
    if (stop := _STOP.get(language)) and not _two_different(stop, text):
        return Dropped("stop_words", "fewer than 2")
    for unit, parts in (("line", lines), ("paragraph", [part for part in text.split("\n\n") if part.strip()])):
        share, characters = duplicate_shares(parts)
        if share > DUPLICATE_LINES or characters > DUPLICATE_CHARACTERS:
            return Dropped(f"duplicate_{unit}s", f"{share:.2f} of them, {characters:.2f} of the text")
    return _repetition(words) or text


def c4(text: str, language: str) -> str | Dropped:
    """C4's rules (`C4`): keeps lines that are sentences, and pages with at least 5 of them.

    The list of bad words is left out: it falls on medicine and on minorities (Dodge et al., arXiv:2104.08758).
    """
    lowered = text.lower()
    for rule, mark in (("lorem_ipsum", "lorem ipsum"), ("curly_bracket", "{")):
        if mark in lowered:
            return Dropped(rule)
    kept = []
    for line in map(str.strip, _CITATION.sub("", text).split("\n")):
        if not line.endswith(TERMINAL) or line.endswith("...") or len(line.split(maxsplit=2)) < 3:
            continue
        small = line.lower()
        if "javascript" not in small and not any(phrase in small for phrase in _POLICY):
            kept.append(line)
    result = "\n".join(kept)
    sentences = len(_SENTENCE_END.findall(result))
    if sentences < 5:
        return Dropped("sentences", f"{sentences}")
    return text if result == text else result


def fineweb(text: str, language: str) -> str | Dropped:
    """FineWeb's own rules (`FINEWEB`), which it applies after Gopher's and C4's."""
    lines = [line.strip() for line in text.split("\n") if line and not line.isspace()]
    if not lines:
        return Dropped("line_punctuation", "no line")
    punctuated = sum(line.endswith(TERMINAL) for line in lines) / len(lines)
    if punctuated <= 0.12:
        return Dropped("line_punctuation", f"{punctuated:.2f}")
    duplicated = duplicate_shares(lines)[1]
    if duplicated >= 0.1:
        return Dropped("duplicate_lines", f"{duplicated:.2f}")
    short = sum(len(line) < 30 for line in lines) / len(lines)
    if short >= 0.67:
        return Dropped("short_lines", f"{short:.2f}")
    return text


def duplicate_shares(parts: list[str]) -> tuple[float, float]:
    """Share of `parts` that repeat an earlier one, by number and by characters."""
    different = set(parts)
    characters = sum(map(len, parts))
    repeated = characters - sum(map(len, different))
    return (len(parts) - len(different)) / max(len(parts), 1), repeated / max(characters, 1)


def _repetition(words: Words) -> Dropped | None:
    """Table A1: text in the commonest n-gram, and in n-grams that occurred before (first occurrences do not count)."""
    hashes = hash_words(words)
    lengths = words.ends - words.begins
    total = len(words.data)
    for size, limit in TOP_NGRAMS.items():
        _, first, counts = np.unique(shingles(hashes, size), return_index=True, return_counts=True)
        top = int(counts.argmax())
        start = int(first[top])
        share = int(counts[top]) * int(words.ends[start + size - 1] - words.begins[start]) / total
        if counts[top] > 1 and share > limit:
            return Dropped(f"top_{size}gram", f"{share:.2f}")
    for size, limit in DUPLICATE_NGRAMS.items():
        covered = np.zeros(len(hashes) + 1, dtype=np.int64)
        places = np.flatnonzero(_repeated(shingles(hashes, size)))
        covered[places] += 1
        covered[places + size] -= 1
        share = int(lengths[np.cumsum(covered[:-1]) > 0].sum()) / int(lengths.sum())
        if share > limit:
            return Dropped(f"duplicate_{size}grams", f"{share:.2f}")
        if share <= min(DUPLICATE_NGRAMS.values()):  # longer ones can only cover less
            return None
    return None


def _repeated(values: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which values occurred before."""
    order = np.argsort(values, kind="stable")
    equal = values[order][1:] == values[order][:-1]
    found = np.zeros(len(values), dtype=np.bool_)
    found[order[1:][equal]] = True
    return found


def _two_different(pattern: re.Pattern[str], text: str) -> bool:
    first = ""
    for match in pattern.finditer(text):
        word = match[0].lower()
        if first and word != first:
            return True
        first = word
    return False


RULES: dict[str, Rules] = {"gopher": gopher, "c4": c4, "fineweb": fineweb}
