"""Typed streaming, the convenience on top of it, and the client of a server that runs elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from colosse.core.errors import ColosseError, EngineError, NotFoundError, UnavailableError, UserError
from colosse.engines.client import Client, RemoteClient, chat_body, complete, deltas
from colosse.engines.endpoint import Endpoint
from colosse.engines.schema import ChatRequest, Delta
from tests.fixtures.scripted import Scripted

HELLO = [{"role": "user", "content": "hello big world"}]


async def given(*payloads: bytes) -> AsyncGenerator[bytes, None]:
    for payload in payloads:
        yield payload


async def test_deltas() -> None:
    steps = [
        step
        async for step in deltas(
            given(
                b'{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}',
                b'{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}],"usage":null}',
                b'{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"other choice"}}]}',
                b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]},"finish_reason":null}]}',
                b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
                b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}',
            )
        )
    ]
    assert [(s.content, s.reasoning, s.finish_reason) for s in steps] == [
        ("", "hm", None),
        ("a", "", None),
        ("", "", None),
        ("", "", "stop"),
        ("", "", None),
    ]
    assert steps[2].tool_calls == [{"index": 0}]
    assert steps[-1].usage is not None
    assert steps[-1].usage.completion_tokens == 2


def test_chat_body_keeps_unknown_options() -> None:
    request = ChatRequest.model_validate({"messages": HELLO, "min_p": 0.1, "stream_options": {"x": 1}})
    body = chat_body(request)
    assert body["min_p"] == 0.1
    assert body["stream"] is True
    assert body["stream_options"] == {"x": 1, "include_usage": True}
    assert "temperature" not in body


async def test_remote_client(scripted: Scripted) -> None:
    scripted.api_key, scripted.reasoning = "secret", "thinking hard"
    async with RemoteClient(scripted.url, "secret") as remote:
        client: Client = remote
        assert client.default_model == "scripted"
        assert [m.state for m in client.models()] == ["ready"]
        assert (await client.ensure()).id == "scripted"
        text, usage = await complete(client, HELLO, max_tokens=3)
        assert text.split() == ["echo:", "hello", "big"]
        assert usage.completion_tokens == 3
        steps = [step async for step in client.chat(ChatRequest.model_validate({"messages": HELLO}))]
        assert "".join(step.reasoning for step in steps) == "thinking hard"
        assert (await client.request("/embeddings", {"input": "x"}))["data"]
        with pytest.raises(NotFoundError, match="did you mean 'scripted'"):
            await client.ensure("script")


async def test_remote_client_cancels(scripted: Scripted) -> None:
    scripted.reply, scripted.tokens_per_second = "word " * 1000, 50
    async with (
        RemoteClient(scripted.url) as client,
        aclosing(client.chat(ChatRequest.model_validate({"messages": HELLO}))) as steps,
    ):
        assert isinstance(await anext(steps), Delta)
    await scripted.await_for(lambda: scripted.requests[0].disconnected)


async def test_remote_client_errors(scripted: Scripted) -> None:
    async with RemoteClient(scripted.url) as client:
        for status, kind in ((400, UserError), (500, EngineError)):
            scripted.fail(status, "the reason", times=2)
            with pytest.raises(kind, match="the reason"):
                await complete(client, HELLO)
            with pytest.raises(kind, match="the reason"):
                await client.request("/chat/completions", {"messages": HELLO})
        scripted.fail_after = 1
        with pytest.raises(EngineError, match="in the middle"):
            await complete(client, HELLO)
    scripted.stop()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        async with RemoteClient(scripted.url):
            pass


async def test_something_that_is_no_engine(scripted: Scripted) -> None:
    with pytest.raises(ColosseError):
        async with RemoteClient(scripted.url.removesuffix("/v1") + "/health"):
            pass


def test_azure_gets_its_own_header() -> None:
    azure = Endpoint("a", "https://name.openai.azure.com/openai/v1", key="k")
    assert azure._options()["headers"]["api-key"] == azure._options()["headers"]["Authorization"][7:] == "k"
    assert "api-key" not in Endpoint("b", "https://example.com/v1", key="k")._options()["headers"]


def test_proxy_is_for_what_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example.com")
    assert Endpoint("a", "https://example.com/v1")._options()["proxy"] == "http://proxy:3128"
    assert Endpoint("b", "https://inside.example.com/v1")._options()["proxy"] is None
    assert "proxy" not in Endpoint("c", "http://127.0.0.1:1/v1")._options()
    assert "timeout" not in Endpoint("d", "http://127.0.0.1:1/v1", local=True)._options()
