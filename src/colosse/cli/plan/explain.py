"""A layout explained on a terminal: where each millisecond goes, memory by place, the pipeline's timeline in text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from colosse.plan.estimate import Band, Estimate, Task

Row = TypeVar("Row")

BAR = 40
PLACES = 16
"""Pipeline places that have a line; of more every second, third ..."""
LETTERS = {"forward": "▒", "backward": "█", "input": "▓", "weight": "░"}
STRIP = 96
"""Columns of the timeline, where the terminal has them."""
LEAST = 6
"""Columns of a component's gigabytes."""


def headline(one: Estimate) -> list[tuple[str, str]]:
    """What matters of a step: a word and its value."""
    from colosse.core.numbers import big, count, share

    have = one.job.cluster.gpu.memory_gb
    peak = one.peak_memory
    low, high = (factor * peak.total / 1e9 for factor in one.memory_band)
    where = f" at place {peak.place}" if len(one.memory) > 1 else ""
    fits = "; does not fit" if not one.fits else "; may not fit" if high > have else ""
    rate = one.tokens_per_s_per_gpu
    return [
        ("step", seconds_in(one.step_s)),
        ("tokens/s", f"{big(rate.value * one.job.cluster.gpus)}; {count(rate.value)} per GPU"),
        ("MFU", f"{share(one.mfu)} (causal attention once, no recomputation)"),
        ("memory", f"{peak.total / 1e9:.1f} of {have:g} GB ({low:.1f} to {high:.1f}){where}{fits}"),
    ]


def seconds_in(band: Band) -> str:
    """`8.2 s (7.6 to 9.0)`."""
    from colosse.core.chart import write

    low, high = (write(value, "seconds") for value in (band.low, band.high))
    return f"{write(band.value, 'seconds')} ({low} to {high})".replace("\u202f", " ")


def explained(one: Estimate, tasks: Sequence[Task]) -> Iterator[str]:
    """All of it, line by line."""
    yield "where a step goes"
    yield from _breakdown(one)
    yield ""
    yield f"memory of a GPU, of {one.job.cluster.gpu.memory_gb:g} GB"
    yield from _memory(one)
    if tasks:
        yield ""
        yield from _strips(one, tasks)


def _breakdown(one: Estimate) -> Iterator[str]:
    from colosse.core.chart import write
    from colosse.core.numbers import share
    from colosse.plan.report_figures import KIND_WORDS

    total = one.step_s.value
    for kind, value in sorted(one.breakdown.items(), key=lambda item: -item[1]):
        if value > 5e-4 * total:
            time = write(value, "seconds").replace("\u202f", " ")
            yield f"  {KIND_WORDS[kind]:<26}{time:>9}{share(value / total):>9}  {'█' * round(BAR * value / total)}"


def _memory(one: Estimate) -> Iterator[str]:
    from colosse.plan.report_figures import COMPONENTS

    have = one.job.cluster.gpu.memory_gb * 1e9
    shown = [name for name in COMPONENTS if max(getattr(stage, name) for stage in one.memory) > 0.001 * have]
    names = " ".join(f"{name:>{LEAST}}" for name in shown)
    barred = len(names) + 16 + BAR // 2 < _columns()
    yield f"  {'place':<5}{'GB':>6} {names}"
    for stage in _thinned(one.memory):
        parts = " ".join(f"{getattr(stage, name) / 1e9:>{max(LEAST, len(name))}.2f}" for name in shown)
        bar = f"  {'█' * round(BAR / 2 * stage.total / have):<{BAR // 2}}│" if barred else ""
        yield f"  {stage.place:<5}{stage.total / 1e9:>6.1f} {parts}{bar}"


def _thinned(rows: Sequence[Row]) -> list[Row]:
    step = -(-len(rows) // PLACES)
    return [row for n, row in enumerate(rows) if n % step == 0 or n == len(rows) - 1]


def _strips(one: Estimate, tasks: Sequence[Task]) -> Iterator[str]:
    """One line a place; each column shows what most of its time is spent on. Of many passes the first and the last."""
    from colosse.core.chart import write

    end = max(task.end for task in tasks)
    pp = one.job.layout.pp
    strip = max(8, min(STRIP, _columns() - 6))
    shown = strip / 2 / (len(tasks) / pp)  # share of a place's passes that have two columns each
    part = end if shown >= 1 else end * shown / 2
    spans = [(0.0, part)] if shown >= 1 else [(0.0, part), (end - part, end)]
    kinds = [kind for kind in LETTERS if any(task.kind == kind for task in tasks)]
    whole = "" if shown >= 1 else f"; the first and the last {write(part, 'seconds')} of {write(end, 'seconds')}"
    yield f"pipeline: {', '.join(f'{LETTERS[kind]} {kind}' for kind in kinds)}{whole}".replace("\u202f", " ")
    for place in _thinned(range(pp)):
        mine = [task for task in tasks if task.place == place]
        columns = (strip + 1) // len(spans) - 1 if len(spans) > 1 else strip
        yield f"  {place:<4}{'…'.join(_strip(mine, low, (high - low) / columns, columns) for low, high in spans)}"


def _strip(tasks: Sequence[Task], begin: float, width: float, columns: int) -> str:
    """A stretch of a place's step in letters, each `width` seconds."""
    spent: list[dict[str, float]] = [{} for _ in range(columns)]
    for task in tasks:
        first, last = int((task.start - begin) // width), int((task.end - begin) // width)
        for column in range(max(first, 0), min(last, columns - 1) + 1):
            at = begin + column * width
            overlap = min(task.end, at + width) - max(task.start, at)
            spent[column][task.kind] = spent[column].get(task.kind, 0.0) + max(overlap, 0.0)
    return "".join(_letter(column, width) for column in spent)


def _columns() -> int:
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _letter(column: dict[str, float], width: float) -> str:
    if sum(column.values()) < width / 2:
        return "·"
    return LETTERS[max(column, key=lambda kind: column[kind])]
