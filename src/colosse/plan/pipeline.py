"""Pipelines: exact times of their passes by simulation, and a closed form for many jobs.

A place is a position along `pp`; it holds `stages_per_rank` stages. A pass computes one micro batch on one stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from colosse.plan.estimate import Task
from colosse.plan.points import SCHEDULES, Column, Points
from colosse.spec.passes import Pass, passes


def stage_place(schedule: str, pp: int, stage: int) -> int:
    """Which place holds a stage: round and round, or for `zbv_zero_bubble` there and back in a V."""
    lap, place = divmod(stage, pp)
    return pp - 1 - place if schedule == "zbv_zero_bubble" and lap % 2 else place


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
    """Seconds that all micro batches of a step take in the pipeline, for each row: `simulate` in closed form.

    The longest of some chains of passes that wait for each other: all work of a place; the way of the first micro batch
    to it and of the last one back; cycles between neighbours that wait for each other's results.

    Args:
        points: schedule, places, stages of each, micro batches, and whether sending is hidden.
        forward: seconds of one micro batch on the first stage, on one between, and on the last. Where there is but one
            stage, the largest counts.
        backward: the same of the gradients of inputs and weights, with what is computed again.
        transfer: seconds to send a micro batch from a stage to the next.
        weight_share: part of `backward` that zero-bubble schedules can put off: the weights' gradients.
    """
    zbv = points.schedule == SCHEDULES.index("zbv_zero_bubble")
    split = zbv | (points.schedule == SCHEDULES.index("interleaved_zero_bubble"))
    exposed = np.where(points.overlap_pipeline > 0, 0.0, transfer)
    share = np.where(split, weight_share, 0.0)
    (f0, f1, f2), (b0, b1, b2) = forward, backward
    stages = _Stages(
        p=points.pp,
        v=points.stages_per_rank,
        m=np.ceil(points.micro_batches),
        f=(f0 + exposed, f1 + exposed, f2),
        i=((1 - share) * b0, (1 - share) * b1 + exposed, (1 - share) * b2 + exposed),
        w=(share * b0, share * b1, share * b2),
        hop=transfer - exposed,
        exposed=exposed,
    )
    piped = np.where(zbv, _v_span(stages), _alternating_span(stages, points.schedule))
    alone = np.where(
        stages.v > 1, f0 + b0 + (stages.v - 2) * (f1 + b1) + f2 + b2, np.maximum.reduce([f0 + b0, f1 + b1, f2 + b2])
    )
    span: Column = np.where(stages.p > 1, piped, stages.m * alone)
    return span


@dataclass(frozen=True)
class _Stages:
    """What one micro batch takes, for each row: on the first stage, on one between, and on the last."""

    p: Column
    v: Column
    m: Column
    f: tuple[Column, Column, Column]
    """Forward; sending included where it is not hidden."""
    i: tuple[Column, Column, Column]
    """Backward of inputs; of weights too where the schedule does not part them."""
    w: tuple[Column, Column, Column]
    hop: Column
    """From a stage to the next, beside the computation."""
    exposed: Column
    """The same where it is not hidden; in `f` and `i` already."""

    def place(self, which: int) -> Column:
        """Which of the places that may be the slowest: first, second, last but one, last."""
        return (0 * self.p, 0 * self.p + 1, self.p - 2, self.p - 1)[which]

    def forwards(self, count: Column) -> Column:
        """The way forward through the first `count` stages, sending included; not for all of them."""
        return np.where(count > 0, self.f[0] + (count - 1) * self.f[1] + count * self.hop, 0.0)

    def inputs(self, count: Column) -> Column:
        """The way back through the first `count` stages."""
        return np.where(count > 0, self.i[0] + (count - 1) * self.i[1] + count * self.hop, 0.0)


_KINDS = (0, 1, 1, 2)
"""Which of the three kinds of stage is the odd one of each place of `_Stages.place`."""


def _alternating_span(stages: _Stages, schedule: Column) -> Column:
    p, v, m, hop = stages.p, stages.v, stages.m, stages.hop
    split = 1.0 * (schedule == SCHEDULES.index("interleaved_zero_bubble"))
    f, i, w = stages.f, stages.i, stages.w
    passes_each, last = v * m, v * p - 2
    a_round = np.ceil(m / np.where(v > 1, np.maximum(1, m // p), 1))
    # A first or last stage that is slow holds up its whole round.
    drag_in = np.where(v > 1, np.maximum((a_round - 1) * (f[0] - f[1]), 0), 0)
    drag_out = np.where(v > 1, np.maximum((a_round - 1) * (i[0] + w[0] - i[1] - w[1]), 0), 0)
    # From the start to the first backward at the last place, and from the last forward there to the end.
    head_last = f[0] + last * f[1] + f[2] + (last + 1) * hop
    back = i[0] + last * i[1] + i[2] + (last + 1) * hop
    tail_last = np.maximum(back + w[0], back - stages.inputs(p - 1) + p * w[1] * split)
    way = head_last + tail_last
    spans = []
    for which in (3, 2, 1, 0):
        kind, place = _KINDS[which], stages.place(which)
        behind_it = p - 1 - place
        warm_up = (v - 1) * a_round + np.where(schedule == SCHEDULES.index("interleaved_1f1b"), 2, 1) * behind_it
        before = np.minimum(warm_up + 1, passes_each)  # forwards until the first backward: as many backwards at the end

        def odd(count: Column, kind: int = kind) -> Column:
            """How many of the first forwards (or last backwards) are on the odd stage."""
            rounds, more = np.divmod(count, v * a_round)
            more = np.minimum(more, a_round) if kind == 0 else np.maximum(more - (v - 1) * a_round, 0)
            return rounds * a_round + more if kind != 1 else 0 * count

        late = before + np.minimum(place, passes_each - before)  # weights' gradients that are left then
        ahead = before * f[1] + odd(before) * (f[kind] - f[1])
        after = before * i[1] + odd(before) * (i[kind] - i[1]) + late * w[1] + odd(late) * (w[kind] - w[1])
        work = m * ((v - 1) * (f[1] + i[1] + w[1]) + f[kind] + i[kind] + w[kind])
        start = stages.forwards(place) + np.where(place > 0, drag_in, 0)
        own_weights = split * (np.minimum(place, passes_each - 1) + 1) * np.where(v == 1, w[kind], w[kind % 2])
        end = np.maximum(0, stages.inputs(place) + np.where(place > 0, drag_out, 0) + w[0] - own_weights)
        if which == 3:
            head = head_last = np.maximum(head_last, start + ahead)
            tail = tail_last = np.maximum(tail_last, after + end)
        else:
            head = np.maximum(start + ahead, head_last + (behind_it - 1) * i[1] + i[2] + behind_it * hop)
            tail = np.maximum(after + end, tail_last + (behind_it - 1) * f[1] + f[2] + behind_it * hop)
        turns = (passes_each > warm_up + 1) | ((behind_it == 0) & (passes_each > warm_up))
        span = np.maximum.reduce(
            [
                start + work + end,
                head + work - ahead + end,
                start + work - after + tail,
                np.where(turns, head + work - ahead - after + tail, 0),
            ]
        )
        spans.append(np.where((p > 2) | (which in (0, 3)), span, 0))

    # One more in flight than at the next place: neighbours wait for each other's results, there and back.
    slots = np.maximum(passes_each - (v - 1) * a_round - 1, 0)
    pairs = [f[n] + i[n] for n in range(3)]
    ends = [pairs[1] + (pair - pairs[1]) / v for pair in pairs]

    def cycle(places: Column) -> Column:
        inner = np.where(places >= p, ends[0] + (places - 2) * pairs[1], (places - 1) * pairs[1])
        return np.where(places > 0, ends[2] + inner + 2 * hop * (places - 1) + w[1], 0)

    cycles = []
    for places in (np.minimum(2, p), np.clip(p - 1, 2, p), p):
        times, rest = np.divmod(slots, places)
        cycles.append(way + times * cycle(places) + cycle(rest))
    inner = np.maximum(p - 2, 1)
    inside = way + (slots - 1) * (pairs[1] + (2 * hop * (inner - 1) + w[1]) / inner) + ends[2] + 2 * hop
    cycles.append(np.where((p > 2) & (slots > 1), inside, 0))
    tight = schedule != SCHEDULES.index("interleaved_1f1b")
    longest: Column = np.maximum.reduce([*spans, np.where(tight, np.maximum.reduce(cycles), 0)])
    return longest


def _v_span(stages: _Stages) -> Column:
    p, m, hop, exposed = stages.p, stages.m, stages.hop, stages.exposed
    f, i, w = stages.f, stages.i, stages.w
    down = f[0] + (2 * p - 2) * f[1] + f[2] - exposed + 2 * (p - 1) * hop
    up = i[0] + (2 * p - 2) * i[1] + i[2] - exposed + 2 * (p - 1) * hop
    spans = []
    for which in range(4):
        kind, place = _KINDS[which] % 2, stages.place(which)
        turn = exposed if which == 3 else 0  # between the last place's two stages nothing is sent
        there = (f[kind] - turn, i[kind], w[kind])
        back = (f[2 - kind], i[2 - kind] - turn, w[2 - kind])
        if which:
            there, back = (f[1] - turn, i[1], w[1]), (f[1], i[1] - turn, w[1])
        work = m * (sum(there) + sum(back))
        lag = np.maximum(place - np.maximum(2 * p - 1 - m, 0), 0)  # weights' gradients that wait for the end
        start = stages.forwards(place)
        end = np.maximum(0, stages.inputs(place) + w[0] - (1 + lag) * there[2] - lag * back[2])
        to_back = np.where(place > 0, i[2] + (place - 1) * i[1] + place * hop, 0)
        to_there = i[2] + (p - 1) * i[1] - exposed + (p - 1) * hop + (p - 1 - place) * (i[1] + hop)
        # (when it can be reached, own work before it): the first backward on the way back, and on the way there
        heads = [
            (start, 0 * p),
            (down + to_back, np.minimum(m, 2 * p - place - 1) * there[0] + np.minimum(m, place + 1) * back[0]),
            (
                down + to_there,
                np.minimum(m, 2 * p - place) * there[0]
                + np.minimum(m, p) * back[0]
                + np.minimum(m, p - place) * (back[1] + back[2]),
            ),
        ]
        # (what follows at least, own work after it): the last forward on the way back, and on the way there
        after_back = (1 + lag) * (back[1] + back[2]) + np.minimum(m, p) * (there[1] + there[2])
        after_there = (
            after_back
            + np.minimum(m - 1, p - place - 1) * (back[1] + back[2])
            + np.minimum(m, p - place) * back[0]
            + np.clip(m - p, 0, p - place) * (there[1] + there[2])
        )
        tails = [
            (end, 0 * p),
            (np.where(place > 0, (place - 1) * f[1] + f[2] + place * hop, 0) + up + w[0], after_back),
            (down - start - there[0] + up + w[0], after_there),
        ]
        least = {(1, 1): place + 1, (2, 1): p, (1, 2): 2 * p - 1 - place, (2, 2): 2 * p - place}
        for n, (reached, ahead) in enumerate(heads):
            for k, (follows, after) in enumerate(tails):
                in_order = m > least.get((n, k), 0 * p)
                exists = (p > 2) | (which in (0, 3))
                spans.append(np.where(in_order & exists, reached + work - ahead - after + follows, 0))
    longest: Column = np.maximum.reduce(spans)
    return longest
