"""Whether a sentence rests on given passages: words, numbers, names, negations, and meaning across languages.

No model is asked: word overlap (weighted by rarity) and sentence embeddings say how near a sentence is to a
window of one to three sentences of a passage; numbers, names, negations and opposites must then agree. The weights and
thresholds were fitted by `benchmarks/grounding.py`. Without the embeddings, words alone decide.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict

from colosse.assistant import embed, facts
from colosse.assistant.languages import guess_language

if TYPE_CHECKING:
    from colosse.assistant.embed import Vectors

THRESHOLD = 0.5
"""A sentence with at least this score is supported."""
_WINDOW = 3
_MANY = 8
"""With as many sentences of passages, rare words count more than common ones."""
_ABBREVIATIONS_LIST = (
    "dr mr mrs ms prof st jr sr vs etc e.g i.e cf al fig figs eq eqs sec ch no nos vol pp p ed eds dept univ inc ltd"
    " co corp approx est u.s u.k a.m p.m ph.d m mm mme mlle mgr me art arts al. p.ex ex env av apr n° tél jan feb mar"
    " aug sept oct nov dec janv févr juil déc"
)
_ABBREVIATIONS = frozenset(_ABBREVIATIONS_LIST.split())
_END = re.compile(
    r"[.!?…]+[\"'”’»)\]]*(?:[\u00a0\u202f ]»)?(?=\s)|[。！？]+[」』”]*"
    r"|\n[^\S\n]*\n\s*|\n(?=\s*(?:[-*•–—#>|]|\d+[.)]\s))"
)


class Source(BaseModel):
    """A passage that can be cited.

    Attributes:
        id: the number it is cited by.
        text: the passage.
        title: of the page or document it is from.
        url: of that page; empty for a document.
        page: in a document with pages, from 1.
        section: the heading it stands under.
    """

    model_config = ConfigDict(frozen=True)

    id: int
    text: str
    title: str = ""
    url: str = ""
    page: int | None = None
    section: str = ""


class Support(BaseModel):
    """How far a sentence rests on passages.

    Attributes:
        score: from 0 to 1.
        sources: ids of the passages it rests on, best first; empty when none is near.
        supported: whether the score reaches `THRESHOLD` and nothing is missing.
        missing: what the sentence states and the passages do not: numbers, names, a word that they say the opposite of.
    """

    score: float
    sources: list[int] = []
    supported: bool = False
    missing: list[str] = []


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with the space that follows it: they join to `text`.

    English and French abbreviations, initials and decimals do not end one; a blank line, a bullet and ideographic
    punctuation do.
    """
    found: list[str] = []
    start = 0
    for match in _END.finditer(text):
        end = match.end()
        while end < len(text) and text[end].isspace():
            end += 1
        if text[start:end].strip() and _ends(text, start, match, end):
            found.append(text[start:end])
            start = end
    rest = text[start:]
    if rest.strip() or not found:
        return [*found, rest] if rest else found
    return [*found[:-1], found[-1] + rest]


def _ends(text: str, start: int, match: re.Match[str], end: int) -> bool:
    """Whether a stop ends a sentence: not after an abbreviation or an initial, nor before a small letter."""
    if match[0][0] != ".":
        following = text[end : end + 1]
        return match[0][0] not in "!?…" or not following.islower()
    before = text[start : match.start()].rsplit(None, 1)[-1:] or [""]
    word = before[0].lstrip("([\"'“«")
    if match[0].startswith("..") or "\n" in text[match.end() : end].replace("\n", "", 1):
        return "\n" in text[match.end() : end] or not text[end : end + 1].islower()
    if word.lower() in _ABBREVIATIONS or re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]|[A-Z]", word):
        return False
    if word.isdigit() and not text[start : match.start()].strip()[: -len(word)].strip():
        return False  # `1. First item`
    return not text[end : end + 1].islower()


class _Near(NamedTuple):
    """How near a source comes, and the piece where its best window starts."""

    score: float
    source: int
    piece: int


