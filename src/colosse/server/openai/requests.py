"""Bodies of the OpenAI API's requests, checked strictly: a value that would be silently ignored is refused instead.

Keys that OpenAI does not know are kept and passed to the engine (`top_k`, `min_p`, `repeat_penalty`, ...), unless one
looks like a slip of the pen for a key that is known.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from colosse.core.errors import UserError

ModelName = Annotated[str, Field(max_length=200, description="A name from `/v1/models`; empty: the default model.")]
FunctionName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
StopText = Annotated[str, StringConstraints(min_length=1)]
Tokens = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
JsonSchema = dict[str, Any]


class Body(BaseModel):
    """Base of every body and part of one: strict types, unknown keys kept."""

    model_config = ConfigDict(extra="allow", strict=True)

    def refuse_slips(self) -> None:
        """Refuse unknown keys that are nearly known ones: `temprature` would otherwise do nothing, silently.

        Raises:
            UserError: naming the key and the one that was probably meant.
        """
        known = type(self).model_fields
        for key in self.model_extra or ():
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.85)
            if close:
                raise UserError(
                    f"unknown field {key!r}", hint=f"did you mean {close[0]!r}?", code="unknown_parameter", param=key
                )

    def wire(self) -> dict[str, Any]:
        """What the client sent, as plain JSON values, without nulls of ours."""
        return self.model_dump(exclude_unset=True, exclude_none=True, by_alias=True)


class TextPart(Body):
    """A piece of text."""

    type: Literal["text"]
    text: str


class ImageUrl(Body):
    """Where an image is: `data:` or `https:`."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Body):
    """An image, for models that see."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class SystemMessage(Body):
    """What the model is told to be."""

    role: Literal["system", "developer"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = None


class UserMessage(Body):
    """What the user says."""

    role: Literal["user"]
    content: str | Annotated[list[Part], Field(min_length=1)]
    name: str | None = None


class CalledFunction(Body):
    """A function and the JSON text of its arguments."""

    name: str
    arguments: str


class ToolCall(Body):
    """A call that the model asked for."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(Body):
    """What the model said before."""

    role: Literal["assistant"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class ToolMessage(Body):
    """What a called function answered."""

    role: Literal["tool"]
    content: str | list[TextPart]
    tool_call_id: str


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage,
    Field(discriminator="role"),
]


class Function(Body):
    """A function that the model may call; `parameters` is a JSON schema of an object."""

    name: FunctionName
    description: str | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None


class Tool(Body):
    """A tool; functions are the only kind."""

    type: Literal["function"]
    function: Function


class FunctionRef(Body):
    """The name of a function among `tools`."""

    name: FunctionName


class NamedTool(Body):
    """Forces one function."""

    type: Literal["function"]
    function: FunctionRef


class SchemaFormat(Body):
    """A JSON schema and its name."""

    name: FunctionName
    description: str | None = None
    schema_: Annotated[JsonSchema, Field(alias="schema")] = {}
    strict: bool | None = None


class PlainFormat(Body):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]


class JsonSchemaFormat(Body):
    """JSON that obeys a schema."""

    type: Literal["json_schema"]
    json_schema: SchemaFormat


ResponseFormat = Annotated[PlainFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(Body):
    """Options that only streams have."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Sampling(Body):
    """What chat and plain completions share."""

    model: ModelName = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    seed: Seed | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: (
        dict[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]]
        | None
    ) = None
    user: str | None = None


class ChatCompletionRequest(Sampling):
    """Body of `POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    modalities: list[Literal["text"]] | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None


class CompletionRequest(Sampling):
    """Body of `POST /v1/completions`."""

    prompt: str | Annotated[list[str] | list[Tokens], Field(min_length=1, max_length=128)] | Tokens
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


class EmbeddingRequest(Body):
    """Body of `POST /v1/embeddings`."""

    model: ModelName = ""
    input: StopText | Annotated[list[StopText] | list[Tokens], Field(min_length=1, max_length=2048)] | Tokens
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None
