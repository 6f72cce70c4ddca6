"""Seconds of one layer, of the embedding and of the head, for one micro batch on one GPU, by what they are spent on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from colosse.plan import collectives, ops
from colosse.plan.parameters import Parameters
from colosse.plan.points import Column, Points

OPERATIONS = (50.0, 36.0, 20.0)
"""Kernels of a dense layer's forward pass, by `Points.fusion`; backward launches twice as many."""

MOE_OPERATIONS = 30.0
"""More in a layer with experts: router, permutation, counts, exchange."""

TRAFFIC = (1.15, 1.0, 0.75)
"""Bytes that operations between products move, by `Points.fusion`: joined by hand is the unit."""

EAGER_GATED = 3.0
"""The first of them for gated models: RMSNorm, rotation and SwiGLU written in single operations, partly in float32."""


@dataclass(frozen=True)
class Pass:
    """Seconds of a pass by kind."""

    products: Column
    attention: Column
    memory_bound: Column
    launches: Column
    """What the host needs beyond the device's time."""
    tensor_parallel: Column
    """Exposed; so the two below."""
    context_parallel: Column
    expert_parallel: Column

    @property
    def total(self) -> Column:
        """All of it."""
        compute = self.products + self.attention + self.memory_bound + self.launches
        return compute + self.tensor_parallel + self.context_parallel + self.expert_parallel

    def mixed(self, other: Pass, share: Column) -> Pass:
        """`share` of this pass and the rest of the other."""
        return Pass(
            *(share * mine + (1 - share) * theirs for mine, theirs in zip(_parts(self), _parts(other), strict=True))
        )


def _parts(one: Pass) -> tuple[Column, ...]:
    return (
        one.products,
        one.attention,
        one.memory_bound,
        one.launches,
        one.tensor_parallel,
        one.context_parallel,
        one.expert_parallel,
    )


def layer(points: Points, par: Parameters) -> tuple[Pass, Pass]:
    """Forward and backward of the model's average layer."""
    forward, backward = _layer(points, par, experts=False)
    share = points.moe_layers / points.layers
    if share.any():
        forward_moe, backward_moe = _layer(points, par, experts=True)
        forward, backward = forward_moe.mixed(forward, share), backward_moe.mixed(backward, share)
    return forward, backward


def _layer(points: Points, par: Parameters, *, experts: bool) -> tuple[Pass, Pass]:
    products = _projections(points) + (_experts(points, par) if experts else _dense(points))
    forward = sum((count * ops.product(points, par, m, n, k) for count, m, n, k in products), np.zeros(len(points)))
    inputs = sum((count * ops.product(points, par, m, k, n) for count, m, n, k in products), np.zeros(len(points)))
    weights = sum((count * ops.product(points, par, n, k, m) for count, m, n, k in products), np.zeros(len(points)))
    weights = np.where(points.lora > 0, 0.03 * weights, weights)

    windowed = points.windowed_layers / points.layers
    pairs = windowed * ops.attended(points, True) + (1 - windowed) * ops.attended(points, False)
    scores = ops.attention(points, par, pairs)
    scores_back = np.where(points.flash > 0, ops.BACKWARD_ATTENTION, ops.BACKWARD_SCORES) * scores

    moved = _traffic(points, par, experts=experts)
    count = np.asarray(OPERATIONS)[points.fusion.astype(int)]
    if experts:  # each rank's experts are separate launches
        count = count + MOE_OPERATIONS + 2 * points.experts / points.ep
    casts, casts_back = _casts(points, par, products)
    if experts:
        casts, casts_back = (np.where(points.fused_experts > 0, 0.5, 1.0) * one for one in (casts, casts_back))
    memory = ops.moving(points, par, moved + casts) + count * par.gap_s
    summed = sum((cnt * n * k for cnt, _, n, k in products), np.zeros(1)) * (2 * points.gradient_bytes + 2)
    # Into the sums of earlier micro batches, where the product does not do it by itself.
    apart = (points.micro_batches > 1) & (points.lora == 0) & (points.fused_accumulation == 0)
    summed = np.where(apart, summed, 0.0)
    memory_back = ops.moving(points, par, 2 * moved + casts_back + summed) + 2 * count * par.gap_s

    tensor = _tensor(points, par)
    context = _context(points, par, scores)
    exchange = _exchange(points, par) if experts else np.zeros(len(points))
    exchange = exchange * np.where(points.fused_experts > 0, 1 - par.hidden_tensor, 1.0)
    host = np.where(points.graphs > 0, 0.0, count * par.launch_s)
    busy, busy_back = forward + scores + memory, inputs + weights + scores_back + memory_back
    hidden = points.overlap_tensor * par.hidden_tensor
    tensor_back = np.where(points.sp > 0, 1.5, 1.0) * tensor
    ahead = Pass(
        products=forward,
        attention=scores,
        memory_bound=memory,
        launches=np.maximum(host - busy, 0.0),
        tensor_parallel=tensor * (1 - hidden),
        context_parallel=context,
        expert_parallel=exchange,
    )
    back = Pass(
        products=inputs + weights,
        attention=scores_back,
        memory_bound=memory_back,
        launches=np.maximum(2 * host - busy_back, 0.0),
        tensor_parallel=tensor_back * (1 - hidden),
        context_parallel=2 * context,
        expert_parallel=exchange,
    )
    return ahead, back


