"""All layouts of a model on a cluster with their memory and time, by branch and bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colosse.plan.calibration import calibration
from colosse.plan.candidates import (
    Rows,
    Ways,
    count_layouts,
    joined,
    layouts,
    plainest,
    points_of,
    ways,
)
from colosse.plan.cost import KINDS, Steps, step_times
from colosse.plan.job import Job
from colosse.plan.memory import peak_memory
from colosse.plan.points import RECOMPUTE, Column, Points

PIECE = 16_384
"""Rows that are worked on at once."""

BATCH = 1024
"""Ways to share out a model that are looked at together, the most promising first."""

WORTH = 1.5
"""A way whose lower bound is so many times the best step is not looked at."""

BUSY = ("products", "attention", "memory_bound", "launches", "tensor_parallel", "context_parallel", "expert_parallel")
"""Kinds of time of the layers themselves, once forward and once backward."""


@dataclass(frozen=True)
class Space:
    """Everything on one cluster."""

    job: Job
    ways: Ways
    bound: Column
    """Seconds that a step of each way takes at least."""
    unseen: NDArray[np.intp]
    """Ways that were not looked at, as their bound is too high."""
    margin: float
    """By which an estimated memory is multiplied before it has to fit."""
    points: Points
    memory: Column
    """Bytes on the fullest place; infinite where a leaner layout does not fit."""
    fits: NDArray[np.bool_]
    timed: NDArray[np.intp]
    """Rows of `points` in the order of `steps`."""
    steps: Steps

    @property
    def unseen_layouts(self) -> int:
        """Of ways that were not looked at."""
        return count_layouts(self.job, self.ways, self.unseen)


@dataclass(frozen=True)
class _Part:
    """Layouts of some ways."""

    rows: Rows
    memory: Column
    fits: NDArray[np.bool_]
    timed: NDArray[np.intp]
    steps: Steps


def space(job: Job, *, everything: bool = False) -> Space:
    """All layouts on one cluster; with room for the error of the estimate, if there are such.

    Tensor ranks leave their scale-up domain only where nothing fits otherwise.

    Args:
        job: model, cluster, batch and software; of its layout only the precision counts.
        everything: time layouts too that compute or gather again what they have room to keep.
    """
    domain, heads = job.cluster.node.domain, job.model.num_heads
    room = calibration().memory[1]
    for most_tp, margin in ((domain, room), (domain, 1.0), (heads, 1.0)):
        found = _look(job, ways(job, most_tp=most_tp), margin, everything=everything)
        if len(found.timed):
            break
    return found


def _look(job: Job, found: Ways, margin: float, *, everything: bool) -> Space:
    """Branch and bound over the ways, in the order of their lower bounds."""
    bound = _bound(job, found)
    order = np.argsort(bound, kind="stable")
    parts: list[_Part] = []
    best, seen = np.inf, 0
    while seen < len(order) and bound[order[seen]] <= WORTH * best:
        batch = order[seen : seen + BATCH]
        batch = batch[bound[batch] <= WORTH * best]
        seen += len(batch)
        parts.append(_part(job, found, batch, margin, everything=everything))
        best = min(best, parts[-1].steps.total.min(initial=np.inf))
    if not parts:
        parts.append(_part(job, found, order[:0], margin, everything=everything))
    offsets = np.cumsum([0, *(len(part.memory) for part in parts)])
    return Space(
        job=job,
        ways=found,
        bound=bound,
        unseen=order[seen:],
        margin=margin,
        points=points_of(job, joined([part.rows for part in parts])),
        memory=_joined(part.memory for part in parts),
        fits=np.concatenate([part.fits for part in parts]),
        timed=np.concatenate([part.timed + start for part, start in zip(parts, offsets, strict=False)]),
        steps=Steps(
            _joined(part.steps.total for part in parts),
            {kind: _joined(part.steps.parts[kind] for part in parts) for kind in KINDS},
        ),
    )


def _bound(job: Job, found: Ways) -> Column:
    """What the layers alone take, shared out evenly over the places, without any waiting."""
    if not len(found):
        return np.zeros(0)
    points = plainest(job, found)
    steps = _times(points, np.arange(len(points)))
    busy = sum((steps.parts[kind] for kind in BUSY), np.zeros(len(points)))
    _, fullest, _ = points.stage_layers()
    even: Column = points.layers / (points.pp * fullest)
    return busy * even


def _part(job: Job, found: Ways, chosen: NDArray[np.intp], margin: float, *, everything: bool) -> _Part:
    rows = layouts(job, found, chosen)
    points = points_of(job, rows)
    same = rows["same"].astype(np.intp)
    memory = _memory(points, same)
    fits = memory * margin <= points.memory
    timed = np.flatnonzero(fits if everything else fits & ~_dominated(points, same, fits))
    return _Part(rows, memory, fits, timed, _times(points, timed))


def _memory(points: Points, same: NDArray[np.intp]) -> Column:
    """Peak memory of each layout.

    Those that compute everything again and keep nothing come first: where they do not fit, the same layout with less of
    it does not either; its memory is then not worked out, and infinite.
    """
    lean = (points.recompute == RECOMPUTE.index("full")) & (points.zero == 3)
    memory = np.full(len(points), np.inf)
    memory[lean] = _joined(map(peak_memory, _pieces(points, lean)))
    rest = ~lean & np.isin(same, same[lean & (memory <= points.memory)])
    memory[rest] = _joined(map(peak_memory, _pieces(points, rest)))
    return memory


def _times(points: Points, rows: NDArray[np.intp]) -> Steps:
    pieces = [step_times(piece) for piece in _pieces(points, rows)]
    parts = {kind: _joined(piece.parts[kind] for piece in pieces) for kind in KINDS}
    return Steps(_joined(piece.total for piece in pieces), parts)


def _pieces(points: Points, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Iterator[Points]:
    """Some rows in pieces that stay in the processor's cache."""
    places = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    for start in range(0, len(places), PIECE):
        yield points.take(places[start : start + PIECE])


def _joined(columns: Iterable[Column]) -> Column:
    return np.concatenate([np.zeros(0), *columns])


def _dominated(points: Points, same: NDArray[np.intp], fits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows that do again what they need not: the same layout with less of it fits too, and is never slower."""
    if not len(fits):
        return fits
    _, number = np.unique(same, return_inverse=True)
    levels = np.searchsorted(np.unique(points.recompute), points.recompute)
    again = (points.zero == 3).astype(np.intp)
    grid = np.zeros((number.max() + 1, 3, 2), dtype=bool)
    grid[number, levels, again] = fits
    reached = np.logical_or.accumulate(np.logical_or.accumulate(grid, axis=1), axis=2)
    less = np.zeros_like(reached)
    less[:, 1:, :] |= reached[:, :-1, :]
    less[:, :, 1:] |= reached[:, :, :-1]
    dominated: NDArray[np.bool_] = less[number, levels, again]
    return dominated


def leanest(job: Job) -> float:
    """Bytes of the leanest layout."""
    points = plainest(job, ways(job, most_tp=job.model.num_heads))
    rows = len(points)
    points = points.with_columns(recompute=np.full(rows, float(RECOMPUTE.index("full"))), zero=np.full(rows, 3.0))
    return float(_joined(map(peak_memory, _pieces(points, np.arange(rows)))).min(initial=np.inf))