class _Passages:
    """Sources made ready to be compared with many sentences."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.pieces: list[str] = []
        self.owner: list[int] = []
        for index, source in enumerate(sources):
            own = [piece for piece in sentences(source.text) if piece.strip()]
            self.pieces += own
            self.owner += [index] * len(own)
        self.stems = [frozenset(facts.content(piece)) for piece in self.pieces]
        self.postings: dict[str, list[int]] = {}
        for index, stems in enumerate(self.stems):
            for stem in stems:
                self.postings.setdefault(stem, []).append(index)
        usual = guess_language(" ".join(self.pieces))
        self.languages = [guess_language(source.text) or usual for source in sources]

    @cached_property
    def numbers(self) -> list[list[facts.Number]]:
        """Of each source."""
        return [facts.stated(f"{source.title}\n{source.section}\n{source.text}") for source in self.sources]

    @cached_property
    def words(self) -> list[str]:
        """Each source's words, to look names up in."""
        full = (f"{source.title} {source.section} {source.text}" for source in self.sources)
        return [" " + " ".join(facts.words(text)) + " " for text in full]

    @cached_property
    def vocabulary(self) -> list[frozenset[str]]:
        """Stems of each source."""
        own: list[set[str]] = [set() for _ in self.sources]
        for owner, stems in zip(self.owner, self.stems, strict=True):
            own[owner] |= stems
        return [frozenset(stems) for stems in own]

    def weight(self, stem: str) -> float:
        """How much a word says: inverse document frequency over the pieces, when these are many."""
        if len(self.pieces) < _MANY:
            return 1.0
        return math.log(1 + len(self.pieces) / (1 + len(self.postings.get(stem, ()))))

    def covered(self, stems: Sequence[str]) -> list[float]:
        """For the window that starts at each piece, the share of `stems` by weight that it contains."""
        weights = [self.weight(stem) for stem in stems]
        total = sum(weights) or 1.0
        masks = [0] * len(self.pieces)
        for bit, stem in enumerate(stems):
            for index in self.postings.get(stem, ()):
                masks[index] |= 1 << bit
        shares: dict[int, float] = {0: 0.0}
        found = []
        for index, owner in enumerate(self.owner):
            mask = 0
            for at in range(index, min(index + _WINDOW, len(masks))):
                mask |= masks[at] if self.owner[at] == owner else 0
            if mask not in shares:
                shares[mask] = sum(w for bit, w in enumerate(weights) if mask >> bit & 1) / total
            found.append(shares[mask])
        return found

    def similar(self, sentence: str, candidates: Sequence[int]) -> dict[int, float]:
        """For each candidate piece, the best similarity of the windows that start there; their vectors are means.

        Candidates are all pieces of some sources, in order.
        """
        import numpy as np

        query = _embedded([sentence])[0]
        total = _embedded([self.pieces[piece] for piece in candidates])
        vectors, owner = total.copy(), np.asarray([self.owner[piece] for piece in candidates])
        best = vectors @ query
        for step in range(1, min(_WINDOW, len(owner))):
            same = owner[step:] == owner[:-step]
            total[: len(owner) - step][same] += vectors[step:][same]
            norms = np.linalg.norm(total, axis=1)
            best = np.maximum(best, total @ query / np.maximum(norms, 1e-6))
        return {piece: float(value) for piece, value in zip(candidates, best, strict=True)}


_known: dict[str, Vectors] = {}
_MOST_KNOWN = 20_000
"""Sentences whose embeddings are kept: 2 KB each; a long text's are asked for with its parts and again as a whole."""


def _embedded(texts: Sequence[str]) -> Vectors:
    """Embeddings, each text's made once."""
    import numpy as np

    made = {text: vector for text in dict.fromkeys(texts) if (vector := _known.get(text)) is not None}
    fresh = [text for text in dict.fromkeys(texts) if text not in made]
    made.update(zip(fresh, embed.encode(fresh), strict=True))
    if len(_known) + len(fresh) > _MOST_KNOWN:
        _known.clear()
    _known.update({text: made[text] for text in fresh[:_MOST_KNOWN]})
    return np.stack([made[text] for text in texts])


@lru_cache(maxsize=16)
def _prepared(sources: tuple[Source, ...]) -> _Passages:
    return _Passages(sources)


def support(sentence: str, sources: Sequence[Source]) -> Support:
    """Whether `sentence` rests on `sources`, and on which.

    Args:
        sentence: one statement; marks of citations (`[2]`) in it are not read.
        sources: the passages; asking again with the same ones is fast.
    """
    claim = re.sub(r"\s*\[\d+(?:\s*[,–-]\s*\d+)*\]", "", sentence).strip()
    passages = _prepared(tuple(sources))
    stems = list(dict.fromkeys(facts.content(claim)))
    if not passages.pieces or not (stems or facts.numbers(claim)):
        return Support(score=0.0)
    across = _across(passages, claim)
    near = _near(passages, claim, stems, across)
    order = sorted(near, key=lambda index: (-near[index].score, index))
    best = near[order[0]]
    chosen, missing = _facts(passages, claim, [i for i in order if near[i].score >= _FLOOR], across[best.source])
    if best.score >= _FLOOR and not missing:
        missing = _contradiction(passages, claim, stems, best, across[best.source])
    score = best.score
    if missing:
        score = min(score, THRESHOLD) * 0.8 ** len(missing)
    ids = [passages.sources[index].id for index in chosen]
    return Support(score=round(score, 4), sources=ids, supported=score >= THRESHOLD and not missing, missing=missing)