Shape = tuple[Column | float, Column, Column, Column]
"""How many products, and m, n, k of each."""


def _projections(points: Points) -> list[Shape]:
    t, tp = points.tokens, points.tp
    plain = points.mla == 0
    one = plain.astype(float)
    shapes: list[Shape] = [
        (one, t, (points.query + 2 * points.key) / tp, points.dim),
        (1.0, t, points.dim, points.value_out / tp),
    ]
    if not plain.all():
        latent = 1.0 - one
        compressed = np.where(points.q_rank > 0, latent, 0.0)
        direct = latent - compressed
        up = points.heads * (points.nope_dim + points.v_dim) / tp
        shapes += [
            (compressed, t, np.maximum(points.q_rank, 1.0), points.dim),
            (compressed, t, points.query / tp, np.maximum(points.q_rank, 1.0)),
            (direct, t, points.query / tp, points.dim),
            (latent, t, points.kv_rank + points.rope_dim, points.dim),
            (latent, t, up, points.kv_rank),
        ]
    return shapes


def _dense(points: Points) -> list[Shape]:
    t, width = points.tokens, points.ffn / points.tp
    return [(1.0, t, (points.matrices - 1) * width, points.dim), (1.0, t, points.dim, width)]


def _experts(points: Points, par: Parameters) -> list[Shape]:
    """Balanced routing: each of a rank's experts gets as many tokens; tensor ranks are further data ranks here."""
    visits = points.tokens / points.tp * points.top_k
    local = np.maximum(points.experts / points.ep, 1.0)
    each = np.ceil(visits / local / 128) * 128  # a group is cut into whole tiles
    up = (points.matrices - 1) * points.expert_ffn
    rate = np.where(points.fused_experts > 0, 1.0, par.expert_rate)
    shared = (points.matrices - 1) * points.shared_ffn
    t = points.tokens / points.tp
    return [
        (local / rate, each, up, points.dim),
        (local / rate, each, points.dim, points.expert_ffn),
        (1.0, t, shared, points.dim),
        (1.0, t, points.dim, points.shared_ffn),
        (1.0, t, points.experts, points.dim),
    ]


def _traffic(points: Points, par: Parameters, *, experts: bool) -> Column:
    """Bytes that norms, residuals, rotations, activation functions and dropout move in a layer's forward pass."""
    rows = points.tokens / np.where(points.sp > 0, points.tp, 1.0)
    stream = 14.0 * points.dim * rows  # two norms, two residual sums, what they read and write
    heads = 3.0 * (points.query + 2 * points.key) / points.tp * points.tokens
    if experts:
        visits = points.tokens / points.tp * points.top_k
        joined = np.where(points.fused_experts > 0, 0.5, 1.0)
        inner = visits * joined * (1.5 * points.matrices * points.expert_ffn + 6.0 * points.dim)  # permuted, put back
        inner = inner + points.tokens / points.tp * (1.5 * points.matrices * points.shared_ffn + 8.0 * points.experts)
    else:
        inner = 1.5 * points.matrices * points.ffn / points.tp * points.tokens
    factor = np.asarray(TRAFFIC)[points.fusion.astype(int)] * par.traffic
    factor = np.where((points.fusion == 0) & (points.matrices == 3), EAGER_GATED * par.traffic, factor)
    return factor * points.value_bytes / 2 * (stream + heads + inner)


