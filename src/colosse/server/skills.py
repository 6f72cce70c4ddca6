"""The skills that can be called over the API: the name of each, its input and how it is called.

Skills are imported when they are called, so that the server starts without what only they need.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from colosse.assistant.skill import Listener, Result
from colosse.core.errors import UserError
from colosse.core.settings import SearchSettings
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage
from colosse.server.api.schema import FileIn, In, Source
from colosse.server.skill_events import storable
from colosse.store import Store

LongText = Annotated[str, Field(max_length=10_000_000)]
Word = Annotated[str, Field(max_length=200)]


Files = Annotated[list[FileIn], Field(max_length=200)]


class SkillIn(In):
    """Base of the input of a skill: unknown fields are refused; an empty model is the default one."""

    model: Word = ""

    def stored(self) -> dict[str, Any]:
        """As it is kept: of a file, the name and size."""
        return {name: _without_contents(value) for name, value in self.model_dump(mode="json").items()}


def _without_contents(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_contents(below) for below in value]
    if isinstance(value, dict) and "content_base64" in value:
        return {"name": value["name"], "num_bytes": len(value["content_base64"]) * 3 // 4}
    return value


class TranslateIn(SkillIn):
    """Translate `text` or `file` into the language of code `to`; an empty `source` is detected.

    `glossary` is CSV: `term,translation` a line.
    """

    text: LongText = ""
    file: FileIn | None = None
    to: Word
    source: Word = ""
    tone: Word = ""
    glossary: LongText = ""


class SummarizeIn(SkillIn):
    """Summarise `text`, or `files` together; an empty `language` is the text's own."""

    text: LongText = ""
    files: Files = []
    length: Literal["short", "medium", "long"] = "medium"
    style: Literal["abstract", "bullets", "tldr"] = "abstract"
    language: Word = ""


class CodeIn(SkillIn):
    """Base of the input of what is done with code; `language` is a programming language's."""

    language: Annotated[str, Field(min_length=1, max_length=30)] = "python"


class CodeWriteIn(CodeIn):
    """Write code for `task`, whose `tests`, if given, must pass."""

    task: LongText
    tests: LongText = ""


class CodeFixIn(CodeIn):
    """Fix `code`, or the `files` that `command` needs; `error` in place of a command is read, and nothing run."""

    code: LongText = ""
    files: Files = []
    command: Annotated[str, Field(max_length=1000)] = ""
    error: LongText = ""


class CodeOptimizeIn(CodeIn):
    """Make `code` faster, as `bench`, a program that uses it, measures; `tests` must pass before and after."""

    code: LongText
    bench: LongText = ""
    tests: LongText = ""


class CodeExplainIn(CodeIn):
    """Explain `code`, with examples that are run."""

    code: LongText
    question: Annotated[str, Field(max_length=2000)] = ""


class CodeTranslateIn(CodeIn):
    """Translate `code` from the programming language `language` into the one named `target`."""

    code: LongText
    target: Word


class Turn(In):
    """A message of the conversation before a question."""

    role: Literal["user", "assistant"]
    content: LongText


class QuestionIn(SkillIn):
    """A question, and the conversation that it follows."""

    question: Annotated[str, Field(min_length=1, max_length=2000)]
    history: Annotated[list[Turn], Field(max_length=100)] = []

    @property
    def messages(self) -> list[ChatMessage]:
        """The conversation as a skill takes it."""
        return [ChatMessage(role=turn.role, content=turn.content) for turn in self.history]


class SearchIn(QuestionIn):
    """Answer `question` from pages and one's own documents, with citations that were checked."""


class DocumentsIn(QuestionIn):
    """Answer `question` from one's own documents, with citations that were checked."""


@dataclass(frozen=True)
class Caller:
    """What every skill is called with.

    Attributes:
        client: whom it asks.
        store: keeps what it keeps.
        owner_id: whose that is.
        search: where it may look.
        listener: hears how it gets on.
    """

    client: Client
    store: Store
    owner_id: str
    search: SearchSettings
    listener: Listener


@dataclass(frozen=True)
class Skill:
    """A skill as the API knows it."""

    name: str
    input: type[SkillIn]
    call: Callable[[Caller, Any], Awaitable[Result]]


