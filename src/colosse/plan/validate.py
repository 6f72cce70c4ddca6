"""The cost model against published results: row by row, by source, and by whatever else distinguishes them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from colosse.core.errors import UserError
from colosse.plan.calibrate import Rows, leave_one_out
from colosse.plan.calibration import calibration
from colosse.plan.cost import step_times
from colosse.plan.memory import outside, peak_memory
from colosse.plan.points import Column, Points
from colosse.plan.published import LeftOut, Measured


@dataclass(frozen=True)
class Checked:
    """A row with its prediction."""

    id: str
    source: str
    predicted_s: float
    measured_s: float
    """0: only memory was published."""
    error: float
    """Predicted over measured step time, less 1."""
    band_s: tuple[float, float]
    inside: bool
    """Whether the measured time lies in the band."""
    predicted_gb: float
    """Of the GPU that needs most (1e9 bytes); what its allocator holds, where that was measured."""
    measured_gb: float
    memory_error: float
    out_of_memory: bool
    """Whether the row was published as one that did not fit."""
    fits: bool
    """Whether we say that it fits."""
    assumed: tuple[str, ...]
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """Errors of some rows' step times."""

    name: str
    rows: int
    median: float
    """Of absolute errors, as a fraction."""
    p90: float
    bias: float
    """Median of signed errors."""
    inside: float
    """Share of rows whose band holds the measured time."""


@dataclass(frozen=True)
class Memory:
    """How memory was foretold."""

    rows: int
    median: float
    p90: float
    bias: float
    out_of_memory: int
    """Rows published as not fitting, and how many of them we say do not fit."""
    out_of_memory_found: int
    fitting: int
    """Rows that ran, and how many of them we say fit."""
    fitting_found: int


@dataclass(frozen=True)
class Ranking:
    """Choosing among layouts of one model on the same GPUs."""

    groups: int
    loss: float
    """Median, over groups: measured time of the layout that we would choose over the best one's, less 1."""
    spearman: float
    """Median rank correlation of predicted and measured times."""


@dataclass(frozen=True)
class Validation:
    """All of it."""

    rows: list[Checked]
    left_out: list[LeftOut]
    overall: Summary
    by: dict[str, list[Summary]]
    """Summaries by source, GPU, kind of model, precision and scale."""
    memory: Memory
    ranking: Ranking
    held_out: bool
    """Whether each row was predicted with parameters from the other sources only."""

    @property
    def reasons(self) -> dict[str, int]:
        """Why rows are left out, and how many for each, most first."""
        return dict(Counter(row.reason for row in self.left_out).most_common())

    def as_json(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)


def validate(measured: Sequence[Measured], left_out: Sequence[LeftOut], *, hold_out: bool = False) -> Validation:
    """Compare predictions with measured rows.

    Args:
        measured: rows from `published.read`.
        left_out: rows that cannot be compared, passed on.
        hold_out: predict each source with parameters fitted to all others, instead of the calibrated ones.

    Raises:
        UserError: there are no others to hold a source out from.
    """
    if hold_out and len({row.group for row in measured if row.step_s}) < 2:
        raise UserError("all step times are of one source: none can be held out", hint="leave out --held-out")
    if not measured:
        nothing = Summary("all", 0, 0.0, 0.0, 0.0, 0.0)
        return Validation([], list(left_out), nothing, {}, Memory(0, 0, 0, 0, 0, 0, 0, 0), Ranking(0, 0, 0), hold_out)
    points = Points.of([row.job for row in measured])
    seconds = _held_out(measured, points) if hold_out else step_times(points).total
    bytes_each = zip(peak_memory(points), outside(points), strict=True)
    checked = [_check(row, s, *held) for row, s, held in zip(measured, seconds, bytes_each, strict=True)]
    pairs = [(row, one) for row, one in zip(measured, checked, strict=True) if one.measured_s]
    return Validation(
        rows=checked,
        left_out=list(left_out),
        overall=_summary("all", [one for _, one in pairs]),
        by={name: _by(pairs, key) for name, key in GROUPINGS.items()},
        memory=_memory(checked),
        ranking=_ranking(pairs),
        held_out=hold_out,
    )


def _held_out(measured: Sequence[Measured], points: Points) -> Column:
    timed = np.array([row.step_s > 0 for row in measured])
    seconds = step_times(points).total
    rows = Rows.of(measured)
    seconds[timed] = np.exp(leave_one_out(rows)) * rows.measured
    return seconds


