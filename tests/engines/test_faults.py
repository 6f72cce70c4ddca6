"""What engines' error bodies are turned into; the bodies are those of real engines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from colosse.core.errors import (
    ColosseError,
    EngineError,
    NotFoundError,
    RateLimitError,
    TooLargeError,
    UnavailableError,
    UserError,
)
from colosse.engines.faults import from_answer

LLAMA_CPP = {
    "code": 400,
    "message": "request (606 tokens) exceeds the available context size (512 tokens), try increasing it",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 606,
    "n_ctx": 512,
}
LLAMA_CPP_EMBEDDING = {
    "code": 500,
    "message": "input (901 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
    "type": "server_error",
}
VLLM = {
    "message": "This model's maximum context length is 2048 tokens. However, your request has 2100 input tokens. "
    "Please reduce the length of the input messages.",
    "type": "BadRequestError",
    "param": "input_tokens",
    "code": 400,
}
VLLM_ANSWER = {
    "message": "This model's maximum context length is 2048 tokens. However, you requested 2148 tokens (2000 in the "
    "messages, 148 in the completion). Please reduce the length of the messages or completion.",
    "type": "BadRequestError",
    "param": None,
    "code": 400,
}
OPENAI = {
    "message": "This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens.",
    "type": "invalid_request_error",
    "param": "messages",
    "code": "context_length_exceeded",
}


def wire(error: Any) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("status", "error", "prompt", "limit"),
    [
        (400, LLAMA_CPP, 606, 512),
        (500, LLAMA_CPP_EMBEDDING, 901, 512),
        (400, VLLM, 2100, 2048),
        (400, VLLM_ANSWER, 2000, 2048),
        (400, OPENAI, 5000, 4097),
    ],
)
def test_context_too_long_says_both_lengths(status: int, error: Any, prompt: int, limit: int) -> None:
    fault = from_answer("e", "m", status, wire(error))
    assert isinstance(fault.error, UserError)
    assert fault.error.code == "context_length_exceeded"
    assert f"{prompt} tokens long and 'm' takes {limit}" in fault.error.message
    assert not fault.retry
    assert not fault.sick


def test_a_prompt_that_fits_with_an_answer_that_does_not() -> None:
    assert "max_tokens=48" in from_answer("e", "m", 400, wire(VLLM_ANSWER)).error.hint


@pytest.mark.parametrize(
    ("status", "kind", "retry", "sick"),
    [
        (400, UserError, False, False),
        (422, UserError, False, False),
        (401, EngineError, True, False),
        (403, EngineError, True, False),
        (404, NotFoundError, True, False),
        (501, NotFoundError, True, False),
        (409, UnavailableError, True, False),
        (413, TooLargeError, False, False),
        (429, RateLimitError, True, False),
        (500, EngineError, True, True),
        (503, UnavailableError, True, True),
        (599, EngineError, True, True),
    ],
)
def test_statuses(status: int, kind: type[ColosseError], retry: bool, sick: bool) -> None:
    fault = from_answer("e", "m", status, wire({"message": "the reason"}))
    assert type(fault.error) is kind
    assert "the reason" in fault.error.message
    assert (fault.retry, fault.sick) == (retry, sick)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "HTTP status 500"),
        (b"<html>Bad\ngateway</html>", "<html>Bad gateway</html>"),
        (b'{"error": "plain text"}', "plain text"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b"[1, 2]", "[1, 2]"),
        (b'{"message": "bare"}', "bare"),
    ],
)
def test_odd_bodies(body: bytes, said: str) -> None:
    assert said in from_answer("e", "m", 500, body).error.message


def test_an_error_inside_a_stream_has_its_status_in_the_body() -> None:
    assert isinstance(from_answer("e", "m", 500, wire({"code": 400, "message": "bad"})).error, UserError)


def test_pause_that_was_asked_for() -> None:
    assert from_answer("e", "m", 429, b"{}", "7").retry_after_s == 7
    assert from_answer("e", "m", 429, b"{}", "Wed, 21 Oct 2026 07:28:00 GMT").retry_after_s == 0
