"""Pipelines: the order of passes at each place, their exact times by simulation, and a closed form for many jobs.

A place is a position along `pp`; it holds `stages_per_rank` stages. A pass computes one micro batch on one stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from colosse.plan.estimate import Task
from colosse.plan.points import SCHEDULES, Column, Points


class Pass(NamedTuple):
    """One micro batch on one stage."""

    kind: str
    """`forward`, `backward` (of inputs and weights), or `input` or `weight`, one of both."""
    stage: int
    micro_batch: int


def stage_place(schedule: str, pp: int, stage: int) -> int:
    """Which place holds a stage: round and round, or for `zbv_zero_bubble` there and back in a V."""
    lap, place = divmod(stage, pp)
    return pp - 1 - place if schedule == "zbv_zero_bubble" and lap % 2 else place


@lru_cache(maxsize=32)
def passes(schedule: str, pp: int, stages_per_rank: int, micro_batches: int) -> list[list[Pass]]:
    """The order of passes at each place.

    As `torch.distributed.pipelining` has them: 1F1B and interleaved 1F1B (arXiv:2104.04473; Megatron's order too where
    `pp` divides `micro_batches`), interleaved zero bubble (arXiv:2401.10241, ZB1P) and ZB-V (its section 6).
    Interleaved schedules go in rounds of at least `pp` micro batches; where these are no multiple, some rounds are one
    longer.

    Args:
        schedule: one of `points.SCHEDULES`.
        pp: places.
        stages_per_rank: stages of each.
        micro_batches: of a step.
    """
    if schedule == "zbv_zero_bubble":
        return [_zbv(place, pp, micro_batches) for place in range(pp)]
    return [_alternating(schedule, place, pp, stages_per_rank, micro_batches) for place in range(pp)]


def _alternating(schedule: str, place: int, pp: int, stages_per_rank: int, micro_batches: int) -> list[Pass]:
    """Forwards first, then forward and backward in turn, then the backwards that are left."""
    rounds = max(1, micro_batches // pp) if stages_per_rank > 1 else 1
    sizes = [micro_batches // rounds + (n < micro_batches % rounds) for n in range(rounds)]
    forwards, backwards = [], []
    begin = 0
    for size in sizes:
        for stage in range(place, pp * stages_per_rank, pp):
            forwards += [(stage, begin + n) for n in range(size)]
        for stage in reversed(range(place, pp * stages_per_rank, pp)):
            backwards += [(stage, begin + n) for n in range(size)]
        begin += size
    split = schedule == "interleaved_zero_bubble"
    hops = pp - 1 - place
    warm_up = (stages_per_rank - 1) * sizes[0] + (hops if split or schedule == "1f1b" else 2 * hops)
    warm_up = min(warm_up, len(forwards))
    order = [Pass("forward", *one) for one in forwards[:warm_up]]
    for n, one in enumerate(backwards):
        if warm_up + n < len(forwards):
            order.append(Pass("forward", *forwards[warm_up + n]))
        order.append(Pass("input" if split else "backward", *one))
        if split and n >= place:  # weights' gradients stay behind by as many passes as the place is far
            order.append(Pass("weight", *backwards[n - place]))
    if split:
        order += [Pass("weight", *one) for one in backwards[max(len(backwards) - place, 0) :]]
    return order


def _zbv(place: int, pp: int, micro_batches: int) -> list[Pass]:
    """ZB-V: each place has the stage on the way there (`down`) and the one on the way back (`up`)."""
    down, up = place, 2 * pp - 1 - place
    planned = max(2 * pp - 1, micro_batches)  # the pattern needs so many; those too many are left out in the end
    order: list[Pass] = []
    done: dict[tuple[str, int], int] = {}

    def add(stage: int, *kinds: str) -> None:
        for kind in kinds:
            n = done.get((kind, stage), 0)
            done[kind, stage] = n + 1
            order.append(Pass(kind, stage, n))

    for _ in range(2 * (pp - place) - 1):
        add(down, "forward")
    for _ in range(place):
        add(up, "forward")
        add(down, "forward")
    for _ in range(pp - place):
        add(up, "forward", "input", "weight")
    while done["forward", up] < planned:
        if done["forward", down] < planned:
            add(down, "forward")
        add(down, "input", "weight")
        add(up, "forward", "input", "weight")
    for _ in range(place):
        add(down, "input")
        add(up, "input")
    for _ in range(pp - place):
        add(down, "input", "weight")
    for stage in (up, down):
        while done.get(("weight", stage), 0) < planned:
            add(stage, "weight")
    return [one for one in order if one.micro_batch < micro_batches]


@dataclass(frozen=True)
class Timeline:
    """When each pass runs."""

    orders: list[list[Pass]]
    starts: list[list[float]]
    """Seconds, as `orders`."""
    ends: list[list[float]]
    causes: list[list[tuple[int, int] | None]]
    """Which pass (place, position in its order) each had to wait for last; None: it started at once."""

    @property
    def makespan(self) -> float:
        """Seconds from the first start to the last end."""
        return max(ends[-1] for ends in self.ends)

    @cached_property
    def tasks(self) -> list[Task]:
        """All passes, place by place."""
        return [self._task(place, n) for place, order in enumerate(self.orders) for n in range(len(order))]

    @property
    def bubbles(self) -> list[float]:
        """Seconds that each place computes nothing."""
        spans = zip(self.starts, self.ends, strict=True)
        return [self.makespan - sum(ends) + sum(starts) for starts, ends in spans]

    @property
    def critical_path(self) -> list[Task]:
        """A chain of passes, each waiting for the one before, that is as long as the step; but for transfers."""
        place = max(range(len(self.ends)), key=lambda one: self.ends[one][-1])
        at: tuple[int, int] | None = (place, len(self.ends[place]) - 1)
        path = []
        while at is not None:
            path.append(self._task(*at))
            at = self.causes[at[0]][at[1]]
        return path[::-1]

    def _task(self, place: int, n: int) -> Task:
        kind, stage, micro_batch = self.orders[place][n]
        return Task(place, kind, micro_batch, stage, self.starts[place][n], self.ends[place][n])


def simulate(
    schedule: str,
    pp: int,
    stages_per_rank: int,
    micro_batches: int,
    forward: Sequence[float],
    backward_input: Sequence[float],
    backward_weight: Sequence[float],
    transfer_s: float,
    *,
    overlap: bool = True,
) -> Timeline:
    """Run a step event by event.

    Args:
        schedule: one of `points.SCHEDULES`.
        pp: places.
        stages_per_rank: stages of each.
        micro_batches: of a step.
        forward: seconds of each stage for one micro batch.
        backward_input: of the gradients of its inputs, with what is computed again for them.
        backward_weight: of the gradients of its weights.
        transfer_s: seconds to send a micro batch from a stage to the next.
        overlap: whether a place computes on while it sends; without it, sending is a part of the pass.
    """
    orders = passes(schedule, pp, stages_per_rank, micro_batches)
    stages = pp * stages_per_rank
    places = [stage_place(schedule, pp, stage) for stage in range(stages)]
    hop = [transfer_s if places[n] != places[n + 1] else 0.0 for n in range(stages - 1)]
    after = [*hop, 0.0]  # what a forward's result takes to the next stage, and a backward's to the one before
    before = [0.0, *hop]
    sending = (0.0 if overlap else 1.0, 1.0 if overlap else 0.0)
    both = [i + w for i, w in zip(backward_input, backward_weight, strict=True)]
    seconds = {
        "forward": [t + sending[0] * a for t, a in zip(forward, after, strict=True)],
        "backward": [t + sending[0] * b for t, b in zip(both, before, strict=True)],
        "input": [t + sending[0] * b for t, b in zip(backward_input, before, strict=True)],
        "weight": list(backward_weight),
    }
    # When a stage's input and its result's gradient are there, and whose work that was.
    arrived: list[list[tuple[float, tuple[int, int] | None] | None]] = [[None] * micro_batches for _ in range(stages)]
    arrived[0] = [(0.0, None)] * micro_batches
    returned: list[list[tuple[float, tuple[int, int] | None] | None]] = [[None] * micro_batches for _ in range(stages)]

    starts: list[list[float]] = [[] for _ in range(pp)]
    ends: list[list[float]] = [[] for _ in range(pp)]
    causes: list[list[tuple[int, int] | None]] = [[] for _ in range(pp)]
    clock = [0.0] * pp
    left = sum(map(len, orders))
    while left:
        before_sweep = left
        for place in range(pp):
            order, n, now = orders[place], len(starts[place]), clock[place]
            while n < len(order):
                kind, stage, micro_batch = order[n]
                cause = (place, n - 1) if n else None
                start = now
                if kind != "weight":
                    ready = (arrived if kind == "forward" else returned)[stage][micro_batch]
                    if ready is None:
                        break
                    if ready[0] > now:
                        start, cause = ready
                now = start + seconds[kind][stage]
                starts[place].append(start)
                ends[place].append(now)
                causes[place].append(cause)
                if kind == "forward":
                    if stage + 1 < stages:
                        arrived[stage + 1][micro_batch] = (now + sending[1] * after[stage], (place, n))
                    else:
                        returned[stage][micro_batch] = (now, (place, n))
                elif kind != "weight" and stage:
                    returned[stage - 1][micro_batch] = (now + sending[1] * before[stage], (place, n))
                n += 1
                left -= 1
            clock[place] = now
        if left == before_sweep:
            raise ValueError(f"{schedule} of {micro_batches} micro batches on {pp} places waits for itself")
    return Timeline(orders, starts, ends, causes)


def step_span(
    points: Points,
    forward: tuple[Column, Column, Column],
    backward: tuple[Column, Column, Column],
    transfer: Column,
    weight_share: float = 0.5,
) -> Column:
    """Seconds that all micro batches of a step take in the pipeline, for each row.

    Args:
        points: schedule, places, stages of each and micro batches.
        forward: seconds of one micro batch on the first stage, on one between, and on the last. Where there is but one
            stage, the largest counts.
        backward: the same of the gradients of inputs and weights, with what is computed again.
        transfer: seconds to send a micro batch from a stage to the next.
        weight_share: part of `backward` that zero-bubble schedules can put off: the weights' gradients.
    """
    p, v, m = points.pp, points.stages_per_rank, points.micro_batches
    exposed = np.where(points.overlap_pipeline > 0, 0.0, transfer)
    hidden = transfer - exposed
    f = [forward[0] + exposed, forward[1] + exposed, forward[2]]
    b = [backward[0], backward[1] + exposed, backward[2] + exposed]
    first, middle, last = (x + y for x, y in zip(f, b, strict=True))
    zbv = points.schedule == SCHEDULES.index("zbv_zero_bubble")
    split = zbv | (points.schedule == SCHEDULES.index("interleaved_zero_bubble"))
    loads = (
        np.where(zbv, first + last, first + (v - 1) * middle),
        np.where(p > 2, v * middle, 0.0),
        np.where(zbv, v * middle, last + (v - 1) * middle),
    )
    inner = np.maximum(p - 2, 0.0)
    ends = np.where(zbv, middle, last)
    fill = [inner * middle + ends, first + ends + (inner - 1) * middle, first + inner * middle]
    put_off = np.where(split, (p - 1) * weight_share * b[1], 0.0)
    spans = [m * load + np.maximum(rest - put_off, 0.0) for load, rest in zip(loads, fill, strict=True)]
    span = np.maximum.reduce(spans) + 2 * hidden * (p * v - 1)
    alone = m * np.maximum.reduce([x + y for x, y in zip(forward, backward, strict=True)])
    result: Column = np.where(p * v == 1, alone, span)
    return result
