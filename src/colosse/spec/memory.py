"""Bytes that training takes on each rank of a layout: weights, gradients, optimiser state, activations.

Weights and the rest are exact; activations count the tensors that eager autograd keeps, of at least one value per token
and layer width (a compiler may keep fewer); what is in use for a moment is an estimate from the largest block. Not
counted: the device's context, buffers of collectives and an allocator's fragments, together a few GB on a GPU.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from colosse.spec.counts import Params, layer_params, params
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec

MASTER_BYTES = 4
"""Of a weight, a gradient, and each value of optimiser state: float32."""

OPTIMIZER_VALUES = {"adamw": 2, "muon": 1}
"""Values of optimiser state per parameter. Muon keeps Adam's two for embedding, head and norms."""

LOGITS_AT_ONCE = 2**27
"""Logits of the head's chunk of tokens on a GPU, as `model/loss.py` cuts it."""

LOGITS_BYTES = 14
"""Per logit of the chunk: the product in bfloat16, and three float32 tensors on the way to its gradient."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one rank."""

    weights: int
    """Master weights, this rank's slice."""
    gradients: int
    optimizer: int
    gathered: int
    """Weights and gradients that are whole on this rank while they are used."""
    activations: int
    """Kept for backward, over all micro batches in flight, and one block's recomputation."""
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        everything: int = sum(astuple(self))
        return everything


def memory(spec: ModelSpec, layout: Layout, *, seq_len: int, micro_batches: int, optimizer: str = "adamw") -> Memory:
    """Bytes on the rank that needs most; which stage of a pipeline that is depends on the sizes.

    Args:
        spec: the model.
        layout: how it is spread.
        seq_len: tokens of a sequence.
        micro_batches: of a step on each data rank, `Layout.micro_batches`.
        optimizer: `adamw` or `muon`.
    """
    ranks = (
        rank_memory(
            spec, layout, seq_len=seq_len, micro_batches=micro_batches, optimizer=optimizer, stage_rank=stage_rank
        )
        for stage_rank in range(layout.pp)
    )
    return max(ranks, key=lambda rank: rank.total)


