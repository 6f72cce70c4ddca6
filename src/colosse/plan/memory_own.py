"""Memory of Colosse's own trainer, for many jobs at once: the fullest moment of a step, as `spec.memory` finds it.

`spec.memory` goes through a step pass by pass. Here only those moments are looked at that can be the fullest, of a
place that has as many micro batches in flight as its schedule ever has.
"""

from __future__ import annotations

import itertools

import numpy as np

from colosse.plan.memory_parts import Held, in_flight, layer_bytes
from colosse.plan.points import RECOMPUTE, SCHEDULES, Column, Points
from colosse.spec.memory import ACTIVE_STAGES, LOGITS_AT_ONCE, LOGITS_BYTES, MASTER_BYTES, WEIGHT_GROUPS

Moment = tuple[Column, Column, Column, Column]
"""Gradients, what is gathered, activations, and what the head takes."""


def own_memory(points: Points, place: Column, held: Held) -> dict[str, Column]:
    """Bytes by component, but for `workspace`, at the fullest moment of the ranks at `place`."""
    stage = _Stage(points, held)
    alone, piped = _alone(points, stage), _piped(points, stage, place)
    moments = [
        tuple(np.where(points.pp > 1, *both) for both in zip(one, other, strict=True))
        for one, other in itertools.zip_longest(piped, alone, fillvalue=alone[-1])
    ]
    fullest = np.argmax(np.sum(moments, axis=1), axis=0)
    gradients, gathered, activations, head = (
        np.choose(fullest, [moment[part] for moment in moments]) for part in range(4)
    )
    values = 2 * held.sliced - np.where(points.muon > 0, held.sliced_matrices, 0)
    turns = (points.schedule == SCHEDULES.index("zbv_zero_bubble")) & (place == points.pp - 1)
    neighbours = np.where(points.pp > 1, 2 * points.stages_per_rank - held.first - held.last - turns, 0)
    return {
        "weights": stage.slices,
        "gradients": gradients,
        "optimizer": values * MASTER_BYTES,
        "gathered": gathered,
        "activations": activations + neighbours * points.micro_batches * stage.hidden,  # room for what it receives
        "logits": head,
    }


