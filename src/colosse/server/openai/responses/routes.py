"""The routes under `/v1/responses`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, FastAPI, Query, Request, Response

from colosse.core.errors import ColosseError, ConflictError, UserError
from colosse.server.auth import ChatPrincipal, Principal, ReadPrincipal
from colosse.server.errors import as_colosse_error
from colosse.server.openai import generation
from colosse.server.openai.answers import answers
from colosse.server.openai.responses import stored
from colosse.server.openai.responses.answers import Deleted, ItemList, ResponseObject
from colosse.server.openai.responses.convert import input_items, response_object, to_chat
from colosse.server.openai.responses.events import Recorder
from colosse.server.openai.responses.requests import ResponsesRequest
from colosse.server.openai.sse import EventStream, answer, encode
from colosse.server.services import Services, ServicesDep
from colosse.store.tables import new_id

Json = dict[str, Any]

log = structlog.get_logger(__name__)


@dataclass
class Background:
    """Responses being made with nobody waiting, by id."""

    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    recorders: dict[str, Recorder] = field(default_factory=dict)

    async def stop(self, id: str) -> None:
        """End the making of a response and wait until that is written; one that has ended is only being written."""
        if (task := self.tasks.get(id)) is not None:
            if self.recorders[id].response["status"] in stored.UNFINISHED:
                task.cancel()
            await asyncio.wait([task])


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Fail what an earlier server left unfinished; at the end, cancel what runs and keep what it had."""
    services: Services = app.state.services
    background = app.state.background = Background()
    await stored.fail_unfinished(services.store, "the server stopped before the answer was complete")
    yield
    await asyncio.gather(*(background.stop(id) for id in background.tasks))


router = APIRouter(lifespan=_lifespan)


@dataclass(frozen=True)
class Turn:
    """One request, ready: what the engine is asked, and the response that grows."""

    owner_id: str
    items: list[Json]
    chat: generation.Chat
    recorder: Recorder

    @property
    def response(self) -> Json:
        """The response so far."""
        return self.recorder.response


async def _prepare(services: Services, principal: Principal, request: ResponsesRequest) -> Turn:
    request.refuse_slips()
    if request.stream_options is not None and not request.stream:
        raise UserError("'stream_options' is only allowed when 'stream' is true", param="stream_options")
    for key in ("conversation", "prompt"):
        if (request.model_extra or {}).get(key) is not None:
            hint = "use 'previous_response_id'" if key == "conversation" else "use 'instructions' and 'input'"
            raise UserError(f"{key!r} is not supported", hint=hint, code="unsupported_parameter", param=key)
    if request.background and request.store is False:
        raise UserError("'background' needs 'store': nobody could fetch the answer", param="background")
    if request.background and request.stream:
        raise UserError("'background' cannot be streamed", hint="fetch it by its id", param="stream")
    items = input_items(request)
    before = await stored.conversation(services.store, request.previous_response_id, principal.user_id)
    chat = await generation.prepare(services.client, to_chat(request, [*before, *items]))
    model = str(chat.bodies[0]["model"])
    response = response_object(request, id=new_id("resp"), model=model, created_at=int(time.time()))
    return Turn(principal.user_id, items, chat, Recorder(response))


async def _events(services: Services, turn: Turn) -> AsyncGenerator[Json, None]:
    """The events of a response, which is stored before the last one says that it is complete.

    Raises:
        ColosseError: the engine refused before its first token; a later failure is an event.
    """
    recorder = turn.recorder
    async with aclosing(generation.chunks(services.client, turn.chat)) as chunks:
        started = False
        try:
            async for chunk in chunks:
                if not started:
                    started = True
                    for event in recorder.start():
                        yield event
                for event in recorder.feed(chunk):
                    yield event
        except ColosseError as error:
            if not started:
                raise
            last = list(recorder.fail(error))
        else:
            *closing, final = recorder.finish()
            for event in closing:
                yield event
            last = [final]
    if turn.response["store"] and not turn.response["background"]:
        await stored.insert(services.store, turn.owner_id, turn.items, turn.response)
    for event in last:
        yield event


async def _whole(services: Services, turn: Turn) -> Json:
    async with aclosing(_events(services, turn)) as events:
        async for _ in events:
            pass
    return turn.response


async def _frames(services: Services, turn: Turn) -> AsyncGenerator[bytes, None]:
    async with aclosing(_events(services, turn)) as events:
        async for event in events:
            yield b"event: %s\ndata: %s\n\n" % (event["type"].encode(), encode(event))


