"""`colosse summarize`: what texts say, shorter, each sentence with the passages it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from colosse.cli import skill
from colosse.cli.connect import ModelOption
from colosse.cli.inputs import read_bytes
from colosse.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from colosse.assistant.documents.blocks import Read
    from colosse.assistant.ground import Source
    from colosse.assistant.skill import Listener
    from colosse.assistant.summarize import Summary
    from colosse.engines.client import Client

_SHOWN = 160


def summarize(
    sources: Annotated[
        list[str], typer.Argument(metavar="FILE|URL|-...", help="Documents, web addresses, or - for standard input.")
    ],
    length: Annotated[
        str, typer.Option("--length", "-l", help="short, medium, long, or a number of words.", metavar="LENGTH")
    ] = "medium",
    style: Annotated[
        Literal["abstract", "bullets", "tldr"],
        typer.Option("--style", "-s", help="Paragraphs, bullet points, or one sentence."),
    ] = "abstract",
    lang: Annotated[str, typer.Option("--lang", help="Language of the summary.", show_default="the text's")] = "",
    keep_unsupported: Annotated[
        bool, typer.Option("--keep-unsupported", help="Mark sentences that nothing supports instead of dropping them.")
    ] = False,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Summarise texts of any length: files (text, Markdown, HTML, PDF, docx, ...), web pages, several together.

    Each sentence names the passages it rests on; what nothing supports is corrected once, then dropped.
    """
    from colosse.assistant.languages import parse_language
    from colosse.assistant.summarize import parse_length
    from colosse.assistant.summarize import summarize as run

    wanted = parse_length(length)
    language = parse_language(lang) if lang else ""

    async def work(client: Client, listener: Listener) -> Summary:
        documents = [await _read(source) for source in sources]
        return await run(
            client,
            documents,
            length=wanted,
            style=style,
            language=language,
            keep_unsupported=keep_unsupported,
            model=model or "",
            listener=listener,
        )

    result = skill.run("summarising", model, work)
    if json:
        print_json(result)
    else:
        print(result.answer)
        print("\nSources" if result.language != "fr" else "\nSources :")
        for source in result.sources:
            print(_listed(source))
        for sentence in result.dropped:
            note(f"dropped, since nothing in the text supports it: {sentence}")
        if result.note:
            note(result.note)
        skill.report(result.checks)
    skill.leave(result)


async def _read(source: str) -> Read:
    from colosse.assistant.documents.read import read_document

    if source.startswith(("http://", "https://")):
        from colosse.assistant.search.extract import extract
        from colosse.assistant.search.fetch import fetch

        return (await extract(await fetch(source))).read
    return await read_document("standard input" if source == "-" else source, read_bytes(source))


def _listed(source: Source) -> str:
    """One line of the list of passages: its number, where it is, and how it begins."""
    page = f"page {source.page}" if source.page else ""
    where = ", ".join(part for part in (source.title, page, source.section) if part)
    text = " ".join(source.text.split())
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN].rsplit(' ', 1)[0]} …"
    return f"[{source.id}] {where}: {shown}" if where else f"[{source.id}] {shown}"
