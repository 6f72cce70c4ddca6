"""Endpoints that somebody else runs: what they serve and whether they live, asked in the background."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp

from colosse.core.settings import EndpointSettings, reveal
from colosse.engines.endpoint import Endpoint, Served
from colosse.engines.faults import Fault
from colosse.engines.pool import Pool
from colosse.engines.schema import EndpointStatus, ModelInfo

PROBE_EVERY_S = 15.0


class Remote:
    """A configured endpoint, in the pool from the start; being down only opens its circuit breaker."""

    def __init__(self, settings: EndpointSettings, http: aiohttp.ClientSession, pool: Pool) -> None:
        self._renamed = settings.models
        self._http = http
        self._task: asyncio.Task[None] | None = None
        self.endpoint = Endpoint(
            name=settings.name,
            url=settings.url,
            key=reveal(settings.api_key),
            served={ours: Served(theirs) for ours, theirs in settings.models.items()},
            max_concurrency=settings.max_concurrency,
            engine=settings.name,
        )
        self._pool = pool
        pool.add(self.endpoint)

    def start(self) -> asyncio.Task[Any]:
        """Probe now and then again and again; the returned task is the first probe."""
        first = asyncio.create_task(self.probe())
        self._task = asyncio.create_task(self._watch(first), name=f"probe {self.endpoint.name}")
        return first

    async def stop(self) -> None:
        """Stop probing. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _watch(self, first: asyncio.Task[None]) -> None:
        await first
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            await self.probe()

    async def probe(self) -> None:
        """Ask for its models; a good answer closes the circuit breaker, none counts as a failure."""
        endpoint = self.endpoint
        try:
            listed = await endpoint.models(self._http)
        except Fault as fault:
            endpoint.error = fault.error.message
            if fault.sick:
                endpoint.breaker.end(healthy=False)
            return
        endpoint.error = ""
        endpoint.breaker.end(healthy=True)
        endpoint.lacking.clear()
        if self._renamed:
            unknown = Served("")
            for ours, theirs in self._renamed.items():
                entry = listed.get(theirs, unknown)
                endpoint.served[ours] = Served(theirs, entry.max_model_len, entry.capabilities)
        else:
            endpoint.served = listed
        self._pool.add(endpoint)

    def models(self) -> list[ModelInfo]:
        """What it serves, under our names."""
        endpoint = self.endpoint
        healthy = endpoint.breaker.state == "closed"
        return [
            ModelInfo(
                id=name,
                state="ready" if healthy else "failed",
                engine=endpoint.name,
                max_model_len=served.max_model_len,
                capabilities=list(served.capabilities),
                error="" if healthy else endpoint.error,
            )
            for name, served in endpoint.served.items()
        ]

    def status(self) -> EndpointStatus:
        """How it is doing."""
        endpoint = self.endpoint
        return EndpointStatus(
            name=endpoint.name,
            engine="remote",
            state=endpoint.breaker.state,
            models=list(endpoint.served),
            in_flight=endpoint.in_flight,
            max_concurrency=endpoint.max_concurrency,
            requests=endpoint.requests,
            errors=endpoint.errors,
            error=endpoint.error,
        )