async def _in_background(services: Services, background: Background, turn: Turn) -> None:
    """Make a response that is stored already, and write how it ended, whatever ends it."""
    recorder = turn.recorder
    try:
        recorder.response["status"] = "in_progress"
        await _whole(services, turn)
    except asyncio.CancelledError:
        recorder.cancel()
    except Exception as error:
        for _ in recorder.fail(as_colosse_error(error)):
            pass
    finally:
        try:
            await stored.update(services.store, recorder.response)
        except ColosseError as error:
            log.error("a background response could not be stored", response=recorder.response["id"], error=str(error))
        del background.tasks[recorder.response["id"]], background.recorders[recorder.response["id"]]


@router.post(
    "/responses",
    operation_id="createResponse",
    responses=answers(ResponseObject, streamed="OpenAI's typed events: `response.created`, ..., `response.completed`."),
)
async def create_response(
    body: ResponsesRequest, request: Request, principal: ChatPrincipal, services: ServicesDep
) -> Response:
    """Answer a turn of a conversation; with `store` (the default) it can be fetched and gone on from by its id.

    A stream or a waiting request that its client leaves is cancelled and not stored; with `background` the answer is
    made whether anybody waits or not.
    """
    turn = await _prepare(services, principal, body)
    if body.background:
        turn.response["status"] = "queued"
        await stored.insert(services.store, turn.owner_id, turn.items, turn.response)
        queued = encode(turn.response)
        background: Background = request.app.state.background
        background.recorders[turn.response["id"]] = turn.recorder
        background.tasks[turn.response["id"]] = asyncio.create_task(_in_background(services, background, turn))
        return Response(queued, media_type="application/json")
    if body.stream:
        return EventStream(_frames(services, turn))
    return await answer(request, _whole(services, turn))


@router.get("/responses/{response_id}", operation_id="getResponse", responses=answers(ResponseObject))
async def get_response(
    response_id: str,
    request: Request,
    principal: ReadPrincipal,
    services: ServicesDep,
    stream: Annotated[bool, Query(description="Must be false: a response is not streamed again.")] = False,
) -> Response:
    """A stored response; one that is still being made in the background with what it has so far."""
    if stream:
        raise UserError("a stored response cannot be streamed again", hint="fetch it without 'stream'", param="stream")
    row = await stored.find(services.store, response_id, principal.user_id)
    recorder = request.app.state.background.recorders.get(response_id)
    return Response(encode(recorder.response if recorder else row.body), media_type="application/json")


@router.delete("/responses/{response_id}", operation_id="deleteResponse", responses=answers(Deleted))
async def delete_response(
    response_id: str, request: Request, principal: ChatPrincipal, services: ServicesDep
) -> Deleted:
    """Forget a stored response; one that is being made is cancelled."""
    await stored.remove(services.store, response_id, principal.user_id)
    await request.app.state.background.stop(response_id)
    return Deleted(id=response_id)


@router.post("/responses/{response_id}/cancel", operation_id="cancelResponse", responses=answers(ResponseObject))
async def cancel_response(
    response_id: str, request: Request, principal: ChatPrincipal, services: ServicesDep
) -> Response:
    """Stop a response that is being made in the background; one that has ended is returned as it is."""
    row = await stored.find(services.store, response_id, principal.user_id)
    if not row.body["background"]:
        raise ConflictError(
            f"response {response_id!r} was not made in the background", hint="close its connection instead"
        )
    await request.app.state.background.stop(response_id)
    row = await stored.find(services.store, response_id, principal.user_id)  # as it ended, maybe in this moment
    return Response(encode(row.body), media_type="application/json")


@router.get("/responses/{response_id}/input_items", operation_id="listInputItems", responses=answers(ItemList))
async def list_input_items(
    response_id: str,
    principal: ReadPrincipal,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: Annotated[str, Query(max_length=200)] = "",
) -> ItemList:
    """The items that this response was asked with, those of earlier turns apart; `after` is an item's id."""
    row = await stored.find(services.store, response_id, principal.user_id)
    items = row.input if order == "asc" else row.input[::-1]
    if after:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise UserError(f"no item {after[:64]!r} in this response", param="after")
        items = items[ids.index(after) + 1 :]
    page = items[:limit]
    return ItemList(
        data=page,
        first_id=page[0]["id"] if page else "",
        last_id=page[-1]["id"] if page else "",
        has_more=len(items) > limit,
    )
