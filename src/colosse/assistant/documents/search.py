"""Finding the passages of somebody's own documents that answer a query, by words and by meaning."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from sqlalchemy import bindparam, func, select, text

from colosse.assistant import embed
from colosse.assistant.documents.rank import K1, LEADING, B, blended, coverage, query_terms
from colosse.assistant.documents.vectors import nearest_of
from colosse.assistant.ground import Source
from colosse.store import Store
from colosse.store.tables import Document, Passage

POOL = 50
"""Passages that each of the two rankings gives."""
MAX_TERMS = 32
"""Words of a query that are looked up: of a longer one the rest says little more."""
MAX_MATCHES = 10_000
"""Passages that are compared by their words; of a query that has more of them, the rarest words are looked up."""
_PREFIX_CHARS = 5
_USUAL_CHARS = 1000.0
"""Length of what is indexed of a passage, of which half as much is short and twice as much long."""
_WITHIN = " AND p.document_id IN :documents"
_MATCHES = {
    True: "SELECT rowid FROM passages_words WHERE passages_words MATCH {term}",
    False: "SELECT id FROM passages WHERE to_tsvector('simple', folded) @@ to_tsquery('simple', {term})",
}
_SQLITE = """
SELECT w.rowid, -w.rank FROM passages_words w JOIN passages p ON p.id = w.rowid
WHERE passages_words MATCH :query AND p.owner_id = :owner {within} ORDER BY w.rank LIMIT :limit"""
_POSTGRES = """
SELECT p.id, sum(h.weight) / (1 + :k1 * (1 - :b + :b * length(p.folded) / :usual)) AS score
FROM ({having}) h JOIN passages p ON p.id = h.id WHERE p.owner_id = :owner {within} GROUP BY p.id
ORDER BY score DESC, p.id LIMIT :limit"""
_COUNT = "SELECT {index}, (SELECT count(*) FROM ({found}) m)"
_WEIGHED = "SELECT m.id, {weight} AS weight FROM ({found}) m"


class Found(Source):
    """A passage that was found; `id` is its number in this list, from 1, by which it can be cited.

    Attributes:
        passage_id: of the passage in the database.
        document_id: of the document.
        document: the document's name.
        position: of the passage in the document, from 0.
        score: of both rankings together; comparable within one search alone.
    """

    passage_id: int
    document_id: str
    document: str
    position: int
    score: float


async def search_passages(
    store: Store, owner_id: str, query: str, *, limit: int = 8, documents: Sequence[str] = ()
) -> list[Found]:
    """The passages of `owner_id` that answer `query` best, best first.

    Args:
        store: where they are.
        owner_id: whose documents; never another's.
        query: words or a question, in any language that the documents or the embeddings know.
        limit: how many at most.
        documents: ids; only within these.
    """
    by_words, by_meaning = await asyncio.gather(
        words_ranking(store, owner_id, query, documents), meaning_ranking(store, owner_id, query, documents)
    )
    async with store.read() as session:
        leading = await session.scalars(select(Passage.folded).where(Passage.id.in_(list(by_words)[:LEADING])))
        covered = coverage(query_terms(query)[:MAX_TERMS], (words.split() for words in leading))
        scores = dict(list(blended(by_words, by_meaning, covered).items())[:limit])
        rows = await session.execute(
            select(Passage.id, Passage.text, Passage.page, Passage.section, Passage.position, Document)
            .join(Document, Document.id == Passage.document_id)
            .where(Passage.id.in_(scores), Passage.owner_id == owner_id)
        )
        places = {id: place for place, id in enumerate(scores)}
        found = sorted(rows, key=lambda row: places[row[0]])
    return [
        Found(
            id=number,
            text=body,
            title=document.title,
            url=document.url,
            page=page,
            section=section,
            passage_id=passage_id,
            document_id=document.id,
            document=document.name,
            position=position,
            score=scores[passage_id],
        )
        for number, (passage_id, body, page, section, position, document) in enumerate(found, 1)
    ]


async def words_ranking(store: Store, owner_id: str, query: str, documents: Sequence[str] = ()) -> dict[int, float]:
    """Ids and scores of the passages that have words of the query, best first.

    By BM25; PostgreSQL does not know it, and there it is computed as if each word stood once in a passage.
    """
    terms = {f"t{i}": _match(term, store) for i, term in enumerate(query_terms(query)[:MAX_TERMS])}
    if not terms:
        return {}
    found = {name: _MATCHES[store.is_sqlite].format(term=f":{name}") for name in terms}
    counting = " UNION ALL ".join(_COUNT.format(index=f"'{name}'", found=found[name]) for name in terms)
    async with store.read() as session:
        counts = sorted((count, name) for name, count in await session.execute(text(counting), terms) if count)
        sums = accumulate(count for count, _ in counts)
        rare = {
            name: count for (count, name), upto in zip(counts, sums, strict=True) if upto <= max(MAX_MATCHES, count)
        }
        if not rare:
            return {}
        given: dict[str, Any] = {"owner": owner_id, "limit": POOL}
        within = _WITHIN if documents else ""
        if store.is_sqlite:
            wanted = _SQLITE.format(within=within)
            given["query"] = " OR ".join(terms[name] for name in rare)
        else:
            total = await session.scalar(select(func.count()).select_from(Passage)) or 0
            weights = {name: math.log(1 + (total - count + 0.5) / (count + 0.5)) for name, count in rare.items()}
            weighed = [_WEIGHED.format(weight=weights[name], found=found[name]) for name in rare]
            wanted = _POSTGRES.format(within=within, having=" UNION ALL ".join(weighed))
            given |= {name: terms[name] for name in rare} | {"k1": K1, "b": B, "usual": _USUAL_CHARS}
        statement = text(wanted)
        if documents:
            statement = statement.bindparams(bindparam("documents", expanding=True))
            given["documents"] = list(documents)
        return {id: float(score) for id, score in await session.execute(statement, given)}


async def meaning_ranking(store: Store, owner_id: str, query: str, documents: Sequence[str] = ()) -> dict[int, float]:
    """Ids and similarities of the passages nearest in meaning, best first; none where embeddings are not installed."""
    if not embed.available() or not query.strip():
        return {}
    held = await nearest_of(store, owner_id)
    if not len(held.ids):
        return {}
    allowed = None
    if documents:
        async with store.read() as session:
            within = select(Passage.id).where(Passage.owner_id == owner_id, Passage.document_id.in_(documents))
            allowed = set(await session.scalars(within))
    return await asyncio.to_thread(lambda: held.nearest(embed.encode([query])[0], POOL, allowed))


def _match(term: str, store: Store) -> str:
    """A word, which has letters and digits alone; a longer one also as the beginning of words."""
    long = len(term) >= _PREFIX_CHARS
    return f'"{term}"{"*" if long else ""}' if store.is_sqlite else f"'{term}'{':*' if long else ''}"
