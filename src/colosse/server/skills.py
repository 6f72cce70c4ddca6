"""The skills that can be called over the API: the name of each, its input and how it is called.

Skills are imported when they are called, so that the server starts without what only they need.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from colosse.assistant.skill import Listener, Result
from colosse.core.settings import SearchSettings
from colosse.engines.client import Client
from colosse.server.api.schema import Source
from colosse.server.skill_events import storable
from colosse.server.skill_inputs import (
    CodeExplainIn,
    CodeFixIn,
    CodeOptimizeIn,
    CodeTranslateIn,
    CodeWriteIn,
    DocumentsIn,
    SearchIn,
    SkillIn,
    SummarizeIn,
    TranslateIn,
)
from colosse.store import Store

if TYPE_CHECKING:
    from colosse.assistant.translate import Translation


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
    """A skill as the API knows it.

    Attributes:
        name: in its address.
        input: what it takes.
        call: does the work.
        file: the file that a result is as well, with its name; None when there is none.
    """

    name: str
    input: type[SkillIn]
    call: Callable[[Caller, Any], Awaitable[Result]]
    file: Callable[[Any, Any], tuple[str, bytes] | None] | None = None


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


def _translated_file(given: TranslateIn, result: Translation) -> tuple[str, bytes] | None:
    """The translated document under the name of the given one, with the language before its ending."""
    if given.file is None:
        return None
    name = PurePath(given.file.name.replace("\\", "/")).name or "translation"
    path = PurePath(name)
    return storable(f"{path.stem}.{result.target_language}{path.suffix}"), result.data


async def _summarize(by: Caller, given: SummarizeIn) -> Result:
    from colosse.assistant.documents.read import read_document
    from colosse.assistant.search.extract import extract
    from colosse.assistant.search.fetch import fetch
    from colosse.assistant.search.gather import policy_of
    from colosse.assistant.summarize import summarize

    documents = [await read_document(file.name, file.data) for file in given.files]
    if given.url:
        by.listener.step(f"reading {given.url}")
        documents.append((await extract(await fetch(given.url, policy=policy_of(by.search)))).read)
    return await summarize(
        by.client,
        documents or given.text,
        length=given.length,
        style=given.style,
        language=given.language,
        model=given.model,
        listener=by.listener,
    )


async def _code_write(by: Caller, given: CodeWriteIn) -> Result:
    from colosse.assistant.code import write

    return await write(
        by.client,
        given.task,
        language=given.language,
        tests=given.tests,
        model=given.model,
        listener=by.listener,
    )


async def _code_fix(by: Caller, given: CodeFixIn) -> Result:
    from colosse.assistant.code import fix

    return await fix(
        by.client,
        {file.name: file.data for file in given.files} if given.files else given.code,
        language=given.language,
        command=given.command,
        error=given.error,
        model=given.model,
        listener=by.listener,
    )


async def _code_optimize(by: Caller, given: CodeOptimizeIn) -> Result:
    from colosse.assistant.code import optimize

    return await optimize(
        by.client,
        given.code,
        language=given.language,
        bench=given.bench,
        tests=given.tests,
        model=given.model,
        listener=by.listener,
    )


async def _code_explain(by: Caller, given: CodeExplainIn) -> Result:
    from colosse.assistant.code import explain

    return await explain(
        by.client,
        given.code,
        language=given.language,
        question=given.question,
        model=given.model,
        listener=by.listener,
    )


async def _code_translate(by: Caller, given: CodeTranslateIn) -> Result:
    from colosse.assistant.code import translate_code

    return await translate_code(
        by.client,
        given.code,
        source=given.language,
        target=given.target,
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
        Skill("translate", TranslateIn, _translate, _translated_file),
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
