"""The OpenAI wire format that every engine speaks, as far as Colosse reads it.

Requests are validated strictly where a wrong value would be silently ignored, and pass everything else through:
engines know options (`top_k`, `min_p`, `repeat_penalty`, ...) that OpenAI's own API does not have.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Wire(BaseModel):
    """Base of what crosses the wire: unknown keys are kept and passed on."""

    model_config = ConfigDict(extra="allow")


Role = Literal["system", "developer", "user", "assistant", "tool"]


class ChatMessage(Wire):
    """One message of a chat request; `content` is text or a list of parts."""

    role: Role
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class StreamOptions(Wire):
    """Options that only streams have."""

    include_usage: bool = False


class ChatRequest(Wire):
    """Body of `POST /v1/chat/completions`."""

    model: Annotated[str, Field(max_length=200)] = ""
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    stop: str | list[str] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    user: str | None = None


class CompletionRequest(Wire):
    """Body of `POST /v1/completions`."""

    model: Annotated[str, Field(max_length=200)] = ""
    prompt: str | list[str] | list[int] | list[list[int]]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = 16
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    stop: str | list[str] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None


class EmbeddingRequest(Wire):
    """Body of `POST /v1/embeddings`."""

    model: Annotated[str, Field(max_length=200)] = ""
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None


class Usage(Wire):
    """Tokens of one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Delta(BaseModel):
    """One step of a streamed chat answer, as our own code reads it.

    Attributes:
        content: text of the answer to append.
        reasoning: text of the model's reasoning to append.
        tool_calls: pieces of tool calls, in OpenAI's delta shape.
        finish_reason: why the answer ended, on its last step.
        usage: token counts, on the last step of the stream.
    """

    content: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = []
    finish_reason: str | None = None
    usage: Usage | None = None


class ModelInfo(BaseModel):
    """A model that can be asked for by name.

    Attributes:
        id: its name.
        state: `ready`, `loading`, `available` (installed, loads on first use), `failed`.
        engine: `llama.cpp`, `vllm`, or the endpoint's name.
        max_model_len: context in tokens of one request, when known.
        capabilities: of `chat`, `completions`, `embeddings`, `tools`, `vision`.
        error: why it failed.
    """

    id: str
    state: Literal["ready", "loading", "available", "failed"]
    engine: str
    max_model_len: int | None = None
    capabilities: list[str] = ["chat", "completions"]
    error: str = ""


class EndpointStatus(BaseModel):
    """How one endpoint is doing.

    Attributes:
        name: the endpoint's; for an engine of ours, its model and task.
        engine: `llama.cpp`, `vllm`, or `remote`.
        state: of the process (`starting`, `ready`, `failed`, `stopped`), or of a remote one's circuit breaker (`closed`
            is healthy, `open`, `half-open`).
        models: what it serves.
        in_flight: requests being answered.
        max_concurrency: how many it may be given at once.
        requests: given to it so far.
        errors: of those, failed.
        restarts: of the process.
        pid: of the process.
        error: the last failure.
    """

    name: str
    engine: str
    state: str
    models: list[str]
    in_flight: int = 0
    max_concurrency: int = 0
    requests: int = 0
    errors: int = 0
    restarts: int = 0
    pid: int | None = None
    error: str = ""
