"""The cost model: from jobs to seconds of a step, and where they go. docs/plan/cost.md describes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from colosse.plan import collectives, data_parallel, layers, memory
from colosse.plan.calibration import Calibration, calibration
from colosse.plan.estimate import Band, Estimate
from colosse.plan.job import Job
from colosse.plan.parameters import Parameters
from colosse.plan.pipeline import Timeline, simulate, step_span
from colosse.plan.points import RECOMPUTE, SCHEDULES, Column, Points
from colosse.spec.counts import flops

KINDS = (
    "products",
    "attention",
    "memory_bound",
    "recomputation",
    "launches",
    "tensor_parallel",
    "context_parallel",
    "expert_parallel",
    "pipeline_bubble",
    "pipeline_transfer",
    "data_parallel",
    "optimizer",
    "stragglers",
    "fixed",
)

NODE = 8
"""GPUs that share a host, for counting hosts that may be slow."""

WEIGHT_SHARE = 1 / 3
"""Of a backward pass, what zero-bubble schedules may put off: gradients of weights are half of its products."""


@dataclass(frozen=True)
class Steps:
    """Seconds of each row's step."""

    total: Column
    parts: dict[str, Column]
    """By kind, as `KINDS`; they add up to `total`."""


@dataclass(frozen=True)
class _Stages:
    """What one micro batch takes on the first pipeline stage, on the fullest one between, and on the last."""

    forward: tuple[Column, Column, Column]
    backward: tuple[Column, Column, Column]
    """With what is computed again."""
    hop: Column
    """Sending it to the next."""
    parts: dict[str, Column]
    """Seconds of all layers of the fullest place, by kind."""
    layer: tuple[Column, Column]
    """One layer, forward and backward."""


def step_times(points: Points, par: Parameters | None = None) -> Steps:
    """Seconds of a step for every row, pipelines in closed form.

    Args:
        points: the jobs.
        par: parameters; None for the calibrated ones.
    """
    par = par or calibration().parameters
    stages = _stages(points, par)
    span = step_span(points, stages.forward, stages.backward, stages.hop, WEIGHT_SHARE)
    return _steps(points, par, stages, span)


def estimate(job: Job) -> Estimate:
    """A step of one job, its pipeline simulated pass by pass.

    Raises:
        UserError: the GPU lacks the precision.
    """
    return exactly(estimate_many([job])[0])


def exactly(found: Estimate) -> Estimate:
    """The same with memory gone through pass by pass, where the program is ours; in columns it is approximate."""
    by_place = memory.exact(found.job)
    peak = max(place.total for place in by_place)
    return replace(found, memory=by_place, fits=peak <= found.job.cluster.gpu.memory_gb * 1e9)


def estimate_many(jobs: Sequence[Job]) -> list[Estimate]:
    """A step of each job."""
    if not jobs:
        return []
    known = calibration()
    points = Points.of(jobs)
    stages = _stages(points, known.parameters)
    span = step_span(points, stages.forward, stages.backward, stages.hop, WEIGHT_SHARE)
    for row, job in enumerate(jobs):
        if job.layout.pp > 1:
            span[row] = _timeline(points, stages, row).makespan
    steps = _steps(points, known.parameters, stages, span)
    return [_estimate(job, points, steps, row, known) for row, job in enumerate(jobs)]


def timeline(job: Job) -> Timeline:
    """When each pass of a step runs; for a job with a pipeline.

    Raises:
        UserError: the GPU lacks the precision.
    """
    points = Points.of([job])
    return _timeline(points, _stages(points, calibration().parameters), 0)


