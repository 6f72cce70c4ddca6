"""`colosse plan reliability`: what failures make of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.output import JsonFlag, print_json
from colosse.cli.plan.options import HardwareOption

if TYPE_CHECKING:
    from colosse.plan.hardware import Cluster
    from colosse.plan.reliability import Reliability
    from colosse.plan.simulate import Simulated

BAR = 40
BINS = 10
LEAST = 5e-5
"""Share of the time below which a loss is not shown."""
DAY_S = 86_400


@dataclass(frozen=True)
class _Run:
    """What is to be trained, however it was said."""

    name: str
    gpus: int
    params: float
    checkpoint_bytes: float
    replicas: int = 1
    interval_s: float = 0.0
    asynchronous: bool = True


def reliability(
    recipe: Annotated[
        Path | None,
        typer.Argument(help="A recipe (TOML), in place of --model and --gpus.", show_default=False),
    ] = None,
    model: Annotated[str, typer.Option(help="A preset, such as llama3-405b.", show_default=False)] = "",
    gpus: Annotated[int, typer.Option(help="How many GPUs train.", show_default=False)] = 0,
    gpu: Annotated[str, typer.Option(help="A GPU or a node of the catalogue.")] = "h100",
    days: Annotated[
        str,
        typer.Option(
            help="Of training without failures: 54, 54d, 8 weeks. Default: as estimated, of a recipe.",
            show_default=False,
        ),
    ] = "",
    interval: Annotated[
        str,
        typer.Option(
            help="Between two checkpoints: 15m, 1h; best: what keeps most training. Default: the recipe's, else best.",
            show_default=False,
        ),
    ] = "",
    spares: Annotated[
        str, typer.Option(help="Spare nodes: a number, a share such as 2%, or best: as many as pay.")
    ] = "best",
    leave_out: Annotated[
        int,
        typer.Option(help="Nodes it does without when one is missing and no spare is left; 0: it waits."),
    ] = 0,
    failures: Annotated[
        str, typer.Option(help="How often: published, or a factor on it such as 2 or x2.")
    ] = "published",
    preemptions: Annotated[float, typer.Option(help="Of a spot node, per day.")] = 0.0,
    storage: Annotated[
        str, typer.Option(help="Storage of the catalogue, or GB/s that all nodes together write.", show_default=False)
    ] = "",
    runs: Annotated[int, typer.Option(help="How many runs are simulated.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed meets the same failures.")] = 1,
    hardware: HardwareOption = None,
    json: JsonFlag = False,
) -> None:
    """Show what failures make of a run: effective training time, days, checkpoint interval, spare nodes.

    Closed form first, then the run simulated many times.
    """
    from colosse.core.errors import UserError
    from colosse.plan.faults import faults_for
    from colosse.plan.quantities import parse_duration
    from colosse.plan.reliability import reliability as planned

    try:
        from colosse.plan.simulate import simulate
    except ModuleNotFoundError:
        raise UserError("the planner needs numpy", hint="pip install 'colosse[plan]'") from None
    run = _run(recipe, model, gpus)
    cluster = _cluster(gpu, run.gpus, storage, hardware or [])
    if days:
        ideal_days = parse_duration(days, name="--days", unit="d") / DAY_S
    elif recipe is not None:
        ideal_days = _estimated_days(recipe, cluster)
    else:
        raise UserError("how long does it train?", hint="--days 54, or a recipe", param="days")
    faults = faults_for(cluster.gpu).scaled(_factor(failures))
    if preemptions:
        faults = faults.with_preemptions(preemptions, cluster.node.gpus)
    plan = planned(
        cluster,
        params=run.params,
        ideal_days=ideal_days,
        checkpoint_bytes=run.checkpoint_bytes,
        faults=faults,
        interval_s=_interval(interval, run.interval_s),
        spares=None if spares == "best" else _spares(spares, -(-run.gpus // cluster.node.gpus)),
        asynchronous=run.asynchronous,
        replicas=run.replicas,
        replica_nodes=leave_out,
    )
    simulated = simulate(plan, runs=runs, seed=seed)
    if json:
        print_json(_fields(run, cluster, plan, simulated))
    else:
        _show(run, cluster, plan, simulated)


def _estimated_days(recipe: Path, cluster: Cluster) -> float:
    """What the cost model says that a recipe takes where nothing fails."""
    from colosse.cli.plan.jobs import recipe_job
    from colosse.plan.cost import estimate
    from colosse.train.recipe import load_recipe

    job, tokens = recipe_job(load_recipe(recipe), cluster)
    return tokens / (estimate(job).tokens_per_s_per_gpu.value * job.layout.world_size) / DAY_S


def _run(recipe: Path | None, model: str, gpus: int) -> _Run:
    from colosse.core.errors import UserError
    from colosse.plan.reliability import checkpoint_bytes
    from colosse.spec.counts import params
    from colosse.spec.presets import preset

    if recipe is not None:
        from colosse.train.recipe import load_recipe

        if model or gpus:
            raise UserError("a recipe says which model and how many GPUs", hint="leave out --model and --gpus")
        read = load_recipe(recipe)
        return _Run(
            name=read.name,
            gpus=read.layout.world_size,
            params=params(read.model.spec).total,
            checkpoint_bytes=checkpoint_bytes(read.model.spec, read.optimizer.kind),
            replicas=read.layout.dp_replicate,
            interval_s=0.0 if read.checkpoint.interval_steps else read.checkpoint.interval_s,
            asynchronous=read.checkpoint.asynchronous,
        )
    if not model or gpus <= 0:
        raise UserError(
            "which run? give a recipe, or a model and a number of GPUs", hint="--model llama3-405b --gpus 16384"
        )
    spec = preset(model).spec
    return _Run(model, gpus, params(spec).total, checkpoint_bytes(spec))


def _cluster(gpu: str, gpus: int, storage: str, files: list[Path]) -> Cluster:
    from colosse.core.errors import UserError
    from colosse.plan.hardware import Storage, catalogue

    try:
        rate = float(storage)
    except ValueError:
        return catalogue(files).cluster(gpu, gpus, storage=storage)
    if not 0 < rate < float("inf"):
        raise UserError(f"--storage: {storage} GB/s is not above 0", param="storage")
    cluster = catalogue(files).cluster(gpu, gpus)
    return cluster.model_copy(update={"storage": Storage(write_gb_per_s=rate, read_gb_per_s=rate)})


def _interval(text: str, of_recipe: float) -> float:
    from colosse.plan.quantities import parse_duration

    if not text:
        return of_recipe
    return 0.0 if text == "best" else parse_duration(text, name="--interval")


def _factor(text: str) -> float:
    from colosse.plan.quantities import parse_count

    return 1.0 if text == "published" else parse_count(text.removeprefix("x"), name="--failures")


def _spares(text: str, nodes: int) -> int:
    import math

    from colosse.core.errors import UserError

    try:
        number = float(text.rstrip("% "))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf or ("%" not in text and number % 1):
        raise UserError(f"--spares: {text!r} is no number of nodes", hint="write it as 40, 2% or best", param="spares")
    spares = math.ceil(number / 100 * nodes) if "%" in text else int(number)
    if spares > nodes:
        raise UserError(
            f"--spares: {spares} for {nodes} nodes are more than one each", hint=f"{nodes} at most", param="spares"
        )
    return spares


def _fields(run: _Run, cluster: Cluster, plan: Reliability, simulated: Simulated) -> dict[str, Any]:
    from dataclasses import asdict

    closed = {key: value for key, value in asdict(plan).items() if key != "regime"}
    return {
        "run": run.name,
        "gpu": cluster.gpu.name,
        **closed,
        "failures": plan.failures,
        "simulated": {
            **asdict(simulated),
            "runs": len(simulated.days),
            "mean_ettr": simulated.mean_ettr,
            "days_percentiles": {f"p{percent}": simulated.days_at(percent) for percent in (10, 50, 90)},
            "goodput_percentiles": {f"p{percent}": simulated.goodput_at(percent) for percent in (10, 50, 90)},
        },
    }


def _show(run: _Run, cluster: Cluster, plan: Reliability, simulated: Simulated) -> None:
    from colosse.core.files import format_bytes
    from colosse.core.numbers import count, duration, share
    from colosse.plan.reliability import LOSSES

    every = f", one every {duration(plan.mtbf_s)} of running" if plan.failures else ""
    best = "" if plan.interval_s == plan.optimal_interval_s else f" (best: {duration(plan.optimal_interval_s)})"
    print(f"{run.name} on {count(plan.gpus)} {cluster.gpu.name}, {plan.ideal_days:.4g} days of training\n")
    for key, value in (
        ("effective time", f"{share(plan.ettr.value)} ({share(plan.ettr.low)} to {share(plan.ettr.high)})"),
        ("days", f"{plan.days.value:.1f} ({plan.days.low:.1f} to {plan.days.high:.1f})"),
        ("failures", f"{_few(plan.failures)}{every}"),
        ("checkpoint", f"every {duration(plan.interval_s)}{best}; {format_bytes(plan.checkpoint_bytes)}"),
        ("", f"stalls {plan.checkpoint_stall_s:.1f} s, written in {plan.checkpoint_write_s:.1f} s"),
        ("start", duration(plan.restart_s)),
        ("spares", f"{plan.spares} of {plan.nodes} nodes ({share(plan.spares / plan.nodes)})"),
    ):
        print(f"{key:<16}{value}")
    print("\nin brackets: with the failure rates between which nine sites of ten lie\n")
    elapsed = sum(simulated.seconds.values())
    parts = {"training": plan.ettr.value} | plan.losses
    rows = [
        [
            words,
            *(f"{100 * part:.2f} %" for part in (parts[key], simulated.seconds[key] / elapsed)),
            f"{simulated.seconds[key] / DAY_S:.2f}",
        ]
        for key, words in ({"training": "training that is kept"} | LOSSES).items()
        if max(parts[key], simulated.seconds[key] / elapsed) > LEAST
    ]
    _table(["where the time goes", "closed form", "simulated", "days"], rows)
    print()
    causes = sorted(plan.by_cause.items(), key=lambda item: -item[1].days)
    rows = [
        [name, _few(cause.failures), _few(simulated.failures[name]), f"{cause.days:.2f}"]
        for name, cause in causes
        if cause.failures
    ]
    _table(["failures", "expected", "simulated", "days lost"], rows)
    print(f"\ndays of {len(simulated.days)} simulated runs, seed {simulated.seed}")
    print("\n".join(_histogram(simulated.days)))
    for percent in (10, 50, 90):
        days, goodput = simulated.days_at(percent), simulated.goodput_at(percent)
        print(f"p{percent}: {days:.1f} days; effective time {share(goodput)}")
    print()
    for sentence in plan.advice:
        print(f"- {sentence}")
    for sentence in plan.cautions:
        print(f"! {sentence}")


def _few(value: float) -> str:
    from colosse.core.numbers import count

    return count(value) if value >= 1000 else f"{value:.3g}"


def _histogram(values: list[float]) -> list[str]:
    """Bars of how many values lie where."""
    low, high = min(values), max(values)
    width = (high - low) / BINS
    if not width:
        return [f"{low:10.2f}  {'█' * BAR} {len(values)}"]
    counts = [0] * BINS
    for value in values:
        counts[min(int((value - low) / width), BINS - 1)] += 1
    return [
        f"{low + (place + 0.5) * width:10.2f}  {'█' * round(BAR * number / max(counts))} {number}"
        for place, number in enumerate(counts)
    ]


def _table(names: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