_CLEAR = 0.8
"""A window with this share of the words is near whatever its embedding says."""
_MOST_COMPARED = 400
"""Of more sentences, only the sources that share most words are compared by meaning, unless languages differ."""
_FLOOR = 0.4
"""A passage below this score can not add the number that the best passage lacks."""
_STEEP = 10.0
_WORDS_ALONE, _BOTH, _MEANING_ALONE, _MEANING_ACROSS = 0.4, 0.4, 0.66, 0.56
"""Where the score is 0.5: share of the words without embeddings; mean of words and meaning; meaning of a paraphrase;
meaning in another language."""
_MOST_CITED = 3
_ALIKE = 0.6
"""Across languages, a sentence this near in length speaks of the same thing: both must deny, or neither."""
_SYNONYMS = 0.7
"""Similarity of two words from which on one may stand for the other."""
_SAME = 0.5
"""A sentence of a passage with this share of the words speaks of the same thing: their negations must agree."""


class Nearest(NamedTuple):
    """A source, and its sentence that comes nearest."""

    source: Source
    sentence: str


def nearest(sentence: str, sources: Sequence[Source], limit: int) -> list[Nearest]:
    """The `limit` sources that come nearest to a sentence, best first."""
    passages = _prepared(tuple(sources))
    stems = list(dict.fromkeys(facts.content(sentence)))
    near = sorted(_near(passages, sentence, stems, _across(passages, sentence)).values(), key=lambda n: -n.score)
    found = []
    for best in near[:limit]:
        window = range(best.piece, min(best.piece + _WINDOW, len(passages.pieces)))
        own = [piece for piece in window if passages.owner[piece] == best.source]
        piece = max(own, key=lambda at: len(passages.stems[at].intersection(stems)))
        found.append(Nearest(passages.sources[best.source], passages.pieces[piece].strip()))
    return found


def _across(passages: _Passages, claim: str) -> list[bool]:
    """For each source, whether it and the claim are in two languages, as far as can be told."""
    language = guess_language(claim)
    return [bool(language and other and language != other) for other in passages.languages]


