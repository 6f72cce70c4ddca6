"""What was fetched, kept in the database for a while."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete

from colosse.store import Store
from colosse.store.tables import Cached, now


def _key(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


async def kept(store: Store, kind: str, parts: Sequence[str]) -> dict[str, Any] | None:
    """The value of `parts`; None when there is none, or it is too old."""
    async with store.read() as session:
        row = await session.get(Cached, (kind, _key(parts)))
    return row.value if row is not None and row.expires_at > now() else None


async def keep(store: Store, kind: str, parts: Sequence[str], value: dict[str, Any], seconds: float) -> None:
    """Keep `value` for `seconds`; what has grown too old goes."""
    moment = now()
    row = Cached(
        kind=kind, key=_key(parts), value=value, created_at=moment, expires_at=moment + timedelta(seconds=seconds)
    )
    async with store.write() as session:
        await session.execute(delete(Cached).where(Cached.expires_at <= moment))
        await session.merge(row)
