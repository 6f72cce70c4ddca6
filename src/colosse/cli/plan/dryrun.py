"""`colosse plan dryrun`: one step of the real trainer, without GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from colosse.plan.dryrun import RankRun
    from colosse.plan.traffic import Collective

KINDS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimiser state",
    "gathered": "gathered",
    "activations": "made by forward passes",
    "backward": "made by backward passes",
}
"""Of what a peak consists, in the order of the table."""


def dryrun(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML).", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings that differ, such as layout.tp=8.", show_default=False),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(
            help="Only this rank; without it the first of the first, middle and last place of the pipeline.",
            show_default=False,
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Run one step of the real trainer on a device that is not there, and hold its memory and traffic against the plan.

    Thousands of ranks cost no more than one; nothing is trained, and no data is read.
    """
    from importlib.util import find_spec

    from colosse.core.errors import UserError
    from colosse.train.recipe import load_recipe, resolve

    wanted = load_recipe(recipe, overrides or [])
    resolve(wanted)
    for module, extra in (("torch", "train"), ("numpy", "plan")):
        if find_spec(module) is None:
            raise UserError(f"a dry run needs {module}", hint=f"pip install 'colosse[{extra}]'")
    from colosse.plan.dryrun import dry_run

    if wanted.layout.precision == "float8":
        note("float8 products run as bfloat16 ones, which keep and send the same")
    runs = dry_run(wanted, rank)
    if json:
        print_json({"recipe": wanted.name, "world_size": wanted.layout.world_size, "ranks": [_fields(r) for r in runs]})
        return
    for run in runs:
        _show(run, wanted.layout.world_size, wanted.layout.pp)


def _fields(run: RankRun) -> dict[str, Any]:
    return {
        "rank": run.rank,
        "place": run.stage_rank,
        "memory": {
            "measured_bytes": run.peak_bytes,
            "at_peak": run.at_peak,
            "claimed_bytes": run.claimed.total,
            "claimed": vars(run.claimed),
            "error": run.memory_error,
        },
        "traffic": {
            "measured": [vars(collective) for collective in run.collectives],
            "claimed": [vars(collective) for collective in run.claimed_collectives],
            "error": run.traffic_error,
        },
        "seconds": round(run.seconds, 3),
    }


def _show(run: RankRun, world_size: int, places: int) -> None:
    from rich.console import Console
    from rich.table import Table

    place = f", place {run.stage_rank + 1} of {places} of the pipeline" if places > 1 else ""
    print(f"rank {run.rank} of {world_size}{place}: one step, in {run.seconds:.0f} s")
    memory = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("peak memory", "measured", "claimed", ""):
        memory.add_column(column, justify="left" if column == "peak memory" else "right")
    memory.add_row("all", _size(run.peak_bytes), _size(run.claimed.total), f"{run.memory_error:+.1%}")
    for kind, name in KINDS.items():
        memory.add_row(f"  {name}", _size(run.at_peak.get(kind, 0)), "", "")
    traffic = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("sent in a step", "ranks", "messages", "measured", "claimed", ""):
        traffic.add_column(column, justify="left" if column == "sent in a step" else "right", no_wrap=True)
    claimed = {(one.operation, one.axis): one for one in run.claimed_collectives}
    measured = {(one.operation, one.axis): one for one in run.collectives}
    for key in sorted(claimed.keys() | measured.keys()):
        ours, real = claimed.get(key), measured.get(key)
        traffic.add_row(" ".join(key), *_compared(real, ours))
    console = Console(soft_wrap=True)
    console.print(memory)
    if claimed or measured:
        console.print(traffic)
    print()


def _compared(real: Collective | None, ours: Collective | None) -> list[str]:
    """Ranks, messages, bytes measured and claimed, and what is wrong with the claim."""
    one = real or ours
    assert one is not None  # noqa: S101 - of a key of one of both
    messages = f"{one.count:,}"
    if real and ours and real.count != ours.count:
        messages += f" (claimed {ours.count:,})"
    error = f"{ours.bytes / real.bytes - 1:+.1%}" if ours and real else "not foreseen" if real else "did not come"
    return [f"{one.ranks:,}", messages, *(_size(each.bytes) if each else "" for each in (real, ours)), error]


def _size(size: float) -> str:
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:,.2f} {unit}"
    return f"{size:.0f} B"
