"""The OpenAI API on a real model: SmolLM2 135M in llama.cpp, asked with the official client."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from colosse.core.settings import EngineSettings, Settings
from tests.server.live import Live, serve

pytestmark = pytest.mark.model

MODEL = "smollm2-135m-instruct"
HI: list[Any] = [{"role": "user", "content": "Name three colours."}]


@pytest.fixture(scope="module")
def live(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    (home / "models" / smollm2.parent.name).symlink_to(smollm2.parent, target_is_directory=True)
    engine = EngineSettings(max_model_len=1024, slots=2)
    with serve(Settings(home=home, model=MODEL, engine=engine)) as live:
        yield live


def chat(live: Live, **options: Any) -> Any:
    return live.client.chat.completions.create(
        **{"model": MODEL, "messages": HI, "max_completion_tokens": 24, **options}
    )


def test_answer_has_openais_fields_and_no_others(live: Live) -> None:
    raw = live.post("/chat/completions", {"messages": HI, "max_tokens": 5, "logprobs": True, "top_logprobs": 2}).json()
    answer = ChatCompletion.model_validate(raw, strict=True)
    assert set(raw) == {"id", "object", "created", "model", "choices", "usage", "system_fingerprint"}
    assert answer.model == MODEL
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.choices[0].logprobs is not None
    tokens = answer.choices[0].logprobs.content or []
    assert len(tokens) == 5
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in tokens)
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    assert set(raw["choices"][0]["logprobs"]["content"][0]) == {"token", "logprob", "bytes", "top_logprobs"}


def test_stream_says_the_same_as_the_whole_answer(live: Live) -> None:
    whole = chat(live, temperature=0).choices[0].message.content
    body = {"messages": HI, "max_completion_tokens": 24, "temperature": 0, "stream": True}
    text, usage = "", None
    for line in live.post("/chat/completions", {**body, "stream_options": {"include_usage": True}}).text.split("\n\n"):
        if line.startswith("data: {"):
            raw = json.loads(line.removeprefix("data: "))
            assert "timings" not in raw
            chunk = ChatCompletionChunk.model_validate(raw, strict=True)
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            usage = chunk.usage or usage
    assert text == whole
    assert usage is not None
    assert usage.completion_tokens == 24


def test_seeds_repeat_and_differ(live: Live) -> None:
    options = {"temperature": 1.5, "extra_body": {"cache_prompt": False}}
    texts = [chat(live, seed=seed, **options).choices[0].message.content for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_two_answers_differ_and_count_together(live: Live) -> None:
    answer = chat(live, n=2, seed=1, temperature=1.5)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].message.content != answer.choices[1].message.content
    assert answer.usage.completion_tokens > 24
    chunks = list(chat(live, n=2, seed=1, temperature=1.5, stream=True))
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}
    assert len({chunk.id for chunk in chunks}) == 1


def test_stop_string_ends_the_answer_and_is_not_in_it(live: Live) -> None:
    whole = chat(live, temperature=0).choices[0].message.content
    word = whole.split()[3]
    stopped = chat(live, temperature=0, stop=[word]).choices[0]
    assert stopped.finish_reason == "stop"
    assert stopped.message.content == whole[: whole.index(word)]


def test_schema_really_constrains(live: Live) -> None:
    from pydantic import BaseModel, Field

    class Person(BaseModel):
        first_name: str = Field(max_length=12)  # a small model may otherwise fill its whole budget with one name
        is_adult: bool

    schema = Person.model_json_schema()
    form: Any = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}}
    for seed in range(3):
        answer = chat(live, response_format=form, temperature=1.5, seed=seed, max_completion_tokens=200)
        Person.model_validate_json(answer.choices[0].message.content)
    free = chat(live, response_format={"type": "json_object"}, temperature=0, max_completion_tokens=300)
    assert free.choices[0].message.content.lstrip().startswith("{")
    answer = live.client.responses.parse(model=MODEL, input="Tom is 40.", text_format=Person, max_output_tokens=200)
    assert isinstance(answer.output_parsed, Person)


def test_logit_bias_moves_the_choice(live: Live) -> None:
    first = chat(live, temperature=0, logprobs=True, top_logprobs=1, max_completion_tokens=1)
    raw = live.post("/completions", {"prompt": "The sky is", "temperature": 0, "max_tokens": 1}).json()
    assert raw["choices"][0]["text"]
    biased = chat(live, temperature=0, logit_bias={"1": 100}, max_completion_tokens=4)
    assert biased.choices[0].message.content != first.choices[0].message.content


def test_completions(live: Live) -> None:
    body: dict[str, Any] = {"prompt": "The capital of France is", "temperature": 0, "max_tokens": 3, "logprobs": 2}
    raw = live.post("/completions", body).json()
    answer = Completion.model_validate(raw, strict=True)
    assert "timings" not in raw
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or []) == answer.choices[0].text
    assert [len(top) for top in logprobs.top_logprobs or []] == [2, 2, 2]
    pieces = live.client.completions.create(
        model=MODEL, prompt=["The capital of France is", "Two plus two is"], temperature=0, max_tokens=3, stream=True
    )
    texts = ["", ""]
    for piece in pieces:
        for choice in piece.choices:
            texts[choice.index] += choice.text
    assert texts[0] == answer.choices[0].text
    assert texts[1]


def test_embeddings_of_like_texts_are_alike(live: Live) -> None:
    texts = ["The cat sleeps on the sofa.", "A cat is sleeping on a couch.", "Quarterly tax revenue fell by 3%."]
    answer = live.client.embeddings.create(model=MODEL, input=texts)
    a, b, c = (item.embedding for item in answer.data)

    def dot(x: list[float], y: list[float]) -> float:
        return sum(p * q for p, q in zip(x, y, strict=True))

    assert dot(a, a) == pytest.approx(1, abs=1e-3)
    assert dot(a, b) > dot(a, c)
    short = live.client.embeddings.create(model=MODEL, input=texts[0], dimensions=16).data[0].embedding
    assert len(short) == 16
    assert dot(short, short) == pytest.approx(1, abs=1e-3)


def test_what_the_model_cannot_do_is_refused(live: Live) -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    with pytest.raises(openai.BadRequestError, match="not made to call tools"):
        chat(live, tools=[tool])
    image: Any = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(openai.BadRequestError, match="does not see images"):
        chat(live, messages=[{"role": "user", "content": image}])
    broken: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objct"}}}
    with pytest.raises(openai.BadRequestError, match="objct"):
        chat(live, response_format=broken)


def test_context_too_long_says_how_long_and_what_fits(live: Live) -> None:
    for call in (
        lambda: chat(live, messages=[{"role": "user", "content": "a b " * 3000}]),
        lambda: chat(live, messages=[{"role": "user", "content": "a b " * 3000}], stream=True),
        lambda: live.client.responses.create(model=MODEL, input="a b " * 3000),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            call()
        assert caught.value.code == "context_length_exceeded"
        assert "1024" in caught.value.message
        assert "60" in caught.value.message  # some 6,000 tokens


def test_a_response_goes_on_from_the_one_before(live: Live) -> None:
    first = live.client.responses.create(model=MODEL, input="My name is Zoe.", max_output_tokens=24, temperature=0)
    again = live.client.responses.create(
        model=MODEL, input="And now?", previous_response_id=first.id, max_output_tokens=8, temperature=0
    )
    alone = live.client.responses.create(model=MODEL, input="And now?", max_output_tokens=8, temperature=0)
    assert first.usage is not None
    assert again.usage is not None
    assert alone.usage is not None
    assert again.usage.input_tokens > alone.usage.input_tokens + 20
    events = list(live.client.responses.create(model=MODEL, input="Hello", max_output_tokens=8, stream=True))
    assert events[-1].type in ("response.completed", "response.incomplete")


def test_leaving_stops_the_engine(live: Live) -> None:
    engine = live.app.state.services.client._locals[MODEL]
    address, headers = engine._endpoint.url.removesuffix("/v1"), {"authorization": f"Bearer {engine._endpoint.key}"}

    def busy() -> int:
        return sum(slot["is_processing"] for slot in live.http.get(f"{address}/slots", headers=headers).json())

    stream = chat(live, n=2, stream=True, max_completion_tokens=900, extra_body={"ignore_eos": True})
    next(iter(stream))
    assert busy() > 0
    stream.close()
    deadline = time.monotonic() + 5  # 900 tokens take longer, and are seen to
    while busy():
        assert time.monotonic() < deadline
        time.sleep(0.02)