def _casts(points: Points, par: Parameters, products: list[Shape]) -> tuple[Column, Column]:
    """Bytes to make low-precision inputs of products, forward and backward.

    Activations are joined to what makes them, gradients read and written in both orientations, weights once a step.
    Scales of 32 values want both orientations forward too.
    """
    twice = np.where(points.low_precision >= 2, 1.6, 1.0) * np.where(points.low_precision > 0, par.cast_traffic, 0.0)
    none = np.zeros(len(points))
    ahead = sum((count * (2.0 * m * k + 4.0 * n * k / points.micro_batches) for count, m, n, k in products), none)
    back = sum((count * 4.0 * m * n for count, m, n, k in products), none)
    return twice * ahead, twice * back


def _tensor(points: Points, par: Parameters) -> Column:
    """Two sums over tensor ranks: a reduce-scatter and an all-gather each where they also share the tokens."""
    moved, neighbours = points.tokens * points.dim * points.value_bytes, np.ones(len(points))
    shared = 2 * collectives.gather(points, par, moved, points.tp, neighbours)
    whole = collectives.all_reduce(points, par, moved, points.tp, neighbours)
    return 2 * np.where(points.sp > 0, shared, whole)


def _context(points: Points, par: Parameters, scores: Column) -> Column:
    """Keys and values on their way around a ring beside the computation, or heads for tokens in one exchange."""
    rows = points.tokens * points.value_bytes / points.tp
    swap = collectives.all_to_all(points, par, rows * (2 * points.query + 2 * points.key) / 2, points.cp, points.tp) * 2
    ring = (points.cp - 1) * collectives.send(points, par, rows * 2 * points.key, points.tp)
    left = np.maximum(ring - scores, 0.05 * ring)
    return np.where(points.cp > 1, np.where(points.ring > 0, left, swap), 0.0)


def _exchange(points: Points, par: Parameters) -> Column:
    """Tokens to their experts and back: each to its `top_k` ranks, or once to every domain that has one of them."""
    ones = np.ones(len(points))
    rows = points.tokens / points.tp * points.dim * points.value_bytes
    flat = collectives.all_to_all(points, par, rows * points.top_k, points.ep, ones)
    domains = np.maximum(points.ep / np.minimum(points.domain, points.ep), 1.0)
    reached = domains * (1 - (1 - 1 / domains) ** points.top_k)
    outside = rows * reached * (domains - 1) / domains / np.maximum(points.nic_rate * par.nic_rate, 1.0)
    inside = rows * points.top_k / (points.link_rate * par.link_rate)
    twice = par.hop_s + np.where(domains > 1, points.latency, 0.0) + np.maximum(outside, inside)
    return 2 * np.where(points.ep > 1, np.where(points.hierarchical_experts > 0, twice, flat), 0.0)


LOSS_BYTES = (14.0, 10.0, 8.0)
"""Moved for a logit of the loss, forward and again backward, by `Points.fusion`."""


def ends(points: Points, par: Parameters) -> tuple[Column, Column, Column]:
    """Seconds of the embedding, the same forward and backward, and of the head with the loss, forward and backward.

    The head stays in wide precision.
    """
    t, ones = points.tokens, np.ones(len(points))
    rows = t * points.dim * points.value_bytes
    embedding = ops.moving(points, par, 3 * rows) + collectives.gather(points, par, 2 * rows, points.tp, ones)
    wide = points.with_columns(low_precision=0 * ones, achievable=points.achievable_wide)
    vocab = points.vocab / points.tp
    loss = ops.moving(points, par, t * vocab * np.asarray(LOSS_BYTES)[points.fusion.astype(int)])
    forward = ops.product(wide, par, t, vocab, points.dim) + loss
    inputs, weights = ops.product(wide, par, t, points.dim, vocab), ops.product(wide, par, vocab, points.dim, t)
    return embedding, forward, inputs + weights + loss
