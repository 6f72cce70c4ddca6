"""What a sentence states that can be compared exactly: its numbers with their units, its names, what it denies."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

_STOP_WORDS = {
    "en": "a about after all also am an and any are as at be been before being both but by can could did do does"
    " doing done each for from had has have having he her here hers him his how i if in into is it its itself"
    " let may me might more most must my of on one only or other our ours out over own s same shall she should"
    " so some such t than that the their theirs them then there these they this those through to too under up"
    " upon us very was we were what when where which while who whom why will with would you your yours however"
    " therefore thus text document passage",
    "fr": "ainsi au aux avec c ce ceci cela celle celles celui ces cet cette ceux chez comme d dans de des donc dont du"
    " elle elles en est et etaient etait ete etre eu eux fait faire font il ils j je jusqu l la le les leur leurs lors"
    " lui m ma mais me mes meme moi mon n nos notre nous on ont ou par parce pendant peut peuvent plus pour puis qu"
    " quand que quel quelle quels quelles qui quoi sa sans se sera si sien son sont sous sur ta te tes toi ton tous"
    " tout toute toutes tu un une vos votre vous y a avait avoir texte",
}
_STOP = frozenset(word for listed in _STOP_WORDS.values() for word in listed.split())
_NEGATION_WORDS = {
    "en": "no not never none nor neither nobody nothing nowhere without cannot hardly except excluding n't",
    "fr": "pas jamais aucun aucune ni sans nullement guere sauf excepte hormis",
}
_NEGATIONS = frozenset(word for listed in _NEGATION_WORDS.values() for word in listed.split())
_ANTONYM_PAIRS = (
    "increase/decrease increase/reduce increased/reduced rise/fall rose/fell grow/shrink higher/lower high/low"
    " more/less more/fewer most/least better/worse best/worst improve/worsen improve/degrade faster/slower"
    " larger/smaller bigger/smaller succeed/fail success/failure accept/reject allow/forbid allow/prevent"
    " enable/disable win/lose won/lost gain/loss before/after above/below always/never true/false possible/impossible"
    " legal/illegal open/closed first/last early/late oldest/youngest strong/weak positive/negative"
    " outperform/underperform agree/disagree maximize/minimize maximum/minimum major/minor longer/shorter"
    " augmenter/diminuer augmente/diminue augmentation/diminution augmentation/reduction hausse/baisse"
    " croissance/declin plus/moins superieur/inferieur meilleur/pire avant/apres autoriser/interdire autorise/interdit"
    " reussir/echouer reussite/echec gagner/perdre gagne/perd gain/perte toujours/jamais vrai/faux possible/impossible"
    " legal/illegal ouvert/ferme premier/dernier fort/faible positif/negatif accepter/refuser accepte/refuse"
    " maximum/minimum"
)
_UNITS = {
    "%": "%", "percent": "%", "percentage": "%", "pourcent": "%", "pourcents": "%", "$": "$", "dollar": "$", "usd": "$",
    "€": "€", "euro": "€", "eur": "€", "£": "£", "pound": "£", "livre": "£", "km": "km", "kilometre": "km",
    "kilometer": "km", "m": "m", "metre": "m", "meter": "m", "cm": "cm", "centimetre": "cm", "centimeter": "cm",
    "mm": "mm", "millimetre": "mm", "millimeter": "mm", "kg": "kg", "kilogram": "kg", "kilogramme": "kg", "kilo": "kg",
    "g": "g", "gram": "g", "gramme": "g", "tonne": "t", "ton": "t", "mile": "mile", "litre": "l", "liter": "l",
    "second": "s", "seconde": "s", "minute": "min", "hour": "h", "heure": "h", "day": "day", "jour": "day",
    "week": "week", "semaine": "week", "month": "month", "mois": "month", "year": "year", "an": "year",
    "annee": "year", "gb": "gb", "mb": "mb", "kb": "kb", "tb": "tb", "°c": "°c", "°f": "°f",
    "am": "am", "pm": "pm", "foot": "ft", "feet": "ft", "pied": "ft", "inch": "in", "inche": "in", "pouce": "in",
}  # fmt: skip
_SCALES = {
    "hundred": 1e2, "cent": 1e2, "cents": 1e2, "thousand": 1e3, "mille": 1e3, "k": 1e3, "million": 1e6, "millions": 1e6,
    "billion": 1e9, "billions": 1e9, "milliard": 1e9, "milliards": 1e9, "trillion": 1e12,
}  # fmt: skip
_MONTHS = {
    name: number
    for names in (
        "january february march april may june july august september october november december",
        "jan feb mar apr may jun jul aug sep oct nov dec",
        "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
    )
    for number, name in enumerate(names.split(), 1)
}
_SPELLED = {
    name: float(number)
    for start, names in (
        (2, "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"),
        (2, "deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize"),
    )
    for number, name in enumerate(names.split(), start)
} | {"twenty": 20.0, "vingt": 20.0, "thirty": 30.0, "trente": 30.0, "fifty": 50.0, "cinquante": 50.0}
_NUMBER = re.compile(
    r"(?<![\w.,])(?<![^\W\d_]-)(\d+(?:(?:[.,’'\u202f\u00a0]| (?=\d{3}(?!\d)))\d+)*)(?:(st|nd|rd|th|er|e|ème)\b)?"
)
_WORD = re.compile(r"n't|[^\W_]+|[%$€£]|°[CF]", re.IGNORECASE)
_NAME_WORD = re.compile(r"[^\W\d_](?:[\w’'-]*\w)?")
_FRENCH_NEGATION = re.compile(r"\bn(?:e |')(\w+(?: \w+)?)(?: \w+)? (?:pas|jamais|plus|rien|personne|aucune?)\b")
_TITLES = frozenset({"m", "mm", "mr", "mrs", "ms", "mme", "mlle", "dr", "me", "pr", "prof", "st"})
"""Abbreviations that a name follows."""
_NEGATED_WORDS = 3
"""Content words after a negation that it is taken to deny."""
_QUOTED = 0.65
"""A sentence with this share of its words in a passage's order repeats it."""
_FEW = 2
"""Words that may stand for others: more of them are another sentence."""
_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae", "ß": "ss", "’": "'", "ʼ": "'", "−": "-"})


