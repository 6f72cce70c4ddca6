"""What a pipeline place holds, and what each of its layers keeps for backward: for `plan.memory`, many jobs at once."""

from __future__ import annotations

import numpy as np

from colosse.plan.points import FUSION, RECOMPUTE, SCHEDULES, Column, Points
from colosse.spec.memory import MASTER_BYTES


class Held:
    """Layers by kind (rows: dense, with experts), embedding and head of a place, and the parameters that they make."""

    def __init__(self, points: Points, place: Column) -> None:
        zbv = points.schedule == SCHEDULES.index("zbv_zero_bubble")
        self.layers = np.zeros((2, len(points)))
        self.deepest = np.zeros(len(points))
        """Layers of the fullest stage."""
        for lap in range(int(points.stages_per_rank.max())):
            stage = lap * points.pp + np.where(zbv & (lap % 2 == 1), points.pp - 1 - place, place)
            begin, end = layer_range(points, stage)
            there = lap < points.stages_per_rank
            before = np.clip(points.layers - points.moe_layers - begin, 0, end - begin)
            self.layers += np.where(there, [before, end - begin - before], 0)
            self.deepest = np.maximum(self.deepest, np.where(there, end - begin, 0))
        self.first = 1.0 * (place == 0)
        """Whether the embedding is here."""
        self.last = 1.0 * (place == np.where(zbv, 0, points.pp - 1))
        """Whether the head is here."""
        self.tied = (points.stages == 1) & (points.tied > 0)
        self.tables = self.first + self.last - self.tied
        """Embedding and head; one where both are in one stage and the same."""
        self.matrix = points.vocab * points.dim / points.tp

        expert = points.matrices * points.dim * points.expert_ffn * points.experts
        routing = points.dim * points.experts + points.matrices * points.dim * points.shared_ffn
        attention = points.proj_params / points.tp + 2 * points.dim
        block = points.matrices * points.dim * points.ffn / points.tp
        self.units = np.array([attention + block, attention + routing + expert / points.ep])
        """Parameters of a layer of each kind that FSDP gathers at once."""
        # Before data ranks share them. Experts are on `ep` ranks; FSDP cuts them over tensor ranks too.
        dense, moe = self.layers
        common = dense * (attention + block) + moe * attention + self.tables * self.matrix + self.last * points.dim
        shards = points.dp_shard * points.cp
        self.sliced = (common + moe * (routing + expert) / points.tp) / shards
        """Parameters of FSDP's slice."""
        norms = 2 * points.dim * (dense + moe) + self.last * points.dim
        self.sliced_matrices = self.sliced - (self.tables * self.matrix + norms) / shards
        """Those of them that Muon updates."""
        self.experts = moe * expert / np.maximum(points.ep, points.tp)
        self.whole = common + moe * routing + self.experts
        """Parameters of a rank without FSDP, and those of experts among them."""

    def of(self, values: Column) -> tuple[Column, Column]:
        """Sum over the place's layers of something that each kind of layer has, and the largest of them."""
        total: Column = np.sum(self.layers * values, axis=0)
        largest: Column = np.max(np.where(self.layers > 0, values, 0), axis=0)
        return total, largest


def layer_range(points: Points, stage: Column) -> tuple[Column, Column]:
    """First layer of a stage and the first after it, as `Layout.stage_layers` has them."""
    stages = points.stages
    base, more = np.divmod(points.layers, stages)
    inner = np.minimum(more, np.maximum(stages - 2, 0))  # stages 1, 2, ... get one more, then the first, then the last

    def begin(stage: Column) -> Column:
        extra = np.clip(stage - 1, 0, inner) + ((more > stages - 2) & (stages > 1)) * (stage > 0)
        return stage * base + np.minimum(extra, more)

    return begin(stage), np.where(stage == stages - 1, points.layers, begin(stage + 1))


def layer_bytes(points: Points) -> tuple[Column, Column]:
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


def in_flight(points: Points, place: Column) -> Column:
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
