"""The report of a train run: one HTML file that needs nothing but a browser, and a page that compares several.

Everything is drawn into the file (`core/page.py`), `report.css` too. Free of torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from colosse.core.chart import COLORS, Chart, Series, render, write
from colosse.core.errors import NotFoundError
from colosse.core.files import format_bytes, write_atomic
from colosse.core.numbers import big, count, share, short, time_of
from colosse.core.page import fact_groups, head, page, stats
from colosse.train.recipe import resolve
from colosse.train.runs import Run, Summary, differences, summarize

NAME = "report.html"
EVENTS_SHOWN = 400
"""Newest events of a report; `events.jsonl` has them all."""
QUIET_EVENTS = ("sample", "evaluation")
"""Shown elsewhere on the page."""

Facts = list[tuple[str, str]]


def write_report(folder: Path) -> Path:
    """Write `report.html` into a run's folder.

    Raises:
        NotFoundError: the folder is no run.
    """
    if not (folder / "recipe.toml").is_file():
        raise NotFoundError(f"{folder} is no train run: it has no recipe.toml")
    run = Run(folder.resolve())
    path = folder / NAME
    write_atomic(path, _report(run).encode())
    return path


def write_comparison(folders: Sequence[Path], out: Path) -> Path:
    """Write a page that lays the curves and numbers of several runs side by side."""
    write_atomic(out, _comparison([Run(folder.resolve()) for folder in folders]).encode())
    return out


def _report(run: Run) -> str:
    summary = summarize(run)
    recipe = run.recipe
    lead = recipe.note if recipe else ""
    if summary.message:
        lead = f"{lead} {summary.message}".strip()
    body = [
        head("train run", run.name, summary.state, lead),
        stats(_headline(summary)),
        f'<div class="charts">{"".join(map(render, charts(run)))}</div>',
        _samples(run),
        f"<h2>Facts</h2>{fact_groups(_facts(run, summary))}",
        _diary(run),
    ]
    if run.recipe_text:
        body.append(f'<details class="recipe"><summary>Recipe</summary><pre>{escape(run.recipe_text)}</pre></details>')
    return _page(run.name, body)


def _comparison(runs: Sequence[Run]) -> str:
    summaries = [summarize(run) for run in runs]
    title = f"{len(runs)} train runs"
    body = [
        head("comparison", title),
        _table_of_runs(summaries),
        f'<div class="charts shared">{"".join(map(render, comparison_charts(runs)))}</div>',
    ]
    if different := differences(runs):
        names = "".join(f'<th class="name c{i % COLORS}">{escape(run.name)}</th>' for i, run in enumerate(runs))
        rows = "".join(
            f"<tr><th>{escape(key)}</th>{''.join(f'<td>{escape(_plain(value))}</td>' for value in values)}</tr>"
            for key, values in different.items()
        )
        body.append(
            f'<h2>Recipes differ in</h2><div class="scroll"><table><tr><th></th>{names}</tr>{rows}</table></div>'
        )
    return _page(title, body)


def charts(run: Run) -> list[Chart]:
    """The charts of a run's report."""

    def series(name: str, title: str = "", color: int = 0, **more: Any) -> Series:
        return Series(title or name, *run.series(name), color=color, **more)

    sources = [series(f"bpb.{name}", name, color, dots=True) for color, name in enumerate(run.sources)]
    if len(sources) > 1:
        sources.append(series("bpb", "all", len(sources), dots=True))
    return [
        Chart(
            "Loss",
            "nats per token",
            [series("train_loss", "training", smooth=True), series("val_loss", "held out", 1, dots=True)],
            log=True,
            wide=True,
        ),
        Chart("Held-out text", "bits per byte", sources or [series("bpb", "all", dots=True)]),
        Chart("Speed", "tokens per second, all ranks", [series("tokens_per_second")], zero=True),
        Chart("MFU", "share of the peak", [series("mfu")], kind="percent", zero=True),
        Chart("Gradient norm", "before clipping", [series("grad_norm")], log=True),
        Chart("Learning rate", "", [series("lr")], zero=True),
        Chart("Memory", "in use", [series("memory_bytes")], kind="bytes", zero=True),
        Chart(
            "Waiting",
            "per step",
            [series("data_wait_s", "for data"), series("checkpoint_stall_s", "for checkpoints", 1)],
            kind="seconds",
            zero=True,
        ),
    ]


