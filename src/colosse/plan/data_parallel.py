"""Seconds that data ranks wait for each other: weights gathered, gradients reduced, and the optimiser. On columns."""

from __future__ import annotations

import numpy as np

from colosse.plan import collectives, ops
from colosse.plan.parameters import Parameters
from colosse.plan.points import Column, Points

WEIGHT_BYTES = 2
"""Of a weight on its way: the products' wide precision."""

OPTIMIZER_BYTES = 40.0
"""Read and written for a parameter: gradient, for its norm and again; master weight and both moments, there and back;
the new weight."""

HIDEABLE = 0.9
"""Share of the last backward and the first forward beside which buckets travel; the first and last bucket cannot."""

LORA_SHARE = 0.01
"""Parameters that adapters train, of all."""


def held(points: Points) -> Column:
    """Parameters of the fullest pipeline place on one tensor rank, before data ranks share them."""
    dense = points.matrices * points.dim * points.ffn
    routed = points.matrices * points.dim * points.expert_ffn * points.experts / points.ep
    shared = points.matrices * points.dim * points.shared_ffn + points.dim * points.experts
    share = points.moe_layers / points.layers
    per_layer = (points.proj_params + (1 - share) * dense) / points.tp + share * (routed + shared)
    _, middle, _ = points.stage_layers()
    tables = points.vocab * points.dim / points.tp * np.where(points.tied > 0, 1.0, 2.0)
    piped = middle * points.stages_per_rank * per_layer
    return np.where(points.pp > 1, piped, points.layers * per_layer + tables)


def waiting(points: Points, par: Parameters, forward: Column, backward: Column) -> Column:
    """Exposed seconds of a step.

    Optimiser state shared (ZeRO-1): gradients are reduced once beside the last backward, weights gathered once beside
    the next forward. Weights shared too (FSDP): gathered block by block, one ahead, in every pass; what a block's
    computation does not cover is exposed, and so is the first. Hidden traffic slows the computation that hides it.

    Args:
        points: the jobs.
        par: parameters.
        forward: seconds of a layer's forward pass for one micro batch.
        backward: of its backward, with what is computed again.
    """
    count = held(points) * np.where(points.lora > 0, LORA_SHARE, 1.0)
    shard = points.dp_shard * points.cp
    gradients = count * points.gradient_bytes
    gather = collectives.gather(points, par, count * WEIGHT_BYTES, shard, points.tp)
    reduce = collectives.gather(points, par, gradients, shard, points.tp)
    apart = points.tp * shard
    outer = collectives.all_reduce(points, par, gradients / shard, points.dp_replicate, apart)
    whole = collectives.all_reduce(points, par, gradients, points.data_ranks * points.cp, points.tp)
    once = np.where(points.zero == 0, whole, gather + reduce + outer)
    layers = points.layers / points.pp
    window = HIDEABLE * layers * (forward + backward)
    beside = np.maximum(once - window, (1 - HIDEABLE) * once) + par.overlap_loss * np.minimum(once, window)
    beside = np.where(points.overlap_data > 0, beside, once)

    passes = np.where(points.pp > 1, 1.0, points.micro_batches)
    a_gather, a_reduce = gather / layers, reduce / layers
    back = a_gather * (points.zero == 3) + a_reduce
    exposed = layers * (np.maximum(a_gather - forward, 0.0) + np.maximum(back - backward, 0.0)) + a_gather + a_reduce
    hidden = layers * (np.minimum(a_gather, forward) + np.minimum(back, backward))
    block_wise = passes * (exposed + par.overlap_loss * hidden) + outer / 2
    block_wise = np.where(points.overlap_data > 0, block_wise, passes * (gather + layers * back) + outer)
    return np.where(points.zero >= 2, block_wise, beside)


def optimizer(points: Points, par: Parameters) -> Column:
    """Seconds of the gradients' norm and the update."""
    shards = np.where(points.zero >= 1, points.dp_shard * points.cp, 1.0)
    count = held(points) / shards * np.where(points.lora > 0, LORA_SHARE, 1.0)
    return ops.moving(points, par, count * OPTIMIZER_BYTES)