class Number(NamedTuple):
    """A number as written, the values it may have (1,234 is 1234 or 1.234), and its unit."""

    written: str
    values: frozenset[float]
    unit: str

    def agrees(self, other: Number) -> bool:
        """The same quantity: a common value, and not two different units."""
        return bool(self.values & other.values) and (not self.unit or not other.unit or self.unit == other.unit)


@lru_cache(maxsize=20_000)
def fold(text: str) -> str:
    """Lower case without accents."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(_LIGATURES))
    return "".join(c for c in plain if not unicodedata.combining(c))


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A folded word without its commonest English and French endings; light, so that it errs towards keeping apart."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word[: -len(ending)]
            break
    return word.rstrip("e") if len(word) > 4 else word


_ENDING_LIST = (
    "s es ed ing ings er ers ly ation ations ement ements ment ments ee ees e ant ante ants ent ait aient ions ion"
    " aux ity ies ance ence ize izes ized izing ise ises ised ising al ale ales als"
)
_ENDINGS = sorted(_ENDING_LIST.split(), key=len, reverse=True)


def words(text: str) -> list[str]:
    """The folded words of a text in order; ideographs one by one."""
    found = []
    for word in _WORD.findall(fold(text)):
        found += list(word) if ord(word[0]) > 0x2E7F else [word]
    return found


def content(text: str) -> list[str]:
    """Stems of the words that carry the meaning, in order."""
    return [stem(word) for word in words(text) if word not in _STOP and word not in _NEGATIONS and not word.isdigit()]


def numbers(text: str) -> list[Number]:
    """The numbers written in digits, months beside them, with their units and scales (`1.2 million`)."""
    return list(_numbers(text))


def _numbers(text: str) -> Iterable[Number]:
    for match in _NUMBER.finditer(text):
        before = _WORD.findall(fold(text[max(0, match.start() - 12) : match.start()]))[-1:]
        # `20-year`, `3 years`, `12 %`
        following = _WORD.findall(fold(text[match.end() : match.end() + 32]))
        after = [*(word for word in following if word not in ("d", "de")), "", ""][:2]
        if text[match.end() : match.end() + 1].isalpha() and not (after[0] in _UNITS or after[0] in _SCALES):
            continue  # a name, such as `3D`
        values = _values(match[1])
        if after[0] in _SCALES and not match[2]:
            values, after = frozenset(value * _SCALES[after[0]] for value in values), [after[1], ""]
        if after == ["per", "cent"] or after == ["pour", "cent"] or after == ["percentage", "points"]:
            after = ["%", ""]
        unit = _UNITS.get(after[0]) or _UNITS.get(after[0].removesuffix("s"), "")
        unit = _UNITS[before[0]] if before and before[0] in "$€£" else unit
        yield Number(match[0], values, unit)
        for word in [*before, after[0]]:
            if word in _MONTHS:
                yield Number(word, frozenset({float(_MONTHS[word])}), "")


def _values(written: str) -> frozenset[float]:
    groups = re.split(r"[.,’'\u202f\u00a0 ]", written)
    separators = re.findall(r"[.,’'\u202f\u00a0 ]", written)
    if not separators:
        return frozenset({float(written)})
    found = set()
    if all(len(group) == 3 for group in groups[1:]) and len(groups[0]) <= 3:
        found.add(float("".join(groups)))
    if separators[-1] in ".," and separators.count(separators[-1]) == 1:
        found.add(float("".join(groups[:-1]) + "." + groups[-1]))
    # A version or a date (1.2.3, 12.05.2020) is compared by all its digits.
    return frozenset(found or {float("".join(groups))})


def spelled(text: str) -> list[Number]:
    """The numbers from two on that are written in words, with their units."""
    every = [*words(text), ""]
    return [
        Number(word, frozenset({_SPELLED[word]}), _UNITS.get(after) or _UNITS.get(after.removesuffix("s"), ""))
        for word, after in pairwise(every)
        if word in _SPELLED
    ]


def stated(text: str) -> list[Number]:
    """All numbers that a passage may be said to state: as `numbers`, and those spelled out."""
    return [*numbers(text), *spelled(text)]


def names(text: str) -> list[str]:
    """Names: runs of capitalised words within a sentence, and words such as `BERT`, `iPhone` and `utf-8`.

    Titles and languages that write nouns with capitals have none: there a capital says nothing.
    """
    found: list[str] = []
    matches = list(_NAME_WORD.finditer(text))
    capital = sum(m[0][0].isupper() for m in matches)
    if capital > 4 and capital > 0.6 * len(matches):
        return []
    run: list[str] = []
    end, before = 0, ""
    for match in matches:
        word, gap = match[0], text[end : match.start()]
        starts = end == 0 or (bool(re.search(r"[.!?:;…\n•\"“«]", gap)) and not (gap == ". " and before in _TITLES))
        inner = any(c.isupper() for c in word[1:]) and not (word.isupper() and len(word) > 5)
        odd = inner or any(c.isdigit() for c in word)
        named = odd or (word[0].isupper() and len(word) > 1 and fold(word) not in _STOP and fold(word) not in _MONTHS)
        if starts or gap.strip(" -'’&"):
            found, run = _closed(found, run), []
        if named and (odd or not starts):
            run.append(word)
        elif not (run and word in ("of", "de", "du", "des", "la", "the")):
            found, run = _closed(found, run), []
        end, before = match.end(), fold(word)
    return _closed(found, run)


def _closed(found: list[str], run: list[str]) -> list[str]:
    return [*found, " ".join(run)] if run else found


def denied(text: str, reach: int = _NEGATED_WORDS) -> frozenset[str]:
    """The negations of a text and stems of the `reach` content words after each; empty when it denies nothing."""
    found: set[str] = set()
    plain = fold(text).replace("n't", " not").replace("cannot", "can not")
    for clause in re.split(r"[.!?…;:,()]+", plain):
        left = 0
        for word in words(clause):
            if word in _NEGATIONS:
                left = reach
                found.add(word)
            elif left and word not in _STOP:
                found.add(stem(word))
                left -= 1
        # French puts the verb between `ne` and `pas`.
        for match in _FRENCH_NEGATION.finditer(clause):
            found.update(stem(word) for word in match[1].split())
    return frozenset(found)


_OPPOSITES: dict[str, set[str]] = {}
for _pair in _ANTONYM_PAIRS.split():
    _one, _other = (stem(word) for word in _pair.split("/"))
    _OPPOSITES.setdefault(_one, set()).add(_other)
    _OPPOSITES.setdefault(_other, set()).add(_one)


def opposed(sentence: str, passage: str) -> str:
    """The word of the sentence whose opposite the passage says in its place, or an empty string.

    A word counts when the passage has an opposite of it and not the word itself, and the sentence not the opposite.
    """
    said = {stem(word) for word in words(sentence)}
    there = {stem(word) for word in words(passage)}
    for word in words(sentence):
        opposites = _OPPOSITES.get(stem(word), set())
        if opposites & there and stem(word) not in there and not opposites & said:
            return word
    return ""


def clauses(text: str) -> list[str]:
    """The parts of a sentence between its commas and conjunctions."""
    return [part for part in re.split(r"[,;:()]|\b(?:and|but|et|mais)\b", text) if part.strip()]


def replaced(sentence: str, passage: str) -> list[tuple[str, str]]:
    """What stands in the place of other words, and these, in a sentence that is otherwise a part of the passage."""
    said, there = words(sentence), words(passage)
    known = (frozenset(content(passage)), frozenset(content(sentence)))
    matcher = SequenceMatcher(None, said, there, autojunk=False)
    if sum(block.size for block in matcher.get_matching_blocks()) < _QUOTED * len(said):
        return []
    found = []
    for what, start, end, other_start, other_end in matcher.get_opcodes():
        one, other = " ".join(said[start:end]), " ".join(there[other_start:other_end])
        new, old = (
            [s for s in content(part) if s not in elsewhere]
            for part, elsewhere in zip((one, other), known, strict=True)
        )
        if what == "replace" and 0 < len(new) == len(old) <= _FEW:
            found.append((one, other))
    return found
