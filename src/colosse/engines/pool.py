"""Hands requests to endpoints: who can, who is least busy, who has the prefix, in which order; and tries again.

* An endpoint is picked by model and capability, then by load; the one that served the same `affinity` last (its prompt
  cache holds the conversation) wins while it is not much busier than the least busy one.
* An endpoint is never given more than its limit; requests beyond wait in one queue, first come, first served.
* A failed call is tried again, on another endpoint if there is one, only while nothing of the answer was received.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp

from colosse.core.errors import UnavailableError
from colosse.engines.endpoint import CAPABILITY_OF, Endpoint
from colosse.engines.faults import Fault

ATTEMPTS = 3
RETRY_PAUSE_S = 0.2
MAX_RETRY_AFTER_S = 5.0
AFFINITY_SLACK = 0.25
"""How much busier than the least busy endpoint, as a fraction of its limit, the one with the prefix may be."""
MAX_AFFINITIES = 20_000


@dataclass
class Outcome:
    """How one request of the pool went, for metrics.

    Attributes:
        status: `ok`, `error`, or `cancelled` (the caller left).
        attempts: endpoints asked, one after another.
        queue_s: seconds spent waiting for an endpoint.
        ttft_s: seconds from sending to the first piece of a streamed answer; None when there was none.
        duration_s: seconds from the request to its end, queue included.
        prompt_tokens: as counted by the engine; 0 when it did not say.
        completion_tokens: likewise.
    """

    model: str
    path: str
    endpoint: str = ""
    status: Literal["ok", "error", "cancelled"] = "ok"
    attempts: int = 0
    queue_s: float = 0.0
    ttft_s: float | None = None
    duration_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(eq=False)
class _Waiter:
    model: str
    capability: str
    affinity: str
    avoid: Collection[str]
    turn: asyncio.Future[Endpoint] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Pool:
    """The endpoints and the queue before them.

    Args:
        http: the client that calls them.
        ensure: called before each attempt with model and capability; returns when an endpoint should be there.
        observe: called once per request, when it ended.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        *,
        ensure: Callable[[str, str], Awaitable[object]] | None = None,
        observe: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self._http = http
        self._ensure = ensure
        self._observe = observe
        self._closed = False
        self._waiting: dict[_Waiter, None] = {}
        self._affinities: OrderedDict[tuple[str, str], str] = OrderedDict()

    @property
    def queued(self) -> int:
        """Requests that wait for an endpoint."""
        return len(self._waiting)

    def queued_for(self, model: str, capability: str) -> int:
        """Those of them for one model and capability."""
        return sum(w.model == model and w.capability == capability for w in self._waiting)

    def add(self, endpoint: Endpoint) -> None:
        """Use `endpoint` from now on."""
        self.endpoints[endpoint.name] = endpoint
        self._dispatch()

    def remove(self, name: str) -> None:
        """Give `name` no new requests; those in flight go on."""
        self.endpoints.pop(name, None)
        self._dispatch()

    def close(self) -> None:
        """Refuse requests from now on, and end those that wait or are being streamed."""
        self._closed = True
        for endpoint in self.endpoints.values():
            endpoint.abort()
        self.endpoints.clear()
        self._dispatch()

    def serving(self, model: str, capability: str) -> list[Endpoint]:
        """Endpoints that have the model with this capability, healthy or not."""
        return [e for e in self.endpoints.values() if e.serves(model, capability)]

    async def request(self, path: str, body: Mapping[str, Any], *, affinity: str = "") -> dict[str, Any]:
        """One JSON answer.

        Raises:
            ColosseError: no endpoint could answer.
        """
        outcome = Outcome(str(body["model"]), path)
        with _observed(outcome, self._observe):
            while True:
                try:
                    async with self._lease(outcome, body, affinity) as endpoint:
                        answer = await endpoint.post(self._http, path, body)
                        _count(outcome, answer)
                        return answer
                except Fault as fault:
                    await self._retry(outcome, fault)

    async def stream(self, path: str, body: Mapping[str, Any], *, affinity: str = "") -> AsyncGenerator[bytes, None]:
        """Payloads of a streamed answer. Close the iterator to cancel the generation.

        Engines are always asked for token counts; the extra piece that carries them is passed on only if `body` asks.

        Raises:
            ColosseError: no endpoint could answer, or the one that did failed in the middle.
        """
        outcome = Outcome(str(body["model"]), path)
        options = body.get("stream_options") or {}
        wants_usage = bool(options.get("include_usage"))
        body = {**body, "stream_options": {**options, "include_usage": True}}
        with _observed(outcome, self._observe):
            while True:
                began = time.monotonic()
                try:
                    async with (
                        self._lease(outcome, body, affinity) as endpoint,
                        aclosing(endpoint.stream(self._http, path, body)) as payloads,
                    ):
                        began = time.monotonic()
                        last = b""
                        async for payload in payloads:
                            if outcome.ttft_s is None:
                                outcome.ttft_s = time.monotonic() - began
                            last = payload
                            if wants_usage or not _only_usage(payload):
                                yield payload
                        _count(outcome, _decoded(last))
                        return
                except Fault as fault:
                    if outcome.ttft_s is not None:
                        raise fault.error from None
                    await self._retry(outcome, fault)

    async def _retry(self, outcome: Outcome, fault: Fault) -> None:
        """Pause before the next attempt, or raise what the caller should see."""
        if self._closed or not fault.retry or outcome.attempts >= ATTEMPTS or fault.retry_after_s > MAX_RETRY_AFTER_S:
            raise fault.error from None
        capability = CAPABILITY_OF[outcome.path]
        if fault.lacks and not self.serving(outcome.model, capability):
            raise fault.error from None
        await asyncio.sleep(max(fault.retry_after_s, RETRY_PAUSE_S * (outcome.attempts - 1)))

    @asynccontextmanager
    async def _lease(self, outcome: Outcome, body: Mapping[str, Any], affinity: str) -> AsyncIterator[Endpoint]:
        """An endpoint for one attempt; its health is judged by how the block ends."""
        capability = CAPABILITY_OF[outcome.path]
        if self._ensure is not None:
            await self._ensure(outcome.model, capability)
        outcome.attempts += 1
        avoid = {outcome.endpoint} if outcome.endpoint else set()
        asked = time.monotonic()
        endpoint = await self._acquire(_Waiter(outcome.model, capability, affinity or _prefix(body), avoid))
        outcome.queue_s += time.monotonic() - asked
        outcome.endpoint = endpoint.name
        healthy: bool | None = None
        try:
            yield endpoint
            healthy = True
        except Fault as fault:
            healthy = False if fault.sick else None
            endpoint.errors += 1
            endpoint.error = fault.error.message
            if fault.lacks:
                endpoint.lacking.add((outcome.model, capability))
            raise
        finally:
            endpoint.breaker.end(healthy)
            endpoint.in_flight -= 1
            self._dispatch()

    async def _acquire(self, waiter: _Waiter) -> Endpoint:
        self._waiting[waiter] = None
        self._dispatch()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                endpoint = waiter.turn.result()  # its turn came in the same moment
                endpoint.breaker.end(None)
                endpoint.in_flight -= 1
            raise
        finally:
            self._waiting.pop(waiter, None)
            if waiter.turn.cancelled():
                self._dispatch()

    def _dispatch(self) -> None:
        """Give free endpoints to those who wait, oldest first."""
        full: set[tuple[str, str]] = set()
        for waiter in list(self._waiting):
            kind = (waiter.model, waiter.capability)
            if kind in full or waiter.turn.done():
                continue
            usable = [e for e in self.serving(*kind) if e.breaker.allows()]
            if not usable:
                waiter.turn.set_exception(self._nobody(*kind))
                del self._waiting[waiter]
            elif free := [e for e in usable if e.in_flight < e.max_concurrency]:
                endpoint = self._pick(waiter, free)
                endpoint.in_flight += 1
                endpoint.requests += 1
                endpoint.breaker.begin()
                waiter.turn.set_result(endpoint)
                del self._waiting[waiter]
            else:
                full.add(kind)

    def _pick(self, waiter: _Waiter, free: list[Endpoint]) -> Endpoint:
        others = [e for e in free if e.name not in waiter.avoid] or free
        chosen = min(others, key=lambda e: (e.load, e.requests))
        if waiter.affinity and len(self.endpoints) > 1:
            key = (waiter.model, waiter.affinity)
            last = self._affinities.get(key)
            holder = next((e for e in others if e.name == last), None)
            if holder is not None and holder.load <= chosen.load + AFFINITY_SLACK:
                chosen = holder
            self._affinities[key] = chosen.name
            self._affinities.move_to_end(key)
            if len(self._affinities) > MAX_AFFINITIES:
                self._affinities.popitem(last=False)
        return chosen

    def _nobody(self, model: str, capability: str) -> Exception:
        """Why no endpoint can be had; worth another attempt where the engine is being restarted."""
        known = self.serving(model, capability)
        if not known:
            error = UnavailableError(f"no engine offers {capability} with {model!r} right now", hint="ask again")
            return Fault(error, retry=self._ensure is not None)
        said = "; ".join(sorted({e.error for e in known if e.error})) or "it failed repeatedly"
        return Fault(UnavailableError(f"{model!r} is not available right now: {said}", hint="try again in a moment"))


@contextmanager
def _observed(outcome: Outcome, observe: Callable[[Outcome], None]) -> Iterator[None]:
    """Fills in how a request ended and reports it, whatever happened."""
    began = time.monotonic()
    try:
        yield
    except BaseException as error:
        outcome.status = "error" if isinstance(error, Exception) else "cancelled"
        raise
    finally:
        outcome.duration_s = time.monotonic() - began
        observe(outcome)


def _prefix(body: Mapping[str, Any]) -> str:
    """What conversations without a name are recognised by: their first two messages, or the prompt's beginning."""
    head = body.get("messages", [])[:2] if "messages" in body else str(body.get("prompt", ""))[:512]
    return str(hash(json.dumps(head, default=str))) if head else ""


def _only_usage(payload: bytes) -> bool:
    return (b'"choices":[]' in payload or b'"choices": []' in payload) and b'"usage"' in payload


def _decoded(payload: bytes) -> dict[str, Any]:
    try:
        data = json.loads(payload)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _count(outcome: Outcome, answer: Mapping[str, Any]) -> None:
    usage = answer.get("usage") or {}
    outcome.prompt_tokens = int(usage.get("prompt_tokens") or 0)
    outcome.completion_tokens = int(usage.get("completion_tokens") or 0)
