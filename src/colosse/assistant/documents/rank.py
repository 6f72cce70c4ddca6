"""Which texts answer a query: by their words (BM25), by their meaning (embeddings), and by both together.

Sources: BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), with the
constants of SQLite; reciprocal rank fusion as in Cormack, Clarke and Büttcher (SIGIR 2009).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from colosse.assistant import embed

_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae", "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "’": "'", "ʼ": "'"})
_ELISION = re.compile(r"(?<![^\W_])(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu)'(?=\w)")
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TERM = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_STOP_WORDS = (
    "a an and are as at be been but by can could did do does for from had has have how i if in into is it its me my "
    "no not of on or our s should so t than that the their them then there these they this to was we were what when "
    "where which who why will with would you your ai au aux avec ce cela ces cet cette comment d dans de des donc du "
    "elle elles en est et etre eu fait ici il ils j je l la le les leur leurs lui m ma mais mes moi mon n ne nos "
    "notre nous ou par pas peut plus pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans se ses "
    "si son sont sur ta te tes toi ton tu un une vos votre vous y"
)
_STOP = frozenset(_STOP_WORDS.split())
K1, B = 1.2, 0.75
RRF = 60
LEADING = 3
"""Passages, the best by their words, that tell how far words lead."""
MEANING = 2.0
"""Weight of similarities beside scores of words of at most 1, chosen on React's documentation and the pages of tldr by
`benchmarks/retrieval.py`."""


def terms(text: str) -> list[str]:
    """The words of a text as they are compared: lower case, without accents, elisions (l'école) and plural endings.

    Runs of Chinese, Japanese and Korean, which separate no words, are taken as pairs of characters.
    """
    plain = unicodedata.normalize("NFKD", text.lower().translate(_LIGATURES)).lower()
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    found = []
    for term in _TERM.findall(unicodedata.normalize("NFC", _ELISION.sub("", plain))):
        if term[0] >= "\u3040":
            found += [term[i : i + 2] for i in range(max(len(term) - 1, 1))]
        else:
            found.append(_stem(term))
    return found


def _stem(term: str) -> str:
    """A word without its plural ending, alike in English and French: chevaux, gateaux, queries, listes, articles."""
    if len(term) < 4 or not term.isalpha():
        return term
    if term.endswith("aux"):
        return term[:-1] if term.endswith("eaux") else term[:-3] + "al"
    if term.endswith("ies"):
        return term[:-3] + "y" if len(term) > 4 else term[:-1]
    if term.endswith("s") and not term.endswith(("ss", "us", "is")):
        return term[:-1]
    return term


def folded(text: str) -> str:
    """What is indexed of a text: its `terms`, a space between them."""
    return " ".join(terms(text))


def query_terms(query: str) -> list[str]:
    """The words of a query that say something, each once; all of them when none does."""
    every = list(dict.fromkeys(terms(query)))
    return [term for term in every if term not in _STOP] or every


def bm25(query: Sequence[str], texts: Sequence[Sequence[str]]) -> list[float]:
    """The score of each text (as terms) for the terms of a query."""
    counts = [Counter(text) for text in texts]
    mean = max(sum(map(len, texts)) / max(len(texts), 1), 1.0)
    scores = [0.0] * len(texts)
    for term in set(query):
        having = sum(term in count for count in counts)
        weight = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        for index, count in enumerate(counts):
            times = count[term]
            scores[index] += weight * times * (K1 + 1) / (times + K1 * (1 - B + B * len(texts[index]) / mean))
    return scores


def fused(rankings: Iterable[tuple[Sequence[int], float]], k: int = RRF) -> list[tuple[int, float]]:
    """(item, score) of every item of the rankings, best first: the weighted sum of 1 / (k + rank)."""
    scores: dict[int, float] = {}
    for ranking, weight in rankings:
        for rank, item in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0.0) + weight / (k + rank)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def coverage(wanted: Sequence[str], texts: Iterable[Iterable[str]]) -> float:
    """The largest share of the words `wanted` that one of the texts (as terms) has."""
    every = set(wanted)
    return max((len(every.intersection(text)) / len(every) for text in texts), default=0.0)


def blended(by_words: Mapping[int, float], by_meaning: Mapping[int, float], covered: float) -> dict[int, float]:
    """Scores of all items, best first.

    The more of the query's words stand in the best passages (`covered`, from 0 to 1), the more words decide; where
    they do not, the query is in another language or says it otherwise, and meaning does.

    Args:
        by_words: scores that are comparable with one another, the best first.
        by_meaning: similarities from -1 to 1.
        covered: see `coverage`.
    """
    top = max(by_words.values(), default=0.0) or 1.0
    scores = {item: covered * score / top for item, score in by_words.items()}
    for item, similarity in by_meaning.items():
        scores[item] = scores.get(item, 0.0) + MEANING * (1 - covered) * similarity
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))


def rank(query: str, texts: Sequence[str], limit: int) -> list[int]:
    """The indexes of the `limit` texts that answer `query` best, best first. Blocks.

    Args:
        query: words or a question.
        texts: passages.
        limit: how many are wanted.
    """
    wanted, words = query_terms(query), [terms(text) for text in texts]
    scores = bm25(wanted, words)
    by_words = {i: scores[i] for i in sorted(range(len(texts)), key=lambda i: -scores[i]) if scores[i] > 0}
    by_meaning: dict[int, float] = {}
    if embed.available() and texts:
        vectors = embed.encode([query, *texts])
        by_meaning = dict(enumerate((vectors[1:] @ vectors[0]).tolist()))
    best = blended(by_words, by_meaning, coverage(wanted, [words[i] for i in list(by_words)[:LEADING]]))
    return list(best)[:limit]
