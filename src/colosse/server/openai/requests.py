"""Bodies of the OpenAI API's requests, checked strictly: a value that would be silently ignored is refused instead.

Keys that OpenAI does not know are kept and passed to the engine (`top_k`, `min_p`, `repeat_penalty`, ...), unless one
looks like a slip of the pen for a key that is known.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag

from colosse.core.errors import UserError

ModelName = Annotated[str, Field(max_length=200, description="A name from `/v1/models`; empty: the default model.")]
FunctionName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
FilledText = Annotated[str, StringConstraints(min_length=1)]
Tokens = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
JsonSchema = dict[str, Any]

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


async def check_text(request: Request) -> None:
    """Refuse a body with half of a surrogate pair: no encoding has it, so no engine and no database takes it.

    Raises:
        UserError: there is one.
    """
    body = await request.body()
    if _SURROGATE.search(body):
        try:
            json.dumps(json.loads(body), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UserError(
                "the body holds half of a surrogate pair, which is no character", code="invalid_json"
            ) from None


def _text_or_list(value: Any) -> str:
    return "list" if isinstance(value, list) else "text"


def _prompt_kind(value: Any) -> str:
    if not isinstance(value, list):
        return "text"
    first = value[0] if value else ""
    return "tokens" if isinstance(first, int) else "token_lists" if isinstance(first, list) else "texts"


TEXT_OR_LIST = Discriminator(_text_or_list)
TEXT_OR_OBJECT = Discriminator(lambda value: "text" if isinstance(value, str) else "object")
PROMPT = Discriminator(_prompt_kind)


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
Texts = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[TextPart], Field(min_length=1), Tag("list")], TEXT_OR_LIST
]
Parts = Annotated[Annotated[str, Tag("text")] | Annotated[list[Part], Field(min_length=1), Tag("list")], TEXT_OR_LIST]


class SystemMessage(Body):
    """What the model is told to be."""

    role: Literal["system", "developer"]
    content: Texts
    name: str | None = None


class UserMessage(Body):
    """What the user says."""

    role: Literal["user"]
    content: Parts
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
    content: Texts | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class ToolMessage(Body):
    """What a called function answered."""

    role: Literal["tool"]
    content: Texts
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
    stop: (
        Annotated[
            Annotated[FilledText, Tag("text")] | Annotated[list[FilledText], Field(max_length=16), Tag("list")],
            TEXT_OR_LIST,
        ]
        | None
    ) = None
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
    tool_choice: (
        Annotated[
            Annotated[Literal["auto", "none", "required"], Tag("text")] | Annotated[NamedTool, Tag("object")],
            TEXT_OR_OBJECT,
        ]
        | None
    ) = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    modalities: list[Literal["text"]] | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None


class CompletionRequest(Sampling):
    """Body of `POST /v1/completions`."""

    prompt: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[list[str], Field(min_length=1, max_length=128), Tag("texts")]
        | Annotated[Tokens, Tag("tokens")]
        | Annotated[list[Tokens], Field(min_length=1, max_length=128), Tag("token_lists")],
        PROMPT,
    ]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


class EmbeddingRequest(Body):
    """Body of `POST /v1/embeddings`."""

    model: ModelName = ""
    input: Annotated[
        Annotated[FilledText, Tag("text")]
        | Annotated[list[FilledText], Field(min_length=1, max_length=2048), Tag("texts")]
        | Annotated[Tokens, Tag("tokens")]
        | Annotated[list[Tokens], Field(min_length=1, max_length=2048), Tag("token_lists")],
        PROMPT,
    ]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None
