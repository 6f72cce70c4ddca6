"""`/v1/chat/completions` with the official client, against a scripted engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from colosse.core.settings import Settings
from tests.fixtures.scripted import Scripted
from tests.server.live import Live, serve

HI: list[Any] = [{"role": "user", "content": "hi there"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def live(scripted_settings: Settings) -> Iterator[Live]:
    with serve(scripted_settings) as live:
        yield live


def events(text: str) -> list[str]:
    """The payloads of a stream's `data:` lines."""
    return [line.removeprefix("data: ") for line in text.split("\n\n") if line]


def test_answer_is_what_the_official_client_expects(live: Live) -> None:
    raw = live.post("/chat/completions", {"model": "scripted", "messages": HI})
    assert raw.status_code == 200
    assert raw.headers["content-type"] == "application/json"
    answer = ChatCompletion.model_validate(raw.json(), strict=True)
    assert answer.model == "scripted"
    assert answer.choices[0].message.content == "echo: hi there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    choice = raw.json()["choices"][0]
    assert choice["logprobs"] is None
    assert choice["message"]["refusal"] is None


def test_stream_ends_with_done_and_has_usage_only_when_asked(live: Live) -> None:
    body = {"messages": HI, "stream": True}
    raw = live.post("/chat/completions", body)
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.headers["cache-control"] == "no-cache"
    *payloads, done = events(raw.text)
    assert done == "[DONE]"
    chunks = [ChatCompletionChunk.model_validate(json.loads(p), strict=True) for p in payloads]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "echo: hi there"
    assert all(c.usage is None and len(c.choices) == 1 for c in chunks)
    assert len({c.id for c in chunks}) == 1

    *payloads, _ = events(live.post("/chat/completions", {**body, "stream_options": {"include_usage": True}}).text)
    last = ChatCompletionChunk.model_validate(json.loads(payloads[-1]), strict=True)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 3


def test_every_option_reaches_the_engine(live: Live, scripted: Scripted) -> None:
    options: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["END"],
        "presence_penalty": 0.1,
        "frequency_penalty": -0.2,
        "logit_bias": {"42": -100.0},
        "max_completion_tokens": 9,
        "user": "somebody",
        "response_format": {"type": "json_object"},
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "parallel_tool_calls": False,
        "logprobs": True,
        "top_logprobs": 3,
        "top_k": 11,
        "chat_template_kwargs": {"enable_thinking": None},
    }
    scripted.reply = "done"
    live.client.chat.completions.create(
        model="scripted",
        messages=HI,
        extra_body={k: options.pop(k) for k in ("top_k", "chat_template_kwargs")} | {"min_p": 0.05},
        **options,
    )
    sent = scripted.requests[-1].body
    assert {key: sent[key] for key in options} == options
    assert (sent["top_k"], sent["min_p"]) == (11, 0.05)
    assert sent["messages"] == HI


def test_messages_of_every_kind_reach_the_engine_as_they_are(live: Live, scripted: Scripted) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    messages: list[Any] = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
    ]
    live.client.chat.completions.create(model="scripted", messages=messages)
    expected = [{k: v for k, v in message.items() if v is not None} for message in messages]
    assert scripted.requests[-1].body["messages"] == expected


def test_stop_and_length(live: Live, scripted: Scripted) -> None:
    scripted.reply = "one two STOP three"
    create = live.client.chat.completions.create
    stopped = create(model="scripted", messages=HI, stop="STOP").choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("one two ", "stop")
    cut = create(model="scripted", messages=HI, max_completion_tokens=1).choices[0]
    assert (cut.message.content, cut.finish_reason) == ("one ", "length")


def test_several_answers_have_their_own_seeds_and_one_count(live: Live, scripted: Scripted) -> None:
    scripted.reply = lambda body: f"seed {body['seed']}"
    answer = live.client.chat.completions.create(model="scripted", messages=HI, n=3, seed=10)
    assert [(c.index, c.message.content) for c in answer.choices] == [(0, "seed 10"), (1, "seed 11"), (2, "seed 12")]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 6)
    assert all("n" not in request.body for request in scripted.requests)

    stream = live.client.chat.completions.create(
        model="scripted", messages=HI, n=3, seed=10, stream=True, stream_options={"include_usage": True}
    )
    texts, usages, ids = ["", "", ""], [], set()
    for chunk in stream:
        ids.add(chunk.id)
        usages += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == ["seed 10", "seed 11", "seed 12"]
    assert len(ids) == 1
    assert [(u.prompt_tokens, u.completion_tokens) for u in usages] == [(2, 6)]


