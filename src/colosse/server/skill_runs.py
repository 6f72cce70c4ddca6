"""Calls of skills over the API: each a task of its own, its events and its typed result."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from colosse.core.errors import ColosseError
from colosse.server.api import schema
from colosse.server.errors import as_colosse_error
from colosse.server.events import encode_event
from colosse.server.live import Live, LiveRuns, same_request
from colosse.server.skill_events import SkillLog, storable
from colosse.server.skill_inputs import SkillIn
from colosse.server.skills import Caller, Skill
from colosse.store.queries import COMPLETE, FAILED, RUNNING
from colosse.store.tables import SkillRun, now

log = structlog.get_logger(__name__)

RETRY_S = 2.0
"""Pause after a result could not be written, such as on a full disk."""

_ROW_ONLY = load_only(*(getattr(SkillRun, name) for name in schema.SkillRunRow.model_fields))


@dataclass(kw_only=True)
class LiveSkill(Live):
    """A call in memory; `run` is what readers see when it has ended."""

    log: SkillLog
    owner_id: str
    skill: Skill
    input: SkillIn
    run: schema.SkillRun


class SkillRuns(LiveRuns[LiveSkill]):
    """Every call of a skill of this server."""

    async def start(
        self, owner_id: str, skill: Skill, request: SkillIn, idempotency_key: str | None = None
    ) -> schema.SkillRun:
        """Note the call and begin it.

        Args:
            owner_id: who asks.
            skill: for what.
            request: its input.
            idempotency_key: the caller's own name for this call; a second call with it gets the first one's run.

        Raises:
            NotFoundError: no such model.
            ConflictError: the key was used for another request.
            RateLimitError: too many runs.
            UnavailableError: the server is stopping.
        """
        fingerprint = hashlib.sha256(f"{skill.name} {request.model_dump_json()}".encode()).hexdigest()
        with self._admitted():
            try:
                async with self._services.store.write() as session:
                    earlier = await _earlier(session, owner_id, idempotency_key, fingerprint)
                    if earlier is not None:
                        return earlier
                    self._model(request.model)
                    row = SkillRun(
                        owner_id=owner_id,
                        skill=skill.name,
                        input=storable(request.stored()),
                        status=RUNNING,
                        idempotency_key=idempotency_key,
                        fingerprint=fingerprint,
                    )
                    session.add(row)
                    await session.flush()
                    started = schema.SkillRun.model_validate(row)
            except IntegrityError:  # two calls with one key at once
                async with self._services.store.read() as session:
                    earlier = await _earlier(session, owner_id, idempotency_key, fingerprint)
                if earlier is None:
                    raise
                return earlier
            run = LiveSkill(
                id=started.id, log=SkillLog(self._clock), owner_id=owner_id, skill=skill, input=request, run=started
            )
            self._live[run.id] = run
            run.task = asyncio.create_task(self._work(run), name=run.id)
            if self._services.closing:
                run.cancel()
        return started

    def events(self, row: SkillRun, after: int | None) -> AsyncIterator[bytes]:
        """The events of a call, as bytes of a server-sent stream.

        Args:
            row: as the database has it; the caller checked its owner.
            after: the last event that the reader has; None for none.
        """
        live = self._live.get(row.id)
        return live.log.read(after) if live is not None else _recorded(row)

    async def _work(self, run: LiveSkill) -> None:
        """The life of a call: work, then write how that ended, then tell the readers."""
        status, error, code = COMPLETE, "", ""
        result: dict[str, Any] | None = None
        file: tuple[str, bytes] | None = None
        services = self._services
        try:
            by = Caller(services.client, services.store, run.owner_id, services.settings.search, run.log)
            done = await run.skill.call(by, run.input)
            result = storable(done.model_dump(mode="json"))
            file = run.skill.file(run.input, done) if run.skill.file else None
        except asyncio.CancelledError:
            status, error, code = run.stop_as
        except Exception as failure:
            known = as_colosse_error(failure)
            status, error, code = FAILED, str(known), known.code
            log.warning("skill failed", run=run.id, skill=run.skill.name, error=error)
        run.ending = True
        ended = {"status": status, "error": error, "error_code": code, "result": result, "finished_at": now()}
        name, data = file or (None, None)
        await self._save(run.id, {**ended, "file_name": name, "file": data})
        run.run = run.run.model_copy(update={**ended, "file_name": name})
        run.finished = time.monotonic()
        run.log.close(run.run.model_dump(mode="json"))
        services.metrics.runs.labels(status).inc()

    async def _save(self, id: str, ended: dict[str, Any]) -> None:
        """Write how a call ended, when the database can be written; a server that stops does not wait for that."""
        while True:
            try:
                async with self._services.store.write() as session:
                    row = await session.get_one(SkillRun, id)
                    for name, value in ended.items():
                        setattr(row, name, value)
                return
            except ColosseError as error:
                log.error("cannot save a skill's result; trying again", error=str(error))
                if self._services.closing:
                    return
                await asyncio.sleep(RETRY_S)


async def list_skill_runs(
    session: AsyncSession, owner_id: str, *, limit: int, cursor: str = ""
) -> tuple[list[SkillRun], str | None]:
    """A page of calls without their inputs and results, the newest first, and the cursor of the next page."""
    query = select(SkillRun).options(_ROW_ONLY).where(SkillRun.owner_id == owner_id)
    if cursor:
        query = query.where(SkillRun.id < cursor)
    rows = list(await session.scalars(query.order_by(SkillRun.id.desc()).limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


async def _earlier(
    session: AsyncSession, owner_id: str, idempotency_key: str | None, fingerprint: str
) -> schema.SkillRun | None:
    if idempotency_key is None:
        return None
    query = select(SkillRun).where(SkillRun.owner_id == owner_id, SkillRun.idempotency_key == idempotency_key)
    row = await session.scalar(query)
    if row is None:
        return None
    same_request(fingerprint, row.fingerprint)
    return schema.SkillRun.model_validate(row)


async def _recorded(row: SkillRun) -> AsyncIterator[bytes]:
    """The events of a call that is not in memory any more: nothing on the way, then how it ended."""
    yield encode_event(1, "snapshot", {"step": "", "parts": None, "text": "", "partials": []})
    yield encode_event(2, "done", schema.SkillRun.model_validate(row).model_dump(mode="json"))
