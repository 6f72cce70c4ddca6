"""What the commands of skills share: running one with its progress shown, and reporting what its checks found."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from colosse.cli.connect import connect, settings_for
from colosse.cli.output import note

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from colosse.assistant.skill import Check, Listener, Result
    from colosse.engines.client import Client

Found = TypeVar("Found", bound="Result")

_SAID = {
    "complete": "the answer was cut off ({detail})",
    "not_empty": "the answer is empty",
    "numbers": "numbers differ from the text: {detail}",
    "language": "not in {detail}",
    "short_enough": "longer than asked for: {detail} words",
    "supported": "nothing in the text supports: {detail}",
    "code_block": "no code in the answer",
    "syntax": "the code does not parse: {detail}",
    "changed": "nothing was changed",
    "names": "no longer defined: {detail}",
    "parameters": "other parameters than before: {detail}",
    "imports": "imports or uses what it must not: {detail}",
    "patches": "puts others in the place of: {detail}",
    "equal": "other results: {detail}",
    "faster": "not faster: {detail}",
    "other_inputs": "not faster with other numbers: {detail}",
    "deterministic": "the original itself does not give the same twice: {detail}",
    "compared": "changed, and never called: {detail}",
    "distinct": "different texts were all translated as: {detail}",
    "structure": "not translated, since the structure would have changed: {detail}",
}
"""A failed check in words for the person."""


def run(label: str, model: str | None, skill: Callable[[Client, Listener], Awaitable[Found]]) -> Found:
    """Connect, run `skill` and show how it gets on.

    Args:
        label: what is being done, such as `translating`.
        model: asked for on the command line.
        skill: takes the client and whom to tell.
    """
    import asyncio

    async def main() -> Found:
        async with connect(settings_for(model), model) as client:
            with listening(label) as listener:
                return await skill(client, listener)

    return asyncio.run(main())


def report(checks: list[Check]) -> None:
    """Say which checks failed."""
    for check in checks:
        if not check.passed:
            said = _SAID.get(check.name, f"{check.name.replace('_', ' ')}: {{detail}}")
            note(f"warning: {said.format(detail=check.detail)}")


def leave(result: Result) -> None:
    """Exit code 1 when a check failed: the answer is there, and not to be trusted blindly."""
    if result.failed:
        raise SystemExit(1)


@contextmanager
def listening(label: str) -> Iterator[Listener]:
    """A listener that shows progress on standard error: a bar on a terminal, lines for long work elsewhere."""
    from colosse.assistant.skill import Listener

    class Lines(Listener):
        def step(self, text: str) -> None:
            note(f"{label}: {text}")

        def parts(self, done: int, total: int) -> None:
            if total > 1 and done < total:
                note(f"{label}: part {done + 1} of {total}")

    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _bar_listener(bar, label)


def _bar_listener(bar: Bar, label: str) -> Listener:
    from colosse.assistant.skill import Listener

    task = bar.add_task(label, total=1)

    class Shown(Listener):
        tokens = 0

        def step(self, text: str) -> None:
            bar.console.print(f"{label}: {text}", markup=False, highlight=False)

        def parts(self, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        def text(self, piece: str) -> None:
            self.tokens += 1
            bar.update(task, description=f"{label} · {self.tokens} tokens")

    return Shown()
