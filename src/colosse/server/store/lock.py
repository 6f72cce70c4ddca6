"""One server per database: the lock that a server holds while it runs, and that says who holds it.

A lock goes away with the process that holds it, however that ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from colosse.core.errors import ConflictError


class FileLock:
    """The lock of a SQLite database: `<file>.lock`, which holds a line about its holder.

    Raises:
        ConflictError: at `acquire`, when another process holds it; the message says which.
    """

    def __init__(self, database: Path, holder: str) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._holder = holder
        self._fd = -1

    async def acquire(self) -> None:
        """Take it, or say who has it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 500).decode(errors="replace").strip()
            os.close(fd)
            raise _held(str(self.path.with_name(self.path.name.removesuffix(".lock"))), holder) from None
        os.ftruncate(fd, 0)
        os.write(fd, self._holder.encode())
        self._fd = fd

    async def release(self) -> None:
        """Let it go; the file stays, since removing it would let two holders in."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


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
