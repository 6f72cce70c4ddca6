"""Scaling laws: one dial for a model's shape, and from compute to model size, tokens, batch and learning rate.

Numbers in and out are plain floats. Outside the range in which a law was fitted it is extrapolated; where that is known
to go wrong the result is clamped, and says where.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

MAX_LEARNING_RATE = 4e-3
"""The law passes 4e-3 below 1.5e15 FLOPs, a hundredth of its range, where no published dense run went higher."""

MIN_TOKENS_PER_STEP = 8192
"""The law passes 8,192 below 4e13 FLOPs: smaller steps gain nothing even on a laptop's cores."""

MAX_TOKENS_PER_STEP = 2**26
"""The largest step published for a run of its time, DeepSeek-V3's 15,360 sequences of 4,096 (arXiv:2412.19437)."""


def shape(depth: int) -> dict[str, Any]:
    """Fields of `ModelSpec` for `depth` layers.

    64 dim per layer, the ratio that nanochat's dial uses and within the broad optimum of arXiv:2001.08361, figure 5;
    heads of 64 up to 1,024 dim and of 128 beyond; SwiGLU of 8/3 dim, which makes about 49,152 depth^3 parameters
    without embeddings: 4 is 3 M, 8 is 25 M, 12 is 85 M, 20 is 0.4 B, 32 is 1.6 B, 64 is 13 B.
    """
    head_dim = 64 if depth <= 16 else 128
    num_heads = -(-64 * depth // head_dim)
    dim = num_heads * head_dim
    return {
        "dim": dim,
        "num_layers": depth,
        "num_heads": num_heads,
        "ffn_dim": -(-8 * dim // 3 // 64) * 64,
        "vocab_size": 8192 if depth <= 8 else 32768,
        "tied_embeddings": depth < 32,
    }


def depth_for(params: float) -> int:
    """The dial's setting whose model has about `params` parameters without embeddings; at least 1."""
    return max(1, round(math.cbrt(params / 49_152)))


@dataclass(frozen=True)
class Law:
    """A compute-optimal allocation: tokens = `scale` x FLOPs^`exponent`, parameters = FLOPs / (6 tokens)."""

    scale: float
    exponent: float
    fitted: tuple[float, float]
    """FLOPs between which its runs lay."""
    source: str


def _from_loss(a: float, b: float, alpha: float, beta: float, fitted: tuple[float, float], source: str) -> Law:
    """The allocation that minimises E + a / params^alpha + b / tokens^beta (arXiv:2203.15556, equation 4)."""
    g = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    exponent = alpha / (alpha + beta)
    return Law(scale=6**-exponent / g, exponent=exponent, fitted=fitted, source=source)


LAWS = {
    # The fit of the paper's own data that replaces its third approach; its first two agree with it.
    "chinchilla": _from_loss(482.01, 2085.43, 0.3478, 0.3658, (6e18, 3e21), "arXiv:2203.15556 as by arXiv:2404.10102"),
    # The exponent of section 3.2.1, through the 16.55 T tokens that it names for 3.8e25 FLOPs: the paper's factor is
    # rounded too much to reproduce them.
    "llama3": Law(16.55e12 / 3.8e25**0.53, 0.53, (6e18, 1e22), "arXiv:2407.21783, section 3.2.1"),
}


@dataclass(frozen=True)
class Optimum:
    """What to train with a budget."""

    params: float
    """All parameters, embeddings too, as both laws count them."""
    tokens: float
    flops: float
    """6 x params x tokens."""
    extrapolated: bool
    """Whether the budget lies outside the range in which the law was fitted."""


def compute_optimal(*, flops: float = 0, params: float = 0, tokens: float = 0, law: str = "chinchilla") -> Optimum:
    """Model size, tokens and FLOPs of lowest loss, from any one of the three.

    Args:
        flops: of the whole training; or
        params: of the model; or
        tokens: trained on.
        law: a key of `LAWS`.

    Raises:
        ValueError: not exactly one of them is given.
    """
    if sum(value > 0 for value in (flops, params, tokens)) != 1:
        raise ValueError("give one of flops, params and tokens")
    k, exponent = LAWS[law].scale, LAWS[law].exponent
    if tokens:
        flops = (tokens / k) ** (1 / exponent)
    elif params:
        flops = (6 * k * params) ** (1 / (1 - exponent))
    tokens = k * flops**exponent
    low, high = LAWS[law].fitted
    return Optimum(params=flops / (6 * tokens), tokens=tokens, flops=flops, extrapolated=not low <= flops <= high)


def tokens_per_step(flops: float) -> float:
    """Tokens of a step for a training of `flops` FLOPs: 0.2920 C^0.3271 (DeepSeek LLM, arXiv:2401.02954, section 3.1).

    Fitted from 1e17 to 2e19 FLOPs (without embeddings and head) and used by its authors up to 3e23; its optimum is
    broad. Clamped to 8,192 .. 67 M.
    """
    return min(max(0.2920 * math.pow(flops, 0.3271), MIN_TOKENS_PER_STEP), MAX_TOKENS_PER_STEP)


def learning_rate(flops: float, step_tokens: float = 0) -> float:
    """Peak learning rate of AdamW for a training of `flops` FLOPs: 0.3118 C^-0.125, source and range as above.

    Args:
        flops: of the whole training.
        step_tokens: tokens of a step, where they are not the law's: with fewer the rate falls with the square root of
            their share (arXiv:2205.10287); with more it stays. 0: the law's.

    Returns:
        At most 4e-3.
    """
    rate = min(0.3118 * math.pow(flops, -0.125), MAX_LEARNING_RATE)
    share = step_tokens / tokens_per_step(flops) if step_tokens else 1.0
    return rate * math.sqrt(min(share, 1.0))