def rank_memory(
    spec: ModelSpec, layout: Layout, *, seq_len: int, micro_batches: int, stage_rank: int, optimizer: str = "adamw"
) -> Memory:
    """Bytes on the ranks at place `stage_rank` of the pipeline; arguments as of `memory`."""
    value = value_bytes(layout)
    stages = layout.stage_layers(spec.num_layers)
    held = [stage for stage in range(layout.num_stages) if layout.stage_rank(stage) == stage_rank]
    first, last = 0 in held, layout.num_stages - 1 in held
    layers = [layer for stage in held for layer in stages[stage]]
    tokens = layout.micro_batch_size * seq_len // layout.cp

    units = [_whole(layout, layer_params(spec, layer)) for layer in layers]
    if first and not (last and spec.tied_embeddings):
        units.append(spec.vocab_size * spec.dim // layout.tp)
    if last:
        units.append(spec.vocab_size * spec.dim // layout.tp)
    mine = sum((layer_params(spec, layer) for layer in layers), params(spec, layers=range(0), first=first, last=last))
    slices = _slice(layout, mine)
    matrices = _slice(
        layout,
        Params(attention=mine.attention, ffn=mine.ffn, router=mine.router, experts=mine.experts, shared=mine.shared),
    )
    states = 2 * slices if optimizer == "adamw" else 2 * (slices - matrices) + matrices

    per_layer = max(activation_bytes_per_token(spec, layer, layout) for layer in layers)
    in_flight = stages_in_flight(layout, stage_rank, micro_batches) * max(len(stages[stage]) for stage in held)
    again = 0.0
    if layout.recompute != "none":
        eager = layout.model_copy(update={"recompute": "none"})
        again = max(activation_bytes_per_token(spec, layer, eager) for layer in layers) - per_layer
    ends = 2 * spec.dim * value / layout.tp if last else 0  # what the final norm and the head are given
    return Memory(
        weights=slices * MASTER_BYTES,
        gradients=slices * MASTER_BYTES,
        optimizer=states * MASTER_BYTES,
        gathered=_gathered(layout, units, value),
        activations=round(tokens * (in_flight * per_layer + again + ends)),
        logits=min(tokens * spec.vocab_size // layout.tp, LOGITS_AT_ONCE) * LOGITS_BYTES if last else 0,
    )


def value_bytes(layout: Layout) -> int:
    """Bytes of an activation; float8 products keep their inputs in bfloat16."""
    return 4 if layout.precision == "float32" else 2


def activation_bytes_per_token(spec: ModelSpec, layer: int, layout: Layout) -> float:
    """What one layer keeps for backward, per token of this rank's part of a sequence (of `seq_len / cp`).

    Tensor ranks share out heads and inner widths, and between the products the tokens (sequence parallelism); what the
    first products of attention and feed-forward read is gathered, and kept whole.
    """
    stream = spec.dim / layout.tp * (value_bytes(layout) if _is_sharded(layout) else MASTER_BYTES)
    if layout.recompute == "full":
        return stream
    kept = _attention_values(spec, layout) + _ffn_values(spec, layer, layout)
    between = 0 if layout.recompute == "selective" else stream  # what the feed-forward's norm reads
    return stream + between + value_bytes(layout) * kept


def _attention_values(spec: ModelSpec, layout: Layout) -> float:
    query, key = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    log_sums = spec.num_heads * 4 / value_bytes(layout)
    kept = query + 2 * key + query + log_sums  # queries, keys and values as attention reads them; its result
    if layout.recompute == "selective":
        return kept / layout.tp + _reduced(spec, layout)
    normed = query + key if spec.qk_norm != "none" else 0
    return (kept + normed) / layout.tp + spec.dim


def _ffn_values(spec: ModelSpec, layer: int, layout: Layout) -> float:
    selective = layout.recompute == "selective"
    inner = 2 if selective else 4  # gate and up; and the two that SwiGLU makes of them
    if spec.moe is None or not spec.is_moe_layer(layer):
        return inner * spec.ffn_dim / layout.tp + (_reduced(spec, layout) if selective else spec.dim)
    # Inside experts a tensor rank is a further data rank, with its part of the tokens.
    scores = 2 * spec.moe.num_experts * 4 / value_bytes(layout)
    visits = (1 if layout.ep == 1 else 3) if selective else 2  # copies of what goes in and comes out
    routed = spec.moe.top_k_experts * (inner * spec.moe.ffn_dim + visits * spec.dim)
    shared = inner * spec.moe.shared_ffn_dim + (spec.dim if selective and spec.moe.shared_ffn_dim else 0)
    return (scores + routed + shared + (0 if selective else spec.dim)) / layout.tp


def _reduced(spec: ModelSpec, layout: Layout) -> float:
    """Values of a last product's result, and of its sum over the tensor ranks: `selective` keeps both."""
    return spec.dim + (spec.dim / layout.tp if layout.tp > 1 else 0)


def _is_sharded(layout: Layout) -> bool:
    """Whether FSDP gathers low-precision weights; a rank alone casts them, and its residual stream stays float32."""
    return layout.world_size > layout.pp


def stages_in_flight(layout: Layout, stage_rank: int, micro_batches: int) -> int:
    """Most (micro batch, stage) pairs whose activations a rank holds at once, from the schedules' warm-up.

    As torch's schedules have it; for `zbv_zero_bubble` with fewer than twice `pp` micro batches at most that.
    """
    if layout.pp == 1:
        return 1
    if layout.schedule == "1f1b":
        return min(layout.pp - stage_rank, micro_batches)
    if layout.schedule == "zbv_zero_bubble":
        return min(2 * layout.pp, 2 * micro_batches)
    a_round = micro_batches // max(micro_batches // layout.pp, 1)
    warm_up = (layout.stages_per_rank - 1) * a_round
    if (
        layout.schedule == "interleaved_zero_bubble"
    ):  # products that wait for their weights' gradient even the ranks out
        warm_up += layout.pp - 1
    else:
        warm_up += 2 * (layout.pp - 1 - stage_rank)
    return min(warm_up + 1, layout.stages_per_rank * micro_batches)


def _slice(layout: Layout, count: Params) -> int:
    """Parameters of a rank's slice; experts, routers and shared experts are also cut over the tensor ranks by FSDP."""
    return -(
        -(_whole_dense(layout, count) + (count.router + count.shared + count.experts) // layout.tp)
        // (layout.dp_shard * layout.cp)
    )


def _whole(layout: Layout, count: Params) -> int:
    """Parameters of a block while they are gathered on a rank."""
    return _whole_dense(layout, count) + count.router + count.shared + count.experts // layout.ep


def _whole_dense(layout: Layout, count: Params) -> int:
    return (count.attention + count.ffn + count.embedding + count.head) // layout.tp + count.norms


def _gathered(layout: Layout, units: list[int], value: int) -> int:
    """Bytes of weights in the products' precision and of gradients on their way, for the parts gathered together."""
    if not _is_sharded(layout):
        return 0 if layout.precision == "float32" else sum(units) * value
    if layout.pp > 1:  # gradients of all micro batches are summed before they are sent
        return sum(units) * (value + MASTER_BYTES)
    held = sum(sorted(units)[-2:]) if layout.reshard_after_forward else sum(units)  # one computed, one on its way
    return held * value + max(units) * (value + MASTER_BYTES)
