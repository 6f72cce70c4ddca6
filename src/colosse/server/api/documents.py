"""`/api/documents`: one's own documents, searched and cited."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from sqlalchemy import select

from colosse.core.errors import NotFoundError
from colosse.server.api import schema
from colosse.server.auth import ChatPrincipal, ReadPrincipal
from colosse.server.errors import ERROR_RESPONSES
from colosse.server.services import ServicesDep
from colosse.store import get_owned
from colosse.store.tables import Document, Passage

router = APIRouter(prefix="/documents", tags=["documents"], responses=ERROR_RESPONSES)


@router.post(
    "",
    operation_id="addDocument",
    status_code=201,
    responses={200: {"model": schema.Document, "description": "The same bytes were there already."}},
)
async def add_document(
    name: Annotated[str, Query(min_length=1, max_length=300)],
    data: Annotated[bytes, Body(media_type="application/octet-stream")],
    principal: ChatPrincipal,
    services: ServicesDep,
    response: Response,
) -> schema.Document:
    """Read a file (the body, as it is) and keep its passages; the end of `name` says what it is."""
    from colosse.assistant.documents.library import add_document

    added = await add_document(services.store, principal.user_id, name, data)
    response.status_code = 201 if added.new else 200
    return schema.Document.model_validate(added.document)


@router.get("", operation_id="listDocuments")
async def list_documents(principal: ReadPrincipal, services: ServicesDep) -> list[schema.Document]:
    """Every document, the newest first."""
    from colosse.assistant.documents.library import list_documents

    rows = await list_documents(services.store, principal.user_id)
    return [schema.Document.model_validate(row) for row in rows]


@router.get("/search", operation_id="searchDocuments")
async def search_documents(
    principal: ReadPrincipal,
    services: ServicesDep,
    q: Annotated[str, Query(min_length=1, max_length=2000)],
    limit: Annotated[int, Query(ge=1, le=50)] = 8,
) -> list[schema.FoundPassage]:
    """The passages that answer `q` best, best first."""
    from colosse.assistant.documents.search import search_passages

    found = await search_passages(services.store, principal.user_id, q, limit=limit)
    return [schema.FoundPassage.model_validate(one) for one in found]


@router.get("/{document_id}/passages/{position}", operation_id="getPassage")
async def get_passage(
    document_id: str, position: int, principal: ReadPrincipal, services: ServicesDep
) -> schema.Passage:
    """A passage of a document by its place, from 0: what a citation points at."""
    async with services.store.read() as session:
        document = await get_owned(session, Document, document_id, principal.user_id)
        row = None
        if 0 <= position < document.num_passages:
            wanted = select(Passage).where(Passage.document_id == document.id, Passage.position == position)
            row = await session.scalar(wanted)
        if row is None:
            raise NotFoundError(f"the document has {document.num_passages} passages", param="position")
        return schema.Passage(
            document_id=document.id,
            position=position,
            num_passages=document.num_passages,
            page=row.page,
            section=row.section,
            text=row.text,
        )


@router.delete("/{document_id}", operation_id="removeDocument", status_code=204)
async def remove_document(document_id: str, principal: ChatPrincipal, services: ServicesDep) -> None:
    """Remove a document with its passages."""
    from colosse.assistant.documents.library import remove_document

    async with services.store.read() as session:
        await get_owned(session, Document, document_id, principal.user_id)
    await remove_document(services.store, principal.user_id, document_id)