def _check(row: Measured, seconds: float, peak: float, beyond: float) -> Checked:
    low, high = calibration().band(row.job)
    gigabytes = float(peak - beyond * row.allocator) / 1e9
    return Checked(
        id=row.id,
        source=row.source,
        predicted_s=float(seconds),
        measured_s=row.step_s,
        error=float(seconds) / row.step_s - 1 if row.step_s else 0.0,
        band_s=(float(seconds) * low, float(seconds) * high),
        inside=bool(low <= row.step_s / seconds <= high),
        predicted_gb=gigabytes,
        measured_gb=row.memory_gb,
        memory_error=gigabytes / row.memory_gb - 1 if row.memory_gb else 0.0,
        out_of_memory=row.out_of_memory,
        fits=bool(peak <= row.job.cluster.gpu.memory_gb * 1e9),
        assumed=row.assumed,
        cautions=tuple(calibration().cautions(row.job)),
    )


Key = Callable[[Measured], str]


def _kind(row: Measured) -> str:
    model = row.job.model
    attention = "MLA" if model.mla else "GQA" if model.num_kv_heads < model.num_heads else "MHA"
    return f"{'MoE' if model.moe else 'dense'}, {attention}"


def _scale(row: Measured) -> str:
    gpus = row.job.layout.world_size
    return next(name for most, name in SCALES if gpus <= most)


SCALES = ((8, "1 to 8"), (64, "9 to 64"), (256, "65 to 256"), (1024, "257 to 1,024"), (10**9, "more than 1,024"))

GROUPINGS: dict[str, Key] = {
    "source": lambda row: row.source,
    "gpu": lambda row: row.job.cluster.gpu.name,
    "model": _kind,
    "precision": lambda row: row.job.software.precision or row.job.layout.precision,
    "gpus": _scale,
}


def _by(pairs: Sequence[tuple[Measured, Checked]], key: Key) -> list[Summary]:
    """A summary of each group: the largest first, numbers of GPUs in their order."""
    groups: dict[str, list[Checked]] = defaultdict(list)
    for row, one in pairs:
        groups[key(row)].append(one)
    found = [_summary(name, rows) for name, rows in groups.items()]
    scales = [name for _, name in SCALES]
    return sorted(found, key=lambda one: scales.index(one.name) if one.name in scales else -one.rows)


def _summary(name: str, rows: Sequence[Checked]) -> Summary:
    if not rows:
        return Summary(name, 0, 0.0, 0.0, 0.0, 0.0)
    errors = np.array([one.error for one in rows])
    return Summary(
        name=name,
        rows=len(rows),
        median=float(np.median(np.abs(errors))),
        p90=float(np.quantile(np.abs(errors), 0.9)),
        bias=float(np.median(errors)),
        inside=float(np.mean([one.inside for one in rows])),
    )


def _memory(rows: Sequence[Checked]) -> Memory:
    ran = [one for one in rows if one.measured_gb and not one.out_of_memory]
    errors = np.array([one.memory_error for one in ran]) if ran else np.zeros(1)
    out = [one for one in rows if one.out_of_memory]
    return Memory(
        rows=len(ran),
        median=float(np.median(np.abs(errors))),
        p90=float(np.quantile(np.abs(errors), 0.9)),
        bias=float(np.median(errors)),
        out_of_memory=len(out),
        out_of_memory_found=sum(not one.fits for one in out),
        fitting=len(ran),
        fitting_found=sum(one.fits for one in ran),
    )


LEAST_LAYOUTS = 4
"""Of a group, for its ranking to say something."""


def _ranking(pairs: Sequence[tuple[Measured, Checked]]) -> Ranking:
    """By groups of one model, GPUs and batch; a layout measured several times counts once, with its median."""
    groups: dict[tuple[str, ...], dict[str, list[Checked]]] = defaultdict(lambda: defaultdict(list))
    for row, one in pairs:
        job = row.job
        same = (row.source, job.model, job.cluster.gpu.name, job.layout.world_size, job.seq_len, job.global_batch_size)
        precision = job.software.precision or job.layout.precision
        groups[(*map(str, same), precision, job.task)][str(job.layout)].append(one)
    losses, correlations = [], []
    for layouts in groups.values():
        if len(layouts) < LEAST_LAYOUTS:
            continue
        predicted = np.array([rows[0].predicted_s for rows in layouts.values()])
        measured = np.array([np.median([one.measured_s for one in rows]) for rows in layouts.values()])
        losses.append(measured[predicted.argmin()] / measured.min() - 1)
        correlations.append(float(np.corrcoef(_ranks(predicted), _ranks(measured))[0, 1]))
    if not losses:
        return Ranking(0, 0.0, 0.0)
    return Ranking(len(losses), float(np.median(losses)), float(np.median(correlations)))


def _ranks(values: Column) -> Column:
    """Ranks from 0, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]
