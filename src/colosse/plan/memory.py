"""Bytes that a job takes on each pipeline place, by component, for many jobs at once. docs/plan/memory.md explains it.

For Colosse's own trainer the sums are those of `spec.memory`; other programs keep weights, gradients, optimiser state,
what backward needs and logits in their own ways, which `Software` describes.
"""

from __future__ import annotations

import numpy as np

from colosse.plan.estimate import StageMemory
from colosse.plan.job import Job
from colosse.plan.memory_own import own_memory
from colosse.plan.memory_parts import Held, in_flight, layer_bytes
from colosse.plan.points import FUSION, Column, Points
from colosse.spec.memory import LOGITS_AT_ONCE, LOGITS_BYTES, MASTER_BYTES, rank_memory

COMPONENTS = ("weights", "gradients", "optimizer", "gathered", "activations", "logits", "workspace")

CONTEXT_BYTES = 0.6e9
"""The device's context and loaded kernels: 0.45 GiB on A100 to 0.6 on H100 (from memory)."""

LIBRARY_BYTES = 0.4e9
"""Workspaces of cuBLAS (32 MiB a stream on H100), cuDNN and of what else is small (from memory)."""

COMMUNICATOR_BYTES = 1.5e9
"""NCCL's buffers for each group of more than one rank, as BLOOM's table of memory wants them."""

FRAGMENTS = 0.05
"""Of what comes and goes, the allocator reserves so much more than is in use."""

BUCKET_VALUES = 5e8
"""Values in each of the two buckets through which a program without fused accumulation exchanges gradients and weights
(DeepSpeed's `reduce_bucket_size` and `allgather_bucket_size`, defaults of ZeRO)."""

FUSED_LOGITS_BYTES = 4
"""Per logit where one kernel writes the gradient over the logits: the product, and a copy in the loss's order."""

SPLIT_LOGITS_BYTES = 22
"""Per logit where torch's operations, one by one, take the loss of logits that tensor ranks share (loss parallel): two
more float32 tensors than `LOGITS_BYTES`."""

LORA_SHARE = 0.01
"""Trained part of the parameters with LoRA."""


def stage_memory(points: Points, place: Column | int) -> dict[str, Column]:
    """Bytes on a rank of pipeline place `place`, by component, for each row; keys as of `estimate.StageMemory`."""
    at = np.broadcast_to(np.asarray(place, dtype=np.float64), len(points))
    held = Held(points, at)
    ours = (points.chunked_loss > 0) & (points.zero >= 2)
    found = own_memory(points, at, held) if ours.any() else {}
    if not ours.all():
        others = _others_memory(points, at, held)
        found = {name: np.where(ours, found[name], others[name]) for name in others} if found else others
    trained = np.where(points.lora > 0, LORA_SHARE, 1.0)
    found["gradients"] = found["gradients"] * trained
    found["optimizer"] = found["optimizer"] * trained
    found["workspace"] = outside(points) + LIBRARY_BYTES + FRAGMENTS * (found["activations"] + found["logits"])
    return found


def _others_memory(points: Points, place: Column, held: Held) -> dict[str, Column]:
    """Bytes of other programs by component, but for `workspace`."""
    states = _states(points, held)
    tokens, value = points.tokens, points.value_bytes
    kept, whole = layer_bytes(points)
    total, largest = held.of(kept)
    each = total / np.maximum(np.sum(held.layers, axis=0), 1)
    stream = tokens * points.dim * value / points.tp
    logits = _logits(points) * held.last
    # Where logits are made at once they are gone before a block is computed again.
    again = np.maximum(tokens * (held.of(whole)[1] - largest) - logits, 0)
    # Programs of hand-written kernels that do not free what they have sent to the next stage keep it.
    sent = tokens * points.dim * value / np.where(points.sp > 0, points.tp, 1.0)
    sent = np.where((points.pp > 1) & (points.zero < 2) & (points.fused_accumulation == 0), sent, 0.0)
    activations = in_flight(points, place) * (held.deepest * tokens * each + sent) + held.last * stream + again
    # torch's pipelines have room for everything that a step receives, forward and back.
    received = (2 * points.stages_per_rank - held.first - held.last) * points.micro_batches * stream
    activations += np.where((points.pp > 1) & (points.zero >= 2), received, 0)
    return {**states, "activations": activations, "logits": logits}


def outside(points: Points) -> Column:
    """Bytes that the framework's allocator does not know of: nvidia-smi counts them, `max_memory_reserved` does not."""
    axes = (points.tp, points.pp, points.cp, points.ep, points.dp_shard * points.cp, points.dp_replicate)
    groups: Column = np.sum([size > 1 for size in axes], axis=0, dtype=np.float64)
    return CONTEXT_BYTES + COMMUNICATOR_BYTES * groups


def peak_memory(points: Points) -> Column:
    """Bytes on the place that needs most, for each row."""
    places = (0 * points.pp, np.minimum(1, points.pp - 1), points.pp - 1)
    totals = [np.sum(list(stage_memory(points, place).values()), axis=0) for place in places]
    peak: Column = np.maximum.reduce(totals)
    return peak


