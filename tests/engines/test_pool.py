"""The pool over scripted engines: who answers, in which order, and what happens when one fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from colosse.core.errors import ColosseError, EngineError, NotFoundError, RateLimitError, UnavailableError, UserError
from colosse.engines.endpoint import Breaker, Endpoint, Served, new_session
from colosse.engines.pool import Outcome, Pool
from tests.fixtures.scripted import Scripted

CHAT = "/chat/completions"


@pytest.fixture
def second() -> Iterator[Scripted]:
    engine = Scripted()
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session() as session:
        yield session


@pytest.fixture
def outcomes() -> list[Outcome]:
    return []


@pytest.fixture
def make_pool(http: aiohttp.ClientSession, outcomes: list[Outcome]) -> Callable[..., Pool]:
    def build(*engines: Scripted, **options: Any) -> Pool:
        pool = Pool(http, observe=outcomes.append)
        for name, engine in zip("abcdef", engines, strict=False):
            pool.add(Endpoint(name, engine.url, served={"m": Served(engine.model)}, **options))
        return pool

    return build


def body(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


async def streamed(pool: Pool, request: dict[str, Any], **more: Any) -> str:
    async with aclosing(pool.stream(CHAT, request, **more)) as payloads:
        chunks = [json.loads(payload) async for payload in payloads]
    assert {chunk["model"] for chunk in chunks} == {"m"}  # our name, although the engine has another
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def failure(pool: Pool, error: type[ColosseError], **more: Any) -> ColosseError:
    with pytest.raises(error) as caught:
        await streamed(pool, body(**more))
    with pytest.raises(error):
        await pool.request(CHAT, body(**more))
    return caught.value


async def test_answers_streamed_and_whole(scripted: Scripted, make_pool: Any, outcomes: list[Outcome]) -> None:
    pool = make_pool(scripted)
    assert await streamed(pool, body("hello world")) == "echo: hello world"
    whole = await pool.request(CHAT, body("hello world"))
    assert whole["choices"][0]["message"]["content"] == "echo: hello world"
    assert whole["model"] == "m"
    first, second = outcomes
    assert (first.status, first.prompt_tokens, first.completion_tokens) == ("ok", 2, 3)
    assert first.ttft_s is not None
    assert second.ttft_s is None
    assert second.completion_tokens == 3
    assert pool.endpoints["a"].in_flight == 0


async def test_token_counts_are_passed_on_only_if_asked_for(scripted: Scripted, make_pool: Any) -> None:
    pool = make_pool(scripted)
    for asked in (True, False):
        options = {"stream_options": {"include_usage": asked}}
        chunks = [json.loads(p) async for p in pool.stream(CHAT, body(**options))]
        assert any(chunk.get("usage") for chunk in chunks) is asked


async def test_least_loaded_and_affinity(scripted: Scripted, second: Scripted, make_pool: Any) -> None:
    pool = make_pool(scripted, second, max_concurrency=8)
    scripted.first_token_s = second.first_token_s = 0.2
    await asyncio.gather(*(streamed(pool, body(str(i))) for i in range(8)))
    assert len(scripted.requests) == len(second.requests) == 4

    for thread in ("t1", "t2", "t3"):
        before = len(scripted.requests), len(second.requests)
        for _ in range(3):
            await streamed(pool, body(), affinity=thread)
        grown = len(scripted.requests) - before[0], len(second.requests) - before[1]
        assert sorted(grown) == [0, 3]  # all three where the first one went

    before = len(second.requests), len(scripted.requests)
    await asyncio.gather(*(streamed(pool, body(), affinity="t1") for _ in range(8)))
    assert len(second.requests) > before[0]  # but not when that one is much busier
    assert len(scripted.requests) > before[1]


async def test_conversations_without_a_name_are_recognised(
    scripted: Scripted, second: Scripted, make_pool: Any
) -> None:
    pool = make_pool(scripted, second)
    history: list[dict[str, str]] = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    for _ in range(4):
        await streamed(pool, {"model": "m", "messages": history})
        history += [{"role": "assistant", "content": "a"}, {"role": "user", "content": "q"}]
    assert sorted((len(scripted.requests), len(second.requests))) == [0, 4]


async def test_retries_elsewhere_before_the_first_token(
    scripted: Scripted, second: Scripted, make_pool: Any, outcomes: list[Outcome]
) -> None:
    for status in (500, 503, 429):
        pool = make_pool(scripted, second)
        scripted.fail(status, times=1)
        assert await streamed(pool, body()) == "echo: hello"
        scripted.fail(status, times=1)
        assert (await pool.request(CHAT, body()))["choices"]
    assert any(o.attempts == 2 and o.status == "ok" for o in outcomes)
    scripted.stop()
    pool = make_pool(scripted, second)
    for i in range(4):
        assert await streamed(pool, body(str(i))) == f"echo: {i}"
    assert all(outcome.status == "ok" for outcome in outcomes)


async def test_retries_the_only_endpoint(scripted: Scripted, make_pool: Any) -> None:
    pool = make_pool(scripted)
    scripted.fail(500, times=1)
    assert await streamed(pool, body()) == "echo: hello"
    scripted.fail(429, "slow down")
    assert "slow down" in str(await failure(pool, RateLimitError))


async def test_never_retries_after_the_first_token(
    scripted: Scripted, second: Scripted, make_pool: Any, outcomes: list[Outcome]
) -> None:
    pool = make_pool(scripted, second)
    scripted.fail_after = second.fail_after = 1
    received = []
    with pytest.raises(EngineError, match="in the middle of its answer"):
        async for payload in pool.stream(CHAT, body()):
            received.append(payload)
    assert len(received) == 2  # the role and one token: what came is kept
    assert len(scripted.requests) + len(second.requests) == 1
    assert [o.status for o in outcomes] == ["error"]


async def test_a_request_that_is_wrong_is_not_retried(scripted: Scripted, second: Scripted, make_pool: Any) -> None:
    pool = make_pool(scripted, second)
    for engine in (scripted, second):
        engine.fail(400, "temperature is too hot")
    assert str(await failure(pool, UserError)) == "temperature is too hot"
    assert len(scripted.requests) + len(second.requests) == 2
    assert pool.endpoints["a"].breaker.state == pool.endpoints["b"].breaker.state == "closed"


async def test_context_too_long(scripted: Scripted, make_pool: Any) -> None:
    scripted.max_model_len = 3
    error = await failure(make_pool(scripted), UserError, text="one two three four five")
    assert error.code == "context_length_exceeded"
    assert "5 tokens long and 'm' takes 3" in str(error)


async def test_a_key_that_is_refused_is_not_the_callers_fault(scripted: Scripted, make_pool: Any) -> None:
    scripted.api_key = "good"
    assert (await failure(make_pool(scripted), EngineError)).status == 502
    pool = make_pool(scripted, key="good")
    assert await streamed(pool, body()) == "echo: hello"


async def test_unknown_path_of_an_endpoint_is_remembered(scripted: Scripted, second: Scripted, make_pool: Any) -> None:
    pool = make_pool(scripted, second)
    scripted.fail(501, "no embeddings here")
    for _ in range(3):
        assert (await pool.request("/embeddings", {"model": "m", "input": "x"}))["data"]
    assert len(scripted.requests) == 1
    scripted.mend()
    second.stop()
    assert await streamed(pool, body()) == "echo: hello"  # it still chats
    with pytest.raises(UnavailableError):
        await pool.request("/embeddings", {"model": "m", "input": "x"})


async def test_nothing_has_it_at_all(scripted: Scripted, make_pool: Any) -> None:
    pool = make_pool(scripted)
    scripted.fail(404, "no such path")
    with pytest.raises(NotFoundError, match="no such path"):
        await streamed(pool, body())
    with pytest.raises(UnavailableError, match="no engine offers chat with 'm'"):
        await streamed(pool, body())


async def test_breaker_keeps_requests_away(scripted: Scripted, make_pool: Any) -> None:
    pool = make_pool(scripted)
    pool.endpoints["a"].breaker = Breaker(threshold=2, pause_s=0.3)
    scripted.fail(500)
    with pytest.raises(UnavailableError, match="scripted failure"):
        await streamed(pool, body())  # the second attempt opened it, the third found it open
    seen = len(scripted.requests)
    assert seen == 2
    with pytest.raises(UnavailableError):
        await streamed(pool, body())
    assert len(scripted.requests) == seen
    scripted.mend()
    while pool.endpoints["a"].breaker.state == "open":
        await asyncio.sleep(0.01)
    scripted.first_token_s = 0.2
    trial = asyncio.create_task(streamed(pool, body()))
    await scripted.await_for(lambda: len(scripted.requests) == seen + 1)
    with pytest.raises(UnavailableError):
        await streamed(pool, body())  # one trial at a time
    assert await trial == "echo: hello"
    assert pool.endpoints["a"].breaker.state == "closed"


def test_breaker_pauses_grow() -> None:
    breaker = Breaker(threshold=1, pause_s=10, max_pause_s=25)
    pauses = []
    for _ in range(4):
        breaker.open_until = 0
        assert breaker.state != "open"
        breaker.begin()
        now = time.monotonic()
        breaker.end(healthy=False)
        pauses.append(round(breaker.open_until - now))
    assert pauses == [10, 20, 25, 25]
    breaker.end(healthy=None)  # a cancelled trial tells nothing
    assert breaker.state == "open"


async def test_queue_is_first_come_first_served(scripted: Scripted, make_pool: Any) -> None:
    pool = make_pool(scripted, max_concurrency=2)
    scripted.first_token_s = 0.02
    in_flight: list[int] = []

    def reply(_: Any) -> str:
        in_flight.append(pool.endpoints["a"].in_flight)
        return "x"

    scripted.reply = reply
    tasks = []
    for i in range(12):
        tasks.append(asyncio.create_task(streamed(pool, body(str(i)))))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    order = [int(r.body["messages"][0]["content"]) for r in scripted.requests]
    assert all(abs(position - number) <= 1 for position, number in enumerate(order)), order
    assert max(in_flight) == 2


async def test_leaving_the_queue_leaves_no_trace(scripted: Scripted, make_pool: Any) -> None:
    pool = make_pool(scripted, max_concurrency=1)
    scripted.hang = True
    running = asyncio.create_task(streamed(pool, body("first")))
    await scripted.await_for(lambda: scripted.requests)
    waiting = [asyncio.create_task(streamed(pool, body(str(i)))) for i in range(3)]
    while pool.queued < 3:
        await asyncio.sleep(0.01)
    waiting[0].cancel()
    scripted.hang = False
    running.cancel()
    assert await waiting[1] == "echo: 1"
    assert await waiting[2] == "echo: 2"
    assert pool.queued == pool.endpoints["a"].in_flight == 0
    assert len(scripted.requests) == 3


@pytest.mark.parametrize("how", ["close", "cancel", "cancel before the first token", "cancel a whole answer"])
async def test_cancelling_reaches_the_engine(
    scripted: Scripted, make_pool: Any, how: str, outcomes: list[Outcome]
) -> None:
    pool = make_pool(scripted)
    scripted.reply, scripted.tokens_per_second = "word " * 1000, 50
    if how == "close":
        async with aclosing(pool.stream(CHAT, body())) as payloads:
            async for _ in payloads:
                break
    else:
        scripted.hang = how == "cancel before the first token"
        whole = how == "cancel a whole answer"
        task = asyncio.create_task(pool.request(CHAT, body()) if whole else streamed(pool, body()))
        await scripted.await_for(lambda: scripted.requests and (scripted.hang or scripted.requests[0].sent > 2))
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
    await scripted.await_for(lambda: scripted.requests[0].disconnected)
    assert scripted.requests[0].sent < 1000
    assert [o.status for o in outcomes] == ["cancelled"]
    assert pool.endpoints["a"].in_flight == 0
    assert pool.endpoints["a"].breaker.failures == 0


async def test_an_engine_that_ends_without_done(make_pool: Any, scripted: Scripted, monkeypatch: Any) -> None:
    """A clean end of the connection is not a clean end of the answer."""
    pool = make_pool(scripted)

    async def truncated(self: Any, *_: object) -> AsyncIterator[bytes]:
        yield b'data: {"choices": [], "model": "scripted"}\n\n'

    monkeypatch.setattr(aiohttp.StreamReader, "iter_any", truncated)
    with pytest.raises(EngineError, match="not complete"):
        _ = [payload async for payload in pool.stream(CHAT, body())]


async def test_many_at_once(scripted: Scripted, second: Scripted, make_pool: Any) -> None:
    pool = make_pool(scripted, second, max_concurrency=20)
    answers = await asyncio.gather(*(streamed(pool, body(f"number {i}")) for i in range(200)))
    assert answers == [f"echo: number {i}" for i in range(200)]
    assert pool.queued == 0


async def test_connections_are_used_again(scripted: Scripted, make_pool: Any, http: aiohttp.ClientSession) -> None:
    made = []
    trace = aiohttp.TraceConfig()

    async def on_made(*_: object) -> None:
        made.append(1)

    trace.on_connection_create_end.append(on_made)
    http.trace_configs.append(trace)
    trace.freeze()
    pool = make_pool(scripted)
    for _ in range(5):
        await streamed(pool, body())
        await pool.request(CHAT, body())
    assert len(made) == 1
