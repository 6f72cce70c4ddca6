"""Body of `POST /v1/responses`, and the items that it and a stored response are made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, field_validator

from colosse.server.openai.requests import TEXT_OR_LIST, TEXT_OR_OBJECT, Body, FunctionName, JsonSchema, ModelName

ShortText = Annotated[str, StringConstraints(max_length=512)]


class InputText(Body):
    """Text, of the user or (`output_text`) of an earlier answer."""

    type: Literal["input_text", "output_text"]
    text: str


class InputRefusal(Body):
    """An earlier answer's refusal."""

    type: Literal["refusal"]
    refusal: str


class InputImage(Body):
    """An image, for models that see."""

    type: Literal["input_image"]
    image_url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


InputPart = Annotated[InputText | InputRefusal | InputImage, Field(discriminator="type")]


class InputMessage(Body):
    """A message of anybody."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[InputPart], Field(min_length=1), Tag("list")], TEXT_OR_LIST
    ]


class InputCall(Body):
    """A function call that an earlier answer asked for."""

    type: Literal["function_call"]
    call_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    name: FunctionName
    arguments: str


class InputCallOutput(Body):
    """What a called function answered."""

    type: Literal["function_call_output"]
    call_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    output: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[InputText], Field(min_length=1), Tag("list")], TEXT_OR_LIST
    ]


class InputReasoning(Body):
    """Reasoning of an earlier answer: taken back without complaint, and not shown to the model again."""

    type: Literal["reasoning"]


def _item_type(value: Any) -> str:
    kind = value.get("type", "message") if isinstance(value, dict) else getattr(value, "type", "")
    return kind if isinstance(kind, str) else ""


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputCallOutput, Tag("function_call_output")]
    | Annotated[InputReasoning, Tag("reasoning")],
    Discriminator(_item_type),
]


class FunctionTool(Body):
    """A function that the model may call; `parameters` is a JSON schema of an object."""

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None


class NamedFunction(Body):
    """Forces one function."""

    type: Literal["function"]
    name: FunctionName


class PlainTextFormat(Body):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]


class SchemaTextFormat(Body):
    """JSON that obeys a schema."""

    type: Literal["json_schema"]
    name: FunctionName
    description: str | None = None
    schema_: Annotated[JsonSchema, Field(alias="schema")]
    strict: bool | None = None


class TextOptions(Body):
    """What the text of the answer looks like."""

    format: Annotated[PlainTextFormat | SchemaTextFormat, Field(discriminator="type")] | None = None
    verbosity: Literal["medium"] | None = None


class Reasoning(Body):
    """How much to think, for models that do."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    summary: None = None


class StreamOptions(Body):
    """Options that only streams have."""

    include_obfuscation: bool | None = None


class ResponsesRequest(Body):
    """Body of `POST /v1/responses`."""

    model: ModelName = ""
    input: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[InputItem], Field(min_length=1, max_length=10_000), Tag("list")],
        TEXT_OR_LIST,
    ]
    instructions: str | None = None
    previous_response_id: Annotated[str, StringConstraints(max_length=200)] | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    text: TextOptions | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128)] | None = None
    tool_choice: (
        Annotated[
            Annotated[Literal["auto", "none", "required"], Tag("text")] | Annotated[NamedFunction, Tag("object")],
            TEXT_OR_OBJECT,
        ]
        | None
    ) = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    include: list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]] | None = None
    truncation: Literal["disabled"] | None = None
    metadata: (
        Annotated[dict[Annotated[str, StringConstraints(max_length=64)], ShortText], Field(max_length=16)] | None
    ) = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: Literal["auto", "default"] | None = None
    user: str | None = None

    @field_validator("tools", mode="before")
    @classmethod
    def _only_functions(cls, value: Any) -> Any:
        kinds = [t["type"] for t in value if isinstance(t, dict) and isinstance(t.get("type"), str)] if value else []
        unknown = sorted(set(kinds) - {"function"})
        if unknown:
            raise ValueError(f"the tool {', '.join(unknown)} is not built in here; only 'function' tools are supported")
        return value
