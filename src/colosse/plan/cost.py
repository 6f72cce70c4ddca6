"""The cost model: from jobs to seconds of a step, and where they go. docs/plan/cost.md describes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from colosse.plan import collectives, layers, ops
from colosse.plan.parameters import Parameters
from colosse.plan.points import Column, Points

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


@dataclass(frozen=True)
class Steps:
    """Seconds of each row's step."""

    total: Column
    parts: dict[str, Column]
    """By kind; they add up to `total`."""


def step_times(points: Points, par: Parameters) -> Steps:
    """Seconds of a step for every row."""
    m, v = points.micro_batches, points.stages_per_rank
    forward, backward = layers.layer(points, par)
    recompute = points.recompute
    zero = np.zeros(len(points))
    again = np.where(recompute == 3, forward.total, zero)
    again = np.where(recompute == 2, forward.memory_bound + points.selective_products * forward.products, again)
    again = np.where((recompute == 1) & (points.flash == 0), forward.attention, again)
    embed_f, embed_b, head_f, head_b = layers.ends(points, par)

    first, middle, last = points.stage_layers()
    f, b = forward.total, backward.total + again
    stage = [(first * (f + b) + embed_f + embed_b), middle * (f + b), last * (f + b) + head_f + head_b]
    alone = points.stages == 1
    whole = points.layers * (f + b) + embed_f + embed_b + head_f + head_b
    # chunk times: rank 0 holds the first stage, the last rank the last one
    slow = np.where(
        alone,
        whole,
        np.maximum(
            np.maximum(stage[0] + (v - 1) * stage[1], stage[2] + (v - 1) * stage[1]),
            np.where(points.pp > 2, v * stage[1], 0),
        ),
    )
    fill = np.where(
        alone,
        0.0,
        stage[0] + stage[2] + (points.pp - 2) * stage[1] - np.maximum(np.maximum(stage[0], stage[2]), stage[1]),
    )
    bubble_share = np.select([points.schedule <= 1, points.schedule == 2], [1.0, 0.5], 0.25)
    bubble = np.maximum(fill, 0) * bubble_share
    busy = m * slow

    # Tensor ranks each send a part, and gather it over their links (arXiv:2104.04473, section 4.1).
    moved = points.tokens * points.dim * points.value_bytes / points.tp
    hop = collectives.send(points, par, moved, points.tp * points.cp * points.data_ranks)
    crossings = np.where(
        points.pp > 1, 2 * (points.pp - 1) + np.where(points.overlap_pipeline > 0, 0.2, 2.0) * m * v, 0.0
    )
    transfer = crossings * hop

    data = _data_parallel(points, par, f, b, first, middle, last)
    optimizer = _optimizer(points, par)

    nodes = points.world / np.maximum(np.minimum(points.domain, 8), 1)
    subtotal = busy + bubble + transfer + data + optimizer
    stragglers = subtotal * par.straggler * np.log2(np.maximum(nodes, 1.0))
    fixed = np.full(len(points), par.fixed_s)

    # what the slowest place does, by kind
    layers_there = np.where(alone, points.layers, v * middle)
    share = layers_there * m
    parts = {
        "products": share * (forward.products + backward.products),
        "attention": share * (forward.attention + backward.attention),
        "memory_bound": share * (forward.memory_bound + backward.memory_bound),
        "recomputation": share * again,
        "launches": share * (forward.launches + backward.launches),
        "tensor_parallel": share * (forward.tensor_parallel + backward.tensor_parallel),
        "context_parallel": share * (forward.context_parallel + backward.context_parallel),
        "expert_parallel": share * (forward.expert_parallel + backward.expert_parallel),
        "pipeline_bubble": bubble,
        "pipeline_transfer": transfer,
        "data_parallel": data,
        "optimizer": optimizer,
        "stragglers": stragglers,
        "fixed": fixed,
    }
    rest = busy - sum((parts[kind] for kind in KINDS[:8]), zero)
    ends_products = np.where(alone, rest, np.maximum(rest, 0))
    parts["products"] = parts["products"] + ends_products
    parts["pipeline_bubble"] = parts["pipeline_bubble"] + (rest - ends_products)
    total = subtotal + stragglers + fixed
    return Steps(total, parts)


def _stage_params(points: Points) -> Column:
    """Parameters on a rank of the fullest place, whole over data ranks."""
    dense = points.matrices * points.dim * points.ffn
    moe = (
        points.matrices * points.dim * (points.experts / points.ep * points.expert_ffn * points.tp + points.shared_ffn)
    )
    attention = points.proj_params
    share = points.moe_layers / points.layers
    per_layer = (attention + (1 - share) * dense + share * moe) / points.tp
    _, middle, _ = points.stage_layers()
    ends = points.vocab * points.dim / points.tp * np.where(points.tied > 0, 1.0, 2.0)
    return np.where(points.pp > 1, middle * points.stages_per_rank * per_layer, points.layers * per_layer + ends)


def _data_parallel(
    points: Points, par: Parameters, f: Column, b: Column, first: Column, middle: Column, last: Column
) -> Column:
    """Exposed time of gathering weights and reducing gradients over data ranks."""
    m = points.micro_batches
    held = _stage_params(points)
    held = np.where(points.lora > 0, 0.01 * held, held)
    stride = points.tp * points.cp
    shard, replicate = points.dp_shard * points.cp, points.dp_replicate
    stride_shard = points.tp
    weights = held * 2
    gradients = held * points.gradient_bytes
    gather = collectives.gather(points, par, weights, shard, stride_shard)
    reduce = collectives.gather(points, par, gradients, shard, stride_shard)
    outer = 2 * collectives.gather(points, par, gradients / np.maximum(shard, 1), replicate, stride * points.dp_shard)
    outer = np.where(
        points.zero == 0,
        2 * collectives.gather(points, par, gradients, points.data_ranks * points.cp, stride_shard),
        outer,
    )
    gather = np.where(points.zero == 0, 0.0, gather)
    reduce = np.where(points.zero == 0, 0.0, reduce)
    compute = points.layers / points.stages * points.stages_per_rank * (f + b)
    # once a step: beside the last backward and the first forward
    window = compute
    once = reduce + gather + outer
    exposed = np.maximum(once - 0.9 * window, 0.1 * once) + par.overlap_loss * np.minimum(once, window)
    exposed = np.where(points.overlap_data > 0, exposed, once)
    # every micro batch: FSDP
    n = points.layers / points.pp
    gather_l, reduce_l = gather / n, reduce / n
    forward_exposed = np.maximum(gather_l - f, 0.0)
    backward_exposed = np.maximum(gather_l * (points.zero == 3) + reduce_l - b, 0.0)
    passes = np.where(points.pp > 1, 1.0, m)
    fs = passes * (n * (forward_exposed + backward_exposed) + gather_l + reduce_l)
    hidden = passes * n * (np.minimum(gather_l, f) + np.minimum(gather_l + reduce_l, b))
    fs = fs + par.overlap_loss * hidden + outer * 0.5
    fs = np.where(points.overlap_data > 0, fs, passes * (2 * gather + reduce) + outer)
    return np.where(points.zero >= 2, fs, exposed)


def _optimizer(points: Points, par: Parameters) -> Column:
    """Gradients' norm and AdamW: reads and writes of master weights, both moments, gradients, and new weights."""
    held = _stage_params(points) / np.where(points.zero >= 1, points.dp_shard * points.cp, 1.0)
    return ops.moving(points, par, np.where(points.lora > 0, 0.01, 1.0) * held * 40.0)
