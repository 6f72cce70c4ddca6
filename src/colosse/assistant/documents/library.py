"""The documents that somebody keeps: adding, listing, removing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from colosse.assistant import embed
from colosse.assistant.documents.blocks import Read
from colosse.assistant.documents.passages import Passage as Span
from colosse.assistant.documents.passages import passages_of
from colosse.assistant.documents.rank import folded
from colosse.assistant.documents.read import read_document, without_orders
from colosse.assistant.skill import Listener
from colosse.core.errors import ConflictError, NotFoundError, TooLargeError, UserError, nearest
from colosse.store import Store
from colosse.store.tables import Document, Passage

MAX_PASSAGES = 50_000
"""A document with more is refused: it would be over 10 million words."""
_BATCH = 64
"""Passages that are embedded between two reports of progress."""


class Added(NamedTuple):
    """A document of the library, whether it is there only now, and paragraphs left out as they speak to machines."""

    document: Document
    new: bool
    num_orders: int = 0


async def add_document(
    store: Store,
    owner_id: str,
    name: str,
    data: bytes,
    *,
    url: str = "",
    listener: Listener | None = None,
) -> Added:
    """Read a document and keep its passages; the same bytes again are recognised, whatever their name.

    Args:
        store: where to keep it.
        owner_id: whose it will be; the user exists.
        name: of the file.
        data: its bytes.
        url: where it came from, if from the web.
        listener: hears how many passages are done.

    Raises:
        UserError: it cannot be read; see `read_document`.
        TooLargeError: more than `MAX_PASSAGES` passages.
    """
    listener = listener or Listener()
    sha256 = hashlib.sha256(data).hexdigest()
    if known := await _known(store, owner_id, sha256):
        return Added(known, False)
    listener.step(f"reading {name}")
    read, num_orders = without_orders(await read_document(name, data))
    if not read.blocks:
        raise UserError(f"{name} has no text but orders to machines", code="unreadable_document")
    spans = passages_of(read.blocks)
    if len(spans) > MAX_PASSAGES:
        raise TooLargeError(
            f"{name} has {len(spans)} passages, at most {MAX_PASSAGES} are kept", hint="give it in parts"
        )
    embeddings = await _embedded(read, spans, listener)
    document = Document(
        owner_id=owner_id,
        name=name,
        title=read.title,
        url=url,
        media_type=read.media_type,
        language=read.language,
        sha256=sha256,
        num_bytes=len(data),
        num_pages=read.num_pages,
        num_passages=len(spans),
    )
    try:
        async with store.write() as session:
            session.add(document)
            await session.flush()
            rows = [
                {
                    "owner_id": owner_id,
                    "document_id": document.id,
                    "position": position,
                    "page": span.page,
                    "section": span.section,
                    "text": span.text,
                    "folded": folded(indexed(read.title, span)),
                    "embedder": embed.NAME if embeddings else "",
                    "embedding": embeddings[position] if embeddings else None,
                }
                for position, span in enumerate(spans)
            ]
            await session.execute(insert(Passage), rows)
    except IntegrityError:
        if known := await _known(store, owner_id, sha256):  # added by somebody else meanwhile
            return Added(known, False)
        raise
    return Added(document, True, num_orders)


def indexed(title: str, span: Span) -> str:
    """What of a passage is searched: with the title and the headings that it stands under."""
    return "\n".join(part for part in (title, span.section, span.text) if part)


async def _embedded(read: Read, spans: Sequence[Span], listener: Listener) -> list[bytes]:
    """The embedding of each passage as it is stored; empty where embeddings are not installed."""
    if not embed.available():
        return []
    found: list[bytes] = []
    for start in range(0, len(spans), _BATCH):
        listener.parts(start, len(spans))
        batch = [indexed(read.title, span) for span in spans[start : start + _BATCH]]
        found += [vector.astype("<f4").tobytes() for vector in await embed.encoded(batch)]
    listener.parts(len(spans), len(spans))
    return found


async def _known(store: Store, owner_id: str, sha256: str) -> Document | None:
    async with store.read() as session:
        wanted = select(Document).where(Document.owner_id == owner_id, Document.sha256 == sha256)
        return (await session.scalars(wanted)).first()


async def list_documents(store: Store, owner_id: str) -> list[Document]:
    """Every document of `owner_id`, the newest first."""
    async with store.read() as session:
        wanted = select(Document).where(Document.owner_id == owner_id)
        return list(await session.scalars(wanted.order_by(Document.created_at.desc(), Document.id.desc())))


async def find_document(store: Store, owner_id: str, which: str) -> Document:
    """The document of `owner_id` with this id, name or title.

    Raises:
        NotFoundError: there is none.
        ConflictError: several have this name.
    """
    every = await list_documents(store, owner_id)
    found = [document for document in every if document.id == which]
    found = found or [document for document in every if which in (document.name, document.title)]
    if not found:
        known = nearest(which, [document.name for document in every][:50])
        raise NotFoundError(f"no document {which[:80]!r}", hint=known, code="document_not_found")
    if len(found) > 1:
        ids = ", ".join(document.id for document in found[:5])
        raise ConflictError(f"{len(found)} documents are called {which[:80]!r}", hint=f"give an id: {ids}")
    return found[0]


async def remove_document(store: Store, owner_id: str, which: str) -> Document:
    """Remove a document of `owner_id` with its passages, by its id, name or title.

    Raises:
        As `find_document`.
    """
    document = await find_document(store, owner_id, which)
    async with store.write() as session:
        await session.execute(delete(Passage).where(Passage.document_id == document.id))
        await session.execute(delete(Document).where(Document.id == document.id, Document.owner_id == owner_id))
    return document
