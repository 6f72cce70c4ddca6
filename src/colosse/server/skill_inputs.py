"""What each skill takes over the API. What cannot be right is refused before a run begins, by the name of its field."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, model_validator

from colosse.assistant.languages import parse_language
from colosse.core.errors import UserError
from colosse.engines.schema import ChatMessage
from colosse.server.api.schema import FileIn, In


def _told_by(parse: Callable[[str], object]) -> AfterValidator:
    """Refuses what `parse` refuses, in the name of the field; an empty text is none."""

    def check(value: str, info: ValidationInfo) -> str:
        try:
            parsed = parse(value) if value.strip() else ""
        except UserError as error:
            error.param = info.field_name
            raise
        return parsed if isinstance(parsed, str) else value

    return AfterValidator(check)


def _code_language(name: str) -> str:
    from colosse.assistant.code import parse_code_language

    return parse_code_language(name)


def _glossary(text: str) -> object:
    from colosse.assistant.translate import read_glossary

    return read_glossary(text)


def _command(text: str) -> None:
    try:
        shlex.split(text)
    except ValueError as error:
        raise UserError(f"the command cannot be read: {error}") from None


def _address(url: str) -> None:
    from colosse.assistant.search.addresses import parse

    parse(url)


LongText = Annotated[str, Field(max_length=10_000_000)]
Word = Annotated[str, Field(max_length=200)]
Language = Annotated[Word, _told_by(parse_language)]
CodeLanguage = Annotated[str, Field(min_length=1, max_length=30), _told_by(_code_language)]
Files = Annotated[list[FileIn], Field(max_length=200)]


class SkillIn(In):
    """Base of the input of a skill: unknown fields are refused; an empty model is the default one."""

    one_of: ClassVar[tuple[str, ...]] = ()
    """The fields that may say what is worked on: one of them does."""

    model: Word = ""

    def stored(self) -> dict[str, Any]:
        """As it is kept: of a file, the name and size."""
        return {name: _without_contents(value) for name, value in self.model_dump(mode="json").items()}

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        given = [name for name in self.one_of if not _is_empty(getattr(self, name))]
        if self.one_of and not given:
            what = " or ".join(self.one_of)
            raise UserError(f"nothing is given: {what} must not be empty", code="empty_input", param=self.one_of[0])
        if len(given) > 1:
            raise UserError(f"{given[0]} and {given[1]} are both given", hint="give one of them", param=given[1])
        return self


def _is_empty(value: Any) -> bool:
    return not (value.strip() if isinstance(value, str) else value)


def _without_contents(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_contents(below) for below in value]
    if isinstance(value, dict) and "content_base64" in value:
        packed = value["content_base64"]
        return {"name": value["name"], "num_bytes": len(packed) // 4 * 3 - packed.count("=", -2)}
    return value


class TranslateIn(SkillIn):
    """Translate `text` or `file` into the language `to`, a code or a name; an empty `source` is detected.

    `glossary` is CSV: `term,translation` a line. The translated file is then at the run's `file`.
    """

    one_of = ("text", "file")

    text: LongText = ""
    file: FileIn | None = None
    to: Annotated[Language, Field(min_length=1)]
    source: Language = ""
    tone: Literal["", "formal", "informal", "neutral", "technical", "simple"] = ""
    glossary: Annotated[LongText, _told_by(_glossary)] = ""


class SummarizeIn(SkillIn):
    """Summarise `text`, the page at `url`, or `files` together; an empty `language` is the text's own."""

    one_of = ("text", "url", "files")

    text: LongText = ""
    url: Annotated[str, Field(max_length=2000), _told_by(_address)] = ""
    files: Files = []
    length: Literal["short", "medium", "long"] = "medium"
    style: Literal["abstract", "bullets", "tldr"] = "abstract"
    language: Language = ""


class CodeIn(SkillIn):
    """Base of the input of what is done with code; `language` is a programming language's."""

    language: CodeLanguage = "python"


class CodeWriteIn(CodeIn):
    """Write code for `task`, whose `tests`, if given, must pass."""

    one_of = ("task",)

    task: LongText
    tests: LongText = ""


class CodeFixIn(CodeIn):
    """Fix `code`, or the `files` that `command` needs; `error` in place of a command is read, and nothing run."""

    one_of = ("code", "files")

    code: LongText = ""
    files: Files = []
    command: Annotated[str, Field(max_length=1000), _told_by(_command)] = ""
    error: LongText = ""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [file.name for file in self.files]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise UserError(f"two files are called {twice}", param="files")
        return self


class CodeOptimizeIn(CodeIn):
    """Make `code` faster, as `bench`, a program that uses it, measures; `tests` must pass before and after."""

    one_of = ("code",)

    code: LongText
    bench: LongText = ""
    tests: LongText = ""


class CodeExplainIn(CodeIn):
    """Explain `code`, with examples that are run."""

    one_of = ("code",)

    code: LongText
    question: Annotated[str, Field(max_length=2000)] = ""


class CodeTranslateIn(CodeIn):
    """Translate `code` from the programming language `language` into the one named `target`."""

    one_of = ("code",)

    code: LongText
    target: CodeLanguage

    @model_validator(mode="after")
    def _languages_differ(self) -> Self:
        if self.language == self.target:
            raise UserError(f"the code is in {self.target} already", param="target")
        return self


class Turn(In):
    """A message of the conversation before a question."""

    role: Literal["user", "assistant"]
    content: LongText


class QuestionIn(SkillIn):
    """A question, and the conversation that it follows."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    history: Annotated[list[Turn], Field(max_length=100)] = []

    @property
    def messages(self) -> list[ChatMessage]:
        """The conversation as a skill takes it."""
        return [ChatMessage(role=turn.role, content=turn.content) for turn in self.history]


class SearchIn(QuestionIn):
    """Answer `question` from pages and one's own documents, with citations that were checked."""


class DocumentsIn(QuestionIn):
    """Answer `question` from one's own documents, with citations that were checked."""
