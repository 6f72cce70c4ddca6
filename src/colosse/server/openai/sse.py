"""Answers that end when their reader leaves: server-sent events, and plain answers that take long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from colosse.core.errors import ColosseError

T = TypeVar("T")

DONE = b"data: [DONE]\n\n"


class ClientGone(Exception):
    """The client closed the connection, so nobody waits for the answer any more."""


def encode(value: Any) -> bytes:
    """Compact JSON; ASCII, so that it holds whatever text there is."""
    return json.dumps(value, separators=(",", ":")).encode()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled as soon as the client leaves.

    Raises:
        ClientGone: it left first.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


class EventStream(Response):
    """Server-sent events from a generator of whole frames.

    What the generator raises before its first frame becomes an ordinary error answer, with its status. The generator
    is closed when the client leaves, while it works or while a frame is on its way.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames as they come."""
        async with aclosing(self._frames):
            with suppress(ClientGone):
                await while_connected(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        async for frame in self._frames:
            if start:
                await send(start)
                start = {}
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        if start:
            await send(start)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def data_frames(payloads: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """`data:` frames ending in `[DONE]`; an error in the middle becomes a last frame that says so."""
    started = False
    async with aclosing(payloads):
        try:
            async for payload in payloads:
                started = True
                yield b"data: " + payload + b"\n\n"
        except ColosseError as error:
            if not started:
                raise
            yield b"data: " + encode(error.to_openai()) + b"\n\n"
            return
    yield DONE


async def answer(request: Request, work: Coroutine[Any, Any, Any]) -> Response:
    """The JSON of what `work` returns; it is cancelled when the client leaves."""
    try:
        value = await while_connected(request.receive, work)
    except ClientGone:
        return Response(status_code=499)  # nobody reads it; the log and the metrics do
    return Response(encode(value), media_type="application/json")
