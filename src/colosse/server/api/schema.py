"""What the app's API takes and gives. The web page's types are generated from these."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints, model_validator

from colosse.assistant.tools import MAX_FILES, ToolName
from colosse.core.errors import UserError
from colosse.engines.schema import ModelInfo

Status = Literal["complete", "running", "stopped", "interrupted", "failed"]
Moment = Annotated[
    datetime,
    PlainSerializer(lambda moment: moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"), when_used="json"),
]
Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
Name = Annotated[str, Field(max_length=200)]
System = Annotated[str, Field(max_length=100_000)]


class Out(BaseModel):
    """Base of what is given; made from a row of the database."""

    model_config = ConfigDict(from_attributes=True, json_schema_serialization_defaults_required=True)


class In(BaseModel):
    """Base of what is taken: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


def _is_base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("this is not base64") from None
    return text


Base64 = Annotated[str, AfterValidator(_is_base64), Field(json_schema_extra={"contentEncoding": "base64"})]


class FileIn(In):
    """A file in a request; its name's ending says what it is."""

    name: Annotated[str, Field(min_length=1, max_length=300)]
    content_base64: Base64

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return base64.b64decode(self.content_base64)


class UserOut(Out):
    """Who is asking."""

    id: str
    name: str


class Limits(Out):
    """What this server refuses."""

    max_body_bytes: int
    max_concurrent_runs: int


class State(Out):
    """What the page needs to know at its start. `default_model` is null when there is no model yet."""

    version: str
    user: UserOut
    default_model: str | None
    models: list[ModelInfo]
    limits: Limits


class SessionIn(In):
    """Logging in."""

    key: Annotated[str, Field(min_length=1, max_length=200)]


class MessageUsage(Out):
    """What an answer took."""

    prompt_tokens: int
    completion_tokens: int
    ttft_ms: float | None
    tokens_per_second: float | None


class Thread(Out):
    """A conversation; `head_id` is the message that ends the branch being shown."""

    id: str
    title: str
    model: str
    system: str
    head_id: str | None
    created_at: Moment
    updated_at: Moment


class Source(Out):
    """A passage that an answer cites by its number; of a web page it has `url`, of a document its id and place."""

    id: int
    text: str
    title: str = ""
    url: str = ""
    page: int | None = None
    section: str = ""
    document_id: str = ""
    position: int | None = None


class FileOut(Out):
    """A small file of a message: given by the user, or written by a program of the answer."""

    name: str
    media_type: str
    content_base64: str


class Message(Out):
    """One row of a conversation."""

    id: str
    thread_id: str
    parent_id: str | None
    role: Literal["user", "assistant"]
    content: str
    reasoning: str
    status: Status
    model: str
    run_id: str | None
    error: str
    error_code: str
    usage: MessageUsage | None
    sources: list[Source] | None
    files: list[FileOut] | None
    created_at: Moment


class Run(Out):
    """One generation."""

    id: str
    thread_id: str
    message_id: str
    status: Status
    model: str
    error: str
    error_code: str
    created_at: Moment
    finished_at: Moment | None


class ThreadPage(Out):
    """Threads, the last changed first."""

    items: list[Thread]
    next_cursor: str | None


class ThreadWithMessages(Out):
    """A thread and its whole tree, oldest first."""

    thread: Thread
    messages: list[Message]


class ThreadIn(In):
    """A new thread. An empty model means the default one."""

    title: Title = ""
    model: Name = ""
    system: System = ""


def _no_default(field: dict[str, Any]) -> None:
    field.pop("default", None)


_ABSENT: Any = Field(default=None, json_schema_extra=_no_default)


class ThreadPatch(In):
    """Changes to a thread; what is absent stays, and null is nothing that a field can be."""

    title: Title = _ABSENT
    model: Name = _ABSENT
    system: System = _ABSENT
    head_id: Annotated[str, Field(max_length=64)] = _ABSENT


class Params(In):
    """Sampling options; what is absent is the engine's default."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=100_000)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=16)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None

    def given(self) -> dict[str, Any]:
        """The options that were set."""
        return self.model_dump(exclude_none=True)


class RunIn(In):
    """A question (`content`), or a request to answer `parent_id`, a user message, again.

    With `content`: the question goes below `parent_id`; absent, below the thread's head; null, as a new root.
    Without: absent `parent_id` means the question that the thread's head answers.

    `mode` `search` or `documents` answers from the web or from one's own documents, with citations that were checked.
    In mode `chat`, `tools` are what a model that calls tools may use; `files` are for its programs.
    """

    content: Annotated[str, Field(min_length=1, max_length=10_000_000)] | None = None
    parent_id: Annotated[str, Field(max_length=64)] | None = None
    model: Name = ""
    params: Params = Params()
    mode: Literal["chat", "search", "documents"] = "chat"
    tools: Annotated[list[ToolName], Field(max_length=3)] = []
    files: Annotated[list[FileIn], Field(max_length=MAX_FILES)] = []

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        if self.tools and self.mode != "chat":
            raise UserError(f"mode {self.mode!r} takes no tools", hint="mode 'chat' does", param="tools")
        if self.files and ("python" not in self.tools or self.content is None):
            hint = "give them with the question, and tools with 'python'"
            raise UserError("files are for the programs of an answer", hint=hint, param="files")
        return self


class RunStarted(Out):
    """A run that began, the question it answers and the message it fills."""

    run: Run
    user_message: Message
    message: Message


class Snapshot(Out):
    """Event `snapshot`: everything so far, and the last step."""

    content: str
    reasoning: str
    step: str


class Step(Out):
    """Event `step`: what is being done now, for people."""

    text: str


class Delta(Out):
    """Event `delta`: text to append."""

    content: str = ""
    reasoning: str = ""


class Done(Out):
    """Event `done`, the last: how it ended."""

    run: Run
    message: Message


class SkillOut(Out):
    """A skill that can be called; `input_schema` is the JSON schema of its input."""

    name: str
    input_schema: dict[str, Any]


class SkillRunRow(Out):
    """One call of a skill."""

    id: str
    skill: str
    status: Status
    error: str
    error_code: str
    created_at: Moment
    finished_at: Moment | None


class SkillRun(SkillRunRow):
    """One call of a skill; `input` without the contents of files, `result` when it is there.

    With a `file_name` the result is a file as well, at `/api/skills/runs/{id}/file`.
    """

    input: dict[str, Any]
    result: dict[str, Any] | None
    file_name: str | None


class SkillRunPage(Out):
    """Calls of skills, the newest first."""

    items: list[SkillRunRow]
    next_cursor: str | None


class Document(Out):
    """A document that was given to be searched and cited."""

    id: str
    name: str
    title: str
    media_type: str
    language: str
    num_bytes: int
    num_pages: int | None
    num_passages: int
    created_at: Moment


class FoundPassage(Source):
    """A passage that answers a search; scores compare within one search alone."""

    score: float


class Passage(Out):
    """A span of a document; `position` counts from 0 to below `num_passages`, `page` from 1."""

    document_id: str
    position: int
    num_passages: int
    page: int | None
    section: str
    text: str