class _Stage:
    """Bytes of one stage and one micro batch, where a place has several the fullest one; as `spec.memory` has them."""

    def __init__(self, points: Points, held: Held) -> None:
        value, tp, tokens, v = points.value_bytes, points.tp, points.tokens, points.stages_per_rank
        wide = value == MASTER_BYTES
        self.sharded = points.world > points.pp
        narrows = ~self.sharded & ~wide  # autocast: each product narrows what it reads, for itself
        recomputes = points.recompute >= RECOMPUTE.index("selective")
        stream = np.where(self.sharded, value, MASTER_BYTES)
        self.hidden = tokens * points.dim * stream / tp

        kept, whole = layer_bytes(points)
        rotations = np.where(self.sharded & ~wide, points.head_dim * value * points.cp, 0)
        shared = 2 * points.dim * (points.shared_ffn > 0) / tp
        copies = np.where(narrows, value * np.array([3 * points.dim, 2 * points.dim + shared]), 0)
        ring = value * _exchanged(points)
        more = np.select([points.recompute == RECOMPUTE.index("full"), recomputes], [0, ring[1]], ring[0] + copies)
        kept, whole = tokens * (kept + rotations + more), tokens * (whole + rotations + ring[0] + copies)
        layers, norms = np.sum(held.layers, axis=0), 2 * points.dim
        stages = layers / np.maximum(held.deepest, 1)  # as many as the fullest would make of the place's layers
        made = np.where(recomputes, points.matrices * points.dim * points.expert_ffn * points.experts / points.ep, 0)
        linears = held.of(held.units - np.array([0 * made, made]))[0] - norms * layers
        linears = np.where(narrows, value * linears, 0) / v  # experts' narrow copies stay for backward only
        self.kept = held.of(kept)[0] / stages + np.where(recomputes, 0, linears)
        """For backward."""
        self.again = held.of(whole - kept)[0] / stages
        """What is computed again."""
        self.products = tokens * held.of(_product_bytes(points))[0] / stages
        """Gradients of products' results."""
        self.block_kept = held.of(kept)[1]
        self.block_again = held.of(whole - kept)[1]
        self.passing = held.of(_passing_bytes(points))[1] * tokens + self.hidden
        self.narrowed = np.where(recomputes, linears, 0)

        only = points.stages == 1
        gathered = np.where(tp > 1, tokens * points.dim * value, 0)
        self.last = held.last * (np.where(only, 2, 1) * self.hidden + gathered)
        """More that the last stage keeps: what the norm and the head read."""
        self.first = held.first * np.where(only, 0, self.hidden)
        """More that the first keeps: its result."""
        rows = np.maximum(128, LOGITS_AT_ONCE // (points.vocab // tp) // 128 * 128)
        each = np.where(wide, 12, LOGITS_BYTES) + np.where(tokens > rows, value, 0)
        logits = np.minimum(tokens, rows) * (points.vocab // tp) * each + np.where(narrows, held.matrix * value, 0)
        self.logits = held.last * logits
        self.head = held.last * (tokens * points.dim + held.matrix) * stream
        """Gradients that the head makes together with its loss."""

        # Weights in the products' precision, of all stages of the place; `table` is the head, or tied embeddings.
        self.blocks = (held.of(held.units)[0] + (held.first - held.tied) * held.matrix) * value * self.sharded
        self.block = held.of(held.units)[1] * value * self.sharded
        self.table = held.last * (held.matrix + points.dim) * value * self.sharded
        ends = (held.first + held.last > 0) * held.matrix * value * self.sharded
        self.unit = np.maximum(self.block, ends)
        self.master = MASTER_BYTES / value
        self.slices = held.sliced * MASTER_BYTES
        self.tied = held.tied


def _alone(points: Points, stage: _Stage) -> list[Moment]:
    """Moments without a pipeline: the head's, in the last block's backward, after it, and when all is done."""
    none = np.zeros(len(points))
    before = np.where(points.micro_batches < 2, 0, stage.slices)  # gradients of the micro batch before
    keeps = points.zero < 3
    flat = stage.sharded & (
        (points.dp_shard * points.cp > 1) | (points.tp > 1)
    )  # what was gathered last is there twice
    latest = np.where(flat, np.where(stage.tied, stage.block, stage.table), 0)
    there = np.where(keeps, stage.blocks, 0)
    ties = np.where(stage.tied, stage.table, 0)
    head_sum = np.where(stage.tied, stage.table, stage.table * stage.master)
    kept = stage.kept + stage.last
    sending = (np.where(keeps, 1, 3) + stage.master) * stage.block
    return [
        (before, there + stage.table + latest + stage.narrowed, kept, stage.head + stage.logits),
        (
            before,
            there + ties + np.where(keeps, 1, 3) * stage.block + head_sum,
            kept + stage.block_again + stage.passing,
            none,
        ),
        (
            before,
            np.where(stage.sharded, there + 2 * ties + sending, 0),
            np.where(stage.sharded, kept + stage.hidden - stage.block_kept, 0),
            none,
        ),
        (
            np.where(stage.sharded, before, stage.slices),
            ties + stage.unit * (1 + stage.master),
            np.where(stage.sharded, 0, stage.passing),
            none,
        ),
    ]


def _piped(points: Points, stage: _Stage, place: Column) -> list[Moment]:
    """Moments of a pipeline's place, where whole gradients are summed until a stage has had its last pass."""
    v, m, pp = points.stages_per_rank, points.micro_batches, points.pp
    izb = points.schedule == SCHEDULES.index("interleaved_zero_bubble")
    zbv = points.schedule == SCHEDULES.index("zbv_zero_bubble")
    split = izb | zbv
    reshards = (points.zero >= 3) & ~split
    a_round = m // np.maximum(m // pp, 1)
    most = in_flight(points, place)
    # What waits for its weights' gradients keeps its products' gradients; what was received keeps its own.
    waiting = np.where(izb, np.minimum(place, m * v - 1), 0)
    received = np.where(split, stage.hidden * (1 - (place == 0) / v), 0)
    heads = stage.head * np.minimum(waiting, a_round)
    held = most * stage.kept + waiting * stage.products + stage.last + received * (v * m - most)
    held += stage.first * np.maximum((most - waiting) / v, 1)
    # At the end ZB-V has passes of both stages waiting.
    lag = np.maximum(place - np.maximum(2 * pp - 1 - m, 0), 0)
    late = np.where(zbv, 2 * lag + 1, np.where(izb, waiting + 1, 0))
    running = np.where(zbv, np.clip(pp - place - 1, 0, m), 0)
    end = late * (stage.kept + stage.products) + running * stage.kept + received * v * m
    again = np.where(split, WEIGHT_GROUPS * stage.again, stage.passing)

    # Sums of those stages that have had a backward pass while as many as ever are in flight.
    share = np.clip(np.ceil((v * m - most) / a_round), 0, v) / v
    weights = stage.blocks + stage.table
    there = weights * np.minimum(ACTIVE_STAGES / v, 1)
    # What a forward pass has used is given back, and comes again with its stage's backward pass.
    used = np.where(reshards, stage.blocks / v, 0)
    early_there = np.where(v > 1, np.minimum(there, np.maximum(share, 2 / v) * weights) - used, there)
    forward = there - used
    backward = np.where((v == 1) & reshards, 3 * stage.block + stage.table, early_there + stage.block) + stage.table
    sums = np.where(stage.sharded, weights * stage.master, 0)
    begun = np.maximum(share, 1 / v) * sums
    gradients = np.where(stage.sharded, 0, stage.slices)
    early = gradients * (share > 0)
    sent = np.where(m > a_round, sums, sums / v)
    one_less = held - np.where(split, -stage.products, stage.kept)  # in two pieces it is still there
    none = np.zeros(len(points))
    return [
        (early, forward + share * sums + stage.narrowed, held, heads + stage.head + stage.logits),
        (early, backward + share * sums, held + stage.block_again + stage.passing, heads),
        (gradients, backward + begun, held - stage.kept + stage.block_again + stage.passing, heads),
        (gradients, early_there + begun + np.where(split, stage.block, stage.unit), one_less + again, heads),
        (gradients, there + sums + stage.unit, np.where(v > 1, a_round * stage.kept, 0) + stage.passing, none),
        (gradients, there + sent + stage.unit * (stage.master - 1), (v - 1) * a_round * stage.kept, none),
        (gradients, there + sums + stage.unit, np.where(split, end + again, 0), heads),
    ]


def _exchanged(points: Points) -> Column:
    """Values per token that context ranks' exchange of keys and values adds: of eager and of selective layers."""
    heads = np.maximum(points.key / np.maximum(points.head_dim, 1), 1)
    repeated = points.key * np.maximum(1, points.cp * points.tp // heads)
    more = 2 * (points.query + repeated)
    return np.where(points.cp > 1, np.array([more + repeated - 2 * points.key, more]) / points.tp, 0)


def _passing_bytes(points: Points) -> Column:
    """Per token of a layer of each kind: gradients of a feed-forward's two inner widths."""
    experts = points.top_k * (2 * points.expert_ffn + points.dim)
    return np.array([2 * points.ffn, experts]) / points.tp * points.value_bytes


def _product_bytes(points: Points) -> Column:
    """Per token of a layer of each kind: gradients of all products' results."""
    attention = points.query + 2 * points.key + points.value_out
    dense = (attention + 2 * points.ffn) / points.tp + points.dim
    experts = points.top_k * (2 * points.expert_ffn + points.dim) + 2 * points.shared_ffn
    return np.array([dense, (attention + experts) / points.tp]) * points.value_bytes
