"""Finding the passages of somebody's own documents that answer a query, by words and by meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy import bindparam, select, text

from colosse.assistant import embed
from colosse.assistant.documents.rank import fused, query_terms
from colosse.assistant.documents.vectors import nearest_of
from colosse.assistant.ground import Source
from colosse.store import Store
from colosse.store.tables import Document, Passage

POOL = 50
"""Passages that each of the two rankings gives to their fusion."""
COVERED = 0.5
"""Share of a query's words in one passage from which on the words are trusted."""
MEANING_COVERED, MEANING_ELSE = 0.25, 2.0
"""Weight of the ranking by meaning, that of words being 1, where a passage has the words, and where none does (the
query is in another language, or says it otherwise), as measured by `benchmarks/retrieval.py`."""
MAX_TERMS = 32
"""Words of a query that are looked up: of a longer one the rest says little more."""
_PREFIX_CHARS = 5
_WITHIN = " AND p.document_id IN :documents"
_SQLITE = """
SELECT w.rowid FROM passages_words w JOIN passages p ON p.id = w.rowid
WHERE passages_words MATCH :query AND p.owner_id = :owner {within} ORDER BY w.rank LIMIT :limit"""
_POSTGRES = """
SELECT p.id FROM passages p, to_tsquery('simple', :query) q
WHERE to_tsvector('simple', p.folded) @@ q AND p.owner_id = :owner {within}
ORDER BY ts_rank(to_tsvector('simple', p.folded), q, 1) DESC, p.id LIMIT :limit"""


class Found(Source):
    """A passage that was found; `id` is its number in this list, from 1, by which it can be cited.

    Attributes:
        passage_id: of the passage in the database.
        document_id: of the document.
        document: the document's name.
        position: of the passage in the document, from 0.
        score: of the fusion; comparable within one search alone.
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
    share = await _covered(store, query_terms(query)[:MAX_TERMS], by_words[:3])
    weight = MEANING_COVERED if share >= COVERED else MEANING_ELSE
    best = fused([(by_words, 1.0), (by_meaning, weight)])[:limit]
    scores = dict(best)
    async with store.read() as session:
        rows = await session.execute(
            select(Passage.id, Passage.text, Passage.page, Passage.section, Passage.position, Document)
            .join(Document, Document.id == Passage.document_id)
            .where(Passage.id.in_(scores), Passage.owner_id == owner_id)
        )
        found = sorted(rows, key=lambda row: (-scores[row[0]], row[0]))
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


async def words_ranking(store: Store, owner_id: str, query: str, documents: Sequence[str] = ()) -> list[int]:
    """Ids of the passages that have words of the query, by BM25 (SQLite) or `ts_rank` (PostgreSQL), best first."""
    terms = query_terms(query)[:MAX_TERMS]
    if not terms:
        return []
    given = {"owner": owner_id, "limit": POOL, "query": _match(terms, sqlite=store.is_sqlite)}
    statement = text((_SQLITE if store.is_sqlite else _POSTGRES).format(within=_WITHIN if documents else ""))
    if documents:
        statement = statement.bindparams(bindparam("documents", expanding=True))
        given["documents"] = list(documents)
    async with store.read() as session:
        return list(await session.scalars(statement, given))


async def meaning_ranking(store: Store, owner_id: str, query: str, documents: Sequence[str] = ()) -> list[int]:
    """Ids of the passages whose embeddings are nearest to the query's; empty where embeddings are not installed."""
    if not embed.available() or not query.strip():
        return []
    held = await nearest_of(store, owner_id)
    if not len(held.ids):
        return []
    allowed = None
    if documents:
        async with store.read() as session:
            within = select(Passage.id).where(Passage.owner_id == owner_id, Passage.document_id.in_(documents))
            allowed = set(await session.scalars(within))
    return await asyncio.to_thread(lambda: held.nearest(embed.encode([query])[0], POOL, allowed))


async def _covered(store: Store, terms: Sequence[str], passages: Sequence[int]) -> float:
    """The largest share of `terms` that one of `passages` has."""
    async with store.read() as session:
        texts = await session.scalars(select(Passage.folded).where(Passage.id.in_(passages)))
        return max((len(set(terms) & set(text.split())) / len(terms) for text in texts), default=0.0)


def _match(terms: Sequence[str], *, sqlite: bool) -> str:
    """Any of the words, the longer ones also as beginnings of words; `terms` have letters and digits alone."""
    if sqlite:
        return " OR ".join(f'"{term}"*' if len(term) >= _PREFIX_CHARS else f'"{term}"' for term in terms)
    return " | ".join(f"'{term}':*" if len(term) >= _PREFIX_CHARS else f"'{term}'" for term in terms)
