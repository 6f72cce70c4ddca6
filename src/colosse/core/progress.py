"""Progress of long work, told to nobody, to a terminal (one moving bar) or to a log (a line now and then)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from colosse.core.files import format_bytes

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LOG_INTERVAL_S = 5.0


class Progress:
    """Hears how far a piece of work in bytes has come. This one stays silent; the others are made by `reporting`."""

    def begin(self, label: str, total: int, done: int = 0) -> None:
        """A new piece of work, in place of the one before; `total` 0 when unknown."""

    def advance(self, count: int) -> None:
        """`count` more bytes are done; negative when some must be done again."""

    def note(self, text: str) -> None:
        """One line that the person should read."""


class BarProgress(Progress):
    """One bar that moves, on a terminal."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, visible=False)

    def begin(self, label: str, total: int, done: int = 0) -> None:  # noqa: D102
        self._bar.remove_task(self._task)
        # A task of its own, so that the speed is counted from what this run does and not from what it found done.
        self._task = self._bar.add_task(label, total=total or None, completed=done)

    def advance(self, count: int) -> None:  # noqa: D102
        self._bar.advance(self._task, count)

    def note(self, text: str) -> None:  # noqa: D102
        self._bar.console.print(text, markup=False, highlight=False)


class LineProgress(Progress):
    """A line when a piece of work begins and every few seconds after, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._label, self._total, self._done, self._last = "", 0, 0, 0.0

    def begin(self, label: str, total: int, done: int = 0) -> None:  # noqa: D102
        self._label, self._total, self._done, self._last = label, total, done, time.monotonic()
        kept = f", {format_bytes(done)} are here already" if done else ""
        self.note(f"{label}: {format_bytes(total) if total else 'size unknown'}{kept}")

    def advance(self, count: int) -> None:  # noqa: D102
        self._done += count
        if time.monotonic() - self._last >= LOG_INTERVAL_S:
            self._last = time.monotonic()
            share = f" ({self._done / self._total:.0%})" if self._total else ""
            self.note(f"{self._label}: {format_bytes(self._done)}{share}")

    def note(self, text: str) -> None:  # noqa: D102
        print(text, file=self._stream, flush=True)


@contextmanager
def reporting(stream: TextIO | None = None) -> Iterator[Progress]:
    """A `Progress` that fits `stream` (standard error): a bar on a terminal, else plain lines."""
    target = stream or sys.stderr
    if not target.isatty():
        yield LineProgress(target)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=Console(file=target), transient=True) as bar:
        yield BarProgress(bar)
