"""Engines over endpoints that somebody else runs; with engines of our own see `test_llama.py`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from colosse.core.errors import ColosseError, EngineError, NotFoundError, UnavailableError, UserError
from colosse.core.settings import Settings, load_settings
from colosse.engines.client import Client, complete
from colosse.engines.engines import Engines
from colosse.engines.pool import Outcome
from colosse.engines.schema import ChatRequest
from tests.fixtures.scripted import Scripted

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def other() -> Iterator[Scripted]:
    engine = Scripted(model="other")
    engine.start()
    yield engine
    engine.stop()


def settings(*endpoints: dict[str, Any], **more: Any) -> Settings:
    return load_settings({"endpoints": list(endpoints), **more}).value


async def test_is_a_client(scripted: Scripted, scripted_settings: Settings) -> None:
    outcomes: list[Outcome] = []
    async with Engines(scripted_settings, observe=outcomes.append) as engines:
        client: Client = engines
        assert client.default_model == "scripted"
        assert [(m.id, m.state, m.engine) for m in client.models()] == [("scripted", "ready", "scripted")]
        assert (await client.ensure()).id == "scripted"
        assert await complete(client, HELLO) == ("echo: hello", (await complete(client, HELLO))[1])
        assert (await client.request("/completions", {"prompt": "p"}))["choices"][0]["text"] == "echo: p"
        assert (await client.request("/embeddings", {"input": "x", "model": "scripted"}))["data"]
        raw = [json.loads(p) async for p in client.stream("/chat/completions", {"messages": HELLO})]
        assert raw[-1]["choices"][0]["finish_reason"] == "stop"
        (status,) = engines.status()
        assert (status.state, status.requests, status.errors, status.in_flight) == ("closed", 5, 0, 0)
        assert engines.queued == 0
    assert [o.status for o in outcomes] == ["ok"] * 5


async def test_works_without_being_entered(scripted_settings: Settings) -> None:
    engines = Engines(scripted_settings)
    assert (await complete(engines, HELLO))[0] == "echo: hello"
    await engines.aclose()
    await engines.aclose()


async def test_models_of_several_endpoints_and_names_of_ours(
    home: Any, scripted: Scripted, other: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.api_key = "secret"
    scripted.max_model_len = 1000
    monkeypatch.setenv("A_KEY", "secret")
    first = {"name": "a", "url": scripted.url, "api_key": "env:A_KEY", "models": {"big": "scripted"}}
    async with Engines(settings(first, {"name": "b", "url": other.url}, model="big")) as engines:
        assert [(m.id, m.max_model_len) for m in engines.models()] == [("big", 1000), ("other", None)]
        answer = await engines.request("/chat/completions", {"messages": HELLO})
        assert answer["model"] == "big"
        assert scripted.requests[-1].body["model"] == "scripted"
        await complete(engines, HELLO, model="other")
        assert len(other.requests) == 1
        with pytest.raises(NotFoundError, match="did you mean 'big'"):
            await complete(engines, HELLO, model="bigg")


async def test_nothing_at_all(home: Any) -> None:
    async with Engines(settings()) as engines:
        assert engines.models() == []
        with pytest.raises(NotFoundError, match="colosse models pull"):
            _ = engines.default_model
        with pytest.raises(NotFoundError):
            await complete(engines, HELLO)
        with pytest.raises(NotFoundError, match="colosse models pull smollm2-135m-instruct"):
            await engines.ensure("smollm2-135m-instruct")


async def test_an_endpoint_that_is_down_at_start(scripted: Scripted, other: Scripted, home: Any) -> None:
    scripted.stop()
    both = ({"name": "a", "url": scripted.url}, {"name": "b", "url": other.url})
    async with Engines(settings(*both)) as engines:
        assert engines.default_model == "other"
        assert (await complete(engines, HELLO))[0] == "echo: hello"
        scripted.start()
        assert (await complete(engines, HELLO, model="scripted"))[0] == "echo: hello"  # asked for again, and found


async def test_only_an_endpoint_that_is_down(scripted: Scripted, scripted_settings: Settings) -> None:
    scripted.stop()
    async with Engines(scripted_settings) as engines:
        with pytest.raises(UnavailableError, match="'scripted' cannot be reached"):
            await complete(engines, HELLO)
        assert [row.error != "" for row in engines.status()] == [True]
        scripted.start()
        assert (await complete(engines, HELLO))[0] == "echo: hello"


async def test_one_of_two_fails(scripted: Scripted, home: Any) -> None:
    twin = Scripted()
    twin.start()
    try:
        both = ({"name": "a", "url": scripted.url}, {"name": "b", "url": twin.url})
        async with Engines(settings(*both, model="scripted")) as engines:
            scripted.fail(500)
            for i in range(8):
                assert (await complete(engines, [{"role": "user", "content": str(i)}]))[0] == f"echo: {i}"
            states = {row.name: row.state for row in engines.status()}
            assert states == {"a": "open", "b": "closed"}
            assert len(scripted.requests) == 3  # then its circuit breaker opened
            twin.stop()
            with pytest.raises(ColosseError):
                await complete(engines, HELLO)
    finally:
        twin.stop()


async def test_drop_in_the_middle_keeps_what_came(scripted: Scripted, scripted_settings: Settings) -> None:
    scripted.reply, scripted.fail_after = "one two three four", 2
    async with Engines(scripted_settings) as engines:
        received = []
        with pytest.raises(EngineError, match="in the middle"):
            async for step in engines.chat(ChatRequest.model_validate({"messages": HELLO})):
                received.append(step.content)
        assert "".join(received) == "one two "
        scripted.mend()
        assert (await complete(engines, HELLO))[0] == "one two three four"


async def test_refusals(scripted: Scripted, scripted_settings: Settings) -> None:
    scripted.max_model_len = 4
    async with Engines(scripted_settings) as engines:
        with pytest.raises(UserError, match="6 tokens long and 'scripted' takes 4"):
            await complete(engines, [{"role": "user", "content": "a b c d e f"}])
        with pytest.raises(ColosseError, match="no path"):
            await engines.request("/images", {})


@pytest.mark.parametrize("how", ["streamed", "whole", "before the first token"])
async def test_closing_while_answers_are_under_way(scripted: Scripted, scripted_settings: Settings, how: str) -> None:
    scripted.reply, scripted.tokens_per_second = "word " * 1000, 50
    scripted.hang = how == "before the first token"
    engines = Engines(scripted_settings)
    whole = engines.request("/chat/completions", {"messages": HELLO})
    task = asyncio.create_task(whole if how == "whole" else complete(engines, HELLO))
    if how != "whole":
        whole.close()
    await scripted.await_for(lambda: scripted.requests and (scripted.hang or scripted.requests[0].sent > 2))
    await engines.aclose()
    with pytest.raises(ColosseError):
        await task
    await scripted.await_for(lambda: scripted.requests[0].disconnected)


async def test_a_damaged_model_is_listed_and_refused(home: Any) -> None:
    models = home / "models"
    models.mkdir(parents=True)
    (models / "empty.gguf").touch()
    async with Engines(settings()) as engines:
        assert [(m.id, m.state) for m in engines.models()] == [("empty", "failed")]
    (models / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    async with Engines(settings()) as engines:
        states = {m.id: m.state for m in engines.models()}
        assert states == {"broken": "available", "empty": "failed"}
        for name in states:
            with pytest.raises(UserError) as caught:
                await engines.ensure(name)
            assert caught.value.code == "corrupt_model"
            assert str(models / name) in str(caught.value)
        with pytest.raises(UserError):
            await complete(engines, HELLO, model="broken")
        assert {m.id: m.state for m in engines.models()}["broken"] == "failed"