def comparison_charts(runs: Sequence[Run]) -> list[Chart]:
    """The charts of a comparison: one series a run, in the same colour everywhere."""

    def chart(title: str, unit: str, name: str, **more: Any) -> Chart:
        dots, smooth = name in ("val_loss", "bpb"), name in ("train_loss", "tokens_per_second")
        series = [Series(r.name, *r.series(name), i, dots=dots, smooth=smooth) for i, r in enumerate(runs)]
        return Chart(title, unit, series, **more)

    return [
        chart("Training loss", "nats per token", "train_loss", log=True, wide=True),
        chart("Held-out loss", "nats per token", "val_loss"),
        chart("Held-out text", "bits per byte", "bpb"),
        chart("Speed", "tokens per second, all ranks", "tokens_per_second", zero=True),
        chart("Gradient norm", "before clipping", "grad_norm", log=True),
        chart("Learning rate", "", "lr", zero=True),
        chart("Memory", "in use", "memory_bytes", kind="bytes", zero=True),
    ]


def _headline(summary: Summary) -> Facts:
    """The numbers that a person looks for first."""
    of = f" of {count(summary.total_steps)}" if summary.total_steps and summary.step < summary.total_steps else ""
    return [
        (label, value)
        for label, value in (
            ("bits per byte, held out", short(summary.bpb)),
            ("loss, held out", short(summary.val_loss)),
            ("loss, training", short(summary.train_loss)),
            ("parameters", big(summary.parameters)),
            ("tokens", big(summary.tokens)),
            (f"steps{of}", count(summary.step) if summary.step else ""),
            ("training time", time_of(summary.seconds)),
            ("tokens per second", count(summary.tokens_per_second)),
        )
        if value
    ]


def _facts(run: Run, summary: Summary) -> list[tuple[str, Facts]]:
    groups: list[tuple[str, Facts]] = []
    if (recipe := run.recipe) is not None:
        spec, layout, resolved = recipe.model.spec, recipe.layout, resolve(recipe)
        moe = spec.moe
        groups.append(
            (
                "Model",
                [
                    ("shape", recipe.model.preset or (f"depth {recipe.model.depth}" if recipe.model.depth else "")),
                    ("parameters", count(resolved.params.total)),
                    ("without embeddings", count(resolved.params.non_embedding)),
                    ("layers × width", f"{spec.num_layers} × {count(spec.dim)}"),
                    ("heads (key/value)", f"{spec.num_heads} ({spec.num_kv_heads})"),
                    ("feed-forward", count(spec.ffn_dim) if moe is None or moe.num_dense_layers else ""),
                    ("experts", f"{moe.num_experts}, {moe.top_k_experts} per token" if moe else ""),
                    ("vocabulary", count(spec.vocab_size)),
                ],
            )
        )
        groups.append(
            (
                "Training",
                [
                    ("steps", count(resolved.total_steps)),
                    ("tokens per step", count(resolved.tokens_per_step)),
                    ("sequence", f"{count(recipe.train.seq_len)} tokens"),
                    ("sources", ", ".join(source.name for source in recipe.data.sources)),
                    ("optimiser", {"adamw": "AdamW", "muon": "Muon and AdamW"}[recipe.optimizer.kind]),
                    ("peak learning rate", write(resolved.lr, "number")),
                    ("schedule", recipe.optimizer.schedule),
                    ("work", f"{resolved.total_flops:.3g} FLOP"),
                    ("seed", str(recipe.seed)),
                ],
            )
        )
        axes = [f"{name} {size}" for name in ("pp", "dp_replicate", "dp_shard", "cp", "tp", "ep")
                if (size := getattr(layout, name)) > 1]  # fmt: skip
        groups.append(
            (
                "Layout",
                [
                    ("ranks", count(layout.world_size)),
                    ("axes", ", ".join(axes)),
                    ("micro batch", f"{layout.micro_batch_size} × {resolved.grad_accum_steps} per step"),
                    ("precision", layout.precision),
                    ("recomputation", layout.recompute),
                    *_machine(run),
                ],
            )
        )
    kept = summary.checkpoints
    groups.append(
        (
            "Time and room",
            [
                ("began", _moment(str(run.events[0].get("time", ""))) if run.events else ""),
                ("last heard of", _moment(summary.updated)),
                ("training time", time_of(summary.seconds)),
                ("waited for data", share(summary.data_wait)),
                ("waited for checkpoints", share(summary.checkpoint_stall)),
                ("MFU, median", share(summary.mfu)),
                ("memory, most", format_bytes(summary.memory_bytes) if summary.memory_bytes else ""),
                ("checkpoints kept", ", ".join(count(row["step"]) for row in kept)),
                ("size of one", format_bytes(kept[0]["size_bytes"]) if kept else ""),
            ],
        )
    )
    return groups


