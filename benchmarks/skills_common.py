"""What the benchmarks of skills share: both arms of an item, rows kept as they are measured, intervals, one table.

A benchmark is a `Bench`: it draws items and gives each to `Run.both`, with the raw model's one answer, the skill's, and
a judge that knows neither. Each item is one line of OUTPUT.jsonl as soon as it is done; `--resume` goes on after them.

Items are held out: `unseen` leaves out what the seeds used during development drew first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from colosse.cli.connect import connect, settings_for
from colosse.core.errors import ColosseError, UserError

RESAMPLES = 1000
DEVELOPED = range(6)
"""Seeds that items were drawn with while skills were made."""


class Answer(NamedTuple):
    """What an arm hands back; `seconds` is filled in by `Run.both`."""

    text: str
    tokens: int = 0
    verified: bool = False
    result: Any = None
    seconds: float = 0.0
    error: str = ""


class Measure(NamedTuple):
    """A column of the rows: a rate of booleans, or a mean, median or geometric mean of numbers; None is left out."""

    key: str
    label: str
    how: str = "rate"


CODE_MEASURES = (
    Measure("correct", "correct by hidden tests"),
    Measure("verified", "said verified"),
    Measure("right_when_verified", "of these, correct"),
)
Arm = Callable[[], Awaitable[Answer]]
Judge = Callable[[Answer], Awaitable[dict[str, Any]]]
Row = dict[str, Any]


@dataclass
class Run:
    """One run of some benchmarks.

    Attributes:
        data: folder of the data sets.
        items: of each table.
        seed: which items are drawn.
        client: the model's; None where no benchmark needs one.
        model: its name.
        path: where rows go; None: nowhere.
        tables: those that are measured, for the time that is left.
    """

    data: Path
    items: int
    seed: int = 0
    client: Any = None
    model: str = ""
    path: Path | None = None
    tables: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    _seconds: list[float] = field(default_factory=list)

    def resume(self) -> None:
        """Take the rows that are there already; a line that a kill cut short is cut off.

        Raises:
            UserError: they are of another model or seed.
        """
        if self.path is None or not self.path.exists():
            return
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        self.path.write_bytes(whole + b"\n" if whole else b"")
        self.rows = [json.loads(line) for line in whole.decode().splitlines()]
        for row in self.rows:
            if (row["model"], row["seed"]) != (self.model, self.seed):
                raise UserError(f"{self.path} has rows of model {row['model']!r} with seed {row['seed']}")

    def waits(self, *tables: str) -> bool:
        """Whether one of the tables still lacks items."""
        return any(sum(row["table"] == table for row in self.rows) < self.items for table in tables)

    async def both(self, table: str, item: str, raw: Arm, skill: Arm, judge: Judge) -> None:
        """Measure an item both ways and write its row, unless that was done before.

        Args:
            table: where it belongs.
            item: its name, the same in each run.
            raw: the raw model's answer.
            skill: the skill's; a skill that gives up with an error has answered nothing.
            judge: scores of an answer; its time is not counted.
        """
        if any((row["table"], row["item"]) == (table, item) for row in self.rows):
            return
        start = time.perf_counter()
        row: Row = {"table": table, "item": item, "model": self.model, "seed": self.seed}
        for name, arm in (("raw", raw), ("skill", skill)):
            before = time.perf_counter()
            try:
                answer = await arm()
            except ColosseError as error:
                answer = Answer("", error=str(error))
            answer = answer._replace(seconds=time.perf_counter() - before)
            told = {"seconds": round(answer.seconds, 4), "tokens": answer.tokens, "verified": answer.verified}
            row[name] = {"answer": answer.text, **told, "error": answer.error, **await judge(answer)}
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._progress(row, time.perf_counter() - start)

    def _progress(self, row: Row, seconds: float) -> None:
        self._seconds.append(seconds)
        done, total = sum(row["table"] in self.tables for row in self.rows), len(self.tables) * self.items
        left = statistics.mean(self._seconds) * max(0, total - done) / 60
        bar = "#" * (20 * done // max(done, total))
        times = f"{row['raw']['seconds']:.1f} and {row['skill']['seconds']:.1f} s"
        print(f"[{bar:20}] {done}/{total} {row['table']}: {row['item']:.40}, {times}; {left:.0f} min left",
              file=sys.stderr, flush=True)  # fmt: skip


class Bench(NamedTuple):
    """A benchmark: `tables` are its tables and what is measured in each; `needs_model` is whether it asks a model."""

    name: str
    tables: dict[str, tuple[Measure, ...]]
    run: Callable[[Run], Awaitable[None]]
    needs_model: bool = True


def unseen(count: int, seed: int, *, first: int = 0, samples: Iterable[int] = ()) -> list[int]:
    """Indexes below `count` in random order, without those that the seeds of the development drew.

    Args:
        count: rows of the data set.
        seed: of the order.
        first: so many of each shuffle were seen then.
        samples: sizes of samples that were drawn then.
    """
    seen: set[int] = set()
    for old in DEVELOPED:
        seen.update(random.Random(old).sample(range(count), count)[:first])
        for size in samples:
            seen.update(random.Random(old).sample(range(count), min(size, count)))
    left = [index for index in range(count) if index not in seen]
    return random.Random(f"held out {seed}").sample(left, len(left))


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate (Wilson 1927)."""
    rate, share = right / count, z * z / count
    half = z * math.sqrt(rate * (1 - rate) / count + share / (4 * count))
    low, high = (rate + share / 2 - half) / (1 + share), (rate + share / 2 + half) / (1 + share)
    return max(0.0, low), min(1.0, high)


