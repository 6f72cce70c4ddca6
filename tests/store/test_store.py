from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, select, text

from colosse.core.errors import ColosseError, ConflictError, NotFoundError, UnavailableError, UserError
from colosse.store import Store, get_owned, migrate, open_store, queries, tables
from colosse.store import keys as key_queries
from colosse.store.tables import Message, Run, Thread, User, new_id, now


async def add_thread(store: Store, owner: str = "local", **fields: object) -> Thread:
    async with store.write() as session:
        user = await key_queries.ensure_user(session, owner)
        thread = Thread(owner_id=user.id, **fields)
        session.add(thread)
    return thread


async def test_migrations_make_exactly_the_tables_of_the_models(database_url: str) -> None:
    async with open_store(database_url) as store, store.engine.connect() as connection:
        assert await migrate.revision(store.engine) == migrate.HEAD
        # The full-text index is made by the migration alone.
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: "passages_words" not in str(name),
        }
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts=options), tables.Base.metadata)
        )
    assert differences == []


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


async def test_reopening_keeps_what_was_written(database_url: str) -> None:
    async with open_store(database_url) as store:
        thread = await add_thread(store, title="Été 🎈")
    async with open_store(database_url) as store, store.read() as session:
        found = await get_owned(session, Thread, thread.id, "local")
        assert (found.title, found.created_at) == ("Été 🎈", thread.created_at)
        assert found.created_at.tzinfo is not None


async def test_text_that_databases_refuse_is_kept_without_what_they_refuse(database_url: str) -> None:
    async with open_store(database_url) as store:
        thread = await add_thread(store, title="a\0b\ud800c")
        async with store.read() as session:
            assert await session.scalar(select(Thread.title).where(Thread.id == thread.id)) == "a\ufffdb\ufffdc"


@pytest.mark.parametrize("id", ["nope", "", "\0", "é", "x" * 10_000, "'; DROP TABLE threads; --"])
async def test_an_unknown_id_is_not_found(database_url: str, id: str) -> None:
    async with open_store(database_url) as store, store.read() as session:
        with pytest.raises(NotFoundError):
            await get_owned(session, Thread, id, "local")


async def test_somebody_elses_row_is_not_found_either(database_url: str) -> None:
    async with open_store(database_url) as store:
        thread = await add_thread(store, "alice")
        async with store.read() as session:
            await get_owned(session, Thread, thread.id, thread.owner_id)
            with pytest.raises(NotFoundError) as theirs:
                await get_owned(session, Thread, thread.id, "local")
            with pytest.raises(NotFoundError) as nobodys:
                await get_owned(session, Thread, "thread_0", "local")
    assert str(theirs.value).replace(thread.id, "") == str(nobodys.value).replace("thread_0", "")


async def test_pages_of_threads_are_complete_and_in_order(database_url: str) -> None:
    async with open_store(database_url) as store:
        moment = now()
        for index in range(7):  # all of one moment: the order must still be total
            await add_thread(store, title=str(index), updated_at=moment)
        await add_thread(store, "alice")
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            async with store.read() as session:
                rows, cursor = await queries.list_threads(session, "local", limit=3, cursor=cursor)
            seen += [row.title for row in rows]
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


@pytest.mark.parametrize("cursor", ["x", "é", "%%%", "MjAyNg", "OTk5OS05OQ==", "MDAwMS0wMS0wMSAx", "a" * 5])
async def test_a_foreign_cursor_is_refused(database_url: str, cursor: str) -> None:
    async with open_store(database_url) as store, store.read() as session:
        with pytest.raises(UserError, match="cursor"):
            await queries.list_threads(session, "local", limit=3, cursor=cursor)


async def test_the_path_to_a_message_is_its_branch_from_the_root(database_url: str) -> None:
    async with open_store(database_url) as store:
        thread = await add_thread(store)
        async with store.write() as session:
            parent, chain = None, []
            for index in range(1500):  # deeper than SQLite's limit on nested triggers
                row = Message(
                    id=new_id("msg"), owner_id="local", thread_id=thread.id, parent_id=parent, role="user", status="x"
                )
                row.content = str(index)
                session.add(row)
                parent = row.id
                chain.append(row.id)
                if index % 3 == 0:
                    session.add(
                        Message(owner_id="local", thread_id=thread.id, parent_id=parent, role="assistant", status="x")
                    )
        async with store.read() as session:
            path = await queries.path_to(session, chain[1000])
            assert [row.id for row in path] == chain[:1001]
        async with store.write() as session:
            await queries.delete_thread(session, thread.id)
        async with store.read() as session:
            assert await queries.thread_messages(session, thread.id) == []


async def test_a_failed_write_changes_nothing(database_url: str) -> None:
    async with open_store(database_url) as store:
        with pytest.raises(RuntimeError):
            async with store.write() as session:
                session.add(User(id="u", name="u"))
                await session.flush()
                raise RuntimeError
        async with store.read() as session:
            assert await session.get(User, "u") is None


