"""`colosse translate`: a text in another language, with its layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from colosse.cli import skill
from colosse.cli.connect import ModelOption
from colosse.cli.inputs import read_text_or_words
from colosse.cli.output import JsonFlag, print_json

if TYPE_CHECKING:
    from colosse.assistant.skill import Listener, Result
    from colosse.engines.client import Client


def translate(
    source: Annotated[str, typer.Argument(metavar="FILE|-|TEXT", help="A file, - for standard input, or the text.")],
    to: Annotated[str, typer.Option("--to", "-t", help="Wanted language: fr, French, français ...")],
    origin: Annotated[str, typer.Option("--from", "-f", help="Language of the text.")] = "auto",
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Translate a text.

    Numbers, links, placeholders, lines and language of the result are checked.
    """
    from colosse.assistant.languages import parse_language
    from colosse.assistant.translate import translate as run

    target = parse_language(to)
    spoken = "" if origin == "auto" else parse_language(origin)
    text = read_text_or_words(source)

    async def work(client: Client, listener: Listener) -> Result:
        return await run(client, text, target, source=spoken, model=model or "", listener=listener)

    result = skill.run("translating", model, work)
    if json:
        print_json(result)
    else:
        print(result.answer, end="" if result.answer.endswith("\n") else "\n")
        skill.report(result.checks)
    skill.leave(result)