async def _translate(by: Caller, given: TranslateIn) -> Result:
    from colosse.assistant.translate import read_glossary, translate

    return await translate(
        by.client,
        given.file.data if given.file else given.text,
        given.to,
        source=given.source,
        format=given.file.name if given.file else "",
        glossary=read_glossary(given.glossary) if given.glossary.strip() else (),
        tone=given.tone,
        model=given.model,
        store=by.store,
        owner_id=by.owner_id,
        listener=by.listener,
    )


async def _summarize(by: Caller, given: SummarizeIn) -> Result:
    from colosse.assistant.documents.read import read_document
    from colosse.assistant.summarize import summarize

    if given.text.strip() and given.files:
        raise UserError("both 'text' and 'files' are given", hint="give one of them", param="files")
    return await summarize(
        by.client,
        [await read_document(file.name, file.data) for file in given.files] if given.files else given.text,
        length=given.length,
        style=given.style,
        language=given.language,
        model=given.model,
        listener=by.listener,
    )


async def _code_write(by: Caller, given: CodeWriteIn) -> Result:
    from colosse.assistant.code import parse_code_language, write

    return await write(
        by.client,
        given.task,
        language=parse_code_language(given.language),
        tests=given.tests,
        model=given.model,
        listener=by.listener,
    )


async def _code_fix(by: Caller, given: CodeFixIn) -> Result:
    from colosse.assistant.code import fix, parse_code_language

    return await fix(
        by.client,
        {file.name: file.data for file in given.files} if given.files else given.code,
        language=parse_code_language(given.language),
        command=given.command,
        error=given.error,
        model=given.model,
        listener=by.listener,
    )


async def _code_optimize(by: Caller, given: CodeOptimizeIn) -> Result:
    from colosse.assistant.code import optimize, parse_code_language

    return await optimize(
        by.client,
        given.code,
        language=parse_code_language(given.language),
        bench=given.bench,
        tests=given.tests,
        model=given.model,
        listener=by.listener,
    )


async def _code_explain(by: Caller, given: CodeExplainIn) -> Result:
    from colosse.assistant.code import explain, parse_code_language

    return await explain(
        by.client,
        given.code,
        language=parse_code_language(given.language),
        question=given.question,
        model=given.model,
        listener=by.listener,
    )


async def _code_translate(by: Caller, given: CodeTranslateIn) -> Result:
    from colosse.assistant.code import parse_code_language, translate_code

    return await translate_code(
        by.client,
        given.code,
        source=parse_code_language(given.language),
        target=parse_code_language(given.target),
        model=given.model,
        listener=by.listener,
    )


async def _search(by: Caller, given: SearchIn) -> Result:
    from colosse.assistant.search import search

    return await search(
        by.client,
        given.question,
        history=given.messages,
        settings=by.search,
        store=by.store,
        owner_id=by.owner_id,
        model=given.model,
        listener=by.listener,
    )


async def _documents(by: Caller, given: DocumentsIn) -> Result:
    from colosse.assistant.documents.answer import answer
    from colosse.assistant.languages import guess_language, prompt_language
    from colosse.assistant.search.plan import SearchPrompts, standalone
    from colosse.assistant.skill import Work
    from colosse.assistant.tools import added

    language = prompt_language(guess_language(given.question))
    work = await Work.start(by.client, given.model, SearchPrompts, "search", language)
    result = await answer(
        by.client,
        by.store,
        await standalone(work, given.question, given.messages),
        owner_id=by.owner_id,
        model=given.model,
        listener=by.listener,
    )
    return result.model_copy(update={"usage": added(work.usage, result.usage)})


SKILLS = {
    skill.name: skill
    for skill in (
        Skill("translate", TranslateIn, _translate),
        Skill("summarize", SummarizeIn, _summarize),
        Skill("code-write", CodeWriteIn, _code_write),
        Skill("code-fix", CodeFixIn, _code_fix),
        Skill("code-optimize", CodeOptimizeIn, _code_optimize),
        Skill("code-explain", CodeExplainIn, _code_explain),
        Skill("code-translate", CodeTranslateIn, _code_translate),
        Skill("search", SearchIn, _search),
        Skill("documents", DocumentsIn, _documents),
    )
}


def sources_of(result: Result) -> list[dict[str, Any]] | None:
    """The passages that a result cites, as they are kept with a message; None when it has none."""
    sources = result.model_dump(mode="json").get("sources")
    return storable([Source.model_validate(source).model_dump() for source in sources]) if sources else None
