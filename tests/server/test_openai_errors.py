"""What is wrong is refused: in OpenAI's shape, with the field at fault, as the official client's exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from colosse.core.settings import EndpointSettings, Settings
from tests.fixtures.scripted import Scripted
from tests.server.live import Live, serve

HI: list[Any] = [{"role": "user", "content": "hi"}]
TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CHAT, COMPLETE, EMBED, RESPOND = "/chat/completions", "/completions", "/embeddings", "/responses"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Scripted]]:
    """One server for all: what is refused leaves nothing behind."""
    engine = Scripted()
    engine.start()
    endpoint = EndpointSettings(name="scripted", url=engine.url)
    settings = Settings(home=tmp_path_factory.mktemp("home"), endpoints=[endpoint], model="scripted")
    with serve(settings) as live:
        yield live, engine
    engine.stop()


@pytest.fixture
def live(shared: tuple[Live, Scripted]) -> Live:
    return shared[0]


@pytest.fixture
def scripted(shared: tuple[Live, Scripted]) -> Scripted:
    engine = shared[1]
    engine.mend()
    engine.requests.clear()
    engine.max_model_len = 0
    return engine


@pytest.mark.parametrize(
    ("path", "body", "param", "words"),
    [
        (CHAT, {}, "messages", "required"),
        (CHAT, {"messages": []}, "messages", "at least 1"),
        (CHAT, {"messages": "hi"}, "messages", "list"),
        (CHAT, {"messages": [{"role": "king", "content": "hi"}]}, "messages.0", "king"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages.0.user.content", "required"),
        (CHAT, {"messages": HI, "temperature": 3}, "temperature", "2"),
        (CHAT, {"messages": HI, "temperature": "1"}, "temperature", "number"),
        (CHAT, {"messages": HI, "temprature": 1}, "temprature", "did you mean 'temperature'?"),
        (CHAT, {"messages": HI, "max_tokens": 0}, "max_tokens", "1"),
        (CHAT, {"messages": HI, "n": 17}, "n", "16"),
        (CHAT, {"messages": HI, "seed": 2**63}, "seed", "9223372036854775808"),
        (CHAT, {"messages": HI, "stop": ""}, "stop", "1 character"),
        (CHAT, {"messages": HI, "top_logprobs": 2}, "top_logprobs", "'logprobs'"),
        (CHAT, {"messages": HI, "logit_bias": {"word": 1}}, "logit_bias", "pattern"),
        (CHAT, {"messages": HI, "stream_options": {"include_usage": True}}, "stream_options", "'stream'"),
        (CHAT, {"messages": HI, "tool_choice": "auto"}, "tool_choice", "'tools'"),
        (CHAT, {"messages": HI, "tools": [TOOL], "tool_choice": "perhaps"}, "tool_choice", "'required'"),
        (
            CHAT,
            {"messages": HI, "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
            "'g'",
        ),
        (CHAT, {"messages": HI, "tools": [{"type": "web_search"}]}, "tools.0", "function"),
        (CHAT, {"messages": HI, "functions": [{"name": "f"}]}, "functions", "use 'tools'"),
        (CHAT, {"messages": HI, "modalities": ["audio"]}, "modalities.0", "text"),
        (CHAT, {"messages": HI, "response_format": {"type": "xml"}}, "response_format", "json_schema"),
        (CHAT, {"messages": HI, "response_format": {"type": "json_schema"}}, "response_format", "required"),
        (COMPLETE, {}, "prompt", "required"),
        (COMPLETE, {"prompt": []}, "prompt", "at least 1"),
        (COMPLETE, {"prompt": "a", "suffix": "b"}, "suffix", "not supported"),
        (COMPLETE, {"prompt": "a", "best_of": 2}, "best_of", "not supported"),
        (COMPLETE, {"prompt": [1, 2], "echo": True}, "echo", "text"),
        (COMPLETE, {"prompt": "a", "echo": True, "logprobs": 1}, "echo", "logprobs"),
        (EMBED, {"input": ""}, "input", "1 character"),
        (EMBED, {"input": []}, "input", "at least 1"),
        (EMBED, {"input": "a", "dimensions": 0}, "dimensions", "1"),
        (EMBED, {"input": "a", "encoding_format": "hex"}, "encoding_format", "base64"),
        (EMBED, {"input": "a", "dimensions": 9}, "dimensions", "the model has 8"),
        (RESPOND, {}, "input", "required"),
        (RESPOND, {"input": []}, "input", "at least 1"),
        (RESPOND, {"input": [{"type": "item_reference", "id": "x"}]}, "input", "item_reference"),
        (
            RESPOND,
            {"input": "hi", "tools": [{"type": "web_search"}, {"type": "file_search"}]},
            "tools",
            "file_search, web",
        ),
        (RESPOND, {"input": "hi", "truncation": "auto"}, "truncation", "disabled"),
        (RESPOND, {"input": "hi", "background": True, "store": False}, "background", "'store'"),
        (RESPOND, {"input": "hi", "background": True, "stream": True}, "stream", "by its id"),
        (RESPOND, {"input": "hi", "previous_response_id": "resp_none"}, "previous_response_id", "resp_none"),
        (RESPOND, {"input": "hi", "n": 2}, "n", "not supported"),
        (RESPOND, {"input": "hi", "conversation": "conv_1"}, "conversation", "previous_response_id"),
        (RESPOND, {"input": "hi", "prompt": {"id": "pmpt_1"}}, "prompt", "not supported"),
        (RESPOND, {"input": "hi", "stop": 5}, "stop", "string"),
        (RESPOND, {"input": [{"type": "reasoning"}]}, "messages", "at least 1"),
        (RESPOND, {"input": "hi", "instruction": "x"}, "instruction", "did you mean 'instructions'?"),
    ],
)
def test_wrong_values_are_refused_before_any_engine_is_asked(
    live: Live, scripted: Scripted, path: str, body: dict[str, Any], param: str, words: str
) -> None:
    raw = live.post(path, body)
    assert raw.status_code == 400, raw.text
    error = raw.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] is not None
    assert error["param"].startswith(param), error
    assert words in error["message"]
    if body.get("dimensions") != 9:
        assert scripted.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_unknown_model_is_not_found_and_the_nearest_is_named(live: Live, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        live.client.chat.completions.create(model="scriptet", messages=HI, stream=stream)
    assert caught.value.code == "model_not_found"
    assert "did you mean 'scripted'?" in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_context_too_long_says_how_long_and_what_fits(live: Live, scripted: Scripted, stream: bool) -> None:
    scripted.max_model_len = 100
    long: list[Any] = [{"role": "user", "content": "word " * 150}]
    with pytest.raises(openai.BadRequestError) as caught:
        live.client.chat.completions.create(model="scripted", messages=long, stream=stream)
    assert caught.value.code == "context_length_exceeded"
    assert "150" in caught.value.message
    assert "100" in caught.value.message
    with pytest.raises(openai.BadRequestError) as caught:
        live.client.responses.create(model="scripted", input="word " * 150, stream=stream)
    assert caught.value.code == "context_length_exceeded"


def test_wrong_key_is_an_authentication_error(live: Live) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        live.client.with_options(api_key="ck-wrong").models.list()
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize("path", [CHAT, COMPLETE, EMBED, RESPOND])
def test_body_that_is_no_json(live: Live, path: str) -> None:
    headers = {"content-type": "application/json"}
    broken = live.http.post(f"/v1{path}", content=b'{"messages": [', headers=headers)
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_json")
    number = live.http.post(f"/v1{path}", content=b"5", headers=headers)
    assert number.status_code == 400
    assert number.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
def test_failing_engine_is_a_server_error_with_its_status(live: Live, scripted: Scripted, stream: bool) -> None:
    scripted.fail(500, "out of memory")
    with pytest.raises(openai.InternalServerError) as caught:
        live.client.chat.completions.create(model="scripted", messages=HI, stream=stream)
    assert caught.value.status_code in (502, 503)  # 503 once the circuit breaker is open
    assert "out of memory" in caught.value.message


def test_lone_surrogates_are_no_reason_to_fall_over(live: Live) -> None:
    content = b'{"messages": [{"role": "user", "content": "\\ud800"}], "user": "\\udfff"}'
    raw = live.http.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    assert raw.status_code in (200, 400), raw.text
