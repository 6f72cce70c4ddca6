"""How a run is watched: a live view on a terminal, a line every few seconds in a log, nothing on quiet ranks."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TextIO

from colosse.core.numbers import duration
from colosse.core.progress import LOG_INTERVAL_S

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

BARS = "▁▂▃▄▅▆▇█"
HISTORY = 4096
"""Losses kept for the sparkline; beyond them it shows the newest."""


class View:
    """Hears of every step. This one stays silent; the others are made by `watching`."""

    def begin(self, done: int, total: int) -> None:
        """The run goes on after `done` of `total` steps."""

    def step(self, record: Mapping[str, Any]) -> None:
        """The metrics of one step."""

    def note(self, text: str) -> None:
        """A line that the person should read."""


class _Clock:
    """Steps, and the time that is left by the speed of the latest of them."""

    def __init__(self) -> None:
        self.done = self.total = 0
        self._recent: deque[tuple[float, int]] = deque(maxlen=64)

    def begin(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self._recent.clear()
        self._recent.append((time.monotonic(), done))

    def at(self, step: int) -> None:
        self.done = step
        self._recent.append((time.monotonic(), step))

    @property
    def left(self) -> str:
        if not self._recent:
            return "?"
        (then, first), (now, last) = self._recent[0], self._recent[-1]
        return duration((self.total - last) * (now - then) / (last - first)) if last > first else "?"


class LineView(View):
    """A line every few seconds, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._clock = _Clock()
        self._last = 0.0

    def begin(self, done: int, total: int) -> None:  # noqa: D102
        self._clock.begin(done, total)

    def step(self, record: Mapping[str, Any]) -> None:  # noqa: D102
        self._clock.at(record["step"])
        if time.monotonic() - self._last >= LOG_INTERVAL_S or record["step"] == self._clock.total:
            self._last = time.monotonic()
            self.note(f"step {record['step']}/{self._clock.total}  {summary(record)}  {self._clock.left} left")

    def note(self, text: str) -> None:  # noqa: D102
        print(text, file=self._stream, flush=True)


class LiveView(View):
    """Two lines that change in place below the notes: how far, and how well."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clock = _Clock()
        self._record: Mapping[str, Any] = {}
        self._losses: deque[float] = deque(maxlen=HISTORY)

    def begin(self, done: int, total: int) -> None:  # noqa: D102
        self._clock.begin(done, total)

    def step(self, record: Mapping[str, Any]) -> None:  # noqa: D102
        self._clock.at(record["step"])
        self._record = record
        self._losses.append(record["train_loss"])

    def note(self, text: str) -> None:  # noqa: D102
        self._console.print(text, markup=False, highlight=False)

    def __rich__(self) -> RenderableType:
        """What stands there now."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        clock = self._clock
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        bar = ProgressBar(total=max(1, clock.total), completed=clock.done)
        line.add_row(f"step {clock.done}/{clock.total}", bar, f"{clock.left} left")
        numbers = summary(self._record) if self._record else "starting"
        room = max(8, self._console.width - len(numbers) - 3)
        return Group(line, Text(f"{numbers}  {sparkline(self._losses, room)}", no_wrap=True))


@contextmanager
def watching(stream: TextIO | None = None) -> Iterator[View]:
    """A `View` that fits `stream` (standard error): live on a terminal, else plain lines."""
    target = stream or sys.stderr
    if not target.isatty():
        yield LineView(target)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=target)
    view = LiveView(console)
    # Drawn twice a second by a thread: what training spends on it does not grow with its steps.
    with Live(view, console=console, refresh_per_second=2, redirect_stdout=False, redirect_stderr=False):
        yield view


def summary(record: Mapping[str, Any]) -> str:
    """The metrics that a person watches, on one line."""
    parts = [f"loss {record['train_loss']:.3f}", f"{record['tokens_per_second']:,.0f} tokens/s"]
    if record.get("mfu") is not None:
        parts.append(f"MFU {record['mfu']:.0%}")
    return "  ".join([*parts, f"gradient {record['grad_norm']:.2g}", f"lr {record['lr']:.2g}"])


def sparkline(values: Sequence[float], width: int) -> str:
    """`values` as a row of at most `width` bars, each the mean of its share; not-a-number leaves a gap."""
    if not values:
        return ""
    count = min(width, len(values))
    ends = [round(i * len(values) / count) for i in range(count + 1)]
    all_values = list(values)
    means = [sum(all_values[a:b]) / (b - a) for a, b in pairwise(ends)]
    known = [mean for mean in means if abs(mean) < float("inf")]
    low, high = min(known, default=0.0), max(known, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] if abs(mean) < float("inf") else " " for mean in means)
