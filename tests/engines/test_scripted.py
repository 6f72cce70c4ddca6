"""The scripted engine itself: what other tests rely on."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from colosse.core.settings import Settings
from tests.fixtures.scripted import Scripted

HELLO = {"model": "scripted", "messages": [{"role": "user", "content": "hello big world"}]}


@pytest.fixture
async def client(scripted: Scripted) -> Any:
    async with httpx2.AsyncClient(base_url=scripted.url, timeout=20) as http:
        yield http


async def chunks(client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with client.stream("POST", path, json={**body, "stream": True}) as response:
        lines = [line.removeprefix("data: ") async for line in response.aiter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_echo_streamed_and_not(scripted: Scripted, client: httpx2.AsyncClient) -> None:
    whole = (await client.post("/chat/completions", json=HELLO)).json()
    assert whole["choices"][0]["message"]["content"] == "echo: hello big world"
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    parts = await chunks(client, "/chat/completions", {**HELLO, "stream_options": {"include_usage": True}})
    text = "".join(c["delta"].get("content") or "" for part in parts for c in part["choices"])
    assert text == "echo: hello big world"
    assert parts[-1]["usage"]["completion_tokens"] == 4
    assert [r.finished for r in scripted.requests] == [True, True]


async def test_limits_n_logprobs_tools_schema(scripted: Scripted, client: httpx2.AsyncClient) -> None:
    cut = (await client.post("/chat/completions", json={**HELLO, "max_tokens": 2, "n": 2, "logprobs": True})).json()
    assert [c["message"]["content"] for c in cut["choices"]] == ["echo: hello ", "echo: hello "]
    assert cut["choices"][0]["finish_reason"] == "length"
    assert len(cut["choices"][0]["logprobs"]["content"]) == 2
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    typed = (await client.post("/chat/completions", json={**HELLO, "response_format": wanted})).json()
    assert json.loads(typed["choices"][0]["message"]["content"]) == {"a": 0}
    scripted.reply = [{"name": "weather", "arguments": {"city": "Paris"}}]
    called = (await client.post("/chat/completions", json=HELLO)).json()["choices"][0]
    assert called["finish_reason"] == "tool_calls"
    assert json.loads(called["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}
    streamed = await chunks(client, "/chat/completions", HELLO)
    assert any(c["delta"].get("tool_calls") for part in streamed for c in part["choices"])


async def test_completions_embeddings_models(scripted: Scripted, client: httpx2.AsyncClient) -> None:
    done = (await client.post("/completions", json={"model": "scripted", "prompt": "one two"})).json()
    assert done["choices"][0]["text"] == "echo: one two"
    vectors = (await client.post("/embeddings", json={"model": "scripted", "input": ["a", "b", "a"]})).json()["data"]
    assert vectors[0]["embedding"] == vectors[2]["embedding"] != vectors[1]["embedding"]
    assert [m["id"] for m in (await client.get("/models")).json()["data"]] == ["scripted"]


async def test_faults(scripted: Scripted, client: httpx2.AsyncClient) -> None:
    scripted.fail(429, times=1)
    assert (await client.post("/chat/completions", json=HELLO)).status_code == 429
    assert (await client.post("/chat/completions", json=HELLO)).status_code == 200
    scripted.fail_after = 1
    with pytest.raises(httpx2.RemoteProtocolError):
        await chunks(client, "/chat/completions", HELLO)
    scripted.mend()
    scripted.max_model_len = 2
    refused = await client.post("/chat/completions", json=HELLO)
    assert refused.status_code == 400
    assert "3 input tokens" in refused.json()["error"]["message"]


async def test_sees_a_client_leave(scripted: Scripted, client: httpx2.AsyncClient) -> None:
    scripted.reply, scripted.tokens_per_second = "word " * 1000, 50
    async with client.stream("POST", "/chat/completions", json={**HELLO, "stream": True}) as response:
        async for _ in response.aiter_bytes():
            break
    await scripted.await_for(lambda: scripted.requests[0].disconnected)
    assert scripted.requests[0].sent < 1000
    assert scripted.running == 0


async def test_stops_and_comes_back(scripted: Scripted) -> None:
    scripted.stop()
    async with httpx2.AsyncClient() as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get(f"{scripted.url}/models")
        scripted.start()
        assert (await http.get(f"{scripted.url}/models")).status_code == 200


def test_settings(scripted: Scripted, scripted_settings: Settings) -> None:
    assert scripted_settings.model == "scripted"
    assert [e.url for e in scripted_settings.endpoints] == [scripted.url]
