from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colosse.server import events
from colosse.server.events import KEPT, Clock, EventLog, encode_event


def parse(data: bytes) -> list[tuple[int, str, dict]]:
    """(id, name, data) of each event, as a client reads them that splits at every line break that Python knows."""
    found = []
    for block in data.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


async def read_all(reader: AsyncIterator[bytes]) -> list[tuple[int, str, dict]]:
    return parse(b"".join([part async for part in reader]))


def text_of(seen: list[tuple[int, str, dict]], before: str = "") -> str:
    """What a page that follows the events shows."""
    for _, name, data in seen:
        if name == "snapshot":
            before = data["content"]
        elif name == "delta":
            before += data.get("content", "")
    return before


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    clock = Clock()
    task = asyncio.create_task(clock.run())
    yield clock
    task.cancel()


async def test_a_reader_gets_a_snapshot_then_deltas_then_the_end(clock: Clock) -> None:
    log = EventLog(clock)
    log.add("Bon", "hm")
    log.add("jour")
    reader = log.read()
    assert parse(await anext(reader)) == [(2, "snapshot", {"content": "Bonjour", "reasoning": "hm", "step": ""})]
    log.add(" toi")
    assert parse(await anext(reader)) == [(3, "delta", {"content": " toi"})]
    log.close({"how": "well"})
    assert await read_all(reader) == [(4, "done", {"how": "well"})]
    assert log.readers == 0


async def test_what_comes_together_leaves_together_and_the_first_at_once(clock: Clock) -> None:
    log = EventLog(clock)
    reader = log.read(after=0)
    log.add("a")
    assert parse(await anext(reader)) == [(1, "delta", {"content": "a"})]
    for letter in "bcdef":
        log.add(letter)
    assert parse(await anext(reader)) == [(2, "delta", {"content": "bcdef"})]


@pytest.mark.parametrize(
    ("after", "names"),
    [(0, ["delta"] * 3 + ["done"]), (2, ["delta", "done"]), (3, ["done"]), (4, []), (5, ["snapshot", "done"])],
)
async def test_after_the_end_the_rest_is_replayed(clock: Clock, after: int, names: list[str]) -> None:
    log = EventLog(clock)
    for letter in "abc":
        log.add(letter)
        log.flush()
    log.close({})
    assert [name for _, name, _ in await read_all(log.read(after))] == names


async def test_who_is_too_far_behind_gets_a_snapshot_instead(clock: Clock) -> None:
    log = EventLog(clock)
    for index in range(KEPT + 10):
        log.add(f"{index} ")
        log.flush()
    reader = log.read(after=5)
    (id, name, data), *_ = parse(await anext(reader))
    assert (id, name) == (KEPT + 10, "snapshot")
    assert data["content"].split() == [str(index) for index in range(KEPT + 10)]
    near = parse(await anext(log.read(after=KEPT + 5)))
    assert [id for id, _, _ in near] == list(range(KEPT + 6, KEPT + 11))


async def test_a_slow_reader_costs_no_memory_and_loses_nothing(clock: Clock) -> None:
    log = EventLog(clock)
    reader = log.read(after=0)
    log.add("first ")
    seen = parse(await anext(reader))
    for index in range(10 * KEPT):  # while the reader does not read
        log.add(f"{index} ")
        log.flush()
    assert len(log._events) == KEPT
    log.close({})
    seen += await read_all(reader)
    assert text_of(seen) == log.content
    assert seen[-1][1] == "done"


async def test_a_silent_connection_gets_a_comment(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.0)
    log = EventLog(clock)
    reader = log.read(after=0)
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    log.keep_alive()
    assert (await waiting).startswith(b":")
    log.close({})
    assert [name for _, name, _ in await read_all(reader)] == ["done"]


async def test_a_reader_that_leaves_is_forgotten(clock: Clock) -> None:
    log = EventLog(clock)
    reader = log.read(after=0)
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    assert (log.readers, len(log._waiting)) == (1, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (log.readers, len(log._waiting)) == (0, 0)


def test_events_are_one_line_each_whatever_the_text() -> None:
    data = encode_event(1, "delta", {"content": "a\nb\r\n\n: x\u2028\u2029\x85\x0b\x1c\ud800é"})
    assert len(data.decode().splitlines()) == 4
    assert json.loads(data.split(b"data: ")[1])["content"] == "a\nb\r\n\n: x\u2028\u2029\x85\x0b\x1c?é"


@given(
    pieces=st.lists(st.tuples(st.text(max_size=5), st.booleans(), st.booleans()), max_size=40),
)
def test_any_reader_that_comes_and_goes_sees_the_whole_text(pieces: list[tuple[str, bool, bool]]) -> None:
    async def scenario() -> None:
        log = EventLog(Clock())
        position: int | None = None
        shown = ""

        async def catch_up() -> None:
            nonlocal position, shown
            reader = log.read(position)
            task = asyncio.ensure_future(anext(reader, b""))
            done, _ = await asyncio.wait([task], timeout=0)
            if not done:
                await asyncio.sleep(0)
            if task.done():
                events_ = parse(task.result())
                shown = text_of(events_, shown)
                position = events_[-1][0] if events_ else position
            else:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await reader.aclose()

        for text, flush, read in pieces:
            log.add(text)
            if flush:
                log.flush()
            if read:
                await catch_up()
        log.close({})
        rest = await read_all(log.read(position))
        expected = "".join(text for text, _, _ in pieces)
        assert log.content == expected
        assert text_of(rest, shown) == expected

    asyncio.run(scenario())


async def test_steps_are_events_and_the_last_one_is_in_the_snapshot(clock: Clock) -> None:
    log = EventLog(clock)
    log.step("searching")
    log.add("Bon")
    log.step("reading")
    log.close({})
    assert [name for _, name, _ in await read_all(log.read(0))] == ["step", "delta", "step", "done"]
    snapshot = parse(await anext(log.read()))
    assert snapshot == [(3, "snapshot", {"content": "Bon", "reasoning": "", "step": "reading"})]