def _near(passages: _Passages, claim: str, stems: Sequence[str], across: Sequence[bool]) -> dict[int, _Near]:
    """How near each source comes; meaning is looked at where words alone do not settle it."""
    words = passages.covered(stems)
    meaning: dict[int, float] = {}
    if passages.pieces and embed.available() and (any(across) or max(words) < _CLEAR):
        candidates = list(range(len(words)))
        if len(words) > _MOST_COMPARED and not any(across):
            ranked = sorted(candidates, key=lambda piece: -words[piece])[: _MOST_COMPARED // 4]
            chosen = {passages.owner[piece] for piece in ranked}
            candidates = [piece for piece in candidates if passages.owner[piece] in chosen]
        meaning = passages.similar(claim, candidates)
    found: dict[int, _Near] = {}
    for piece, owner in enumerate(passages.owner):
        score = _score(words[piece], meaning.get(piece), across[owner])
        if owner not in found or score > found[owner].score:
            found[owner] = _Near(score, owner, piece)
    return found


def _score(words: float, meaning: float | None, across: bool) -> float:
    """From 0 to 1, 0.5 where `benchmarks/grounding.py` tells true pairs from others best."""
    if meaning is None:
        nearness = [] if across else [words - _WORDS_ALONE]
    else:
        nearness = [meaning - _MEANING_ACROSS] if across else [(words + meaning) / 2 - _BOTH, meaning - _MEANING_ALONE]
    return 1 / (1 + math.exp(-_STEEP * max(nearness))) if nearness else 0.0


def _facts(passages: _Passages, claim: str, order: Sequence[int], across: bool) -> tuple[list[int], list[str]]:
    """The sources that together state the numbers and names of the claim, and what none of them does."""
    wanted: dict[str, set[int]] = {}
    for number in [*facts.numbers(claim), *(one for one in facts.spelled(claim) if one.unit or not across)]:
        wanted[number.written] = {i for i in order if any(number.agrees(other) for other in passages.numbers[i])}
    for name in facts.names(claim):
        # Most names are spelled alike in two languages, but not all: only those with digits must be there.
        if not across or any(c.isdigit() for c in name):
            parts = [part.removesuffix("s") for part in facts.words(name)]
            wanted[name] = {
                i
                for i in order
                if all(f" {part} " in passages.words[i] or f" {part}s " in passages.words[i] for part in parts)
            } or {
                i
                for i in order
                if not name.istitle()
                and len("".join(parts)) > 3
                and "".join(parts) in passages.words[i].replace(" ", "")
            }
    chosen = list(order[:1])
    # Who merely has the same name or number may speak of something else.
    beside = frozenset(facts.content(claim)).difference(*map(facts.content, wanted))
    for holders in wanted.values():
        holders &= {i for i in holders if i in chosen or beside & passages.vocabulary[i]}
        if holders and not holders & set(chosen):
            chosen.append(next(i for i in order if i in holders))
    return chosen[:_MOST_CITED], [written for written, holders in wanted.items() if not holders]


def _contradiction(passages: _Passages, claim: str, stems: Sequence[str], near: _Near, across: bool) -> list[str]:
    """The word that the nearest passage denies, says the opposite of, or has another for, where it speaks of the same.

    A claim that denies must rest on a window that denies something; one that does not must not turn what a sentence of
    the window denies. In a claim that else repeats a sentence no word may stand for another that means something else.
    """
    piece = near.piece
    window = [
        at for at in range(piece, min(piece + _WINDOW, len(passages.pieces))) if passages.owner[at] == near.source
    ]
    here = facts.denied(claim)
    denies = {at: facts.denied(passages.pieces[at]) for at in window}
    if here and not any(denies.values()):
        return [next(word for word in facts.words(claim.replace("n't", " not")) if word in here)]
    if across:
        best = window[int((_embedded([passages.pieces[at] for at in window]) @ _embedded([claim])[0]).argmax())]
        length = len(facts.words(claim)) / max(1, len(facts.words(passages.pieces[best])))
        return [min(denies[best])] if denies[best] and not here and _ALIKE < length < 1 / _ALIKE else []
    nearest = max(window, key=lambda at: len(passages.stems[at].intersection(stems)))
    said, both = passages.pieces[nearest], passages.stems[nearest].intersection(stems)
    turned = _turned(passages, window, frozenset(stems), here)
    if len(both) >= _SAME * len(stems):
        agreed = here & frozenset().union(*(facts.denied(passages.pieces[at], 1) for at in window)) & frozenset(stems)
        differ = facts.denied(claim, 1) ^ facts.denied(said, 1) if agreed else here ^ denies[nearest]
        turned |= both & differ - agreed
        others = [new for new, old in facts.replaced(claim, said) if not _synonyms(new, old)]
        if opposite := facts.opposed(claim, said) or "".join(others[:1]):
            return [opposite]
    for clause in (clause for at in window for clause in facts.clauses(passages.pieces[at])):
        opposite = facts.opposed(claim, clause)
        after = facts.content(claim.lower().partition(opposite)[2])[:1] if opposite else []
        if set(after) & set(facts.content(clause)):
            return [opposite]
    return [word for word in facts.words(claim) if facts.stem(word) in turned][:1] or _exchanged(claim, said)


def _turned(passages: _Passages, window: Sequence[int], stems: frozenset[str], here: frozenset[str]) -> frozenset[str]:
    """What the claim says of which the window says only that it is not so: what follows a negation directly."""
    never = frozenset().union(*(facts.denied(passages.pieces[at], 1) for at in window))
    affirmed = frozenset().union(*(passages.stems[at] - facts.denied(passages.pieces[at]) for at in window))
    return stems & never - affirmed - here


def _exchanged(claim: str, said: str) -> list[str]:
    """The first of two names that stand in the other order, in a claim that has the same voice."""
    places = [
        (f" {' '.join(facts.words(said))} ".find(f" {' '.join(facts.words(name))} "), name)
        for name in facts.names(claim)
    ]
    places = [place for place in places if place[0] >= 0]
    passive = {"by", "par"}
    if passive & set(facts.words(claim)) != passive & set(facts.words(said)) or "and" in facts.words(claim):
        return []
    return [name for (at, name), (after, _) in pairwise(places) if at > after][:1]


def _synonyms(one: str, other: str) -> bool:
    """Whether two short pieces of text mean the same, as far as their beginnings and embeddings tell."""
    if any(word.startswith(one[: max(3, len(one) - 3)]) for word in other.split()):
        return True
    if not embed.available():
        return False
    pair = _embedded([one, other])
    return float(pair[0] @ pair[1]) >= _SYNONYMS
