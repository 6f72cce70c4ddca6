"""The search: all layouts of a model on a cluster, which is best, and why each of the others is not.

Memory and time of all layouts come from `space.py`; the best few are estimated with their pipelines simulated.
docs/plan/search.md describes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from colosse.core.errors import UserError
from colosse.plan.candidates import divisors, job_of
from colosse.plan.cost import estimate_many, exactly
from colosse.plan.costs import Amount
from colosse.plan.estimate import Band, Estimate
from colosse.plan.job import Job
from colosse.plan.points import RECOMPUTE, SCHEDULES
from colosse.plan.space import Space, leanest, space
from colosse.spec import scaling
from colosse.spec.counts import flops
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec

By = Literal["time", "cost", "memory"]

EXACT = 50
"""Layouts whose pipelines are simulated."""

MEMORY_SLACK = 0.1
"""Ranked by memory, a layout may be slower than the fastest by this share."""

SMALLER = (1, 2, 4, 8)
"""Ranked by cost, clusters smaller by these factors are searched too."""

DISTINCT = ("pp", "tp", "cp", "ep", "micro_batch", "schedule", "stages_per_rank", "recompute")
"""Of layouts that are the same in these, only the best is an answer: they differ in how data ranks share weights."""

MOST_GPUS = 2**20
"""Up to which a cluster is looked for that holds a model."""

WORDS = {
    "products": "less efficient matrix products",
    "attention": "slower attention",
    "memory_bound": "more work between matrix products",
    "recomputation": "recomputation",
    "launches": "launches of small kernels",
    "tensor_parallel": "tensor-parallel traffic",
    "context_parallel": "context-parallel traffic",
    "expert_parallel": "expert-parallel traffic",
    "pipeline_bubble": "pipeline bubble",
    "pipeline_transfer": "transfers between stages",
    "data_parallel": "gathering weights and reducing gradients",
    "optimizer": "optimiser",
    "stragglers": "stragglers",
    "fixed": "fixed costs of a step",
}
"""What makes a layout slower than another, by key of `Estimate.breakdown`."""


@dataclass(frozen=True)
class Ranked:
    """A layout of the answer."""

    estimate: Estimate
    seconds: Band | None
    """Of the whole training without interruptions; None where no number of tokens was given."""
    dollars: Band | None
    """Of the whole training; None without tokens or price."""
    headroom: float
    """Bytes free on the fullest place."""
    behind: float
    """By which share it is worse than the first in what is ranked."""
    why: str
    """What costs it that; empty for the first."""


@dataclass(frozen=True)
class Losers:
    """Layouts with one reason not to be the first."""

    reason: str
    layouts: int
    nearest: float | None = None
    """By which share the best of them is slower; None where they cannot run."""


@dataclass(frozen=True)
class Option:
    """The best layout with one setting at a given value, all others free."""

    setting: str
    value: str
    behind: float | None
    """By which share it is slower than the first; 0: the first has it; None where none can run."""
    why: str


@dataclass(frozen=True)
class Found:
    """The answer of a search."""

    ranked: list[Ranked]
    losers: list[Losers]
    options: list[Option]
    considered: int
    """Layouts that the trainer would accept."""
    timed: int
    """Of them, those whose time was worked out."""

    @property
    def best(self) -> Estimate:
        """The first."""
        return self.ranked[0].estimate


def batch_for(spec: ModelSpec, *, seq_len: int, tokens: float, gpus: int) -> int:
    """Sequences of a step: `scaling.tokens_per_step`, rounded so that many numbers of data ranks divide it.

    Args:
        spec: the model.
        seq_len: tokens of a sequence.
        tokens: of the training; 0: 20 per parameter.
        gpus: among whose divisors data ranks are found.
    """
    work = flops(spec, [seq_len])
    per_token = (work.train - 3 * work.head) / seq_len  # the law counts without embeddings and head
    if not tokens:
        tokens = 20 * per_token / 6
    return round_batch(scaling.tokens_per_step(per_token * tokens) / seq_len, gpus)


def round_batch(sequences: float, gpus: int) -> int:
    """About as many sequences, a multiple of as large a number as changes them by an eighth at most.

    Of divisors of `gpus`, and of their doubles: so many numbers of data ranks and micro batches divide it.
    """
    units = [*divisors(gpus), *(gpus << n for n in range(1, 24))]
    unit = max(n for n in units if n <= max(sequences / 4, 1))
    return unit * max(1, round(sequences / unit))


def search(job: Job, *, by: By = "time", top: int = 10, tokens: float = 0.0, price: Amount | None = None) -> Found:
    """Find the best layouts.

    Args:
        job: model, cluster, batch and software; of its layout only the precision counts.
        by: `time` of a step; `cost` of the training, for which smaller clusters are searched too; `memory` that is
            left, among layouts at most a tenth slower than the fastest.
        top: how many to return.
        tokens: of the whole training; 0: only steps are compared.
        price: dollars per GPU and hour.

    Raises:
        UserError: nothing fits, with how many GPUs would do; no layout divides the batch; cost without tokens or price.
    """
    if by == "cost" and not (tokens and price):
        raise UserError("ranking by cost needs tokens and a price", hint="give --tokens and --price")
    fields = list(_fields(job, by))
    whole = fields[0]
    rows = {id(field): dict(_exact(field, by)) for field in fields}
    found = [one for exact in rows.values() for one in exact.values()]
    if not found:
        raise _impossible(whole)
    keys: dict[str, Callable[[Estimate], float]] = {"time": _step, "cost": _gpu_seconds, "memory": _peak}
    key = keys[by]
    found.sort(key=lambda one: (key(one), one.step_s.value, -one.job.layout.dp_replicate))
    first = found[0]
    at, row = next((f, n) for f in fields for n, one in rows[id(f)].items() if one is first)
    best = [exactly(one) for one in found[:top]]
    ranked = [
        Ranked(
            estimate=one,
            seconds=training_seconds(one, tokens),
            dollars=training_dollars(one, tokens, price),
            headroom=one.job.cluster.gpu.memory_gb * 1e9 - one.peak_memory.total,
            behind=key(one) / key(best[0]) - 1,
            why=why(best[0], one, by) if one is not best[0] else "",
        )
        for one in best
    ]
    return Found(
        ranked=ranked,
        losers=list(_losers(at, row)),
        options=list(_options(at, row)),
        considered=sum(len(field.fits) + field.unseen_layouts for field in fields),
        timed=sum(len(field.timed) for field in fields),
    )


def quickest(job: Job) -> Estimate | None:
    """The layout of least step time, found by columns alone and estimated once; None where none fits."""
    field = space(job)
    found = _exact(field, "time", 1)
    return found[0][1] if found else None


def gpus_needed(job: Job) -> int | None:
    """The smallest cluster, in powers of two times a node, on which some layout fits; None beyond `MOST_GPUS`."""
    gpus = job.cluster.node.gpus
    while gpus <= MOST_GPUS:
        batch = -(-job.global_batch_size // gpus) * gpus
        if leanest(_resized(job, gpus, batch)) <= job.cluster.gpu.memory_gb * 1e9:
            return gpus
        gpus *= 2
    return None


def why(first: Estimate, other: Estimate, by: By = "time") -> str:
    """What makes one layout worse than another, the largest causes first.

    In GPU time by cost, so that clusters of different sizes compare; in bytes by memory.
    """
    if by == "memory":
        more = (other.peak_memory.total - first.peak_memory.total) / 1e9
        return f"{more:.1f} GB more, {_percent(other.step_s.value / first.step_s.value - 1)} in time"
    scale = other.job.cluster.gpus / first.job.cluster.gpus if by == "cost" else 1.0
    total = first.step_s.value
    extra = {kind: scale * other.breakdown[kind] / total - first.breakdown[kind] / total for kind in first.breakdown}
    causes = sorted((kind for kind in extra if extra[kind] > 5e-4), key=lambda kind: -extra[kind])
    return ", ".join(f"{_cause(kind, other.job)} {_percent(extra[kind])}" for kind in causes[:2])


def _cause(kind: str, job: Job) -> str:
    across = kind == "tensor_parallel" and job.layout.tp > job.cluster.node.domain
    return f"{WORDS[kind]}{' across nodes' if across else ''}"


def _percent(share: float) -> str:
    return f"{100 * share:+.2g}\u202f%" if abs(share) < 0.1 else f"{100 * share:+.0f}\u202f%"


def _step(one: Estimate) -> float:
    return one.step_s.value


def _peak(one: Estimate) -> float:
    return one.peak_memory.total


def _gpu_seconds(one: Estimate) -> float:
    return one.step_s.value * one.job.cluster.gpus / one.job.global_batch_size


def training_seconds(one: Estimate, tokens: float) -> Band | None:
    """Of a training without interruptions; None without tokens."""
    if not tokens:
        return None
    steps = math.ceil(tokens / (one.job.seq_len * one.job.global_batch_size))
    return Band(steps * one.step_s.value, steps * one.step_s.low, steps * one.step_s.high)


def training_dollars(one: Estimate, tokens: float, price: Amount | None) -> Band | None:
    """Rent of the GPUs for it; None without tokens or price."""
    seconds = training_seconds(one, tokens)
    if seconds is None or price is None:
        return None
    hours = one.job.cluster.gpus / 3600
    return Band(
        hours * seconds.value * price.central, hours * seconds.low * price.low, hours * seconds.high * price.high
    )


def _resized(job: Job, gpus: int, batch: int = 0) -> Job:
    cluster = job.cluster.model_copy(update={"gpus": gpus})
    return job.model_copy(update={"cluster": cluster, "global_batch_size": batch or job.global_batch_size})


def _fields(job: Job, by: By) -> Iterator[Space]:
    node = job.cluster.node.gpus
    for factor in SMALLER if by == "cost" else (1,):
        gpus, rest = divmod(job.cluster.gpus, factor)
        if rest == 0 and (gpus % node == 0 or gpus < node):
            yield space(_resized(job, gpus), everything=by == "memory")


def _exact(field: Space, by: By, count: int = EXACT) -> list[tuple[int, Estimate]]:
    """The best of a cluster, by their place in `field.timed`, with their pipelines simulated."""
    total = field.steps.total
    order = np.argsort(total, kind="stable")
    if by == "memory" and len(order):
        near = order[total[order] <= (1 + MEMORY_SLACK) * total[order[0]]]
        order = near[np.argsort(field.memory[field.timed[near]], kind="stable")]
    alike = np.stack([getattr(field.points, name)[field.timed[order]] for name in DISTINCT])
    distinct = np.sort(np.unique(alike, axis=1, return_index=True)[1])
    best = order[distinct[:count]]
    found = estimate_many([job_of(field.job, field.points, int(row)) for row in field.timed[best]])
    return [(int(place), one) for place, one in zip(best, found, strict=True) if one.fits]


def _losers(field: Space, first: int) -> Iterator[Losers]:
    """Why layouts are not the first, which is `first` of those timed: each has one reason."""
    for reason, count in field.ways.refused.items():
        yield Losers(reason, count)
    if not field.fits.all():
        have = field.job.cluster.gpu.memory_gb
        room = f"{have / field.margin:.1f} of {have:g} GB; the rest is room for the estimate's error"
        room = room if field.margin > 1 else f"{have:g} GB"
        yield Losers(f"needs more than {room}", int((~field.fits).sum()))
    if len(field.unseen):
        nearest = float(field.bound[field.unseen].min() / field.steps.total[first] - 1)
        yield Losers("slower already in its layers, without any waiting", field.unseen_layouts, nearest)
    idle = int(field.fits.sum()) - len(field.timed)
    if idle:
        yield Losers("computes or gathers again what it has room to keep", idle)
    total, parts = field.steps.total, field.steps.parts
    kinds = list(parts)
    cause = np.argmax([parts[kind] - parts[kind][first] for kind in kinds], axis=0)
    cause[first] = -1
    groups = [(int((cause == n).sum()), kind, total[cause == n].min(initial=np.inf)) for n, kind in enumerate(kinds)]
    for count, kind, least in sorted(groups, key=lambda group: group[2]):
        if count:
            yield Losers(f"slower: {WORDS[kind]}", count, max(float(least / total[first] - 1), 0.0))


SETTINGS = ("pp", "tp", "cp", "ep", "dp_shard", "micro_batch", "schedule", "stages_per_rank", "recompute", "zero")


def _options(field: Space, first: int) -> Iterator[Option]:
    """For each setting and value the best layout that has it, against `first` of those timed."""
    points, total = field.points, field.steps.total
    for setting in SETTINGS:
        column = getattr(points, setting)
        values = np.unique([*column, *field.ways.columns.get(setting, ())])
        if len(values) < 2:
            continue
        timed = column[field.timed]
        for value in values:
            mine = np.flatnonzero(timed == value)
            name, text = _said(setting, value)
            if timed[first] == value:
                yield Option(name, text, 0.0, "")
            elif len(mine):
                row = int(mine[total[mine].argmin()])
                yield Option(name, text, max(float(total[row] / total[first] - 1), 0.0), _why_row(field, first, row))
            elif field.fits[column == value].any():
                yield Option(name, text, None, "never faster: there is room without it")
            elif setting in field.ways.columns and value in field.ways.columns[setting][field.unseen]:
                unseen = field.unseen[field.ways.columns[setting][field.unseen] == value]
                more = float(field.bound[unseen].min() / total[first] - 1)
                yield Option(name, text, None, f"slower: {_percent(more)} or more in its layers alone, if it fits")
            else:
                least = field.memory[column == value].min() / 1e9
                yield Option(name, text, None, f"does not fit: at least {least:.1f} GB")


def _said(setting: str, value: float) -> tuple[str, str]:
    """A column's name and value as the recipe has them."""
    if setting == "zero":
        return "reshard_after_forward", "true" if value == 3 else "false"
    names: dict[str, Sequence[str]] = {"schedule": SCHEDULES, "recompute": RECOMPUTE}
    text = names[setting][int(value)] if setting in names else str(int(value))
    return {"micro_batch": "micro_batch_size"}.get(setting, setting), text


