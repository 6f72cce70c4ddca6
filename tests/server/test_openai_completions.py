"""`/v1/completions` with the official client, against a scripted engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types import Completion

from colosse.core.settings import Settings
from colosse.server.openai.completions import legacy_logprobs
from tests.fixtures.scripted import Scripted
from tests.server.live import Live, serve


@pytest.fixture
def live(scripted_settings: Settings) -> Iterator[Live]:
    with serve(scripted_settings) as live:
        yield live


def test_answer_is_what_the_official_client_expects(live: Live) -> None:
    raw = live.post("/completions", {"prompt": "once upon"})
    answer = Completion.model_validate(raw.json(), strict=True)
    assert answer.choices[0].text == "echo: once upon"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 3)


@pytest.mark.parametrize("stream", [False, True])
def test_prompts_and_answers_multiply_in_order(live: Live, scripted: Scripted, stream: bool) -> None:
    body: dict[str, Any] = {"prompt": ["a b", "c"], "n": 2, "echo": True, "stream": stream, "max_tokens": 30}
    if stream:
        body["stream_options"] = {"include_usage": True}
        texts, usage = [""] * 4, None
        for line in live.post("/completions", body).text.split("\n\n"):
            if line and not line.endswith("[DONE]"):
                chunk = Completion.model_validate({**json.loads(line.removeprefix("data: ")), "choices": []})
                for choice in json.loads(line.removeprefix("data: "))["choices"]:
                    texts[choice["index"]] += choice["text"]
                usage = chunk.usage or usage
    else:
        answer = live.client.completions.create(model="scripted", prompt=["a b", "c"], n=2, echo=True, max_tokens=30)
        texts, usage = [choice.text for choice in answer.choices], answer.usage
    assert texts == ["a becho: a b", "a becho: a b", "cecho: c", "cecho: c"]
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 10)
    assert len(scripted.requests) == 4


def test_prompts_of_tokens(live: Live, scripted: Scripted) -> None:
    live.client.completions.create(model="scripted", prompt=[5, 6, 7])
    live.client.completions.create(model="scripted", prompt=[[5], [6, 7]])
    assert sorted(str(request.body["prompt"]) for request in scripted.requests) == ["[5, 6, 7]", "[5]", "[6, 7]"]


def test_as_many_tokens_as_openai_by_default(live: Live, scripted: Scripted) -> None:
    live.client.completions.create(model="scripted", prompt="a")
    assert scripted.requests[-1].body["max_tokens"] == 16


def test_legacy_logprobs_are_parallel_lists() -> None:
    def token(text: str, logprob: float) -> dict[str, Any]:
        return {"id": 1, "token": text, "bytes": [], "logprob": logprob}

    content = [
        {**token(text, lp), "top_logprobs": [token(text, lp), token("x", -9)]} for text, lp in [("ab", -1), ("c", -2)]
    ]
    assert legacy_logprobs({"content": content}, 10) == {
        "tokens": ["ab", "c"],
        "token_logprobs": [-1, -2],
        "top_logprobs": [{"ab": -1, "x": -9}, {"c": -2, "x": -9}],
        "text_offset": [10, 12],
    }
    already = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{}], "text_offset": [0]}
    assert legacy_logprobs(already, 0) == already
    assert legacy_logprobs(None, 0) is None
