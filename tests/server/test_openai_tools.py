"""Tool calls on engines that leave them to the model."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from colosse.core.errors import UserError
from colosse.engines.schema import ModelInfo
from colosse.server.openai import generation
from colosse.server.openai.requests import ChatCompletionRequest
from colosse.server.openai.tools import call_format, read_calls

FENCED = '```json\n{\n  "name": "get_weather",\n  "arguments": {"city": "Paris"}\n}\n```'
TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.mark.parametrize(
    ("text", "cities"),
    [
        (FENCED, ["Paris"]),
        ('{"name": "get_weather", "arguments": {"city": "Paris"}}', ["Paris"]),
        ('<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>', ["Paris"]),
        (
            '[{"name": "get_weather", "arguments": {"city": "a"}},{"name":"get_weather", "parameters":{"city": "b"}}]',
            ["a", "b"],
        ),
        (FENCED + "\n" + FENCED, ["Paris", "Paris"]),
        ("", []),
        ("It is sunny.", []),
        (FENCED + "\nThat is the call.", []),
        ('{"name": "another", "arguments": {}}', []),
        ('{"name": "get_weather", "arguments": "Paris"}', []),
        ('{"city": "Paris"}', []),
        ("[1, 2]", []),
        ('{"name": "get_weather", "arguments": {"city": "Par', []),
    ],
)
def test_only_text_that_is_nothing_but_calls_is_read_as_calls(text: str, cities: list[str]) -> None:
    calls = read_calls(text, {"get_weather"})
    assert [json.loads(call["function"]["arguments"])["city"] for call in calls] == cities
    assert len({call["id"] for call in calls}) == len(calls)


def test_forced_call_is_a_schema_of_the_allowed_functions() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    schema = call_format([TOOL, other], None)["json_schema"]["schema"]
    assert [option["properties"]["name"]["const"] for option in schema["anyOf"]] == ["get_weather", "other"]
    schema = call_format([TOOL, other], "other")["json_schema"]["schema"]
    assert [option["properties"]["name"]["const"] for option in schema["anyOf"]] == ["other"]


def test_definitions_move_to_the_root_where_references_look_for_them() -> None:
    parameters = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    schema = call_format([tool], None)["json_schema"]["schema"]
    assert schema["$defs"] == {"A": {"type": "string"}}
    assert "$defs" not in schema["anyOf"][0]["properties"]["arguments"]
    assert "$defs" in parameters


class Model:
    """A client whose one model answers `text`, a few characters a chunk, as llama.cpp would."""

    default_model = "m"

    def __init__(self, text: str, *capabilities: str) -> None:
        self.text, self.capabilities = text, ["chat", *capabilities]
        self.body: dict[str, Any] = {}

    async def ensure(self, model: str = "") -> ModelInfo:
        return ModelInfo(id="m", state="ready", engine="llama.cpp", capabilities=self.capabilities)

    async def request(self, path: str, body: dict[str, Any], *, affinity: str = "") -> dict[str, Any]:
        self.body = body
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": self.text}}
        return {"id": "x", "created": 1, "model": "m", "choices": [choice], "timings": {}}

    async def stream(self, path: str, body: dict[str, Any], *, affinity: str = "") -> AsyncGenerator[bytes, None]:
        self.body = body
        head = {"id": "x", "created": 1, "model": "m", "object": "chat.completion.chunk"}
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
        deltas += [{"content": self.text[i : i + 5]} for i in range(0, len(self.text), 5)]
        for delta in deltas:
            yield json.dumps({**head, "choices": [{"index": 0, "finish_reason": None, "delta": delta}]}).encode()
        yield json.dumps(
            {**head, "choices": [{"index": 0, "finish_reason": "stop", "delta": {}}], "timings": {}}
        ).encode()


def request(**more: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest.model_validate(
        {"messages": [{"role": "user", "content": "x"}], "tools": [TOOL], **more}
    )


async def streamed(model: Any, chat: generation.Chat) -> tuple[str, list[dict[str, Any]], str | None, int]:
    """Text, calls, finish reason and number of chunks with text."""
    text, calls, reason, count = "", [], None, 0
    async for payload in generation.stream(model, chat):
        choice = json.loads(payload)["choices"][0]
        text += choice["delta"].get("content") or ""
        count += bool(choice["delta"].get("content"))
        calls += choice["delta"].get("tool_calls") or []
        reason = choice["finish_reason"] or reason
    return text, calls, reason, count


@pytest.mark.parametrize("text", [FENCED, FENCED + "\n" + FENCED])
@pytest.mark.parametrize("several", [True, False])
async def test_calls_written_as_text_become_calls(text: str, several: bool) -> None:
    model: Any = Model(text, "tools")
    expected = text.count("name") if several else 1
    chat = await generation.prepare(model, request(parallel_tool_calls=several))
    choice = (await generation.complete(model, chat))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")
    assert len(choice["message"]["tool_calls"]) == expected
    said, calls, reason, _ = await streamed(model, chat)
    assert (said, reason, len(calls)) == ("", "tool_calls", expected)
    assert [call["index"] for call in calls] == list(range(expected))
    assert json.loads(calls[0]["function"]["arguments"]) == {"city": "Paris"}


@pytest.mark.parametrize("text", ["It is sunny in Paris today.", "{not json after all}", "[1] a note", FENCED + " so"])
async def test_other_text_is_left_as_it_is(text: str) -> None:
    model: Any = Model(text, "tools")
    chat = await generation.prepare(model, request())
    choice = (await generation.complete(model, chat))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, "stop")
    said, calls, reason, count = await streamed(model, chat)
    assert (said, calls, reason) == (text, [], "stop")
    assert count > 1


async def test_forced_calls_are_enforced_by_a_schema(subtests: pytest.Subtests) -> None:
    model: Any = Model(FENCED, "tools")
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        with subtests.test(choice=str(choice)):
            await generation.complete(model, await generation.prepare(model, request(tool_choice=choice)))
            assert model.body["tool_choice"] == "none"
            assert model.body["response_format"]["json_schema"]["name"] == "call"
            assert model.body["tools"] == [TOOL]
    with pytest.raises(UserError, match="no room"):
        await generation.prepare(model, request(tool_choice="required", response_format={"type": "json_object"}))


async def test_models_not_made_for_tools_or_images_say_so() -> None:
    model: Any = Model("x")
    with pytest.raises(UserError, match="not made to call tools"):
        await generation.prepare(model, request())
    await generation.prepare(model, request(tool_choice="none"))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    seeing = ChatCompletionRequest.model_validate({"messages": [{"role": "user", "content": [image]}]})
    with pytest.raises(UserError, match="does not see images") as caught:
        await generation.prepare(model, seeing)
    assert caught.value.param == "messages.0.content"
    await generation.prepare(Model("x", "vision"), seeing)  # type: ignore[arg-type]