def test_tools_round_trip(live: Live, scripted: Scripted) -> None:
    scripted.reply = lambda body: (
        "It is sunny."
        if body["messages"][-1]["role"] == "tool"
        else [
            {"name": "get_weather", "arguments": {"city": "Paris"}},
            {"name": "get_weather", "arguments": {"city": "Rome"}},
        ]
    )
    messages: list[Any] = [{"role": "user", "content": "weather in Paris and Rome?"}]
    first = live.client.chat.completions.create(model="scripted", messages=messages, tools=[WEATHER]).choices[0]
    assert first.finish_reason == "tool_calls"
    assert first.message.tool_calls is not None
    cities = [json.loads(call.function.arguments)["city"] for call in first.message.tool_calls]
    assert cities == ["Paris", "Rome"]
    messages.append(first.message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": c.id, "content": "sunny"} for c in first.message.tool_calls]
    second = live.client.chat.completions.create(model="scripted", messages=messages, tools=[WEATHER]).choices[0]
    assert second.message.content == "It is sunny."


def test_the_clients_own_stream_helper_puts_tool_calls_together(live: Live, scripted: Scripted) -> None:
    scripted.reply = [{"name": "get_weather", "arguments": {"city": "Paris"}}]
    with live.client.chat.completions.stream(model="scripted", messages=HI, tools=[WEATHER]) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    assert final.message.tool_calls is not None
    assert json.loads(final.message.tool_calls[0].function.arguments) == {"city": "Paris"}


def test_logprobs(live: Live) -> None:
    create = live.client.chat.completions.create
    answer = create(model="scripted", messages=HI, logprobs=True, top_logprobs=2)
    assert answer.choices[0].logprobs is not None
    tokens = answer.choices[0].logprobs.content or []
    assert "".join(token.token for token in tokens) == "echo: hi there"
    streamed = create(model="scripted", messages=HI, logprobs=True, stream=True)
    found = [t.token for chunk in streamed for c in chunk.choices if c.logprobs for t in c.logprobs.content or []]
    assert "".join(found) == "echo: hi there"


def test_parse_with_a_pydantic_model(live: Live) -> None:
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    answer = live.client.chat.completions.parse(model="scripted", messages=HI, response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="text", age=0)


def test_reasoning_is_kept(live: Live, scripted: Scripted) -> None:
    scripted.reasoning = "let me think"
    message = live.post("/chat/completions", {"messages": HI}).json()["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("echo: hi there", "let me think")


async def test_async_client_streams(live: Live) -> None:
    async with live.async_client() as client:
        stream = await client.chat.completions.create(model="scripted", messages=HI, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "echo: hi there"


@pytest.mark.parametrize("n", [1, 3])
def test_leaving_a_stream_cancels_the_generation(live: Live, scripted: Scripted, n: int) -> None:
    scripted.reply, scripted.tokens_per_second = "word " * 1000, 50
    stream = live.client.chat.completions.create(model="scripted", messages=HI, stream=True, n=n)
    next(iter(stream))
    scripted.wait(lambda: scripted.running == n)
    stream.close()
    scripted.wait(lambda: scripted.running == 0)
    assert [request.disconnected for request in scripted.requests] == [True] * n
    assert all(request.sent < 500 for request in scripted.requests)


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_before_the_first_token_cancels_the_generation(
    live: Live, scripted: Scripted, stream: bool
) -> None:
    scripted.hang = True
    async with live.async_client(timeout=0.5) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="scripted", messages=HI, stream=stream)
    await scripted.await_for(lambda: scripted.requests and scripted.running == 0)
    assert scripted.requests[-1].disconnected


def test_engine_that_breaks_in_the_middle_ends_the_stream_with_an_error(live: Live, scripted: Scripted) -> None:
    scripted.reply, scripted.fail_after = "one two three four", 2
    *payloads, last = events(live.post("/chat/completions", {"messages": HI, "stream": True}).text)
    assert "".join(json.loads(p)["choices"][0]["delta"].get("content") or "" for p in payloads) == "one two "
    error = json.loads(last)["error"]
    assert error["type"] == "server_error"
    assert error["code"] == "engine_error"
    with pytest.raises(openai.APIError) as caught:
        list(live.client.chat.completions.create(model="scripted", messages=HI, stream=True))
    assert "scripted" in str(caught.value)
