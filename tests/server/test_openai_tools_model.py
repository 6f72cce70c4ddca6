"""Tools and structured answers on a real model that was trained for them: Qwen2.5-Coder 0.5B in llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colosse.core.settings import EngineSettings, Settings
from tests.server.live import Live, serve

pytestmark = pytest.mark.model

MODEL = "qwen2.5-coder-0.5b-instruct"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city right now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
        },
    },
}
QUESTION: list[Any] = [{"role": "user", "content": "What is the weather in Lyon, in celsius?"}]


@pytest.fixture(scope="module")
def live(qwen_05b: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    (home / "models" / qwen_05b.parent.name).symlink_to(qwen_05b.parent, target_is_directory=True)
    with serve(Settings(home=home, model=MODEL, engine=EngineSettings(max_model_len=2048, slots=1))) as live:
        yield live


def test_a_forced_call_and_its_result_make_an_answer(live: Live) -> None:
    create = live.client.chat.completions.create
    options: dict[str, Any] = {"model": MODEL, "tools": [WEATHER], "temperature": 0, "max_completion_tokens": 80}
    asked = create(messages=QUESTION, tool_choice="required", **options).choices[0]
    assert asked.finish_reason == "tool_calls"
    assert asked.message.tool_calls
    call = asked.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert "Lyon" in arguments["city"]
    assert arguments["unit"] == "celsius"

    result = {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 31, "sky": "clear"}'}
    said = [*QUESTION, asked.message.model_dump(exclude_none=True), result]
    answer = create(messages=said, tool_choice="none", **options).choices[0]
    assert "31" in (answer.message.content or "")


def test_a_streamed_call_by_name_is_whole(live: Live) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    with live.client.chat.completions.stream(
        model=MODEL, messages=QUESTION, tools=[WEATHER], tool_choice=named, temperature=0, max_completion_tokens=80
    ) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.message.tool_calls
    assert json.loads(choice.message.tool_calls[0].function.arguments)["city"]


def test_a_schema_holds_for_a_french_answer(live: Live) -> None:
    schema = {
        "type": "object",
        "properties": {"capitale": {"type": "string"}, "habitants_millions": {"type": "number"}},
        "required": ["capitale", "habitants_millions"],
        "additionalProperties": False,
    }
    answer = live.client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Quelle est la capitale de la France ?"}],
        response_format={"type": "json_schema", "json_schema": {"name": "c", "schema": schema, "strict": True}},
        temperature=0,
        max_completion_tokens=60,
    )
    value = json.loads(answer.choices[0].message.content or "")
    assert set(value) == {"capitale", "habitants_millions"}
    assert "Paris" in value["capitale"]
