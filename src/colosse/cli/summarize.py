"""`colosse summarize`: what a text says, shorter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from colosse.cli import skill
from colosse.cli.connect import ModelOption
from colosse.cli.inputs import read_text
from colosse.cli.output import JsonFlag, print_json

if TYPE_CHECKING:
    from colosse.assistant.skill import Listener, Result
    from colosse.engines.client import Client


def summarize(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="A text file, or - for standard input.")],
    length: Annotated[
        Literal["short", "medium", "long"],
        typer.Option("--length", "-l", help="A sentence or two, a paragraph, a few."),
    ] = "medium",
    lang: Annotated[str, typer.Option("--lang", help="Language of the summary.", show_default="the text's")] = "",
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Summarise a text of any length.

    Language, length and numbers of the result are checked.
    """
    from colosse.assistant.languages import parse_language
    from colosse.assistant.summarize import summarize as run

    language = parse_language(lang) if lang else ""
    text = read_text(source)

    async def work(client: Client, listener: Listener) -> Result:
        return await run(client, text, length=length, language=language, model=model or "", listener=listener)

    result = skill.run("summarising", model, work)
    if json:
        print_json(result)
    else:
        print(result.answer)
        skill.report(result.checks)
    skill.leave(result)
