"""What a client of models is, and the one for a server that runs elsewhere.

`Engines` (this process starts the engines) and `RemoteClient` (a running Colosse, or any OpenAI-compatible server) have
the same methods, so that skills and commands do not care which they hold.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Protocol, Self

from colosse.core.errors import NotFoundError, nearest
from colosse.engines.endpoint import Endpoint, Served, new_session
from colosse.engines.faults import Fault
from colosse.engines.schema import ChatMessage, ChatRequest, Delta, ModelInfo, Usage


class Client(Protocol):
    """Something that answers requests for models; see `docs/architecture.md`, Engines."""

    @property
    def default_model(self) -> str:
        """The model that an empty name means; NotFoundError when there is none."""
        ...

    def models(self) -> list[ModelInfo]:
        """What can be asked for; no I/O beyond a look at the disk."""
        ...

    async def ensure(self, model: str = "") -> ModelInfo:
        """Make a model ready."""
        ...

    async def request(self, path: str, body: Mapping[str, Any], *, affinity: str = "") -> dict[str, Any]:
        """One JSON answer."""
        ...

    def stream(self, path: str, body: Mapping[str, Any], *, affinity: str = "") -> AsyncGenerator[bytes, None]:
        """Payload of each `data:` line of a streamed answer."""
        ...

    def chat(self, request: ChatRequest, *, affinity: str = "") -> AsyncGenerator[Delta, None]:
        """A chat answer as typed steps."""
        ...

    async def aclose(self) -> None:
        """Free everything."""
        ...


async def deltas(payloads: AsyncGenerator[bytes, None]) -> AsyncGenerator[Delta, None]:
    """Typed steps of the first choice of a streamed chat answer; closes `payloads` when left."""
    async with aclosing(payloads) as source:
        async for payload in source:
            data = json.loads(payload)
            usage = data.get("usage")
            for choice in data.get("choices") or [{}]:
                if choice.get("index", 0) != 0:
                    continue
                delta = choice.get("delta") or {}
                step = Delta(
                    content=delta.get("content") or "",
                    reasoning=delta.get("reasoning_content") or delta.get("reasoning") or "",
                    tool_calls=delta.get("tool_calls") or [],
                    finish_reason=choice.get("finish_reason"),
                    usage=Usage.model_validate(usage) if usage else None,
                )
                if step != _NOTHING:
                    yield step


_NOTHING = Delta()


def chat_body(request: ChatRequest) -> dict[str, Any]:
    """The request as the body of a streamed call that also counts tokens."""
    body = request.model_dump(exclude_none=True)
    return {**body, "stream": True, "stream_options": {**body.get("stream_options", {}), "include_usage": True}}


async def complete(
    client: Client, messages: Iterable[ChatMessage | Mapping[str, Any]], *, affinity: str = "", **params: Any
) -> tuple[str, Usage]:
    """The whole text of one chat answer and its token counts.

    Args:
        client: whom to ask.
        messages: the conversation.
        affinity: see `Client.stream`.
        **params: further fields of the request (`model`, `temperature`, `max_tokens`, ...).
    """
    request = ChatRequest.model_validate({"messages": list(messages), **params})
    parts: list[str] = []
    usage = Usage()
    async with aclosing(client.chat(request, affinity=affinity)) as steps:
        async for step in steps:
            parts.append(step.content)
            usage = step.usage or usage
    return "".join(parts), usage


class RemoteClient:
    """A client of a server at `url` (with `/v1`): a running Colosse, or anything OpenAI-compatible.

    An async context manager; entering reads the list of models and raises UnavailableError when nobody is there.
    """

    def __init__(self, url: str, key: str = "") -> None:
        self._endpoint = Endpoint(name=url, url=url, key=key)
        self._http = new_session()
        self._models: list[ModelInfo] = []

    async def __aenter__(self) -> Self:
        try:
            await self._refresh()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def default_model(self) -> str:
        """The first model of the server's list: Colosse lists its default first."""
        if not self._models:
            raise NotFoundError(f"the server at {self._endpoint.url} has no model")
        return self._models[0].id

    def models(self) -> list[ModelInfo]:
        """What the server listed last."""
        return list(self._models)

    async def ensure(self, model: str = "") -> ModelInfo:
        """The model's entry; the server loads it on the first request.

        Raises:
            NotFoundError: the server does not list it.
        """
        name = model or self.default_model
        found = next((m for m in self._models if m.id == name), None)
        if found is None:
            await self._refresh()
            found = next((m for m in self._models if m.id == name), None)
        if found is None:
            hint = nearest(name, [m.id for m in self._models])
            raise NotFoundError(f"unknown model {name!r}", hint=hint, code="model_not_found", param="model")
        return found

    async def request(self, path: str, body: Mapping[str, Any], *, affinity: str = "") -> dict[str, Any]:
        """One JSON answer; `affinity` is the server's own business.

        Raises:
            ColosseError: the server's error.
        """
        try:
            return await self._endpoint.post(self._http, path, self._named(body))
        except Fault as fault:
            raise fault.error from None

    async def stream(self, path: str, body: Mapping[str, Any], *, affinity: str = "") -> AsyncGenerator[bytes, None]:
        """Payloads of a streamed answer; closing the iterator cancels it.

        Raises:
            ColosseError: the server's error.
        """
        try:
            async with aclosing(self._endpoint.stream(self._http, path, self._named(body))) as payloads:
                async for payload in payloads:
                    yield payload
        except Fault as fault:
            raise fault.error from None

    def chat(self, request: ChatRequest, *, affinity: str = "") -> AsyncGenerator[Delta, None]:
        """A chat answer as typed steps."""
        return deltas(self.stream("/chat/completions", chat_body(request), affinity=affinity))

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.close()

    async def _refresh(self) -> None:
        try:
            served = await self._endpoint.models(self._http)
        except Fault as fault:
            raise fault.error from None
        self._endpoint.served = served
        self._models = [
            ModelInfo(
                id=name,
                state="ready",
                engine=self._endpoint.url,
                max_model_len=model.max_model_len,
                capabilities=list(model.capabilities),
            )
            for name, model in served.items()
        ]

    def _named(self, body: Mapping[str, Any]) -> dict[str, Any]:
        name = body.get("model") or self.default_model
        self._endpoint.served.setdefault(name, Served(name))
        return {**body, "model": name}