MEANS: dict[str, Callable[[Sequence[float]], float]] = {
    "rate": statistics.fmean,
    "mean": statistics.fmean,
    "median": statistics.median,
    "geometric": statistics.geometric_mean,
}


def bootstrap(values: Sequence[float], mean: Callable[[Sequence[float]], float]) -> tuple[float, float]:
    """Percentile bootstrap interval, 95 %, the same each time (Efron 1979)."""
    rng = random.Random(0)
    found = sorted(mean(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return found[int(0.025 * RESAMPLES)], found[int(0.975 * RESAMPLES)]


def estimate(values: Sequence[float], how: str) -> tuple[float, float, float] | None:
    """(value, low, high) of a measure, or None without values."""
    if not values:
        return None
    value = MEANS[how](values)
    interval = wilson(round(sum(values)), len(values)) if how == "rate" else bootstrap(values, MEANS[how])
    return value, *interval


def table_of(rows: Sequence[Row], tables: dict[str, tuple[Measure, ...]]) -> list[dict[str, Any]]:
    """One line for each measure of each table: estimates of both arms and their ratio."""
    lines = []
    for name, measures in tables.items():
        mine = [row for row in rows if row["table"] == name]
        for measure in measures if mine else ():
            line: dict[str, Any] = {"skill": name, "measure": measure.label, "how": measure.how, "items": len(mine)}
            for arm in ("raw", "skill"):
                values = [float(v) for row in mine if (v := row[arm].get(measure.key)) is not None]
                line[f"{arm}_n"], line[f"{arm}_value"] = len(values), estimate(values, measure.how)
                line[f"{arm}_s"] = statistics.fmean(row[arm]["seconds"] for row in mine)
            raw, skill = line["raw_value"], line["skill_value"]
            line["ratio"] = skill[0] / raw[0] if raw and skill and raw[0] else None
            lines.append(line)
    return lines


def shown(lines: Sequence[dict[str, Any]]) -> str:
    """The lines as a table in Markdown; in brackets 95 % intervals."""

    def cell(line: dict[str, Any], arm: str) -> str:
        if line[f"{arm}_value"] is None:
            return "-"
        value, low, high = line[f"{arm}_value"]
        if line["how"] == "rate":
            count = line[f"{arm}_n"]
            return f"{round(value * count)} of {count}, {value:.0%} ({low:.0%} to {high:.0%})"
        return f"{value:.3g} ({low:.3g} to {high:.3g})"

    head = ["skill", "measure", "items", "raw", "skill", "ratio", "s an item: raw", "skill"]
    body = [
        [line["skill"], line["measure"], str(line["items"]), cell(line, "raw"), cell(line, "skill"),
         f"{line['ratio']:.2f}" if line["ratio"] else "-", f"{line['raw_s']:.3g}", f"{line['skill_s']:.3g}"]
        for line in lines
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    rows = [head, ["-" * width for width in widths], *body]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows)


async def measure(benches: Sequence[Bench], options: argparse.Namespace) -> dict[str, Any]:
    """Run benchmarks: what they found, for `--output`."""
    tables = {name: measures for bench in benches for name, measures in bench.tables.items()}
    path = options.output and options.output.with_suffix(".jsonl")
    run = Run(options.data, options.items, options.seed, path=path, tables=list(tables))
    async with AsyncExitStack() as stack:
        if any(bench.needs_model for bench in benches):
            run.client = await stack.enter_async_context(connect(settings_for(options.model or None), options.model))
            run.model = (await run.client.ensure(options.model)).id
        if path and path.exists() and not options.resume:
            raise UserError(f"{path} is there already", hint="--resume goes on with it; or name another --output")
        run.resume()
        for bench in benches:
            if run.waits(*bench.tables):
                await bench.run(run)
    lines = table_of(run.rows, tables)
    return {"model": run.model, "seed": run.seed, "notes": run.notes, "table": lines}


def options_of(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks of skills have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(), help="folder of the data sets")
    parser.add_argument("--model", default="", help="empty: the default")
    parser.add_argument("--items", type=int, default=8, help="of each table")
    parser.add_argument("--seed", type=int, default=0, help="which of the held-out items are drawn")
    parser.add_argument("--output", type=Path, help="write the table as JSON; each row goes to its .jsonl at once")
    parser.add_argument("--resume", action="store_true", help="go on after the rows of that .jsonl")
    return parser


def start(parser: argparse.ArgumentParser, options: argparse.Namespace, benches: Sequence[Bench]) -> None:
    """Measure, print the table, write it."""
    try:
        found = asyncio.run(measure(benches, options))
    except (ColosseError, OSError) as error:
        hint = f" ({error.hint})" if isinstance(error, ColosseError) and error.hint else ""
        parser.exit(2, f"error: {error}{hint}\n")
    print(shown(found["table"]))
    for name, note in found["notes"].items():
        print(f"{name}: {note}")
    if options.output:
        options.output.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def main(bench: Bench, description: str | None) -> None:
    """One benchmark by itself."""
    parser = options_of(description)
    start(parser, parser.parse_args(), [bench])
