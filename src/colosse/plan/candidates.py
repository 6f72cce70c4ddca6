"""All layouts of a model on a number of GPUs that the trainer accepts, as rows of `Points`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colosse.plan.job import Job, Software
from colosse.plan.points import FUSION, RECOMPUTE, SCHEDULES, Column, Points
from colosse.spec.layout import STAGES_PER_RANK, Layout
from colosse.spec.model import ModelSpec

MOST_TOKENS = 65_536
"""Of a micro batch on a rank: products are as large as they need to be long before. One sequence may have more."""

MOST_STAGES_PER_RANK = 8
"""With more, transfers between stages cost what the smaller bubble gains."""

ZERO_BUBBLE = [index for index, name in enumerate(SCHEDULES) if name.endswith("zero_bubble")]
"""Schedules that take backward apart: the trainer neither compiles them nor reshards their weights."""


@dataclass(frozen=True)
class Candidates:
    """Layouts that can run, whether or not they fit in memory."""

    points: Points
    same: NDArray[np.intp]
    """Rows with one number differ only in what they recompute and in whether they keep gathered weights."""
    refused: dict[str, int]
    """Ways to split the model that cannot take the batch, by reason."""


def candidates(job: Job, *, most_tp: int) -> Candidates:
    """Every layout for the job's model, batch and number of GPUs in its precision.

    Axes take all divisors, so that their product is the number of GPUs; `Layout.check` passes each row.

    Args:
        job: what does not change; of its layout only the precision counts.
        most_tp: largest number of tensor ranks.
    """
    splits, refused = _splits(job, most_tp)
    points, same = _cross(Points.of([job]), splits)
    return Candidates(points, same, refused)


def job_of(job: Job, points: Points, row: int) -> Job:
    """The job of a row of `candidates(job)`."""
    axes = {name: int(getattr(points, name)[row]) for name in ("pp", "dp_replicate", "dp_shard", "cp", "tp", "ep")}
    layout = Layout.model_validate(
        axes
        | {
            "micro_batch_size": int(points.micro_batch[row]),
            "schedule": SCHEDULES[int(points.schedule[row])],
            "stages_per_rank": int(points.stages_per_rank[row]),
            "recompute": RECOMPUTE[int(points.recompute[row])],
            "precision": job.layout.precision,
            "reshard_after_forward": points.zero[row] == 3,
        }
    )
    return job.model_copy(update={"layout": layout, "software": trainer_software(layout, job.software)})


def trainer_software(layout: Layout, software: Software) -> Software:
    """What the trainer does with a layout: zero-bubble schedules are not compiled."""
    whole = layout.compile != "off" and not (layout.pp > 1 and layout.schedule.endswith("zero_bubble"))
    return software if whole else software.model_copy(update={"fusion": "none"})


def divisors(number: int) -> list[int]:
    """All of them, rising."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


