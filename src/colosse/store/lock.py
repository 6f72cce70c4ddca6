"""One server per database: the lock that a server holds while it runs, and that says who holds it.

A lock goes away with the process that holds it, however that ends.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from colosse.core.errors import ConflictError
from colosse.core.files import try_lock


class FileLock:
    """The lock of a SQLite database: `<file>.lock`, which holds a line about its holder.

    Raises:
        ConflictError: at `acquire`, when another process holds it; the message says which.
    """

    def __init__(self, database: Path, holder: str) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._holder = holder
        self._handle: IO[bytes] | None = None

    async def acquire(self) -> None:
        """Take it, or say who has it."""
        self._handle = try_lock(self._path)
        if self._handle is None:
            raise _held(str(self._database), self._path.read_text(errors="replace").strip())
        self._handle.truncate(0)
        self._handle.write(self._holder.encode())
        self._handle.flush()

    async def release(self) -> None:
        """Let it go."""
        if self._handle is not None:
            self._handle.truncate(0)
            self._handle.close()
            self._handle = None


class AdvisoryLock:
    """The lock of a PostgreSQL database: an advisory lock on a connection of its own, named after its holder.

    Raises:
        ConflictError: at `acquire`, when another server holds it; the message says which.
    """

    _KEY = int.from_bytes(hashlib.sha256(b"colosse").digest()[:7], "big")

    def __init__(self, url: URL, holder: str) -> None:
        # PostgreSQL cuts names at 63 bytes.
        self._engine: AsyncEngine = create_async_engine(
            url, connect_args={"server_settings": {"application_name": f"colosse {holder}"[:63]}}
        )
        self._name = url.render_as_string(hide_password=True)
        self._connection: AsyncConnection | None = None

    async def acquire(self) -> None:
        """Take it, or say who has it."""
        connection = await self._engine.connect()
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        if not await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._KEY}):
            holder = await connection.scalar(
                text(
                    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
                    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
                    "AND ((l.classid::bigint << 32) | l.objid::bigint) = :key "
                    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                ),
                {"key": self._KEY},
            )
            await connection.close()
            await self._engine.dispose()
            raise _held(self._name, str(holder or "").removeprefix("colosse "))
        self._connection = connection

    async def release(self) -> None:
        """Let it go."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        await self._engine.dispose()


def _held(database: str, holder: str) -> ConflictError:
    return ConflictError(
        f"another server is using the database {database}: {holder or 'it did not say who it is'}",
        hint="stop it, or give this one its own COLOSSE_HOME or database",
        code="database_in_use",
    )
