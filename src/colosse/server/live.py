"""What chat answers and skills share while they are in memory: each is a task of its own, which no connection ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from colosse.core.errors import ConflictError, NotFoundError, RateLimitError, UnavailableError, nearest
from colosse.engines.schema import ModelInfo
from colosse.server.events import Clock, Events
from colosse.store.queries import INTERRUPTED, SERVER_STOPPED, STOPPED

if TYPE_CHECKING:
    from colosse.server.services import Services

HOUSEKEEPING_S = 5.0
RETAINED = 512
"""Finished runs of one kind whose events stay in memory, at most; what they said is in the database."""
CLOSE_S = 5.0
"""Seconds that runs get to save what they have when the server stops."""


@dataclass(kw_only=True)
class Live:
    """A run in memory: going on, or finished a little while ago.

    Attributes:
        log: its events.
        stop_as: the status it ends with when its task is cancelled, why, and the code of that.
        ending: it is being written; too late to stop it.
        finished: when, in monotonic seconds; None while it runs.
    """

    id: str
    log: Events
    stop_as: tuple[str, str, str] = (INTERRUPTED, "the server was stopped", SERVER_STOPPED)
    ending: bool = False
    finished: float | None = None
    task: asyncio.Task[None] = field(init=False)

    def cancel(self) -> None:
        """End it, unless it is ending already."""
        if not self.ending:
            self.task.cancel()


LiveT = TypeVar("LiveT", bound=Live)


class LiveRuns(Generic[LiveT]):
    """The runs of one kind of this server; an async context manager that ends them all when it closes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings.server
        self._clock = Clock()
        self._live: dict[str, LiveT] = {}
        self._starting = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._clock.run(), name="clock"),
            asyncio.create_task(self._keep_house(), name="house"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._services.close()
        running = [run.task for run in self._live.values() if not run.task.done()]
        if running:
            await asyncio.wait(running, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def running(self) -> int:
        """How many go on."""
        return sum(run.finished is None for run in self._live.values())

    @property
    def busy(self) -> int:
        """How many go on or are about to."""
        return self.running + self._starting

    def begin_close(self) -> None:
        """End those that go on as interrupted; does not wait."""
        for run in self._live.values():
            run.cancel()

    async def stop(self, id: str) -> None:
        """End a run as `stopped` and wait until that is written; nothing to do when it has ended."""
        run = self._live.get(id)
        if run is None or run.finished is not None:
            return
        run.stop_as = (STOPPED, "", "")
        run.cancel()
        await asyncio.wait([run.task])

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        """For the time that a run takes to start.

        Raises:
            RateLimitError: too many runs.
            UnavailableError: the server is stopping.
        """
        if self._services.closing:
            raise UnavailableError("the server is stopping", hint="try again in a moment")
        # A request that only repeats a key must not be refused, but counting it in is harmless.
        if self._services.busy >= self._settings.max_concurrent_runs:
            raise RateLimitError(
                f"{self._settings.max_concurrent_runs} answers are being written already",
                hint="try again when one is done; server.max_concurrent_runs is the limit",
            )
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    def _model(self, name: str) -> ModelInfo:
        """The model that a run asks for; an empty name is the default one.

        Raises:
            NotFoundError: unknown; names the nearest.
        """
        name = name or self._services.client.default_model
        known = {info.id: info for info in self._services.client.models()}
        if name not in known:
            raise NotFoundError(f"no model {name!r}", hint=nearest(name, known), code="model_not_found", param="model")
        return known[name]

    async def _keep_house(self) -> None:
        """Forget finished runs after a while, and keep silent connections alive."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            oldest = time.monotonic() - self._settings.run_retention_s
            finished = [run for run in self._live.values() if run.finished is not None]
            finished.sort(key=lambda run: run.finished or 0.0)
            for index, run in enumerate(finished):
                if (run.finished or 0.0) < oldest or index < len(finished) - RETAINED:
                    del self._live[run.id]
            for run in self._live.values():
                run.log.keep_alive()


def same_request(fingerprint: str, earlier: str) -> None:
    """Refuse an idempotency key that was used for another request.

    Raises:
        ConflictError: the two differ.
    """
    if fingerprint != earlier:
        raise ConflictError(
            "this Idempotency-Key was used for another request",
            hint="use a new one for each question",
            code="idempotency_key_reused",
            param="Idempotency-Key",
        )
