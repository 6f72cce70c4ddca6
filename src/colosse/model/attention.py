"""Grouped-query attention with rotary positions over packed documents.

Shapes: B sequences, T tokens of this rank, S tokens of the whole sequence, H heads, K key/value heads, E head_dim.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from colosse.model import cpu_attention
from colosse.model.norm import RMSNorm
from colosse.model.rope import Rope, rotate
from colosse.spec.model import ModelSpec


@dataclass(eq=False)
class KVCache:
    """Rotated keys and values of the tokens so far, for generation on one process."""

    length: int = 0
    """Tokens so far, also where a sliding window has let go of some."""
    layers: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Keys and values [B, tokens kept, K, E] per attention layer."""

    def extend(self, layer: nn.Module, k: Tensor, v: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Add the new tokens of a layer; returns all keys and values that the last of them may see."""
        if layer in self.layers:
            old_k, old_v = self.layers[layer]
            k, v = torch.cat((old_k, k), dim=1), torch.cat((old_v, v), dim=1)
        self.layers[layer] = (k[:, -window:], v[:, -window:])  # -0 keeps all
        return (k[:, -window:], v[:, -window:]) if self.length else (k, v)


@dataclass(eq=False)
class Context:
    """What every layer of one forward pass shares; made once by `make_context`."""

    cos: Tensor
    """[S, E / 2], or [B, S, E / 2] where positions were given."""
    sin: Tensor
    mask: Tensor | BlockMask | None
    """None: causal. On a CPU what is added to the scores, [B or 1, 1, S, S]; else a block mask."""
    cache: KVCache | None = None


def make_context(
    spec: ModelSpec,
    rope: Rope,
    length: int,
    device: torch.device,
    dtype: torch.dtype,
    *,
    documents: Tensor | None = None,
    positions: Tensor | None = None,
    cache: KVCache | None = None,
) -> Context:
    """Prepare what the layers share.

    Args:
        spec: the model.
        rope: its table of angles.
        length: S, tokens of the whole sequence.
        device: where the layers are.
        dtype: what attention computes in.
        documents: [B, S], see `Transformer.forward`.
        positions: [B, S], see `Transformer.forward`; they are less than S.
        cache: what earlier calls have seen: the prompt in one piece, then one token at a time.
    """
    start = 0 if cache is None else cache.length
    cos, sin = rope.table(start + length, device)
    cos, sin = (cos[start:], sin[start:]) if positions is None else (cos[positions], sin[positions])
    window = spec.sliding_window if spec.sliding_window < length else 0
    mask: Tensor | BlockMask | None = None
    if documents is not None or window:
        make = _additive_mask if device.type == "cpu" else _block_mask
        mask = make(documents, length, window, device, dtype)
    return Context(cos=cos, sin=sin, mask=mask, cache=cache)


def _additive_mask(
    documents: Tensor | None, length: int, window: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """0 where a token sees another and minus infinity where not, [B or 1, 1, S, S]."""
    sees = torch.ones(1, length, length, dtype=torch.bool, device=device).tril()
    if window:
        sees = sees.triu(1 - window)
    if documents is not None:
        sees = sees & (documents[:, :, None] == documents[:, None, :])
    mask = torch.zeros(sees.shape, dtype=dtype, device=device)
    return mask.masked_fill_(~sees, float("-inf")).unsqueeze(1)


def _block_mask(
    documents: Tensor | None, length: int, window: int, device: torch.device, dtype: torch.dtype
) -> BlockMask:
    """The same for `flex_attention`, which skips blocks of 128 x 128 that see nothing."""

    def sees(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen = q >= k
        if window:
            seen = seen & (q - k < window)
        if documents is not None:
            seen = seen & (documents[b, q] == documents[b, k])
        return seen

    batch = None if documents is None else documents.shape[0]
    return create_block_mask(sees, batch, None, length, length, device=device.type)


@functools.cache
def _flex() -> Any:
    """`flex_attention` compiled, for it materialises the scores otherwise. Made late: it loads the whole compiler."""
    return torch.compile(flex_attention, dynamic=False)


class Attend(nn.Module):
    """Rotate queries and keys, and attend. Context parallelism replaces this module by one that exchanges heads first.

    Therefore it sees whole sequences: q [B, S, H, E], k and v [B, S, K, E] to [B, S, H, E].
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.window = spec.sliding_window

    def forward(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """See the class."""
        q, k = rotate(q, context.cos, context.sin), rotate(k, context.cos, context.sin)
        causal = context.mask is None
        if context.cache is not None:
            k, v = context.cache.extend(self, k, v, self.window)
            causal = causal and q.shape[1] == k.shape[1]  # else: one token, which sees all that is kept
        elif cpu_attention.pays(q):
            return cpu_attention.attend(q, k, v, cast(Tensor | None, context.mask))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        gqa = q.shape[1] != k.shape[1]
        if isinstance(context.mask, BlockMask):
            flex = flex_attention if torch.compiler.is_compiling() else _flex()
            out: Tensor = flex(q, k, v, block_mask=context.mask, enable_gqa=gqa)
        else:
            out = F.scaled_dot_product_attention(q, k, v, context.mask, is_causal=causal, enable_gqa=gqa)
        return out.transpose(1, 2)


class Attention(nn.Module):
    """Projections around `Attend`.

    The number of heads follows from the projections' width, so that tensor parallelism may shard them;
    `qk_norm = "full"` then needs its mean square over all ranks' heads, which `parallel/` sees to.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.head_dim = spec.head_dim
        self.qk_norm = spec.qk_norm
        self.q = nn.Linear(spec.dim, spec.num_heads * spec.head_dim, bias=spec.attention_bias)
        self.k = nn.Linear(spec.dim, spec.num_kv_heads * spec.head_dim, bias=spec.attention_bias)
        self.v = nn.Linear(spec.dim, spec.num_kv_heads * spec.head_dim, bias=spec.attention_bias)
        self.o = nn.Linear(spec.num_heads * spec.head_dim, spec.dim, bias=False)
        if spec.qk_norm != "none":
            heads = (spec.num_heads, spec.num_kv_heads) if spec.qk_norm == "full" else (1, 1)
            self.q_norm = RMSNorm(heads[0] * spec.head_dim, eps=spec.norm_eps)
            self.k_norm = RMSNorm(heads[1] * spec.head_dim, eps=spec.norm_eps)
        self.attend: nn.Module = Attend(spec)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.qk_norm == "full":
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (part.unflatten(-1, (-1, self.head_dim)) for part in (q, k, v))
        if self.qk_norm == "head":
            q, k = self.q_norm(q), self.k_norm(k)
        out: Tensor = self.o(self.attend(q, k, v, context).flatten(-2))
        return out
