"""Responses in the database, each seen by its owner alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from colosse.core.errors import NotFoundError, UserError
from colosse.store import Store, get_owned
from colosse.store.tables import Response

Json = dict[str, Any]

UNFINISHED = ("queued", "in_progress")


async def insert(store: Store, owner_id: str, items: list[Json], response: Json) -> None:
    """Keep a new response with the items that it was asked with."""
    row = Response(
        id=response["id"],
        owner_id=owner_id,
        model=response["model"],
        previous_response_id=response["previous_response_id"],
        status=response["status"],
        input=items,
        output=response["output"],
        body=response,
    )
    async with store.write() as session:
        session.add(row)


async def update(store: Store, response: Json) -> None:
    """Write what became of a response that was inserted before; nothing if it was deleted meanwhile."""
    async with store.write() as session:
        if (row := await session.get(Response, response["id"])) is not None:
            _set_body(row, response)


def _set_body(row: Response, response: Json) -> None:
    row.status, row.output, row.body = response["status"], response["output"], dict(response)


async def remove(store: Store, id: str, owner_id: str) -> None:
    """Forget a response.

    Raises:
        NotFoundError: there is none of that id, or it is somebody else's.
    """
    async with store.write() as session:
        await get_owned(session, Response, id, owner_id)
        await session.execute(delete(Response).where(Response.id == id))


async def find(store: Store, id: str, owner_id: str) -> Response:
    """A response of this owner.

    Raises:
        NotFoundError: there is none of that id, or it is somebody else's.
    """
    async with store.read() as session:
        return await get_owned(session, Response, id, owner_id)


async def conversation(store: Store, id: str | None, owner_id: str) -> list[Json]:
    """The items of all turns up to and with response `id`, oldest first.

    Raises:
        UserError: one of them is missing, somebody else's, or has not ended.
    """
    turns: list[list[Json]] = []
    async with store.read() as session:
        step = id
        while step is not None:
            try:
                row = await get_owned(session, Response, step, owner_id)
            except NotFoundError:
                where = "" if step == id else f", which comes before {id!r}"
                raise UserError(
                    f"no previous response {step[:64]!r}{where}",
                    code="previous_response_not_found",
                    param="previous_response_id",
                ) from None
            if row.status in UNFINISHED:
                raise UserError(
                    f"the previous response {step!r} has not ended yet",
                    code="previous_response_unfinished",
                    param="previous_response_id",
                )
            turns.append([*row.input, *row.output])
            step = row.previous_response_id
    return [item for turn in reversed(turns) for item in turn]


async def fail_unfinished(store: Store, reason: str) -> None:
    """Mark what an earlier server left unfinished as failed."""
    async with store.write() as session:
        await _fail_rows(session, reason)


async def _fail_rows(session: AsyncSession, reason: str) -> None:
    for row in await session.scalars(select(Response).where(Response.status.in_(UNFINISHED))):
        _set_body(row, {**row.body, "status": "failed", "error": {"code": "server_error", "message": reason}})