def _stages(points: Points, par: Parameters) -> _Stages:
    forward, backward = layers.layer(points, par)
    recompute = points.recompute
    again = np.select(
        [
            recompute == RECOMPUTE.index("full"),
            recompute == RECOMPUTE.index("selective"),
            (recompute == RECOMPUTE.index("attention")) & (points.flash == 0),
        ],
        [forward.total, forward.memory_bound + points.selective_products * forward.products, forward.attention],
        0.0,
    )
    ahead, back = forward.total, backward.total + again
    embedding, head_forward, head_backward = layers.ends(points, par)
    first, middle, last = points.stage_layers()
    alone = points.stages == 1
    begin = ahead * first + embedding + alone * head_forward
    begin_back = back * first + embedding + alone * head_backward
    # Tensor ranks each send a part, and gather it over their links (arXiv:2104.04473, section 4.1).
    moved = points.tokens * points.dim * points.value_bytes / points.tp
    hop = collectives.send(points, par, moved, points.tp * points.cp * points.data_ranks)
    there = np.where(alone, points.layers, points.stages_per_rank * middle)
    both = {kind: getattr(forward, kind) + getattr(backward, kind) for kind in KINDS[:8] if kind != "recomputation"}
    parts = {kind: there * column for kind, column in (both | {"recomputation": again}).items()}
    ends = np.where(alone, embedding * 2 + head_forward + head_backward, 0.0)
    parts["products"] = parts["products"] + ends
    return _Stages(
        forward=(begin, ahead * middle, np.where(alone, begin, ahead * last + head_forward)),
        backward=(begin_back, back * middle, np.where(alone, begin_back, back * last + head_backward)),
        hop=np.where(points.pp > 1, hop, 0.0),
        parts=parts,
        layer=(ahead, back),
    )


def _steps(points: Points, par: Parameters, stages: _Stages, span: Column) -> Steps:
    m = points.micro_batches
    parts = {kind: m * column for kind, column in stages.parts.items()}
    busy = sum(parts.values(), np.zeros(len(points)))
    sends = np.where(
        points.overlap_pipeline > 0, 2 * (points.pp - 1), 2 * (points.pp - 1) + 2 * m * points.stages_per_rank
    )
    idle = span - busy
    parts["pipeline_transfer"] = np.where(points.pp > 1, np.minimum(sends * stages.hop, np.maximum(idle, 0.0)), 0.0)
    parts["pipeline_bubble"] = idle - parts["pipeline_transfer"]
    parts["data_parallel"] = data_parallel.waiting(points, par, *stages.layer)
    parts["optimizer"] = data_parallel.optimizer(points, par)
    subtotal = span + parts["data_parallel"] + parts["optimizer"]
    parts["stragglers"] = subtotal * par.straggler * np.log2(np.maximum(points.world / NODE, 1.0))
    parts["fixed"] = np.full(len(points), par.fixed_s)
    return Steps(subtotal + parts["stragglers"] + parts["fixed"], {kind: parts[kind] for kind in KINDS})


def _timeline(points: Points, stages: _Stages, row: int) -> Timeline:
    count = int(points.stages[row])

    def each(kinds: tuple[Column, Column, Column], share: float = 1.0) -> list[float]:
        first, middle, last = (share * float(column[row]) for column in kinds)
        return [first, *[middle] * (count - 2), last]

    schedule = SCHEDULES[int(points.schedule[row])]
    return simulate(
        schedule,
        int(points.pp[row]),
        int(points.stages_per_rank[row]),
        int(np.ceil(points.micro_batches[row])),
        each(stages.forward),
        each(stages.backward, 1 - WEIGHT_SHARE),
        each(stages.backward, WEIGHT_SHARE),
        float(stages.hop[row]),
        overlap=bool(points.overlap_pipeline[row]),
    )


def _estimate(job: Job, points: Points, steps: Steps, row: int, known: Calibration) -> Estimate:
    seconds = float(steps.total[row])
    low, high = known.band(job)
    tokens = job.global_batch_size * job.seq_len / job.layout.world_size
    work = flops(job.model, [job.seq_len]).train * job.global_batch_size
    one = points.take(np.array([row]))
    by_place = memory.stages(one)
    peak = max(place.total for place in by_place)
    return Estimate(
        job=job,
        step_s=Band(seconds, seconds * low, seconds * high),
        tokens_per_s_per_gpu=Band(tokens / seconds, tokens / seconds / high, tokens / seconds / low),
        breakdown={kind: float(column[row]) for kind, column in steps.parts.items()},
        model_flops=work,
        mfu=work / seconds / job.layout.world_size / float(points.peak[row]),
        memory=by_place,
        memory_band=known.memory,
        fits=peak <= float(points.memory[row]),
        cautions=known.cautions(job),
    )
