"""`colosse runs`: the train runs on this machine, what each came to, how several compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from rich.text import Text

    from colosse.train.runs import Run, Summary

app = typer.Typer(help="List, show and compare train runs.", no_args_is_help=True)

RunName = Annotated[str, typer.Argument(help="Its name, the beginning of just one name, or its folder.")]
RunsDir = Annotated[
    Path | None,
    typer.Option("--runs-dir", help="Where run folders are; default: runs in COLOSSE_HOME.", show_default=False),
]
WIDE = 100
"""Columns from which on `list` shows tokens and speed too."""
STYLES = {"running": "green", "finished": "", "interrupted": "yellow", "failed": "red", "unknown": "dim"}


@app.command("list")
def list_runs(runs_dir: RunsDir = None, json: JsonFlag = False) -> None:
    """Show all train runs, the one that was heard of last first."""
    from shutil import get_terminal_size

    from colosse.core.numbers import ago, big, count, short
    from colosse.train.runs import brief
    from colosse.train.runs import list_runs as found

    parent = _parent(runs_dir)
    rows = [brief(run) for run in found(parent)]
    if json:
        print_json(rows)
    elif not rows:
        note(f"there is no train run in {parent}; `colosse train RECIPE` makes one")
    else:
        columns: dict[str, Callable[[dict[str, Any]], str | Text]] = {
            "run": lambda row: row["name"],
            "state": lambda row: _state(row["state"]),
            "step": lambda row: _steps(row["step"], row["total_steps"]),
            "tokens": lambda row: big(row["tokens"]),
            "loss": lambda row: short(row["train_loss"]),
            "bits/byte": lambda row: short(row["bpb"]),
            "tokens/s": lambda row: count(row["tokens_per_second"]),
            "heard of": lambda row: ago(row["updated"]),
        }
        if get_terminal_size().columns < WIDE:
            del columns["tokens"], columns["tokens/s"]
        cells = [[show_cell(row) for show_cell in columns.values()] for row in rows]
        _table(list(columns), cells, right=range(2, len(columns) - 1))


@app.command()
def show(
    run: RunName,
    html: Annotated[
        bool, typer.Option("--html", help="Write report.html into its folder again, and say where.")
    ] = False,
    runs_dir: RunsDir = None,
    json: JsonFlag = False,
) -> None:
    """Show one train run: its numbers, its curve, its checkpoints, what happened."""
    from colosse.train.report import write_report
    from colosse.train.runs import find_run, summarize

    found = find_run(_parent(runs_dir), run)
    if html:
        path = write_report(found.folder)
        if json:
            print_json({"report": path})
        else:
            print(path)
        return
    summary = summarize(found)
    if json:
        print_json(_fields(summary))
        return
    for key, value in _lines(found, summary):
        if value:
            print(f"{key:<16}{value}")
    _plot(found)
    _happenings(found)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more, each as in `show`.")],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with their curves to this file.", show_default=False)
    ] = None,
    runs_dir: RunsDir = None,
    json: JsonFlag = False,
) -> None:
    """Show train runs side by side, and where their recipes differ."""
    from colosse.core.errors import UserError
    from colosse.core.numbers import big, count, short, time_of
    from colosse.train.live import sparkline
    from colosse.train.report import write_comparison
    from colosse.train.runs import differences, find_run, summarize

    parent = _parent(runs_dir)
    found = [find_run(parent, name) for name in runs]
    if len({run.folder for run in found}) < 2:
        raise UserError("a comparison needs two different train runs", hint="`colosse runs list` shows them")
    if html is not None:
        note(f"written: {write_comparison([run.folder for run in found], html)}")
    summaries, different = [summarize(run) for run in found], differences(found)
    if json:
        print_json({"runs": [_fields(summary) for summary in summaries], "differences": different})
        return
    rows: list[tuple[str, list[str]]] = [
        ("state", [s.state for s in summaries]),
        ("step", [_steps(s.step, s.total_steps) for s in summaries]),
        ("tokens", [big(s.tokens) for s in summaries]),
        ("parameters", [big(s.parameters) for s in summaries]),
        ("loss, training", [short(s.train_loss) for s in summaries]),
        ("loss, held out", [short(s.val_loss) for s in summaries]),
        ("bits per byte", [short(s.bpb) for s in summaries]),
        *[
            (f"  {name}", [short(s.bpb_by_source.get(name)) for s in summaries])
            for name in dict.fromkeys(name for s in summaries for name in s.bpb_by_source)
        ],
        ("tokens/s", [count(s.tokens_per_second) for s in summaries]),
        ("time", [time_of(s.seconds) for s in summaries]),
        ("curve", [sparkline(run.series("train_loss")[1], 20) for run in found]),
        *[(key, ["" if value is None else str(value) for value in values]) for key, values in different.items()],
    ]
    _table(["", *(run.name for run in found)], [[key, *values] for key, values in rows if any(values)])


def _parent(runs_dir: Path | None) -> Path:
    from colosse.core.settings import load_settings

    return runs_dir or load_settings().value.home / "runs"


def _fields(summary: Summary) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(summary)


def _lines(run: Run, summary: Summary) -> list[tuple[str, str]]:
    """What `show` says first: a word and its value."""
    from colosse.core.files import format_bytes
    from colosse.core.numbers import ago, big, count, share, short, time_of

    recipe = run.recipe
    waits = (("data", summary.data_wait), ("checkpoints", summary.checkpoint_stall))
    kept = ", ".join(str(row["step"]) for row in summary.checkpoints)
    size = f" ({format_bytes(summary.checkpoints[0]['size_bytes'])} each)" if kept else ""
    by_source = ", ".join(f"{name} {short(value)}" for name, value in summary.bpb_by_source.items())
    heard = f", heard of {ago(summary.updated)}" if summary.updated else ""
    return [
        ("run", summary.name),
        ("note", recipe.note if recipe else ""),
        ("state", f"{summary.state}{heard}"),
        ("", summary.message),
        ("steps", _steps(summary.step, summary.total_steps)),
        ("tokens", big(summary.tokens)),
        ("parameters", big(summary.parameters)),
        ("loss", " ".join(filter(None, (short(summary.train_loss), _beside("held out", short(summary.val_loss)))))),
        (
            "bits per byte",
            " ".join(filter(None, (short(summary.bpb), _beside("", by_source if "," in by_source else "")))),
        ),
        ("tokens/s", count(summary.tokens_per_second)),
        ("MFU", share(summary.mfu)),
        ("time", time_of(summary.seconds)),
        ("waited for", ", ".join(f"{name} {share(part)}" for name, part in waits if part is not None)),
        ("memory", format_bytes(summary.memory_bytes) if summary.memory_bytes else ""),
        ("checkpoints", f"{kept}{size}"),
        ("folder", summary.folder),
    ]


def _beside(what: str, value: str) -> str:
    return f"({what} {value})".replace("( ", "(") if value else ""


def _plot(run: Run) -> None:
    """The loss by step, drawn in dots."""
    from rich.console import Console

    from colosse.train.textplot import plot

    steps, losses = run.series("train_loss")
    if len(steps) > 1:
        width = min(100, Console().width) - 10
        print("\nloss by step")
        print("\n".join(plot(steps, losses, width=width, height=10)))


def _happenings(run: Run) -> None:
    quiet = ("sample", "evaluation", "peak")
    events = [event for event in run.events if event.get("event") not in quiet]
    samples = [event for event in run.events if event.get("event") == "sample"]
    if events:
        print()
    for event in events[-8:]:
        print(f"{str(event.get('time', ''))[:16].replace('T', ' ')}  {event.get('text', '')}")
    for event in [sample for sample in samples if sample.get("step") == samples[-1].get("step")]:
        print(f"\nsample at step {event.get('step')}:\n{event.get('prompt', '')}{event.get('sample', '')}")


def _table(names: list[str], rows: list[list[str | Text]], right: range = range(0)) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(names):
        table.add_column(name, justify="right" if index in right else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _state(state: str) -> Text:
    from rich.text import Text

    return Text(state, style=STYLES.get(state, ""))


def _steps(step: int, total: int) -> str:
    from colosse.core.numbers import count

    return f"{count(step)}/{count(total)}" if total else count(step)