def _machine(run: Run) -> Facts:
    """What the run said of the hardware when it last began."""
    begun = [event for event in run.events if event.get("event") in ("started", "resumed")]
    hardware = str(begun[-1].get("hardware", "")) if begun else ""
    peaks = [event for event in run.events if event.get("event") == "peak" and event.get("flops")]
    peak = f"{peaks[-1]['flops'] / 1e12:.3g} TFLOP/s per rank" if peaks else ""
    return [("hardware", hardware), ("100 % MFU", peak)]


def _samples(run: Run) -> str:
    """What the model wrote, newest evaluation first; all but the newest are folded away."""
    by_step: dict[int, list[str]] = {}
    for event in run.events:
        if event.get("event") == "sample":
            prompt, written = escape(str(event.get("prompt", ""))), escape(str(event.get("sample", "")))
            text = f'<div class="panel sample"><pre><b>{prompt}</b>{written}</pre></div>'
            by_step.setdefault(int(event.get("step", 0)), []).append(text)
    if not by_step:
        return ""
    newest, *older = sorted(by_step, reverse=True)
    folded = "".join(f"<h3>Step {count(step)}</h3>{''.join(by_step[step])}" for step in older)
    if folded:
        folded = f"<details><summary>Earlier samples</summary>{folded}</details>"
    return f"<h2>Samples at step {count(newest)}</h2>{''.join(by_step[newest])}{folded}"


def _diary(run: Run) -> str:
    events = [event for event in run.events if event.get("event") not in QUIET_EVENTS]
    if not events:
        return ""
    rows = "".join(
        f'<tr><td class="time">{_moment(str(event.get("time", "")))}</td>'
        f'<td class="number">{count(event.get("step"))}</td><td>{escape(str(event.get("text", "")))}</td></tr>'
        for event in events[-EVENTS_SHOWN:]
    )
    head = '<tr><th>time</th><th class="number">step</th><th>what</th></tr>'
    return f'<h2>Diary</h2><table class="diary">{head}{rows}</table>'


def _table_of_runs(summaries: Sequence[Summary]) -> str:
    columns: list[tuple[str, Sequence[Any], Any]] = [
        ("bits per byte", [s.bpb for s in summaries], short),
        ("held-out loss", [s.val_loss for s in summaries], short),
        ("training loss", [s.train_loss for s in summaries], short),
        ("steps", [s.step for s in summaries], count),
        ("tokens", [s.tokens for s in summaries], big),
        ("parameters", [s.parameters for s in summaries], big),
        ("tokens/s", [s.tokens_per_second for s in summaries], count),
        ("time", [s.seconds for s in summaries], time_of),
    ]
    head = "".join(f'<th class="number">{title}</th>' for title, _, _ in columns)
    rows = []
    for index, summary in enumerate(summaries):
        cells = "".join(_cell(title, values, index, show) for title, values, show in columns)
        name = f'<td class="name c{index % COLORS}">{escape(summary.name)}</td>'
        rows.append(f"<tr>{name}<td>{escape(summary.state)}</td>{cells}</tr>")
    return (
        '<div class="scroll" style="margin-top:1.5rem"><table>'
        f"<tr><th>run</th><th>state</th>{head}</tr>{''.join(rows)}</table></div>"
    )


def _cell(title: str, values: Sequence[Any], index: int, show: Any) -> str:
    known = [value for value in values if value is not None]
    lowest = title in ("bits per byte", "held-out loss") and len(known) > 1 and values[index] == min(known)
    return f'<td class="number{" best" if lowest else ""}">{show(values[index])}</td>'


def _page(title: str, body: Iterable[str]) -> str:
    style = (resources.files("colosse.train") / "report.css").read_text(encoding="utf-8")
    return page(title, body, style=style)


def _moment(text: str) -> str:
    """`2026-11-23 14:05` of an ISO 8601 time."""
    return escape(text[:16].replace("T", " "))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(map(_plain, value))
    return "not set" if value is None else str(value)
