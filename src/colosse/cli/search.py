"""`colosse search`: an answer from the web and one's own documents, with checked citations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from colosse.cli import skill
from colosse.cli.connect import ModelOption, settings_for
from colosse.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from colosse.assistant.search import SearchAnswer
    from colosse.assistant.skill import Listener
    from colosse.engines.client import Client


def search(
    question: Annotated[str, typer.Argument(help="What to find out, in any language.")],
    provider: Annotated[
        Literal["documents", "searxng", "brave", "tavily", "azure", "ddgs"] | None,
        typer.Option("--provider", help="Look here alone.", show_default=False),
    ] = None,
    pages: Annotated[int | None, typer.Option("--pages", min=1, max=20, help="Fetch at most so many pages.")] = None,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Answer a question from pages that are read for it.

    Each sentence is checked against the passage that it cites; what no passage supports is not shown.
    """
    from colosse.assistant.documents.answer import checked
    from colosse.assistant.search import search as run
    from colosse.store import keys, open_store

    question = checked(question)  # before a model is loaded
    settings = settings_for(model)
    wanted = settings.search.model_copy(
        update={**({"providers": [provider]} if provider else {}), **({"max_pages": pages} if pages else {})}
    )

    async def work(client: Client, listener: Listener) -> SearchAnswer:
        settings.home.mkdir(parents=True, exist_ok=True)
        async with open_store(settings.database_url) as store:
            async with store.write() as session:
                await keys.ensure_user(session, keys.LOCAL_USER)
            return await run(
                client,
                question,
                settings=wanted,
                store=store,
                owner_id=keys.LOCAL_USER,
                model=model or "",
                listener=listener,
            )

    found = skill.run("searching", model, work)
    if json:
        print_json(found)
    else:
        _show(found)
    skill.leave(found)


def _show(found: SearchAnswer) -> None:
    print(found.answer)
    for source in found.sources:
        where = " › ".join(part for part in (source.title, source.section) if part)
        page = f", page {source.page}" if source.page else ""
        print(f"\n[{source.id}] {where}{page}\n    {source.url}".rstrip())
    if found.removed:
        note(f"\nleft out, because no passage says it: {' '.join(found.removed)}")
    for said in found.notes:
        note(f"note: {said}")
