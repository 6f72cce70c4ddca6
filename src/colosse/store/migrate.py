"""Bringing a database to the schema of this version: forward only, in one transaction, with a copy made before.

Alembic is imported only when there is something to do, so that a start with a current database stays quick.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from colosse.core.errors import ColosseError, ConflictError

HEAD = "0002"
"""The newest revision in `migrations/versions`; a test compares the two."""


async def revision(engine: AsyncEngine) -> str:
    """The revision a database is at; empty for a new one."""

    def read(connection: Connection) -> str:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return connection.scalar(text("SELECT version_num FROM alembic_version")) or ""

    async with engine.connect() as connection:
        return await connection.run_sync(read)


async def migrate(engine: AsyncEngine, current: str, name: str) -> None:
    """Bring the database from revision `current` to `HEAD`.

    Args:
        engine: its connections begin transactions that also cover DDL.
        current: what `revision` says.
        name: the database's address, for messages.

    Raises:
        ConflictError: the database was written by a newer version of Colosse.
        ColosseError: a migration failed; the database is as it was.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current and current not in known:
        raise ConflictError(
            f"the database {name} was written by a newer Colosse (schema {current}, this one knows up to {HEAD})",
            hint="upgrade Colosse, or use another COLOSSE_HOME or database",
            code="database_too_new",
        )
    backup = _back_up(engine, current)

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ColosseError(
            f"cannot bring the database {name} from schema {current or 'none'} to {HEAD}: {reason}",
            hint="nothing was changed" + (f"; a copy from before is at {backup}" if backup else ""),
            code="migration_failed",
        ) from error


def _back_up(engine: AsyncEngine, current: str) -> Path | None:
    """Copy an existing SQLite file, with what its journal holds, before it is changed."""
    if not current or engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    source = Path(engine.url.database)
    target = source.with_name(f"{source.name}.before-{HEAD}")
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    with sqlite3.connect(source) as old, sqlite3.connect(partial) as new:
        old.backup(new)
    new.close()
    old.close()
    partial.replace(target)
    return target
