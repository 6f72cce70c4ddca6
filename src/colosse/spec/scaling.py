"""One dial: from a depth to a model's shape."""

from __future__ import annotations

from typing import Any


def shape(depth: int) -> dict[str, Any]:
    """Fields of `ModelSpec` for `depth` layers.

    64 dim per layer, the ratio that nanochat's dial uses and within the broad optimum of arXiv:2001.08361, figure 5;
    heads of 64 up to 1,024 dim and of 128 beyond; SwiGLU of 8/3 dim, which makes about 49,152 depth^3 parameters without
    embeddings: 4 is 3 M, 8 is 25 M, 12 is 85 M, 20 is 0.4 B, 32 is 1.6 B, 64 is 13 B.
    """
    dim = 64 * max(depth, 2)
    head_dim = 64 if dim <= 1024 else 128
    heads = -(-dim // head_dim)
    dim = heads * head_dim
    return {
        "dim": dim,
        "num_layers": depth,
        "num_heads": heads,
        "ffn_dim": -(-8 * dim // 3 // 64) * 64,
        "vocab_size": 8192 if depth <= 8 else 32768,
        "tied_embeddings": depth < 32,
    }
