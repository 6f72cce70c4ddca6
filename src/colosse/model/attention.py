"""Grouped-query attention with rotary positions over packed documents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from colosse.spec.model import ModelSpec


@dataclass
class Context:
    """What every layer of one forward pass shares: where documents begin and which position each token has."""

    documents: Tensor | None
    """[B, S] or None for one document."""
    positions: Tensor | None
    """[B, S] or None for 0 .. S-1."""


class Attend(nn.Module):
    """Rotate queries and keys, and attend. Context parallelism replaces this module by one that exchanges heads first.

    Therefore it sees whole sequences: q [B, S, H, E], k and v [B, S, K, E] to [B, S, H, E].
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """See the class."""
        raise RuntimeError("helper B")


class Attention(nn.Module):
    """Projections around `Attend`. The number of heads follows from the projections' width, so that tensor
    parallelism may shard them."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.head_dim = spec.head_dim
        self.q = nn.Linear(spec.dim, spec.num_heads * spec.head_dim, bias=spec.attention_bias)
        self.k = nn.Linear(spec.dim, spec.num_kv_heads * spec.head_dim, bias=spec.attention_bias)
        self.v = nn.Linear(spec.dim, spec.num_kv_heads * spec.head_dim, bias=spec.attention_bias)
        self.o = nn.Linear(spec.num_heads * spec.head_dim, spec.dim, bias=False)
        self.attend = Attend(spec)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        batch, length, _ = x.shape
        q, k, v = (w(x).view(batch, length, -1, self.head_dim) for w in (self.q, self.k, self.v))
        return self.o(self.attend(q, k, v, context).reshape(batch, length, -1))
