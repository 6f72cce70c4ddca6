"""`colosse chat`: a conversation in the terminal, or line by line from a script."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colosse.cli.ask import MaxTokensOption, SeedOption, SystemOption, TemperatureOption
from colosse.cli.connect import ModelOption, connect, settings_for
from colosse.cli.output import note

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.document import Document

    from colosse.cli.conversation import Conversation

GREETING = {
    "en": "Colosse · {model} · /help shows the commands, Ctrl-D leaves",
    "fr": "Colosse · {model} · /help montre les commandes, Ctrl-D pour quitter",
}


def chat(
    model: ModelOption = None,
    system: SystemOption = "",
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
) -> None:
    """Talk with a model.

    Without a terminal, every line of standard input is a message.
    """
    import asyncio

    params = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    if not asyncio.run(_chat(model, system, {k: v for k, v in params.items() if v is not None})):
        raise SystemExit(1)


async def _chat(model: str | None, system: str, params: dict[str, Any]) -> bool:
    """Hold the conversation; whether everything in it went well, as far as a script cares."""
    from colosse.cli.conversation import Conversation, failed
    from colosse.core.errors import ColosseError

    settings = settings_for(model)
    async with connect(settings, model) as client:
        talk = Conversation(client, model or client.default_model, system, params)
        person = sys.stdin.isatty() and sys.stdout.isatty()
        if person:
            note(GREETING[_locale()].format(model=talk.model))
        lines = _typed(talk, settings.home / "chat_history") if person else _piped()
        went_well = True
        async for line in lines:
            try:
                await talk.take(line)
            except ColosseError as error:
                failed(error)
                went_well = person
            if talk.over:
                break
        return went_well


async def _piped() -> AsyncIterator[str]:
    '''Lines of standard input, `"""` blocks as one.'''
    import asyncio
    import threading

    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        # A thread of our own, and a stream of its own: waiting for input that never comes must not delay the exit.
        with open(os.dup(sys.stdin.fileno()), encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            for line in stream:
                loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    threading.Thread(target=read, name="stdin", daemon=True).start()
    block = ""
    while line := await lines.get():
        block += line
        text = block.strip()
        if text.startswith('"""') and not closed(text):
            continue
        if text:
            yield text
        block = ""
    if block.strip():
        yield block.strip()


async def _typed(talk: Conversation, history: Path) -> AsyncIterator[str]:
    """What the person types, until Ctrl-D."""
    session = _session(talk, history)
    while True:
        try:
            yield await session.prompt_async("› ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _session(talk: Conversation, history: Path) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer, Completion, PathCompleter
    from prompt_toolkit.completion.base import CompleteEvent
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    from colosse.cli.conversation import COMMANDS

    class Commands(Completer):
        """Commands, names of models after /model, files after /save."""

        def get_completions(self, document: Document, event: CompleteEvent) -> Any:
            text = document.text_before_cursor
            name, space, rest = text.partition(" ")
            if name == "/save" and space:
                yield from PathCompleter(expanduser=True).get_completions(Document(rest), event)
                return
            words = [info.id for info in talk.client.models()] if name == "/model" and space else list(COMMANDS)
            typed = rest if space else text
            if typed.startswith("/") or (name == "/model" and space):
                for word in words:
                    if word.startswith(typed):
                        yield Completion(word, start_position=-len(typed))

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.text.lstrip().startswith('"""') and not closed(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    history.parent.mkdir(parents=True, exist_ok=True)
    history.touch(mode=0o600)
    history.chmod(0o600)
    return PromptSession(
        history=FileHistory(str(history)),
        completer=Commands(),
        complete_while_typing=False,
        key_bindings=keys,
        multiline=True,
        prompt_continuation="  ",
    )


def closed(text: str) -> bool:
    '''Whether a block that begins with `"""` also ends with it.'''
    text = text.strip()
    return len(text) >= 6 and text.endswith('"""')


def _locale() -> str:
    name = next((os.environ[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(key)), "")
    return "fr" if name.lower().startswith("fr") else "en"
