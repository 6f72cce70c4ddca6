"""`colosse plan search`: the best layouts of a model on a cluster, and why the others are not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from colosse.cli.output import JsonFlag, note, print_json
from colosse.cli.plan import jobs
from colosse.cli.plan.options import HardwareOption, writing

if TYPE_CHECKING:
    from collections.abc import Callable

    from colosse.cli.plan.jobs import Asked
    from colosse.plan.estimate import Estimate
    from colosse.plan.search import Found, Ranked

WIDE = 110
"""Columns from which on layouts are shown with MFU and time too."""


def search(
    model: jobs.ModelOption,
    gpus: Annotated[int, typer.Option(help="How many GPUs.")],
    gpu: jobs.GpuOption = "h100",
    tokens: jobs.TokensOption = "",
    batch: jobs.BatchOption = "",
    seq_len: jobs.SeqLenOption = 0,
    precision: Annotated[
        Literal["bfloat16", "float8", "float32"], typer.Option(help="Of matrix products.")
    ] = "bfloat16",
    by: Annotated[
        Literal["time", "cost", "memory"],
        typer.Option(
            help="What is best: the time of a step; the cost of the training, also on fewer GPUs; "
            "memory that is left, of layouts at most a tenth slower than the fastest."
        ),
    ] = "time",
    top: Annotated[int, typer.Option(min=1, max=50, help="Layouts that are shown.")] = 10,
    price: jobs.PriceOption = "",
    explain: jobs.ExplainFlag = False,
    write: Annotated[
        Path | None, typer.Option(help="Write the first as a recipe to this file.", show_default=False)
    ] = None,
    report: jobs.ReportOption = None,
    hardware: HardwareOption = None,
    json: JsonFlag = False,
) -> None:
    """Search all layouts of a model on a cluster: what fits, which is fastest, and why each other loses."""
    jobs.check_installed()
    from time import perf_counter

    from colosse.plan.search import search as best

    began = perf_counter()
    asked = _asked(model, gpu, gpus, tokens, batch, seq_len, precision, price, hardware)
    found = best(asked.job, by=by, top=top, tokens=asked.tokens, price=asked.price)
    took = perf_counter() - began
    if write is not None:
        _write(asked, found, write)
    if report is not None:
        jobs.write_report(asked, found.best, report, found=found, recipe=_recipe(asked, found.best))
        note(f"written: {report}")
    if json:
        print_json(_fields(asked, found, took))
        return
    _show(asked, found, took)
    if explain:
        from colosse.cli.plan.explain import explained

        print()
        print("\n".join(explained(found.best, jobs.tasks_of(found.best))))
        _options(found)


def _asked(
    model: str,
    gpu: str,
    gpus: int,
    tokens: str,
    batch: str,
    seq_len: int,
    precision: Literal["bfloat16", "float8", "float32"],
    price: str,
    hardware: list[Path] | None,
) -> Asked:
    from colosse.core.errors import UserError
    from colosse.plan.hardware import catalogue
    from colosse.plan.job import Job
    from colosse.plan.quantities import parse_count
    from colosse.spec.layout import Layout

    name, table, spec = jobs.model_of(model)
    known = catalogue(hardware or ())
    cluster = known.cluster(gpu, gpus)
    if seq_len < 0:
        raise UserError(f"--seq-len: {seq_len} is below 0", param="seq_len")
    seq_len = seq_len or min(jobs.DEFAULT_SEQ_LEN, spec.max_seq_len)
    total = parse_count(tokens, name="--tokens") if tokens else 0.0
    sequences = jobs.sequences_of(batch, spec, seq_len=seq_len, tokens=total, gpus=gpus)
    job = Job(
        model=spec,
        layout=Layout(precision=precision),
        cluster=cluster,
        seq_len=seq_len,
        global_batch_size=sequences,
    )
    return jobs.Asked(name, table, job, total, jobs.price_of(price, cluster, known), bool(price), known)


def _recipe(asked: Asked, one: Estimate) -> str:
    """The recipe of a layout; empty for a model that cannot be trained yet."""
    from colosse.core.errors import UserError

    try:
        return _recipe_text(asked, one)
    except UserError:
        return ""


def _recipe_text(asked: Asked, one: Estimate) -> str:
    from colosse.plan.recipe_text import recipe_text

    failures = jobs.failures_of(asked, one)
    return recipe_text(
        one,
        name=f"{asked.name}-{one.job.cluster.gpus}gpu",
        model=asked.model,
        tokens=asked.tokens,
        checkpoint_s=failures.interval_s if failures else 0.0,
    )


def _write(asked: Asked, found: Found, path: Path) -> None:
    from colosse.core.files import write_atomic
    from colosse.train.recipe import load_recipe, resolve

    text = _recipe_text(asked, found.best)
    with writing(path):
        write_atomic(path, text.encode())
    resolve(load_recipe(path))  # what is written can be trained
    note(f"written: {path}; run it with `colosse train {path}`")


def _show(asked: Asked, found: Found, took: float) -> None:
    from colosse.cli.plan.explain import headline
    from colosse.core.numbers import big, count, duration, share, time_of
    from colosse.plan.search import summary

    job = asked.job
    step = f"{count(job.global_batch_size)} sequences of {count(job.seq_len)}"
    print(f"{asked.name} on {count(job.cluster.gpus)} {job.cluster.gpu.name} ({job.cluster.node.name}), {step} a step")
    print(f"{count(found.considered)} layouts, {count(found.timed)} timed, in {took:.1f} s\n")
    first = found.ranked[0]
    where = "" if len(_sizes(found)) == 1 else f" on {count(first.estimate.job.cluster.gpus)} GPUs"
    lines = [("best", f"{summary(first.estimate.job.layout)}{where}"), *headline(first.estimate)]
    failures = jobs.failures_of(asked, first.estimate)
    if first.seconds and failures:
        took_all = f"{time_of(first.seconds.value)} for {big(asked.tokens)} tokens; with failures"
        kept = f"{share(failures.ettr.value)} of the time is kept"
        lines.append(("time", f"{took_all} {time_of(86_400 * failures.days.value)} ({kept})"))
        nodes = f"{failures.spares} spare node{'' if failures.spares == 1 else 's'}"
        lines.append(("checkpoint", f"every {duration(failures.interval_s)}, {nodes}"))
    if first.dollars and failures:
        lines.append(("rent", jobs.rent(first.dollars, failures)))
    for word, value in lines:
        print(f"{word:<12}{value}")
    for caution in first.estimate.cautions:
        print(f"{'!':<12}{caution}")
    print()
    _ranked(found)
    print()
    _losers(found)


def _ranked(found: Found) -> None:
    from shutil import get_terminal_size

    from colosse.core.numbers import dollars, share, time_of
    from colosse.plan.search import summary

    first = found.ranked[0]
    columns: dict[str, Callable[[Ranked], str]] = {
        "GPUs": lambda one: str(one.estimate.job.cluster.gpus),
        "layout": lambda one: summary(one.estimate.job.layout),
        "step s": lambda one: f"{one.estimate.step_s.value:.3g}",
        "MFU": lambda one: share(one.estimate.mfu),
        "GB": lambda one: f"{one.estimate.peak_memory.total / 1e9:.1f}",
        "time": lambda one: time_of(one.seconds.value if one.seconds else None),
        "rent": lambda one: dollars(one.dollars.value) if one.dollars else "",
        "behind": lambda one: "" if one is first else f"{100 * one.behind:+.1f} %",
        "because of": lambda one: one.why,
    }
    left_out = {"time"} if first.seconds is None else set()
    left_out |= {"rent"} if first.dollars is None else set()
    if len(_sizes(found)) == 1:
        left_out.add("GPUs")
    if get_terminal_size().columns < WIDE:
        left_out |= {"MFU", "time"}
    shown = {name: cell for name, cell in columns.items() if name not in left_out}
    rows = [[str(n), *(cell(one) for cell in shown.values())] for n, one in enumerate(found.ranked, 1)]
    _table(["", *shown], rows, left=("layout", "because of"))


def _losers(found: Found) -> None:
    from colosse.core.numbers import count

    rows = [
        [count(one.layouts), one.reason, "" if one.nearest is None else f"{100 * one.nearest:+.1f} %"]
        for one in found.losers
    ]
    title = "why they lose"
    if len(_sizes(found)) > 1:
        title += f", on {count(found.best.job.cluster.gpus)} GPUs"
    _table(["layouts", title, "best of them"], rows, left=(title,))


def _sizes(found: Found) -> set[int]:
    """Numbers of GPUs among the layouts that are shown."""
    return {one.estimate.job.cluster.gpus for one in found.ranked}


def _options(found: Found) -> None:
    print("\none setting changed, all others free")
    rows, last = [], ""
    for one in found.options:
        behind = "" if one.behind is None else f"{100 * one.behind:+.1f} %" if one.behind else "first"
        rows.append([one.setting if one.setting != last else "", one.value, behind, one.why])
        last = one.setting
    _table(["setting", "value", "time", "because of"], rows, left=("setting", "value", "because of"))


def _table(names: list[str], rows: list[list[str]], left: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=name not in left)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _fields(asked: Asked, found: Found, took: float) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "model": asked.name,
        "gpu": asked.job.cluster.gpu.name,
        "node": asked.job.cluster.node.name,
        "seq_len": asked.job.seq_len,
        "global_batch_size": asked.job.global_batch_size,
        "tokens": asked.tokens or None,
        "usd_per_gpu_hour": asdict(asked.price) if asked.price else None,
        "considered": found.considered,
        "timed": found.timed,
        "search_s": round(took, 3),
        "ranked": [
            {
                "gpus": one.estimate.job.cluster.gpus,
                **jobs.estimate_fields(one.estimate),
                "training_s": asdict(one.seconds) if one.seconds else None,
                "training_usd": asdict(one.dollars) if one.dollars else None,
                "headroom_bytes": one.headroom,
                "behind": one.behind,
                "why": one.why,
            }
            for one in found.ranked
        ],
        "losers": [asdict(one) for one in found.losers],
        "options": [asdict(one) for one in found.options],
    }
