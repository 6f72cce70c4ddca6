"""`colosse ask`: one question, one streamed answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.connect import ModelOption, connect, settings_for
from colosse.cli.inputs import piped
from colosse.cli.output import JsonFlag, print_json
from colosse.core.errors import UserError

if TYPE_CHECKING:
    from colosse.assistant.skill import Generated

SystemOption = Annotated[
    str, typer.Option("--system", "-s", help="Instructions in place of the assistant's own.", show_default=False)
]
MaxTokensOption = Annotated[
    int | None, typer.Option("--max-tokens", min=1, help="Longest answer in tokens.", show_default=False)
]
TemperatureOption = Annotated[
    float | None, typer.Option(min=0.0, max=2.0, help="0: always the likeliest word.", show_default=False)
]
SeedOption = Annotated[int | None, typer.Option(help="The same seed gives the same answer.", show_default=False)]


def ask(
    question: Annotated[
        list[str] | None, typer.Argument(help="The question; what is piped in is put below it.", show_default=False)
    ] = None,
    model: ModelOption = None,
    system: SystemOption = "",
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    json: JsonFlag = False,
) -> None:
    """Ask one question and print the answer as it comes."""
    import asyncio

    words = " ".join(question or []).strip()
    text = "\n\n".join(part for part in (words, piped().strip("\n")) if part)
    if not text:
        raise UserError("there is no question", hint='colosse ask "..."; or pipe a text in; or colosse chat')
    params = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    model_used, done = asyncio.run(_ask(text, model, system, params, stream=not json))
    if json:
        print_json(
            {
                "answer": done.text,
                "model": model_used,
                "usage": done.usage,
                "seconds": round(done.seconds, 3),
                "finish_reason": done.finish_reason,
            }
        )


async def _ask(
    text: str, model: str | None, system: str, params: dict[str, Any], *, stream: bool
) -> tuple[str, Generated]:
    from colosse.assistant.chat import messages_for
    from colosse.assistant.skill import generate
    from colosse.engines.schema import ChatMessage

    settings = settings_for(model)
    async with connect(settings, model) as client:
        name = model or client.default_model
        messages = messages_for([ChatMessage(role="user", content=text)], system).messages
        done = await generate(client, messages, on_text=_print if stream else lambda _: None, model=name, **params)
        if stream and not done.text.endswith("\n"):
            _print("\n")
        return name, done


def _print(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()
