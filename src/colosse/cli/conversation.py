"""A conversation in the terminal: what was said, what is said next, and its commands."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colosse.assistant.chat import messages_for, own_instructions, text_of
from colosse.assistant.skill import Generated, generate
from colosse.cli.connect import load
from colosse.cli.output import note
from colosse.core.errors import ColosseError, UserError, nearest
from colosse.core.files import write_atomic
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage

COMMANDS = {
    "/model": ("[NAME]", "show the models, or go on with another"),
    "/system": ("[TEXT]", "show the instructions, or set them"),
    "/save": ("FILE", "write the conversation as Markdown (.md) or JSON (.json)"),
    "/new": ("", "forget the conversation and begin another"),
    "/retry": ("", "answer the last message again"),
    "/help": ("", "show this"),
    "/exit": ("", "leave; so does Ctrl-D"),
}
KEYS = 'Alt+Enter or """ ... """: several lines; Ctrl-C: stop the answer; Ctrl-D: leave'


@dataclass
class Conversation:
    """The state of `colosse chat`.

    Attributes:
        client: whom to ask.
        model: who answers.
        system: instructions; empty: the assistant's own.
        params: sampling options of every request.
        history: what was said.
        over: the person wants to leave.
    """

    client: Client
    model: str
    system: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    history: list[ChatMessage] = field(default_factory=list)
    over: bool = False
    _question: str = ""
    _told: bool = False
    _affinity: str = field(default_factory=lambda: secrets.token_hex(8))

    async def take(self, line: str) -> None:
        """Do what a line says: a command, or a message to answer.

        Raises:
            ColosseError: the command is wrong, or there is no answer.
        """
        text = line.strip()
        if text.startswith('"""'):
            text = text[3:].removesuffix('"""').strip("\n")
        elif text.startswith("/") and "\n" not in text and "/" not in text.split()[0][1:]:
            await self._command(*text.partition(" ")[::2])
            return
        if text:
            await self.say(text)

    async def say(self, text: str) -> None:
        """Send a message and print the answer as it comes; Ctrl-C stops it, and what was said stays said.

        Raises:
            ColosseError: no answer, or not all of it.
        """
        self._question = text
        self.history.append(ChatMessage(role="user", content=text))
        info = await self.client.ensure(self.model)
        fitted = messages_for(self.history, self.system, info.max_model_len, max_tokens=self.params.get("max_tokens"))
        if fitted.dropped and not self._told:
            self._told = True
            note(
                f"(this no longer fits into {info.max_model_len} tokens: the oldest messages are left out from here on)"
            )
        said: list[str] = []

        def hear(piece: str) -> None:
            said.append(piece)
            sys.stdout.write(piece)
            sys.stdout.flush()

        try:
            done = await _stoppable(
                generate(
                    self.client, fitted.messages, on_text=hear, affinity=self._affinity, model=self.model, **self.params
                )
            )
        finally:
            if said:
                self.history.append(ChatMessage(role="assistant", content="".join(said)))
                print(flush=True)
            else:
                self.history.pop()
        _tell_speed(done)

    async def retry(self) -> None:
        """Answer the last message again.

        Raises:
            UserError: there is none.
        """
        if not self._question:
            raise UserError("there is nothing to answer again")
        if len(self.history) >= 2 and text_of(self.history[-2]) == self._question:
            del self.history[-2:]
        await self.say(self._question)

    def save(self, name: str) -> Path:
        """Write the conversation to a file that does not exist yet.

        Raises:
            UserError: nothing to save, no name, another suffix than .md and .json, or the file cannot be written.
        """
        if not name:
            raise UserError("/save needs a file name ending in .md or .json")
        path = Path(name).expanduser()
        if not self.history:
            raise UserError("there is nothing to save yet")
        if path.suffix not in (".md", ".json"):
            raise UserError(f"{name} ends neither in .md nor in .json")
        if path.exists():
            raise UserError(f"{name} exists already", hint="choose another name")
        text = self._as_json() if path.suffix == ".json" else self._as_markdown()
        try:
            write_atomic(path, text.encode())
        except OSError as error:
            raise UserError(f"cannot write {name}: {error.strerror}") from None
        return path

    def _as_json(self) -> str:
        messages = [{"role": message.role, "content": text_of(message)} for message in self.history]
        return json.dumps(
            {"model": self.model, "system": self.system, "messages": messages}, ensure_ascii=False, indent=2
        )

    def _as_markdown(self) -> str:
        who = {"user": "You", "assistant": self.model}
        head = [f"> {line}" for line in self.system.splitlines()]
        parts = [f"## {who.get(message.role, message.role)}\n\n{text_of(message)}" for message in self.history]
        return "\n\n".join((["\n".join(head)] if head else []) + parts) + "\n"

    async def _command(self, name: str, argument: str) -> None:
        argument = argument.strip()
        match name:
            case "/model":
                await self._switch(argument)
            case "/system":
                self.system = argument or self.system
                note(f"instructions: {self.system or own_instructions(self.history)}")
            case "/save":
                note(f"saved to {self.save(argument)}")
            case "/new":
                self.history.clear()
                self._question, self._told, self._affinity = "", False, secrets.token_hex(8)
                note("a new conversation")
            case "/retry":
                await self.retry()
            case "/help":
                for command, (form, what) in COMMANDS.items():
                    note(f"  {command + ' ' + form:16} {what}")
                note(f"  {KEYS}")
            case "/exit":
                self.over = True
            case _:
                raise UserError(f"unknown command {name}", hint=nearest(name, COMMANDS))

    async def _switch(self, name: str) -> None:
        if name:
            await load(self.client, name)
            self.model = name
            note(f"{name} answers from here on")
            return
        for info in self.client.models():
            note(f"{'*' if info.id == self.model else ' '} {info.id}")


async def _stoppable(answer: Awaitable[Generated]) -> Generated | None:
    """Wait for an answer; Ctrl-C ends it alone, and gives None."""
    task = asyncio.ensure_future(answer)
    with _on_interrupt(task.cancel):
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return None


@contextmanager
def _on_interrupt(action: Callable[[], object]) -> Iterator[None]:
    """Ctrl-C does `action` instead of what it did before, while the block runs."""
    if os.name != "posix":  # event loops there hear no signals: Ctrl-C leaves the program
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, action)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


def _tell_speed(done: Generated | None) -> None:
    """How fast an answer was, for a person who looks."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return
    if done is None:
        said = "stopped"
    else:
        said = f"{done.usage.completion_tokens} tokens · {done.tokens_per_second:.1f} tokens/s"
        said += " · cut off at the limit" if done.finish_reason == "length" else ""
    note(f"\033[2m{said}\033[0m")


def failed(error: ColosseError) -> None:
    """Tell an error and go on."""
    note(f"colosse: {error}")
