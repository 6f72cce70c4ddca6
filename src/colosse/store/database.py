"""The database: opening it, locking it, and transactions on it.

On SQLite one writer at a time holds the write lock of this process and begins with `BEGIN IMMEDIATE`, so that our own
tasks never meet `database is locked`; readers run beside it (WAL). Every commit is on the disk when it returns
(`synchronous=FULL`; measured at 0.3 ms on an SSD).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from colosse.core.errors import ColosseError, UnavailableError, UserError
from colosse.store.lock import AdvisoryLock, FileLock
from colosse.store.migrate import HEAD, migrate, revision

_DISK_ERRORS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)


class Store:
    """An open database; made by `open_store`.

    `read()` and `write()` give a session in a transaction. Do not open one inside the other: `write()` waits for the
    other writers of this process.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_size": 8, "max_overflow": 8, "pool_timeout": 30}
        if not self.is_sqlite:
            options["pool_pre_ping"] = True
        self.engine = create_async_engine(url, **options)
        write_engine = self.engine.execution_options(colosse_write=True)
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        self._readers = async_sessionmaker(self.engine, expire_on_commit=False)
        self._writers = async_sessionmaker(write_engine, expire_on_commit=False)
        self._write_lock: contextlib.AbstractAsyncContextManager[Any] = (
            asyncio.Lock() if self.is_sqlite else contextlib.nullcontext()
        )

    @property
    def name(self) -> str:
        """The database's address without its password."""
        return str(self.url.database) if self.is_sqlite else self.url.render_as_string(hide_password=True)

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that sees one state of the database and changes nothing."""
        async with self._readers() as session:
            yield session

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A session whose changes are committed, all or none, when the block ends.

        Raises:
            UnavailableError: the disk is full or the database cannot be written.
        """
        async with self._write_lock:
            try:
                async with self._writers.begin() as session:
                    yield session
            except DBAPIError as error:
                if error.connection_invalidated or getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _DISK_ERRORS:
                    raise UnavailableError(
                        f"cannot write to the database {self.name}: {error.orig}",
                        hint="free some space or mend the disk, then try again",
                        code="database_unavailable",
                    ) from error
                raise

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


@contextlib.asynccontextmanager
async def open_store(database_url: str, *, holder: str = "") -> AsyncIterator[Store]:
    """Open the database, bring it to this version's schema, and close it at the end.

    Args:
        database_url: SQLAlchemy URL with an async driver (`Settings.database_url`).
        holder: a line about this server; the instance lock is held under it. Empty for a command, which takes the lock
            only while it must change the schema.

    Raises:
        ConflictError: another server holds the database, or it is of a newer version.
        UnavailableError: it cannot be reached.
        UserError: the URL is not one that we support.
    """
    url = _checked(database_url)
    store = Store(url)
    lock = FileLock(Path(str(url.database)), holder) if store.is_sqlite else AdvisoryLock(url, holder)
    try:
        try:
            await _prepare(store, lock, holder)
        except (DBAPIError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # the command has a line for it
                raise
            raise UnavailableError(
                f"cannot open the database {store.name}: {str(getattr(error, 'orig', None) or error).splitlines()[0]}",
                hint="check its address, its permissions and that it is a database of Colosse",
                code="database_unavailable",
            ) from error
        yield store
    finally:
        await store.close()
        await lock.release()


async def _prepare(store: Store, lock: FileLock | AdvisoryLock, holder: str) -> None:
    if store.is_sqlite:
        Path(str(store.url.database)).parent.mkdir(parents=True, exist_ok=True)
    if holder:
        await lock.acquire()
    current = await revision(store.engine)
    if current == HEAD:
        return
    if not holder:
        await lock.acquire()
    await migrate(store.engine, current, store.name)
    if not holder:
        await lock.release()


def _checked(database_url: str) -> URL:
    try:
        url = make_url(database_url)
        url.get_dialect()
        if url.get_backend_name() == "postgresql" and url.get_driver_name() == "asyncpg":
            importlib.import_module("asyncpg")
    except (ArgumentError, NoSuchModuleError) as error:
        raise UserError(
            f"'database' is not an address that Colosse knows: {error}",
            hint="postgresql://user:password@host/name, or leave it empty for SQLite",
            code="invalid_setting",
            param="database",
        ) from None
    except ModuleNotFoundError:
        raise ColosseError(
            "PostgreSQL needs a driver that is not installed", hint="pip install 'colosse[postgres]'"
        ) from None
    return url


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # We begin transactions ourselves (see `_begin_sqlite`), which also makes DDL transactional.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("colosse_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
