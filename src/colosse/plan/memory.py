"""Bytes that a job takes on each pipeline place, by component, for many jobs at once. docs/plan/memory.md explains it.

For Colosse's own trainer the sums are those of `spec.memory`; other programs keep weights, gradients, optimiser state,
what backward needs and logits in their own ways, which `Software` describes.
"""

from __future__ import annotations

import numpy as np

from colosse.plan.estimate import StageMemory
from colosse.plan.points import FUSION, RECOMPUTE, SCHEDULES, Column, Points
from colosse.spec.memory import LOGITS_AT_ONCE, LOGITS_BYTES, MASTER_BYTES

COMPONENTS = ("weights", "gradients", "optimizer", "gathered", "activations", "logits", "workspace")

CONTEXT_BYTES = 0.6e9
"""The device's context and loaded kernels: 0.45 GiB on A100 to 0.6 on H100 (nvidia-smi of an idle process)."""

LIBRARY_BYTES = 0.4e9
"""Workspaces of cuBLAS (32 MiB a stream on H100), cuDNN and of what else is small."""

COMMUNICATOR_BYTES = 1.5e9
"""NCCL's buffers for each group of more than one rank: channels x peers x 4 to 10 MB (NCCL_BUFFSIZE, NVLS)."""

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
    held = _Held(points, at)
    states = _states(points, held)
    tokens = points.tokens
    kept, whole = _layer_bytes(points)
    there = np.array([held.dense_layers, held.moe_layers])
    # Ours as `spec.memory` has it, from the largest layer; else layer by layer.
    largest = np.max(np.where(there > 0, kept, 0), axis=0)
    kept = np.where(
        points.chunked_loss > 0, largest, np.sum(there * kept, axis=0) / np.maximum(np.sum(there, axis=0), 1)
    )
    again = tokens * (np.max(np.where(there > 0, whole, 0), axis=0) - largest)
    in_flight = _in_flight(points, at)
    last = held.last
    ends = np.where(points.chunked_loss > 0, 2.0, 1.0) * points.dim * points.value_bytes / points.tp
    logits = _logits(points) * last
    # Where logits are made at once they are gone before a block is computed again.
    again = np.where(points.chunked_loss > 0, again, np.maximum(again - logits, 0))
    # Programs of hand-written kernels that do not free what they have sent to the next stage keep it.
    sent = points.dim * points.value_bytes / np.where(points.sp > 0, points.tp, 1.0)
    sent = np.where((points.pp > 1) & (points.zero < 2) & (points.fused_accumulation == 0), sent, 0.0)
    activations = tokens * (in_flight * (held.deepest * kept + sent) + last * ends) + again
    # torch's pipelines have room for everything that a step receives, forward and back.
    received = 2 * points.stages_per_rank - held.first - last
    received = received * points.micro_batches * tokens * points.dim * points.value_bytes / points.tp
    workspace = outside(points) + LIBRARY_BYTES + FRAGMENTS * (activations + logits)
    workspace += states.pop("sending") + np.where((points.pp > 1) & (points.zero >= 2), received, 0)
    return {**states, "activations": activations, "logits": logits, "workspace": workspace}


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


class _Held:
    """What a place holds: layers by kind, embedding and head, and the parameters that they make."""

    def __init__(self, points: Points, place: Column) -> None:
        layers = np.zeros((2, len(points)))  # dense, with experts
        self.deepest = np.zeros(len(points))
        """Layers of the fullest stage."""
        for lap in range(int(points.stages_per_rank.max())):
            back = (points.schedule == SCHEDULES.index("zbv_zero_bubble")) & (lap % 2 == 1)
            stage = lap * points.pp + np.where(back, points.pp - 1 - place, place)
            begin, end = _layer_range(points, stage)
            there = lap < points.stages_per_rank
            dense = points.layers - points.moe_layers
            before = np.clip(dense - begin, 0, end - begin)
            layers += np.where(there, [before, end - begin - before], 0)
            self.deepest = np.maximum(self.deepest, np.where(there, end - begin, 0))
        self.dense_layers, self.moe_layers = layers
        self.first = 1.0 * (place == 0)
        zbv = points.schedule == SCHEDULES.index("zbv_zero_bubble")
        self.last = 1.0 * (place == np.where(zbv, 0, points.pp - 1))
        self.matrix = points.vocab * points.dim / points.tp
        tied = (points.tied > 0) & (self.first > 0)
        self.tables = self.first + self.last * np.where(tied, 0, 1)
        """Embedding and head; one where both are here and the same."""


def _layer_range(points: Points, stage: Column) -> tuple[Column, Column]:
    """First layer of a stage and the first after it, as `Layout.stage_layers` has them."""
    stages = points.stages
    base, more = np.divmod(points.layers, stages)
    inner = np.minimum(more, np.maximum(stages - 2, 0))  # stages 1, 2, ... get one more, then the first, then the last

    def begin(stage: Column) -> Column:
        extra = np.clip(stage - 1, 0, inner) + ((more > stages - 2) & (stages > 1)) * (stage > 0)
        return stage * base + np.minimum(extra, more)

    return begin(stage), np.where(stage == stages - 1, points.layers, begin(stage + 1))


