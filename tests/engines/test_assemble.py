"""A streamed answer put together is the answer that comes whole."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from colosse.engines.assemble import assemble
from tests.fixtures.scripted import Answer, Scripted

CHAT = {"messages": [{"role": "user", "content": "hello big world"}]}


@pytest.mark.parametrize(
    ("path", "body", "reply"),
    [
        ("/chat/completions", CHAT, None),
        ("/chat/completions", {**CHAT, "n": 3, "max_tokens": 2, "logprobs": True}, None),
        ("/chat/completions", CHAT, ""),
        (
            "/chat/completions",
            CHAT,
            [{"name": "weather", "arguments": {"city": "Paris"}}, {"name": "time", "arguments": {}}],
        ),
        ("/completions", {"prompt": "one two", "n": 2}, None),
    ],
)
async def test_equals_the_whole_answer(
    scripted: Scripted, path: str, body: dict[str, Any], reply: Answer | None
) -> None:
    scripted.reply, scripted.reasoning = reply, "thinking"
    async with httpx2.AsyncClient(base_url=scripted.url) as http:
        whole = (await http.post(path, json={**body, "model": "scripted"})).json()
        options = {"model": "scripted", "stream": True, "stream_options": {"include_usage": True}}
        async with http.stream("POST", path, json={**body, **options}) as response:
            lines = [line.removeprefix("data: ") async for line in response.aiter_lines() if line.startswith("data: {")]
    assembled = assemble(line.encode() for line in lines)
    for answer in (whole, assembled):
        answer.pop("id")
        for choice in answer["choices"]:
            if choice.get("message", {}).get("content") == "":
                choice["message"]["content"] = None  # an empty answer has no piece with text
    assert assembled == whole


def test_arguments_of_a_tool_come_in_pieces() -> None:
    pieces = [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a":'}},
        {"index": 0, "function": {"arguments": " 1}"}},
    ]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces]
    (choice,) = assemble(json.dumps(chunk).encode() for chunk in chunks)["choices"]
    assert choice["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    ]