async def test_many_writers_and_readers_at_once(database_url: str) -> None:
    async with open_store(database_url) as store:
        thread = await add_thread(store)

        async def write(index: int) -> None:
            async with store.write() as session:
                row = Message(owner_id="local", thread_id=thread.id, role="user", status="x", content=str(index))
                session.add(row)

        async def read() -> None:
            async with store.read() as session:
                await queries.thread_messages(session, thread.id)

        await asyncio.gather(*(work for index in range(50) for work in (write(index), read())))
        async with store.read() as session:
            assert len(await queries.thread_messages(session, thread.id)) == 50


async def test_a_second_server_on_one_database_is_refused_and_told_who_has_it(database_url: str) -> None:
    async with open_store(database_url, holder="pid=7 url=http://127.0.0.1:8420"):
        with pytest.raises(ConflictError, match=r"pid=7 url=http://127\.0\.0\.1:8420"):
            async with open_store(database_url, holder="pid=8"):
                pass
        async with open_store(database_url) as command, command.read() as session:  # a command may look and write
            await session.execute(select(Thread))
    async with open_store(database_url, holder="pid=9"):
        pass


async def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    async with open_store(database_url) as store, store.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConflictError, match="newer Colosse"):
        async with open_store(database_url):
            pass


async def test_a_failed_migration_refuses_changes_nothing_and_keeps_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "colosse.db"
    with sqlite3.connect(path) as old:  # an existing database whose next migration cannot work
        old.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        old.execute("CREATE TABLE threads (mine TEXT)")
        old.execute("INSERT INTO threads VALUES ('precious')")
    old.close()
    with pytest.raises(ColosseError, match="table threads already exists"):
        async with open_store(f"sqlite+aiosqlite:///{path}"):
            pass
    with sqlite3.connect(path) as now_:
        assert now_.execute("SELECT mine FROM threads").fetchall() == [("precious",)]
        assert now_.execute("SELECT name FROM sqlite_master WHERE name = 'users'").fetchall() == []
    now_.close()


async def test_an_existing_file_is_copied_before_it_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'colosse.db'}"
    async with open_store(url) as store:
        thread = await add_thread(store, title="kept")
        # As if it came from an earlier version: Alembic finds nothing to do, since the revision is known.
        monkeypatch.setattr(migrate, "HEAD", "9999")
        await migrate.migrate(store.engine, "0002", store.name)
    with sqlite3.connect(tmp_path / "colosse.db.before-9999") as copy:
        assert copy.execute("SELECT id, title FROM threads").fetchall() == [(thread.id, "kept")]
    copy.close()


async def test_a_full_disk_is_a_clear_error_and_loses_nothing_written_before(tmp_path: Path) -> None:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'colosse.db'}") as store:
        thread = await add_thread(store, title="before")

        @event.listens_for(store.engine.sync_engine, "begin")
        def small(connection: object) -> None:
            connection.exec_driver_sql("PRAGMA max_page_count = 60")  # type: ignore[attr-defined]

        with pytest.raises(UnavailableError, match=r"full.*free some space"):
            await add_thread(store, title="x" * 2_000_000)
        async with store.read() as session:
            assert (await get_owned(session, Thread, thread.id, "local")).title == "before"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "not an address"),
        ("oracle9://x/y", "not an address"),
        ("sqlite+aiosqlite:////proc/nope/colosse.db", "No such file"),
        ("postgresql+asyncpg://nobody@127.0.0.1:1/x", "cannot open the database"),
    ],
)
async def test_a_database_that_cannot_be_opened(url: str, says: str) -> None:
    with pytest.raises(ColosseError, match=says):
        async with open_store(url, holder="pid=1"):
            pass


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "colosse.db").write_bytes(b"something else " * 100)
    with pytest.raises(UnavailableError, match="not a database"):
        async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'colosse.db'}"):
            pass


async def test_what_was_left_running_becomes_interrupted(database_url: str) -> None:
    async with open_store(database_url) as store:
        thread = await add_thread(store)
        async with store.write() as session:
            answer = Message(
                owner_id="local", thread_id=thread.id, role="assistant", status="running", content="so far"
            )
            session.add(answer)
            await session.flush()
            run = Run(
                owner_id="local",
                thread_id=thread.id,
                message_id=answer.id,
                user_message_id=answer.id,
                status="running",
                model="m",
            )
            session.add(run)
        async with store.write() as session:
            assert await queries.interrupt_running(session) == 1
            assert await queries.interrupt_running(session) == 0
        async with store.read() as session:
            message = await get_owned(session, Message, answer.id, "local")
            assert (message.status, message.content) == ("interrupted", "so far")
            assert (message.error_code, "the server stopped" in message.error) == (queries.SERVER_STOPPED, True)
            assert (await get_owned(session, Run, run.id, "local")).finished_at is not None


def test_ids_sort_by_time_and_do_not_repeat() -> None:
    ids = [new_id("msg") for _ in range(5000)]
    assert len(set(ids)) == 5000
    assert sorted(ids) == ids