def _splits(job: Job, most_tp: int) -> tuple[dict[str, Column], dict[str, int]]:
    """Sizes of the axes, and `sequences` of a data rank."""
    spec, gpus, batch = job.model, job.cluster.gpus, job.global_batch_size
    names = ("pp", "tp", "cp", "dp_shard", "dp_replicate", "ep", "sequences")
    rows: list[tuple[int, ...]] = []
    refused = {"the batch does not divide among the data ranks": 0, "fewer sequences than pipeline places": 0}
    for pp in divisors(gpus) if not spec.tied_embeddings else [1]:
        if pp > spec.num_layers:
            continue
        for tp in _tensor_sizes(spec, job.seq_len, gpus // pp, most_tp):
            for cp in _context_sizes(spec, job.seq_len, tp, gpus // pp // tp):
                data = gpus // (pp * tp * cp)
                if batch % data:
                    refused["the batch does not divide among the data ranks"] += 1
                elif pp > 1 and batch // data < pp:
                    refused["fewer sequences than pipeline places"] += 1
                else:
                    rows += [
                        (pp, tp, cp, shard, data // shard, ep, batch // data)
                        for shard in divisors(data)
                        for ep in _expert_sizes(spec, shard * cp * tp)
                    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, len(names))
    return dict(zip(names, table.T, strict=True)), {reason: count for reason, count in refused.items() if count}


def _tensor_sizes(spec: ModelSpec, seq_len: int, ranks: int, most: int) -> list[int]:
    common = math.gcd(spec.num_heads, spec.num_kv_heads, spec.vocab_size, seq_len, ranks)
    if spec.moe is None or spec.moe.num_dense_layers:
        common = math.gcd(common, spec.ffn_dim)
    return [tp for tp in divisors(common) if tp <= most]


def _context_sizes(spec: ModelSpec, seq_len: int, tp: int, ranks: int) -> list[int]:
    common = math.gcd(spec.num_heads // tp, seq_len // tp, ranks)
    keys = spec.num_kv_heads // tp
    return [cp for cp in divisors(common) if cp % keys == 0 or keys % cp == 0]


def _expert_sizes(spec: ModelSpec, ranks: int) -> list[int]:
    return divisors(math.gcd(spec.moe.num_experts, ranks)) if spec.moe else [1]


def _cross(base: Points, splits: dict[str, Column]) -> tuple[Points, NDArray[np.intp]]:
    """Every split with every micro batch, schedule, recomputation and kind of sharding that goes with it."""
    columns = _with_schedules(_with_micro_batches(base, splits), int(base.layers[0]))
    columns["same"] = np.arange(len(columns["pp"]), dtype=np.float64)
    zero_bubble = np.isin(columns["schedule"], ZERO_BUBBLE)
    gathers = columns["dp_shard"] * columns["cp"] > 1
    pieces = []
    for recompute in ("none", "selective", "full"):
        for zero in (3, 2):
            keep = ~zero_bubble if zero == 3 else zero_bubble | gathers
            if recompute == "selective":
                keep = keep & ~zero_bubble
            pieces.append(_kept(columns, keep, recompute=RECOMPUTE.index(recompute), zero=zero))
    rows = _joined(pieces)
    rows["fusion"] = np.where(np.isin(rows["schedule"], ZERO_BUBBLE), FUSION.index("none"), base.fusion[0])
    same = rows.pop("same").astype(np.intp)
    return base.with_columns(**rows), same


def _with_micro_batches(base: Points, splits: dict[str, Column]) -> dict[str, Column]:
    """With `count` of them on each data rank in place of `sequences`."""
    sequences, most = splits["sequences"], MOST_TOKENS / base.seq_len[0] * splits["cp"]
    pieces = []
    for size in divisors(int(base.batch[0])):
        if size > 1 and not (size <= most).any():
            break
        keep = (sequences % size == 0) & ((splits["pp"] == 1) | (sequences / size >= splits["pp"]))
        keep &= (size <= most) | (size == 1)
        pieces.append(_kept(splits | {"count": sequences / size}, keep, micro_batch=size))
    columns = _joined(pieces)
    del columns["sequences"]
    return columns


def _with_schedules(columns: dict[str, Column], layers: int) -> dict[str, Column]:
    pp, count = columns["pp"], columns["count"]
    evenly = count % np.maximum(count // pp, 1) == 0  # in rounds of equal length: `Layout.check`
    pieces = []
    for index, name in enumerate(SCHEDULES):
        fixed = STAGES_PER_RANK.get(name)
        for stages in [fixed] if fixed else range(2, MOST_STAGES_PER_RANK + 1):
            keep = (pp * stages <= layers) & (evenly | (stages == 1)) & ((pp > 1) | (name == "1f1b"))
            pieces.append(_kept(columns, keep, schedule=index, stages_per_rank=stages))
    rows = _joined(pieces)
    del rows["count"]
    return rows


def _kept(columns: dict[str, Column], keep: NDArray[np.bool_], **settings: float) -> dict[str, Column]:
    """Some rows, with further columns of one value each."""
    rows = int(keep.sum())
    new = {name: np.full(rows, float(value)) for name, value in settings.items()}
    return {name: column[keep] for name, column in columns.items()} | new


def _joined(pieces: list[dict[str, Column]]) -> dict[str, Column]:
    """One below the other."""
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