def _why_row(field: Space, first: int, row: int) -> str:
    parts, total = field.steps.parts, field.steps.total[first]
    extra = {kind: float(column[row] - column[first]) / total for kind, column in parts.items()}
    worst = max(extra, key=lambda kind: extra[kind])
    return f"{WORDS[worst]} {_percent(extra[worst])}" if extra[worst] > 5e-4 else ""


def _impossible(field: Space) -> UserError:
    job = field.job
    if not len(field.memory):
        batch = max(round(job.global_batch_size / job.cluster.gpus), 1) * job.cluster.gpus
        return UserError(
            f"no layout divides a batch of {job.global_batch_size} sequences among {job.cluster.gpus} GPUs",
            hint=f"a batch of {batch * job.seq_len} tokens works",
            param="batch",
        )
    least = field.memory.min() / 1e9
    need = gpus_needed(job)
    return UserError(
        f"the model does not fit on {job.cluster.gpus} {job.cluster.gpu.name}: the leanest layout needs "
        f"{least:.0f} of {job.cluster.gpu.memory_gb:g} GB on its fullest GPU",
        hint=f"{need} GPUs would do" if need else f"not even {MOST_GPUS} GPUs would do",
        param="gpus",
    )


def summary(layout: Layout) -> str:
    """A layout in a line: what differs from one rank, in the order of the mesh."""
    words = [f"{name} {size}" for name, size in (("pp", layout.pp), ("tp", layout.tp), ("cp", layout.cp)) if size > 1]
    if layout.world_size == 1:
        words.append("one GPU")
    if layout.data_ranks > 1:
        data = f"{layout.dp_replicate}×{layout.dp_shard}" if layout.dp_replicate > 1 else str(layout.dp_shard)
        words.insert(1 if layout.pp > 1 else 0, f"dp {data}")
    if layout.ep > 1:
        words.append(f"ep {layout.ep}")
    words.append(f"mb {layout.micro_batch_size}")
    if layout.pp > 1:
        laps = f"×{layout.stages_per_rank}" if layout.stages_per_rank > 1 else ""
        words.append(layout.schedule.replace("_zero_bubble", " zb").replace("_1f1b", "") + laps)
    if layout.recompute != "none":
        words.append(f"recompute {layout.recompute}")
    if layout.dp_shard * layout.cp > 1 and not layout.reshard_after_forward:
        words.append("keep weights")
    return " · ".join(words)
