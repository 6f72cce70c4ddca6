"""All layouts of a model on a number of GPUs that the trainer accepts, as rows of `Points`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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

VARIANTS = (MOST_STAGES_PER_RANK + 1) * len(SCHEDULES)
"""More than the schedules that a way has."""

ZERO_BUBBLE = [index for index, name in enumerate(SCHEDULES) if name.endswith("zero_bubble")]
"""Schedules that take backward apart: the trainer neither compiles them nor reshards their weights."""


Rows = dict[str, Column]
"""Columns of candidates by name, those alone that differ among them; and `same`: rows with one number there differ only
in what they recompute and in whether they keep gathered weights."""


@dataclass(frozen=True)
class Ways:
    """Ways to share out a model and its batch: sizes of the axes and of micro batches."""

    columns: Rows
    """Of `Points`, and `count`: micro batches of a step on each data rank."""
    refused: dict[str, int]
    """How many there are besides, by the reason why they are not worth a look."""

    def __len__(self) -> int:
        return len(self.columns["pp"])


def ways(job: Job, *, most_tp: int) -> Ways:
    """All of them for the job's model, batch and number of GPUs.

    Axes take all divisors, so that their product is the number of GPUs.

    Args:
        job: what does not change; of its layout only the precision counts.
        most_tp: largest number of tensor ranks.
    """
    splits, refused = _splits(job, most_tp)
    columns, idle = _with_micro_batches(job, splits)
    if idle:
        refused["context ranks that data ranks with smaller micro batches replace"] = idle
    return Ways(columns, refused)


def plainest(job: Job, found: Ways) -> Points:
    """Each way with what costs least besides: nothing is computed or gathered again."""
    columns = {name: column for name, column in found.columns.items() if name != "count"}
    fixed = {"schedule": 0, "stages_per_rank": 1, "recompute": RECOMPUTE.index("none"), "zero": 2}
    return Points.of([job]).with_columns(**_kept(columns, np.ones(len(found), dtype=bool), **fixed))


def layouts(job: Job, found: Ways, chosen: NDArray[np.intp]) -> Rows:
    """Some ways with every schedule, recomputation and kind of sharding that goes with them.

    `Layout.check` passes each row.
    """
    columns = {name: column[chosen] for name, column in found.columns.items()}
    columns["same"] = chosen.astype(np.float64)
    columns = _with_schedules(columns, job.model.num_layers)
    zero_bubble = np.isin(columns["schedule"], ZERO_BUBBLE)
    gathers = columns["dp_shard"] * columns["cp"] > 1
    pieces = []
    for recompute in ("none", "selective", "full"):
        for zero in (3, 2):
            keep = ~zero_bubble if zero == 3 else zero_bubble | gathers
            if recompute != "none":
                keep = keep & ~zero_bubble
            pieces.append(_kept(columns, keep, recompute=RECOMPUTE.index(recompute), zero=zero))
    rows = joined(pieces)
    plain = FUSION.index(job.software.fusion)
    rows["fusion"] = np.where(np.isin(rows["schedule"], ZERO_BUBBLE), FUSION.index("none"), plain)
    return rows


def count_layouts(job: Job, found: Ways, chosen: NDArray[np.intp]) -> int:
    """How many `layouts` there are."""
    columns = {name: column[chosen] for name, column in found.columns.items()}
    sharded = 1 + (columns["dp_shard"] * columns["cp"] > 1)
    return sum(
        int(keep.sum()) if index in ZERO_BUBBLE else 3 * int(sharded[keep].sum())
        for index, _, keep in _schedules(columns, job.model.num_layers)
    )


def points_of(job: Job, rows: Rows) -> Points:
    """Rows as the cost model takes them."""
    return Points.of([job]).with_columns(**{name: column for name, column in rows.items() if name != "same"})


def job_of(job: Job, points: Points, row: int) -> Job:
    """The job of a row of `points_of(job, ...)`."""
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


def _splits(job: Job, most_tp: int) -> tuple[Rows, dict[str, int]]:
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


def _with_micro_batches(job: Job, splits: Rows) -> tuple[Rows, int]:
    """With `count` of them on each data rank in place of `sequences`; and how many ways that leaves out.

    Where a number divides context ranks and micro batch, as many data ranks more with smaller micro batches do the same
    work on as many tokens of a GPU, and exchange less: such ways are left out.
    """
    sequences, cp, pp = splits["sequences"], splits["cp"], splits["pp"]
    keys = job.model.num_kv_heads / splits["tp"]
    most = MOST_TOKENS / job.seq_len * cp
    pieces, idle = [], 0
    for size in divisors(job.global_batch_size):
        if size > 1 and not (size <= most).any():
            break
        keep = (sequences % size == 0) & ((pp == 1) | (sequences / size >= pp)) & ((size <= most) | (size == 1))
        worse = np.zeros_like(keep)
        for factor in divisors(size)[1:]:
            fewer = cp / factor
            worse |= (cp % factor == 0) & ((fewer % keys == 0) | (keys % fewer == 0))
        idle += int((keep & worse).sum())
        pieces.append(_kept(splits | {"count": sequences / size}, keep & ~worse, micro_batch=size))
    columns = joined(pieces)
    del columns["sequences"]
    return columns, idle


def _with_schedules(columns: Rows, layers: int) -> Rows:
    pieces = [
        _kept(columns, keep, schedule=index, stages_per_rank=stages)
        for index, stages, keep in _schedules(columns, layers)
    ]
    rows = joined(pieces)
    del rows["count"]
    rows["same"] = rows["same"] * VARIANTS + rows["stages_per_rank"] * len(SCHEDULES) + rows["schedule"]
    return rows


def _schedules(columns: Rows, layers: int) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Each schedule and number of stages a rank, and the ways that can have them."""
    pp, count = columns["pp"], columns["count"]
    evenly = count % np.maximum(count // pp, 1) == 0  # in rounds of equal length: `Layout.check`
    for index, name in enumerate(SCHEDULES):
        fixed = STAGES_PER_RANK.get(name)
        for stages in [fixed] if fixed else range(2, MOST_STAGES_PER_RANK + 1):
            keep = (pp * stages <= layers) & (evenly | (stages == 1)) & ((pp > 1) | (name == "1f1b"))
            yield index, stages, keep


def _kept(columns: Rows, keep: NDArray[np.bool_], **settings: float) -> Rows:
    """Some rows, with further columns of one value each."""
    rows = int(keep.sum())
    new = {name: np.full(rows, float(value)) for name, value in settings.items()}
    return {name: column[keep] for name, column in columns.items()} | new


def joined(pieces: Sequence[Rows]) -> Rows:
    """One below the other."""
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
