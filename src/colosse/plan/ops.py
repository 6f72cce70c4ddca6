"""Seconds of one operation on one GPU: matrix products, attention, and what only moves memory. All on columns."""

from __future__ import annotations

import numpy as np

from colosse.plan.parameters import Parameters
from colosse.plan.points import Column, Points

TILES = ((256, 128, 1.0), (128, 256, 1.0), (128, 128, 0.95), (128, 64, 0.8), (64, 64, 0.6))
"""Rows, columns and relative rate of the tiles in which libraries cut a product; they choose the best."""

BACKWARD_ATTENTION = 2.5 / 0.85
"""Time of attention's backward pass over forward's: five products for two, at a lower rate (arXiv:2307.08691)."""

BACKWARD_SCORES = 1.5
"""The same where scores are written: 19 bytes of each for 13, and four products for two."""

SEQUENCE_HALF = 350.0
"""Tokens at which flash attention reaches half of its rate (the same figure's short sequences)."""

HEAD_HALF = 32.0
"""Head dimensions at which it would reach half (the same figure: 64 against 128)."""


WATTS_PER_TFLOP = 400 / 312
"""Of an A100 SXM in bfloat16, which holds its clocks; later GPUs have less for each FLOP."""


def sustained(points: Points, par: Parameters) -> Column:
    """Share of the best products' rate that lasts in training, where power is short."""
    supply = points.watts / (points.peak_wide / 1e12) / WATTS_PER_TFLOP
    return np.minimum(supply, 1.0) ** par.power_exponent


def libraries(points: Points, par: Parameters) -> Column:
    """Share of the best rate that a program reaches without its vendor's training kernels, on GPUs since Hopper."""
    return np.where((points.fusion != 1) & (points.year >= 2022), par.plain_rate, 1.0)


def product(points: Points, par: Parameters, m: Column, n: Column, k: Column) -> Column:
    """Seconds of an [m, k] x [k, n] product in the row's precision.

    Tiles go to SMs in waves; a tile takes its FLOPs at an SM's share of the sustained rate, and a moment to begin and
    end. Bounded below by the time to read and write the matrices.
    """
    low = points.low_precision > 0
    rate = points.achievable * np.where(low, par.low_product_rate, par.product_rate)
    rate = rate * sustained(points, par) * libraries(points, par)
    per_sm = rate / points.sms
    best = np.full(np.broadcast(m, n, k, per_sm).shape, np.inf)
    for rows, columns, share in TILES:
        waves = np.ceil(m / rows) * np.ceil(n / columns) / points.sms
        waves = np.maximum(waves + par.last_wave * (np.ceil(waves) - waves), 1 / np.minimum(points.sms, 4))
        best = np.minimum(best, waves * (2 * rows * columns * k / (per_sm * share) + par.tile_s))
    width = np.where(low, 1.0, points.value_bytes)
    moved = (m * k + k * n) * width + m * n * points.value_bytes
    return np.where((m > 0) & (n > 0) & (k > 0), np.maximum(best, moved / (points.memory_rate * par.memory_rate)), 0.0)


def moving(points: Points, par: Parameters, moved: Column) -> Column:
    """Seconds to move this many bytes through memory."""
    return moved / (points.memory_rate * par.memory_rate)


def attended(points: Points, windowed: bool) -> Column:
    """(query, key) pairs that a rank computes for a micro batch, in blocks of 128."""
    length = points.seq_len
    pairs = length * (length + 128) / 2
    if windowed:
        seen = np.minimum(points.window, length)
        pairs = np.where(points.window > 0, seen * (seen + 128) / 2 + (length - seen) * seen, pairs)
    return points.micro_batch * pairs / points.cp


def attention(points: Points, par: Parameters, pairs: Column) -> Column:
    """Seconds of attention's forward pass over these pairs, without its projections."""
    heads = (points.query + points.value_out) / points.tp
    size = (points.query + points.value_out) / (2 * points.heads)
    shape = size / (size + HEAD_HALF) * (128 + HEAD_HALF) / 128
    ampere = points.year < 2022
    generation = np.where(ampere, np.minimum(points.flash_generation, 2), points.flash_generation).astype(int)
    rate = np.array([0.0, par.attention_1, par.attention_2, par.attention_3])[generation]
    rate = np.where(ampere | (generation == 3), rate, rate * par.old_attention)
    length = np.where((points.window > 0) & (pairs < attended(points, False)), points.window, points.seq_len)
    rate = rate * points.achievable_wide * par.product_rate * sustained(points, par)
    rate = rate * shape * length / (length + SEQUENCE_HALF)
    return np.where(points.flash > 0, 2 * pairs * heads / rate, _written_scores(points, par))


def _written_scores(points: Points, par: Parameters) -> Column:
    """Without flash attention: the whole square, written and read by product, softmax, dropout and product."""
    scores = points.micro_batch * points.seq_len**2 / points.cp * points.heads / points.tp
    passes = np.where(points.fusion == 0, 24.0, 13.0)  # bytes of each score, fused scale-mask-softmax or not
    flops = 2 * scores * (points.query + points.value_out) / points.heads
    return moving(points, par, scores * passes) + flops / (0.6 * points.achievable_wide * par.product_rate)