def _states(points: Points, held: _Held) -> dict[str, Column]:
    """Weights, gradients, optimiser state, what is whole for a while, and copies to send."""
    zero, value = points.zero, points.value_bytes
    dense = points.proj_params / points.tp + 2 * points.dim
    block = points.matrices * points.dim * points.ffn / points.tp
    expert = points.matrices * points.dim * points.expert_ffn * points.experts
    routing = points.dim * points.experts + points.matrices * points.dim * points.shared_ffn

    # Parameters of a rank before data ranks share them. Experts: on `ep` ranks; FSDP cuts them over tensor ranks too.
    common = held.dense_layers * (dense + block) + held.moe_layers * dense
    common += held.tables * held.matrix + held.last * points.dim
    routed = held.moe_layers * routing
    experts = held.moe_layers * expert
    shards = points.dp_shard * points.cp
    sliced = (common + (routed + experts) / points.tp) / shards  # of everything, over all ranks that share it
    whole_experts = experts / np.maximum(points.ep, points.tp)
    whole = common + routed + whole_experts  # as a program without FSDP holds it

    matrices = sliced - (held.tables * held.matrix + held.last * points.dim) / shards
    matrices -= 2 * points.dim * (held.dense_layers + held.moe_layers) / shards
    values = np.where(points.muon > 0, 2 * sliced - matrices, 2 * sliced)
    trained = np.where(points.lora > 0, LORA_SHARE, 1.0)

    # Without FSDP: weights in the products' precision, gradients, and masters with the optimiser's two values.
    masters = np.where(value < MASTER_BYTES, 3.0, 2.0) * MASTER_BYTES
    short = points.gradient_bytes < MASTER_BYTES  # 16-bit gradients become float32 for the step
    expert_shards = np.maximum(shards * points.tp / np.maximum(points.ep, points.tp), 1)
    shared = np.where(zero > 0, (whole - whole_experts) / shards + whole_experts / expert_shards, whole)
    apart = (points.fused_accumulation == 0) & ~short & (value < MASTER_BYTES)
    gradient = points.gradient_bytes + np.where(apart, value, 0)

    buckets = (points.gradient_bytes + value) * np.minimum(whole, BUCKET_VALUES)
    buckets = np.where((zero == 1) & (points.fused_accumulation == 0), buckets, 0)
    # Where a product adds its gradient to those before, one empty tensor of each weight's shape stands for it.
    shapes = (points.proj_params + points.matrices * points.dim * points.ffn) / points.tp + held.last * held.matrix
    buckets = np.where((zero < 2) & (points.fused_accumulation > 0), shapes * value, buckets)

    # Products in lower precision read a copy of the weights, and backward one that is turned.
    kernels = points.fusion == FUSION.index("kernels")
    copies = np.where(kernels, np.choose(points.low_precision.astype(int), [0.0, 2.0, 2.0, 1.0]), 0)
    copied = whole - held.tables * held.matrix

    fsdp = zero >= 2
    gathered, sending = _gathered(points, held, dense, block, routing, expert)
    return {
        "weights": np.where(fsdp, sliced * MASTER_BYTES, whole * value + copied * copies),
        "gradients": np.where(fsdp, sliced * MASTER_BYTES, whole * gradient) * trained,
        "optimizer": np.where(fsdp, values * MASTER_BYTES, shared * (masters + np.where(short, MASTER_BYTES, 0)))
        * trained,
        "gathered": np.where(fsdp, gathered, buckets),
        "sending": np.where(fsdp, sending, 0),
    }


def _gathered(
    points: Points, held: _Held, dense: Column, block: Column, routing: Column, expert: Column
) -> tuple[Column, Column]:
    """What FSDP gathers: weights in the products' precision, and gradients; and a pipeline's copies to send these."""
    value = points.value_bytes
    moe = dense + routing + expert / points.ep
    units = np.stack(
        [
            held.first * np.where((held.tables < 2) & (held.last > 0), 0, held.matrix),
            held.last * held.matrix,
            np.where(held.dense_layers > 0, dense + block, 0),
            np.where(held.dense_layers > 1, dense + block, 0),
            np.where(held.moe_layers > 0, moe, 0),
            np.where(held.moe_layers > 1, moe, 0),
        ]
    )
    ordered = np.sort(units, axis=0)
    everything = held.tables * held.matrix + held.dense_layers * (dense + block) + held.moe_layers * moe
    some = np.where(points.zero >= 3, ordered[-1] + ordered[-2], everything) * value
    alone = points.world == points.pp
    sending = ordered[-1] * (value + MASTER_BYTES)
    gathered = np.where(
        alone,
        np.where(value < MASTER_BYTES, everything * value, 0),
        np.where(points.pp > 1, everything * (value + MASTER_BYTES), some + sending),
    )
    return gathered, np.where((points.pp > 1) & ~alone, sending, 0)


