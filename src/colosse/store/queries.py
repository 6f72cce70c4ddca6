"""What several parts ask of the database. Each function works in the session that the caller opened."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Select, bindparam, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from colosse.core.errors import NotFoundError, UserError
from colosse.store.tables import Document, Message, Response, Run, SkillRun, Thread, now

OwnedT = TypeVar("OwnedT", Thread, Message, Run, Response, SkillRun, Document)

RUNNING, COMPLETE, STOPPED, INTERRUPTED, FAILED = "running", "complete", "stopped", "interrupted", "failed"

SERVER_STOPPED = "server_stopped"
"""Error code of an answer that ended because the server did."""


async def get_owned(
    session: AsyncSession, table: type[OwnedT], id: str, owner_id: str, *, lock: bool = False
) -> OwnedT:
    """The row `id` of `table` if `owner_id` owns it: the one gate to every row that a caller names.

    Args:
        session: in a transaction.
        table: of the row.
        id: as the caller gave it.
        owner_id: who asks.
        lock: nobody else may change or delete the row until the transaction ends.

    Raises:
        NotFoundError: there is none, or it is somebody else's.
    """
    # Characters that no id has would be an error of their own in a database.
    row = await session.get(table, id, with_for_update=lock or None) if id.isascii() and id.isprintable() else None
    if row is None or row.owner_id != owner_id:
        raise NotFoundError(f"no {table.__name__.lower()} {id[:64]!r}", code=f"{table.__name__.lower()}_not_found")
    return row


async def list_threads(
    session: AsyncSession, owner_id: str, *, limit: int, cursor: str = ""
) -> tuple[list[Thread], str | None]:
    """A page of threads, the last changed first, and the cursor of the next page.

    Raises:
        UserError: the cursor is not one of ours.
    """
    query = select(Thread).where(Thread.owner_id == owner_id)
    if cursor:
        query = query.where(tuple_(Thread.updated_at, Thread.id) < tuple_(*_read_cursor(cursor)))
    rows = list(await session.scalars(query.order_by(Thread.updated_at.desc(), Thread.id.desc()).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    text = f"{last.updated_at.isoformat()} {last.id}"
    return rows[:limit], base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        moment, _, id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(" ")
        if not id.isprintable():
            raise ValueError
        when = datetime.fromisoformat(moment)
        when.astimezone()  # a year that no clock has overflows here
        if when.tzinfo is None:
            raise ValueError
    except (ValueError, OverflowError, binascii.Error):
        raise UserError("'cursor' is not one that this server gave", code="invalid_cursor", param="cursor") from None
    return when, id


async def thread_messages(session: AsyncSession, thread_id: str) -> list[Message]:
    """Every message of a thread, oldest first."""
    return list(await session.scalars(select(Message).where(Message.thread_id == thread_id).order_by(Message.id)))


def _path() -> Select[Message]:
    path = select(Message.id, Message.parent_id).where(Message.id == bindparam("leaf")).cte("path", recursive=True)
    parent = aliased(Message)
    path = path.union_all(select(parent.id, parent.parent_id).join(path, parent.id == path.c.parent_id))
    return select(Message).join(path, Message.id == path.c.id)


_PATH = _path()


async def path_to(session: AsyncSession, message_id: str) -> list[Message]:
    """The messages from the root of its tree down to `message_id`, both included; empty when it is gone."""
    rows = {row.id: row for row in await session.scalars(_PATH, {"leaf": message_id})}
    ordered: list[Message] = []
    step = rows.get(message_id)
    while step is not None:
        ordered.append(step)
        step = rows.get(step.parent_id or "")
    return ordered[::-1]


async def delete_thread(session: AsyncSession, thread_id: str) -> None:
    """Remove a thread with its messages and runs."""
    await session.execute(delete(Run).where(Run.thread_id == thread_id))
    await session.execute(delete(Message).where(Message.thread_id == thread_id))
    await session.execute(delete(Thread).where(Thread.id == thread_id))


async def interrupt_running(session: AsyncSession) -> int:
    """Mark what an earlier server left running as interrupted; returns how many runs that was."""
    reason = "the server stopped before the answer was complete"
    running = list(await session.scalars(select(Run).where(Run.status == RUNNING)))
    for run in running:
        run.status, run.error, run.error_code, run.finished_at = INTERRUPTED, reason, SERVER_STOPPED, now()
        await session.execute(
            update(Message)
            .where(Message.id == run.message_id, Message.status == RUNNING)
            .values(status=INTERRUPTED, error=reason, error_code=SERVER_STOPPED)
        )
    skills = await session.scalars(
        update(SkillRun)
        .where(SkillRun.status == RUNNING)
        .values(status=INTERRUPTED, error=reason, error_code=SERVER_STOPPED, finished_at=now())
        .returning(SkillRun.id)
    )
    return len(running) + len(skills.all())
