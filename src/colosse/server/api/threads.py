"""`/api/threads`: conversations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from colosse.core.errors import NotFoundError
from colosse.server.api import schema
from colosse.server.auth import ChatPrincipal, ReadPrincipal
from colosse.server.errors import ERROR_RESPONSES
from colosse.server.services import ServicesDep
from colosse.store import get_owned, queries
from colosse.store.tables import Message, Thread, now

router = APIRouter(prefix="/threads", tags=["threads"], responses=ERROR_RESPONSES)


@router.get("", operation_id="listThreads")
async def list_threads(
    principal: ReadPrincipal,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str, Query(max_length=300)] = "",
) -> schema.ThreadPage:
    """Threads, the last changed first."""
    async with services.store.read() as session:
        rows, next_cursor = await queries.list_threads(session, principal.user_id, limit=limit, cursor=cursor)
    return schema.ThreadPage(items=[schema.Thread.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.post("", operation_id="createThread", status_code=201)
async def create_thread(body: schema.ThreadIn, principal: ChatPrincipal, services: ServicesDep) -> schema.Thread:
    """Begin a conversation."""
    async with services.store.write() as session:
        thread = Thread(owner_id=principal.user_id, title=body.title, model=body.model, system=body.system)
        session.add(thread)
        await session.flush()
        return schema.Thread.model_validate(thread)


@router.get("/{thread_id}", operation_id="getThread")
async def get_thread(thread_id: str, principal: ReadPrincipal, services: ServicesDep) -> schema.ThreadWithMessages:
    """A conversation with every branch of it."""
    async with services.store.read() as session:
        thread = await get_owned(session, Thread, thread_id, principal.user_id)
        messages = await queries.thread_messages(session, thread.id)
    return schema.ThreadWithMessages(
        thread=schema.Thread.model_validate(thread), messages=[schema.Message.model_validate(row) for row in messages]
    )


@router.patch("/{thread_id}", operation_id="updateThread")
async def update_thread(
    thread_id: str, body: schema.ThreadPatch, principal: ChatPrincipal, services: ServicesDep
) -> schema.Thread:
    """Rename it, choose its model or instructions, or show another branch."""
    async with services.store.write() as session:
        thread = await get_owned(session, Thread, thread_id, principal.user_id, lock=True)
        for name, value in body.model_dump(exclude_unset=True).items():
            setattr(thread, name, value)
        if "head_id" in body.model_fields_set:
            head = await get_owned(session, Message, body.head_id, principal.user_id)
            if head.thread_id != thread.id:
                raise NotFoundError(f"no message {body.head_id[:64]!r} in this thread", param="head_id")
        if body.model_fields_set - {"head_id"}:  # looking at another branch does not change the conversation
            thread.updated_at = now()
        await session.flush()
        return schema.Thread.model_validate(thread)


@router.delete("/{thread_id}", operation_id="deleteThread", status_code=204)
async def delete_thread(thread_id: str, principal: ChatPrincipal, services: ServicesDep) -> None:
    """Delete it with its messages and stop its runs."""
    async with services.store.write() as session:
        thread = await get_owned(session, Thread, thread_id, principal.user_id, lock=True)
        await queries.delete_thread(session, thread.id)
    await services.runs.stop_thread(thread_id)