def _layer_bytes(points: Points) -> tuple[Column, Column]:
    """Bytes per token that a layer keeps for backward, and what it needs while that is made good.

    Both for two kinds of layers, dense and with experts, as rows of an array.
    """
    value, tp, dim = points.value_bytes, points.tp, points.dim
    kernels = points.fusion == FUSION.index("kernels")
    old = points.flash == 0
    among = np.where(points.sp > 0, tp, 1.0)  # ranks that share the tokens between the products
    alone = points.world == points.pp
    stream = dim / among * np.where(alone & ~kernels, MASTER_BYTES, value)
    # What the first products read: kernels keep their part and gather it again, ours keep it whole.
    read = np.where(kernels, dim / among, dim)
    # Kernels for low precision keep what products read in it.
    saved = np.where(kernels, np.choose(points.low_precision.astype(int), [0.0, 1.0, 1.0, 1.5]), 0.0)

    mla = points.mla > 0
    values = np.where(mla, points.value_out, points.key)
    sums = np.where(old, 0.0, points.heads * 4 / value)
    seen = points.query + points.key + values + points.value_out + sums
    normed = np.where(points.qk_norm > 0, points.query + points.key, 0)
    latents = np.where(mla, 2 * (points.q_rank + points.kv_rank) + points.rope_dim, 0)
    attention = stream + value * ((seen + normed) / tp + latents + read) - saved * (points.value_out / tp + read)
    # Before flash attention: softmax, a mask and the rest, 5 bytes a score, and masks of two dropouts of the stream
    # (arXiv:2205.05198, section 4.1).
    attention += np.where(old, 2 * dim / among, 0)
    scores = np.where(old, 5 * points.heads / tp * points.seq_len, 0)

    # Gate, up and their product, which kernels make at once; or up and GELU.
    inner = np.where(points.matrices > 2, np.where(kernels, 3.0, 4.0), 2.0)
    choice = 2 * points.experts * 4 / value  # the router's logits and scores
    expert = points.top_k * (inner * points.expert_ffn + 2 * dim) + inner * points.shared_ffn
    low = saved * np.array(
        [points.ffn / tp + read, (points.top_k * (points.expert_ffn + dim) + points.shared_ffn) / tp]
    )
    blocks = (
        value * np.array([inner * points.ffn / tp + read, (choice + expert) / tp + np.minimum(read, dim / tp)]) - low
    )
    whole = attention + scores + stream + blocks

    # Selective: the results of all products and of attention; torchtitan's, of every other product from the first on.
    reduced = dim + np.where(tp > 1, dim / tp, 0)
    every = points.selective_products == 0
    half = 2 * (1 - points.selective_products)
    lean_attention = np.where(
        every, seen / tp + reduced, (points.value_out + sums + half * (points.query + values)) / tp
    )
    visits = np.where(points.ep == 1, 1.0, 3.0)
    lean_expert = (
        points.top_k * (2 * points.expert_ffn + visits * dim) + 2 * points.shared_ffn + (points.shared_ffn > 0) * dim
    )
    dense = np.where(every, 2 * points.ffn / tp + reduced, half * (points.ffn / tp + dim))
    lean = stream + value * (lean_attention + np.array([dense, (choice + lean_expert) / tp]))

    modes = [RECOMPUTE.index(mode) for mode in ("full", "selective", "attention")]
    kept = np.select(
        [points.recompute == mode for mode in modes],
        [np.broadcast_to(stream, whole.shape), lean, whole - scores],
        whole,
    )
    return kept, whole


def _logits(points: Points) -> Column:
    logits = points.tokens * points.vocab / points.tp
    kernels = (points.fusion == FUSION.index("kernels")) & (points.fused_accumulation > 0)
    return np.where(
        points.chunked_loss > 0,
        np.minimum(logits, LOGITS_AT_ONCE) * LOGITS_BYTES,
        logits * np.where(kernels, FUSED_LOGITS_BYTES, np.where(points.tp > 1, SPLIT_LOGITS_BYTES, LOGITS_BYTES)),
    )


def _in_flight(points: Points, place: Column) -> Column:
    """`spec.memory.stages_in_flight`, for each row."""
    pp, v, m = points.pp, points.stages_per_rank, points.micro_batches
    a_round = m // np.maximum(m // pp, 1)
    hops = np.where(points.schedule == SCHEDULES.index("interleaved_zero_bubble"), pp - 1, 2 * (pp - 1 - place))
    many = np.select(
        [points.schedule == SCHEDULES.index("1f1b"), points.schedule == SCHEDULES.index("zbv_zero_bubble")],
        [np.minimum(pp - place, m), np.minimum(2 * pp, 2 * m)],
        np.minimum((v - 1) * a_round + hops + 1, v * m),
    )
    return np.where(pp == 1, 1.0, many)
