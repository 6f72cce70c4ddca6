"""Writes what runs say to the database: all of them in one transaction, a few times a second.

A run that ends is written at once, together with whatever else is waiting, and who ends it can wait for that. The pause
after a write grows with the time it took, so that saving never takes more than a fifth of the time.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import bindparam, update

from colosse.core.errors import ColosseError
from colosse.server.events import EventLog
from colosse.store import Store, keys
from colosse.store.tables import Message, Run

log = structlog.get_logger(__name__)

SAVE_S = 0.25
RETRY_S = 2.0
"""Pause after a write that failed, such as on a full disk."""

_TEXT = (
    update(Message.__table__)  # type: ignore[arg-type]
    .where(Message.__table__.c.id == bindparam("message_id"))
    .values(content=bindparam("content"), reasoning=bindparam("reasoning"))
)
_END_MESSAGE = (
    update(Message.__table__)  # type: ignore[arg-type]
    .where(Message.__table__.c.id == bindparam("message_id"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in ("content", "reasoning", "status", "error", "error_code", "usage", "sources", "files")
        }
    )
)
_END_RUN = (
    update(Run.__table__)  # type: ignore[arg-type]
    .where(Run.__table__.c.id == bindparam("run_id"))
    .values({name: bindparam(f"new_{name}") for name in ("status", "error", "error_code", "finished_at")})
)


@dataclass
class Ending:
    """How a run ended, to be written."""

    run_id: str
    message_id: str
    log: EventLog
    status: str
    error: str
    error_code: str
    usage: dict[str, Any] | None
    finished_at: datetime
    sources: list[dict[str, Any]] | None = None
    files: list[dict[str, Any]] | None = None
    saved: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Saver:
    """The one task that writes the text of running messages."""

    def __init__(self, store: Store, key_last_used: dict[str, datetime]) -> None:
        self._store = store
        self._key_last_used = key_last_used
        self._running: dict[str, EventLog] = {}
        self._saved_events: dict[str, int] = {}
        self._endings: list[Ending] = []
        self._wake = asyncio.Event()

    def watch(self, message_id: str, log: EventLog) -> None:
        """Write the text of `log` to `message_id` as it grows."""
        self._running[message_id] = log

    async def end(self, ending: Ending) -> None:
        """Write how a run ended; returns when it is on the disk.

        When the database cannot be written, this waits until it can: the run stays `running` there, and so becomes
        `interrupted` if the server stops before.
        """
        self._running.pop(ending.message_id, None)
        self._saved_events.pop(ending.message_id, None)
        self._endings.append(ending)
        self._wake.set()
        await asyncio.shield(ending.saved)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            start = time.perf_counter()
            try:
                await self.write()
                pause = max(SAVE_S, 4 * (time.perf_counter() - start))
            except ColosseError as error:
                log.error("cannot save answers; trying again", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                continue

    async def write(self) -> None:
        """One transaction with everything that changed."""
        self._wake.clear()
        changed = [
            (id, log, size) for id, log in self._running.items() if (size := log.size) != self._saved_events.get(id, 0)
        ]
        endings, used = self._endings, dict(self._key_last_used)
        if not (changed or endings or used):
            return
        self._endings = []
        try:
            async with self._store.write() as session:
                connection = await session.connection()
                if changed:
                    await connection.execute(
                        _TEXT,
                        [
                            {"message_id": id, "content": log.content, "reasoning": log.reasoning}
                            for id, log, _ in changed
                        ],
                    )
                if endings:
                    rows = [_row(ending) for ending in endings]
                    await connection.execute(_END_MESSAGE, rows)
                    await connection.execute(_END_RUN, rows)
                await keys.touch_keys(session, used)
        except BaseException:
            self._endings = endings + self._endings
            raise
        for id, _, size in changed:
            if id in self._running:
                self._saved_events[id] = size
        for ending in endings:
            if not ending.saved.done():
                ending.saved.set_result(None)
        for id, moment in used.items():
            if self._key_last_used.get(id) == moment:
                del self._key_last_used[id]


def _row(ending: Ending) -> dict[str, Any]:
    return {
        "run_id": ending.run_id,
        "message_id": ending.message_id,
        "new_content": ending.log.content,
        "new_reasoning": ending.log.reasoning,
        "new_status": ending.status,
        "new_error": ending.error,
        "new_error_code": ending.error_code,
        "new_usage": ending.usage,
        "new_sources": ending.sources,
        "new_files": ending.files,
        "new_finished_at": ending.finished_at,
    }