def stages(points: Points) -> list[StageMemory]:
    """Every place of the one job in `points`."""
    places = range(int(points.pp[0]))
    return [
        StageMemory(place, **{name: float(column[0]) for name, column in stage_memory(points, place).items()})
        for place in places
    ]


def exact(job: Job) -> list[StageMemory]:
    """Every place of one job: of our own trainer pass by pass, as `spec.memory` has it; of others as `stages`."""
    points = Points.of([job])
    found = stages(points)
    layout, spec = job.layout, job.model
    ours = bool(points.chunked_loss[0]) and points.zero[0] >= 2 and job.task == "pretrain"
    if not ours or spec.mla is not None or not spec.gated or layout.num_stages > spec.num_layers:
        return found
    batches = max(layout.micro_batches(job.global_batch_size), 1)
    held = [
        rank_memory(spec, layout, seq_len=job.seq_len, micro_batches=batches, stage_rank=place, optimizer=job.optimizer)
        for place in range(layout.pp)
    ]
    return [
        StageMemory(
            place,
            weights=one.weights,
            gradients=one.gradients,
            optimizer=one.optimizer,
            gathered=one.gathered,
            activations=one.activations,
            logits=one.logits,
            workspace=float(outside(points)[0]) + LIBRARY_BYTES + FRAGMENTS * (one.activations + one.logits),
        )
        for place, one in enumerate(held)
    ]


def _states(points: Points, held: Held) -> dict[str, Column]:
    """Weights, gradients, optimiser state, and what is whole for a while."""
    zero, value = points.zero, points.value_bytes
    shards = points.dp_shard * points.cp
    values = 2 * held.sliced - np.where(points.muon > 0, held.sliced_matrices, 0)

    # Without FSDP: weights in the products' precision, gradients, and masters with the optimiser's two values.
    masters = np.where(value < MASTER_BYTES, 3.0, 2.0) * MASTER_BYTES
    short = points.gradient_bytes < MASTER_BYTES  # 16-bit gradients become float32 for the step
    expert_shards = np.maximum(shards * points.tp / np.maximum(points.ep, points.tp), 1)
    shared = np.where(zero > 0, (held.whole - held.experts) / shards + held.experts / expert_shards, held.whole)
    apart = (points.fused_accumulation == 0) & ~short & (value < MASTER_BYTES)
    gradient = points.gradient_bytes + np.where(apart, value, 0)

    buckets = (points.gradient_bytes + value) * np.minimum(held.whole, BUCKET_VALUES)
    buckets = np.where((zero == 1) & (points.fused_accumulation == 0), buckets, 0)
    # Where a product adds its gradient to those before, one empty tensor of each weight's shape stands for it.
    shapes = (points.proj_params + points.matrices * points.dim * points.ffn) / points.tp + held.last * held.matrix
    buckets = np.where((zero < 2) & (points.fused_accumulation > 0), shapes * value, buckets)

    # Products in lower precision read a copy of the weights, and backward one that is turned.
    kernels = points.fusion == FUSION.index("kernels")
    copies = np.where(kernels, np.choose(points.low_precision.astype(int), [0.0, 2.0, 2.0, 1.0]), 0)
    copies = copies * (held.whole - held.tables * held.matrix)

    fsdp = zero >= 2
    gathered = _gathered(points, held)
    optimizer = shared * (masters + np.where(short, MASTER_BYTES, 0))
    return {
        "weights": np.where(fsdp, held.sliced * MASTER_BYTES, held.whole * value + copies),
        "gradients": np.where(fsdp, held.sliced * MASTER_BYTES, held.whole * gradient),
        "optimizer": np.where(fsdp, values * MASTER_BYTES, optimizer),
        "gathered": np.where(fsdp, gathered, buckets),
    }


def _gathered(points: Points, held: Held) -> Column:
    """What FSDP gathers: weights in the products' precision, and gradients, in a pipeline all; and copies to send."""
    value = points.value_bytes
    tables = [(held.first - held.tied) * held.matrix, held.last * held.matrix]
    layers = [np.where(held.layers[kind] > n, held.units[kind], 0) for kind in (0, 1) for n in (0, 1)]
    ordered = np.sort([*tables, *layers], axis=0)
    everything = held.tables * held.matrix + held.of(held.units)[0]
    some = np.where(points.zero >= 3, ordered[-1] + ordered[-2], everything) * value
    whole = np.where(points.pp > 1, everything * (value + MASTER_BYTES), some) + ordered[-1] * (value + MASTER_BYTES)
    return np.where(points.world > points.pp, whole, np.where(value < MASTER_BYTES, everything * value, 0))


def _logits(points: Points) -> Column:
    kernels = (points.fusion == FUSION.index("kernels")) & (points.fused_accumulation > 0)
    logits = points.tokens * points.vocab / points.tp
    whole = logits * np.where(kernels, FUSED_LOGITS_BYTES, np.where(points.tp > 1, SPLIT_LOGITS_BYTES, LOGITS_BYTES))
    return np.where(points.chunked_loss > 0, np.minimum(logits, LOGITS_AT_ONCE) * LOGITS_BYTES, whole)
