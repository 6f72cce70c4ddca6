from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from colosse.core.errors import UnavailableError
from colosse.server import saver as saver_module
from colosse.server.events import Clock, EventLog
from colosse.server.saver import Ending, Saver
from colosse.store import Store, get_owned, open_store
from colosse.store import keys as key_queries
from colosse.store.tables import Message, Run, Thread, now
from tests.server.conftest import eventually


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'colosse.db'}") as store:
        yield store


async def add_run(store: Store) -> Run:
    async with store.write() as session:
        await key_queries.ensure_user(session, "local")
        thread = Thread(owner_id="local")
        session.add(thread)
        await session.flush()
        answer = Message(owner_id="local", thread_id=thread.id, role="assistant", status="running")
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
    return run


def ending(run: Run, log: EventLog, **fields: object) -> Ending:
    given = {"status": "complete", "error": "", "error_code": "", "usage": None, "finished_at": now(), **fields}
    return Ending(run_id=run.id, message_id=run.message_id, log=log, **given)


async def content(store: Store, run: Run) -> str:
    async with store.read() as session:
        return (await get_owned(session, Message, run.message_id, "local")).content


async def test_the_text_so_far_is_written_and_only_when_it_grew(store: Store) -> None:
    run, log = await add_run(store), EventLog(Clock())
    saver = Saver(store, {})
    saver.watch(run.message_id, log)
    log.add("so far")
    await saver.write()
    assert await content(store, run) == "so far"
    async with store.write() as session:  # something that a needless write would undo
        (await get_owned(session, Message, run.message_id, "local")).content = "untouched"
    await saver.write()
    assert await content(store, run) == "untouched"
    log.add(" and on")
    await saver.write()
    assert await content(store, run) == "so far and on"


async def test_an_end_is_on_the_disk_when_it_returns(store: Store) -> None:
    run, log = await add_run(store), EventLog(Clock())
    saver = Saver(store, {})
    task = asyncio.create_task(saver.run())
    log.add("all")
    await saver.end(ending(run, log, status="stopped", usage={"prompt_tokens": 1}))
    async with store.read() as session:
        message = await get_owned(session, Message, run.message_id, "local")
        assert (message.content, message.status, message.usage) == ("all", "stopped", {"prompt_tokens": 1})
        stored = await get_owned(session, Run, run.id, "local")
        assert (stored.status, stored.finished_at is not None) == ("stopped", True)
    task.cancel()


async def test_all_that_wait_are_written_in_one_transaction(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [await add_run(store) for _ in range(20)]
    saver, writes, original = Saver(store, {}), 0, store.write

    def counted() -> object:
        nonlocal writes
        writes += 1
        return original()

    monkeypatch.setattr(store, "write", counted)
    for index, run in enumerate(runs):
        log = EventLog(Clock())
        log.add(str(index))
        saver.watch(run.message_id, log)
    await saver.write()
    assert writes == 1
    assert [await content(store, run) for run in runs] == [str(index) for index in range(20)]


async def test_what_could_not_be_written_is_written_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saver_module, "RETRY_S", 0.01)
    run, log = await add_run(store), EventLog(Clock())
    saver, original, failures = Saver(store, {}), store.write, 0

    def full() -> object:
        nonlocal failures
        failures += 1
        raise UnavailableError("the disk is full")

    monkeypatch.setattr(store, "write", full)
    task = asyncio.create_task(saver.run())
    log.add("precious")
    waiting = asyncio.create_task(saver.end(ending(run, log)))
    await eventually(lambda: failures >= 2)
    assert not waiting.done()
    monkeypatch.setattr(store, "write", original)
    await waiting
    assert await content(store, run) == "precious"
    task.cancel()


async def test_when_keys_were_used_is_written(store: Store) -> None:
    async with store.write() as session:
        key, _ = await key_queries.create_key(session, "k")
    used = {key.id: now()}
    saver = Saver(store, used)
    await saver.write()
    assert used == {}
    async with store.read() as session:
        ((row, _),) = await key_queries.list_keys(session)
        assert row.last_used_at is not None
