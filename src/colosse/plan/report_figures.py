"""Drawings of the plan's report: GPUs on their nodes, memory by place, the pipeline's timeline, bars and tornado.

Each is a piece of HTML that needs `report.css`; colours are the series' colours of `core/page.css`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from colosse.core.chart import write
from colosse.core.files import format_bytes
from colosse.core.numbers import count, share
from colosse.plan.estimate import Estimate, StageMemory, Task
from colosse.plan.search import Found, Option
from colosse.plan.whatif import Effect
from colosse.spec.layout import AXES, Layout

CELLS_SHOWN = 128
"""GPUs drawn of each pipeline place; without a pipeline three times as many."""

PLACES_SHOWN = 8
"""Pipeline places drawn as boxes: the first and the last ones."""

TASKS_SHOWN = 3000
"""Passes drawn; of a longer timeline its beginning and its end."""

TASKS_APART = 1000
"""Up to so many passes there is room for a line between them."""

COMPONENTS = ("weights", "gradients", "optimizer", "gathered", "activations", "logits", "workspace")

AXIS_WORDS = {
    "tp": "tensor parallel: parts of the same matrices",
    "cp": "context parallel: parts of the same sequences",
    "dp_shard": "data parallel: other sequences, slices of the same weights",
    "dp_replicate": "replicas: other sequences, the same slices",
    "pp": "pipeline: other layers",
}

AXIS_COLORS = {"tp": 0, "cp": 4, "dp_shard": 2, "dp_replicate": 5, "pp": 1}

PASS_COLORS = {"forward": 2, "backward": 1, "input": 1, "weight": 4}
PASS_WORDS = {
    "forward": "forward",
    "backward": "backward",
    "input": "backward, of inputs",
    "weight": "backward, of weights",
}

KIND_WORDS = {
    "products": "matrix products",
    "attention": "attention",
    "memory_bound": "between the products",
    "recomputation": "recomputation",
    "launches": "kernel launches",
    "tensor_parallel": "tensor parallel, exposed",
    "context_parallel": "context parallel, exposed",
    "expert_parallel": "expert parallel, exposed",
    "pipeline_bubble": "pipeline bubble",
    "pipeline_transfer": "pipeline transfers",
    "data_parallel": "data parallel, exposed",
    "optimizer": "optimiser",
    "stragglers": "stragglers",
    "fixed": "fixed",
}
"""Keys of `Estimate.breakdown` for people."""

KIND_COLORS = {
    "products": 0,
    "attention": 4,
    "memory_bound": 2,
    "recomputation": 3,
    "launches": 3,
    "tensor_parallel": 1,
    "context_parallel": 1,
    "expert_parallel": 1,
    "pipeline_bubble": 5,
    "pipeline_transfer": 5,
    "data_parallel": 1,
    "optimizer": 2,
    "stragglers": 5,
    "fixed": 5,
}


def ranks_on_nodes(estimate: Estimate) -> str:
    """The GPUs of the cluster in their boxes; coloured are the first GPU and those that it speaks to, by axis."""
    layout, node = estimate.job.layout, estimate.job.cluster.node
    box = min(max(node.gpus, node.domain), layout.world_size)
    per_place = layout.world_size // layout.pp
    shown = _ends(layout.pp, PLACES_SHOWN)
    rows = []
    for before, place in pairwise([-1, *shown]):
        if place - before > 1:
            rows.append(f'<p class="elided">{place - before - 1} more places</p>')
        rows.append(_place_row(estimate, place, box, per_place))
    axes = [axis for axis in reversed(AXES) if getattr(layout, axis) > 1]
    legend = "".join(
        f'<li class="c{AXIS_COLORS[axis]}">{axis} {count(getattr(layout, axis))} <span>{AXIS_WORDS[axis]}</span></li>'
        for axis in axes
    )
    what = f"scale-up domain of {box}" if box > node.gpus else f"node of {min(node.gpus, box)}"
    text = f"A box is a {what} GPUs. Dark is the first GPU; coloured are those that it exchanges data with."
    if layout.pp > 1:
        text += f" A place of the pipeline has {count(-(-per_place // box))} of them."
    if layout.ep > 1:
        text += f" Experts are spread over {layout.ep} ranks, made of tensor, context and data ranks."
    return f'<p class="lead">{text}</p><ul class="axes">{legend}</ul><div class="places">{"".join(rows)}</div>'


def _place_row(estimate: Estimate, place: int, box: int, per_place: int) -> str:
    layout = estimate.job.layout
    first, end = place * per_place, (place + 1) * per_place
    most = first + (CELLS_SHOWN if layout.pp > 1 else 3 * CELLS_SHOWN)
    starts = [first, *range(first // box * box + box, end, box)]
    drawn = [_box(layout, range(start, min(stop, end))) for start, stop in pairwise([*starts, end]) if start < most]
    more = len(starts) - len(drawn)
    if layout.pp > 1:
        label = f"<b>Place {place}</b> {_held(estimate, place)}"
        look = "nodes line more" if more else "nodes line"
    else:
        label, look = "", "nodes"
        if more:
            drawn.append(f'<span class="elided">and {count(more)} more</span>')
    return f'<div class="place"><p>{label}</p><div class="{look}">{"".join(drawn)}</div></div>'


def _held(estimate: Estimate, place: int) -> str:
    """Which layers a place has."""
    layout, spec = estimate.job.layout, estimate.job.model
    stages = layout.stage_layers(spec.num_layers)
    held = [stage for stage in range(layout.num_stages) if layout.stage_rank(stage) == place]
    parts = [f"{stages[s].start}–{stages[s].stop - 1}" if len(stages[s]) > 1 else f"{stages[s].start}" for s in held]
    if len(parts) > 3:
        parts = [parts[0], "…", parts[-1]]
    ends = [name for name, stage in (("embedding", 0), ("head", layout.num_stages - 1)) if stage in held]
    return f"layers {', '.join(parts)}{''.join(f' + {name}' for name in ends)}"


def _box(layout: Layout, ranks: range) -> str:
    columns = 4 if len(ranks) <= 16 else 12
    cell, gap = 12, 3
    width = columns if len(ranks) >= columns else len(ranks)
    height = -(-len(ranks) // columns)
    cells = []
    for n, rank in enumerate(ranks):
        axis = peer_axis(layout, rank)
        look = "self" if rank == 0 else f"peer c{AXIS_COLORS[axis]}" if axis else "other"
        x, y = (n % columns) * (cell + gap) + gap, (n // columns) * (cell + gap) + gap
        said = f"<title>rank {rank}{f', {axis}' if axis else ''}</title>" if axis or rank == 0 else ""
        cells.append(f'<rect class="{look}" x="{x}" y="{y}" width="{cell}" height="{cell}" rx="2">{said}</rect>')
    size = (width * (cell + gap) + gap, height * (cell + gap) + gap)
    return (
        f'<svg class="node" width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}" role="img" '
        f'aria-label="ranks {ranks.start} to {ranks.stop - 1}">{"".join(cells)}</svg>'
    )


def peer_axis(layout: Layout, rank: int) -> str:
    """The one axis on which a rank differs from rank 0; empty where there are several or none."""
    differing = []
    for axis in reversed(AXES):
        rank, place = divmod(rank, getattr(layout, axis))
        if place:
            differing.append(axis)
    return differing[0] if len(differing) == 1 else ""


def memory_bars(estimate: Estimate) -> str:
    """Bytes by component on a GPU of each pipeline place, with the GPU's memory as the whole width."""
    have = estimate.job.cluster.gpu.memory_gb * 1e9
    scale = max(have, estimate.peak_memory.total * 1.02)
    many = len(estimate.memory)
    every = max(1, many // 16)
    names = [f"place {place}" if place % every == 0 else "" for place in range(many)] if many > 1 else ["each GPU"]
    rows = "".join(_memory_bar(stage, scale, name) for stage, name in zip(estimate.memory, names, strict=True))
    low, high = estimate.memory_band
    peak = estimate.peak_memory
    where = f" at place {peak.place}" if many > 1 else ""
    text = (
        f"At most {gigabytes(peak.total)}{where} ({gigabytes(low * peak.total)} to {gigabytes(high * peak.total)}) "
        f"of {gigabytes(have)}: the line."
    )
    legend = "".join(
        f'<li class="m{n}">{name}</li>'
        for n, name in enumerate(COMPONENTS)
        if max(getattr(stage, name) for stage in estimate.memory) > 0.002 * scale
    )
    return (
        f'<p class="lead">{text}</p><ul class="keys">{legend}</ul>'
        f'<div class="memory{" thin" if many > 16 else ""}" style="--limit:{100 * have / scale:.2f}%">{rows}</div>'
    )


def _memory_bar(stage: StageMemory, scale: float, name: str) -> str:
    parts = "".join(
        f'<i class="m{n}" style="width:{100 * value / scale:.3f}%" title="{part} {format_bytes(value)}"></i>'
        for n, part in enumerate(COMPONENTS)
        if (value := getattr(stage, part)) > 0
    )
    return f'<div><span>{name}</span><div class="bar">{parts}</div><span>{gigabytes(stage.total)}</span></div>'


def gigabytes(value: float) -> str:
    """`71.3 GB`: bytes with the digits that matter on a GPU."""
    return f"{value / 1e9:.3g}\u202fGB"


def timeline(tasks: Sequence[Task], pp: int) -> str:
    """Passes of each pipeline place by time; of very many the beginning and the end."""
    if not tasks:
        return ""
    end = max(task.end for task in tasks)
    spans = [(0.0, end)]
    if len(tasks) > TASKS_SHOWN:
        part = end * TASKS_SHOWN / len(tasks) / 2
        spans = [(0.0, part), (end - part, end)]
    drawings = "".join(_span(tasks, pp, *span) for span in spans)
    kinds = [kind for kind in PASS_COLORS if any(task.kind == kind for task in tasks)]
    legend = "".join(f'<li class="p-{kind}">{PASS_WORDS[kind]}</li>' for kind in kinds)
    busy = sum(task.end - task.start for task in tasks)
    idle = share(1 - busy / (end * pp))
    text = f"One row a place, {write(end, 'seconds')} from left to right; places wait {idle} of the time."
    if len(spans) > 1:
        text = (
            f"One row a place: the first and the last {write(spans[0][1], 'seconds')} of {write(end, 'seconds')}; "
            f"places wait {idle} of the time."
        )
    look = "timeline few" if len(tasks) <= TASKS_APART else "timeline"
    return (
        f'<p class="lead">{text}</p><ul class="keys">{legend}</ul>'
        f'<div class="{look}" style="--rows:{pp}">{drawings}</div>'
    )


def _span(tasks: Sequence[Task], pp: int, begin: float, end: float) -> str:
    """A part of the timeline: one path for each kind of pass and lap of the pipeline, so that the file stays small."""
    width, row = 1000.0, 10
    shapes: dict[str, list[str]] = {}
    for task in tasks:
        start, stop = max(task.start, begin), min(task.end, end)
        if stop <= start:
            continue
        x, wide = width * (start - begin) / (end - begin), width * (stop - start) / (end - begin)
        look = f"p-{task.kind} lap{task.stage // pp % 4}"
        shapes.setdefault(look, []).append(f"M{x:.1f} {task.place * row + 1}h{wide:.1f}v8h-{wide:.1f}z")
    paths = "".join(f'<path class="{look}" d="{"".join(parts)}"/>' for look, parts in shapes.items())
    label = f"passes from {begin:.3g} s to {end:.3g} s"
    return (
        f'<svg viewBox="0 0 1000 {pp * row}" preserveAspectRatio="none" role="img" aria-label="{label}">{paths}</svg>'
    )


def breakdown(estimate: Estimate) -> str:
    """Where a step's time goes: one bar, and a row for each kind."""
    total = estimate.step_s.value
    parts = {kind: value for kind, value in estimate.breakdown.items() if value > 0.0005 * total}
    bar = "".join(
        f'<i class="c{KIND_COLORS[kind]} k-{kind}" style="width:{100 * value / total:.3f}%" '
        f'title="{KIND_WORDS[kind]}: {write(value, "seconds")}"></i>'
        for kind, value in parts.items()
    )
    rows = "".join(
        f'<li class="c{KIND_COLORS[kind]} k-{kind}">{KIND_WORDS[kind]}<span>{write(value, "seconds")}</span>'
        f"<b>{share(value / total)}</b></li>"
        for kind, value in sorted(parts.items(), key=lambda item: -item[1])
    )
    return f'<div class="bar tall">{bar}</div><ul class="parts">{rows}</ul>'


def options(found: Found) -> str:
    """For each setting its values, each with how far the best layout that has it is behind; the reason on pointing."""
    by_setting: dict[str, list[Option]] = {}
    for option in found.options:
        by_setting.setdefault(option.setting, []).append(option)
    rows = "".join(
        f"<div><dt>{escape(setting)}</dt><dd>{''.join(map(_option, values))}</dd></div>"
        for setting, values in by_setting.items()
    )
    return f'<dl class="options">{rows}</dl>'


def _option(option: Option) -> str:
    if option.behind is None:
        look, text = "out", option.why.split(":")[0]
    elif not option.behind:
        look, text = "first", "best" if not option.why else "as fast"
    else:
        look, text = "near" if option.behind < 0.05 else "far", percent(option.behind)
    return f'<span class="{look}" title="{escape(option.why)}"><b>{escape(option.value)}</b> {escape(text)}</span>'


def tornado(effects: Sequence[Effect]) -> str:
    """What changes the cost most, widest first: bars to the left where it falls, to the right where it rises."""
    if not effects:
        return ""
    widest = max(max(abs(change) for _, change in effect.cases) for effect in effects) or 1.0
    rows = []
    for effect in sorted(effects, key=lambda one: -max(abs(change) for _, change in one.cases)):
        bars = "".join(_case(name, change, widest, n) for n, (name, change) in enumerate(effect.cases))
        rows.append(f"<div><span>{escape(effect.name)}</span><div>{bars}</div></div>")
    return f'<div class="tornado">{"".join(rows)}</div>'


def _case(name: str, change: float, widest: float, index: int) -> str:
    length = 50 * abs(change) / widest
    left = 50 - length if change < 0 else 50
    side = "less" if change < 0 else "more"
    text = f"{escape(name)} <b>{percent(change)}</b>"
    return (
        f'<p class="case{index}"><i class="{side}" style="left:{left:.2f}%;width:{max(length, 0.15):.2f}%"></i>'
        f"<span>{text}</span></p>"
    )


def percent(change: float) -> str:
    """`+3.2 %`, `−12 %`."""
    digits = 1 if abs(change) < 0.0995 else 0
    text = f"{100 * abs(change):.{digits}f}\u202f%"
    return ("+" if change > 0 else "−" if change < 0 else "") + text


def _ends(number: int, most: int) -> list[int]:
    """Which of `number` things are shown: all, or the first ones and the last."""
    return list(range(number)) if number <= most else [*range(most - 1), number - 1]
