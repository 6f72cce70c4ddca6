"""`/api/threads/{id}/runs` and `/api/runs`: asking, listening, stopping."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header
from starlette.responses import StreamingResponse

from colosse.server.api import schema
from colosse.server.auth import ChatPrincipal, ReadPrincipal
from colosse.server.errors import ERROR_RESPONSES
from colosse.server.services import ServicesDep
from colosse.store import get_owned
from colosse.store.tables import Message, Run

router = APIRouter(tags=["runs"], responses=ERROR_RESPONSES)

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=200, pattern=r"^[\x20-\x7e]+$")]
LastEventId = Annotated[str, Header(max_length=100)]


def events_response(what: str) -> dict[int | str, dict[str, Any]]:
    """The description of a stream of server-sent events, for `responses=`."""
    names = ("id", "event", "data")
    item = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": ["event", "data"]}
    content = {"text/event-stream": {"itemSchema": item}}
    return {200: {"description": f"Server-sent events {what}.", "content": content}}


def event_stream(events: Callable[[int | None], AsyncIterator[bytes]], last_event_id: str) -> StreamingResponse:
    """The stream of `events` after the last one that the reader has."""
    # An id that is not ours, or not a number, is no reason to refuse: a snapshot has everything.
    after = int(last_event_id) if last_event_id.isascii() and last_event_id.isdecimal() else None
    return StreamingResponse(
        events(after),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


@router.post("/threads/{thread_id}/runs", operation_id="startRun", status_code=202)
async def start_run(
    thread_id: str,
    body: schema.RunIn,
    principal: ChatPrincipal,
    services: ServicesDep,
    idempotency_key: IdempotencyKey = None,
) -> schema.RunStarted:
    """Ask, or have a question answered again. The question is on the disk when this returns."""
    return await services.runs.start(principal.user_id, thread_id, body, idempotency_key)


@router.get("/runs/{run_id}", operation_id="getRun")
async def get_run(run_id: str, principal: ReadPrincipal, services: ServicesDep) -> schema.Run:
    """How a run is doing."""
    async with services.store.read() as session:
        return schema.Run.model_validate(await get_owned(session, Run, run_id, principal.user_id))


@router.get(
    "/runs/{run_id}/events",
    operation_id="getRunEvents",
    response_class=StreamingResponse,
    responses=events_response("`snapshot` (`Snapshot`), `step` (`Step`), `delta` (`Delta`) and last `done` (`Done`)"),
)
async def get_run_events(
    run_id: str, principal: ReadPrincipal, services: ServicesDep, last_event_id: LastEventId = ""
) -> StreamingResponse:
    """What a run says, from the event after `Last-Event-ID` or else from its beginning."""
    async with services.store.read() as session:
        run = await get_owned(session, Run, run_id, principal.user_id)
        message = await get_owned(session, Message, run.message_id, principal.user_id)
    return event_stream(lambda after: services.runs.events(run, message, after), last_event_id)


@router.delete("/runs/{run_id}", operation_id="stopRun")
async def stop_run(run_id: str, principal: ChatPrincipal, services: ServicesDep) -> schema.Run:
    """Stop a run; what it said is kept. Stopping one that has ended changes nothing."""
    async with services.store.read() as session:
        await get_owned(session, Run, run_id, principal.user_id)
    await services.runs.stop(run_id)
    async with services.store.read() as session:
        return schema.Run.model_validate(await get_owned(session, Run, run_id, principal.user_id))
