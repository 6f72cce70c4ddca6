"""Shapes of the OpenAI API's answers: they document the routes, and tests hold the real answers against them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from colosse.server.errors import ERROR_RESPONSES


def answers(model: type[BaseModel], *, streamed: str = "") -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: `model`, server-sent events described by `streamed` if it can stream, errors."""
    ok: dict[str, Any] = {"model": model}
    if streamed:
        data = {"type": "string", "description": streamed}
        event = {"type": "object", "properties": {"event": {"type": "string"}, "data": data}, "required": ["data"]}
        ok["content"] = {"text/event-stream": {"itemSchema": event}}
    return {200: ok, **ERROR_RESPONSES}


class Usage(BaseModel):
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TopLogprob(BaseModel):
    """A token and its log probability."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class TokenLogprob(TopLogprob):
    """The token that was taken, and the likeliest ones at its place."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(BaseModel):
    """Log probabilities of an answer's tokens."""

    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None


class FunctionCall(BaseModel):
    """A function and the JSON text of its arguments."""

    name: str
    arguments: str


class MessageToolCall(BaseModel):
    """A call that the model asks for."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class AnswerMessage(BaseModel):
    """The answer; `reasoning_content` is what the model thought before it, where the engine tells."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None = None
    tool_calls: list[MessageToolCall] | None = None
    reasoning_content: str | None = None


class ChatChoice(BaseModel):
    """One of `n` answers."""

    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]


class ChatCompletion(BaseModel):
    """Answer of `POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str | None = None
    service_tier: str | None = None


class LegacyLogprobs(BaseModel):
    """Log probabilities as `/v1/completions` has them: parallel lists over the tokens."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One of `n` answers to one of the prompts."""

    index: int
    text: str
    logprobs: LegacyLogprobs | None = None
    finish_reason: Literal["stop", "length", "content_filter"]


class Completion(BaseModel):
    """Answer of `POST /v1/completions`."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    system_fingerprint: str | None = None


class Embedding(BaseModel):
    """One vector, as floats or as base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """Answer of `POST /v1/embeddings`."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Model(BaseModel):
    """A model that can be asked for. `owned_by` is the engine that runs it; the last three are ours."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    max_model_len: int | None
    capabilities: list[str]
    state: str


class ModelList(BaseModel):
    """Answer of `GET /v1/models`."""

    object: Literal["list"] = "list"
    data: list[Model]
