"""What a model counts: parameters, FLOPs and the key/value cache, exactly, from its spec alone.

Convention of FLOPs, here and in every MFU that Colosse states: a multiplication and an addition are two; only matrix
products count (projections, attention, feed-forward, router, head), not norms, rotations, softmax or the embedding's
look-up; a token attends to the tokens that it may see and no others, so causal attention counts once, not as the whole
square; backward is twice forward; what is computed again to save memory does not count (in HFU it does).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec


@dataclass(frozen=True)
class Params:
    """Numbers of parameters by kind."""

    embedding: int = 0
    attention: int = 0
    """Projections and their biases."""
    ffn: int = 0
    """Dense feed-forward blocks."""
    router: int = 0
    experts: int = 0
    """Routed experts, all of them."""
    shared: int = 0
    """Shared experts."""
    norms: int = 0
    head: int = 0
    """0 where the embedding is the head."""
    idle: int = 0
    """Part of `experts` that a token does not visit; in no sum."""

    @property
    def total(self) -> int:
        """All parameters."""
        everything: int = sum(astuple(self))
        return everything - self.idle

    @property
    def active(self) -> int:
        """Parameters that one token meets: all but the routed experts that are not chosen for it."""
        return self.total - self.idle

    @property
    def non_embedding(self) -> int:
        """All but embedding and head: what scaling laws mean by the size of a model."""
        return self.total - self.embedding - self.head

    @property
    def active_non_embedding(self) -> int:
        """`active` without embedding and head."""
        return self.active - self.embedding - self.head

    def __add__(self, other: Params) -> Params:
        """Kind by kind."""
        return Params(*map(operator.add, astuple(self), astuple(other)))


def projection_params(spec: ModelSpec) -> int:
    """Weights of one layer's query, key, value and output projections, biases not counted."""
    if spec.mla is None:
        return spec.dim * 2 * (spec.query_dim + spec.num_kv_heads * spec.head_dim)
    mla = spec.mla
    query = spec.dim * mla.q_rank + mla.q_rank * spec.query_dim if mla.q_rank else spec.dim * spec.query_dim
    down = spec.dim * (mla.kv_rank + mla.qk_rope_dim)
    up = mla.kv_rank * spec.num_heads * (mla.qk_nope_dim + mla.v_dim)
    return query + down + up + spec.value_dim * spec.dim


def layer_params(spec: ModelSpec, layer: int) -> Params:
    """Parameters of layer `layer`, from 0."""
    query, key = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    qk_norm = {"none": 0, "head": 2 * spec.head_dim, "full": query + key}[spec.qk_norm]
    bias = query + 2 * key if spec.attention_bias else 0
    if spec.mla:
        qk_norm = spec.mla.q_rank + spec.mla.kv_rank
    attention = Params(attention=projection_params(spec) + bias, norms=2 * spec.dim + qk_norm)
    matrices = 3 if spec.gated else 2
    if spec.moe is None or not spec.is_moe_layer(layer):
        return attention + Params(ffn=matrices * spec.dim * spec.ffn_dim)
    expert = matrices * spec.dim * spec.moe.ffn_dim
    return attention + Params(
        router=spec.dim * spec.moe.num_experts,
        experts=expert * spec.moe.num_experts,
        idle=expert * (spec.moe.num_experts - spec.moe.top_k_experts),
        shared=matrices * spec.dim * spec.moe.shared_ffn_dim,
    )


def params(spec: ModelSpec, *, layers: range | None = None, first: bool = True, last: bool = True) -> Params:
    """Parameters of the model, or of the pipeline stage with these `layers`; as `Transformer` takes them.

    Args:
        spec: the model.
        layers: the stage's layers; None for all.
        first: whether the stage has the embedding.
        last: whether it has the final norm and the head.
    """
    total = Params()
    for layer in range(spec.num_layers) if layers is None else layers:
        total += layer_params(spec, layer)
    matrix = spec.vocab_size * spec.dim
    if first:
        total += Params(embedding=matrix)
    if last:
        total += Params(norms=spec.dim, head=0 if spec.tied_embeddings and first else matrix)
    return total


@dataclass(frozen=True)
class Flops:
    """FLOPs of one forward pass by kind, and what follows from them. See the module for what counts."""

    projections: int
    """Query, key, value and output."""
    attention: int
    """Scores, and values weighted by them."""
    ffn: int
    """Dense blocks, the chosen experts and the shared ones."""
    router: int
    head: int

    @property
    def forward(self) -> int:
        """One forward pass."""
        return self.projections + self.attention + self.ffn + self.router + self.head

    @property
    def backward(self) -> int:
        """One backward pass: gradients of inputs and of weights."""
        return 2 * self.forward

    @property
    def train(self) -> int:
        """Forward and backward."""
        return 3 * self.forward

    def recomputed(self, recompute: str) -> int:
        """FLOPs that backward does again under `Layout.recompute`: the blocks with `full`; no products otherwise."""
        return self.forward - self.head if recompute == "full" else 0


def attended_pairs(length: int, window: int = 0) -> int:
    """(query, key) pairs of a causal document of `length` tokens, each seeing `window` tokens with itself; 0: all."""
    if window == 0 or length <= window:
        return length * (length + 1) // 2
    return window * (window + 1) // 2 + (length - window) * window


def flops(spec: ModelSpec, documents: Sequence[int]) -> Flops:
    """FLOPs of one sequence.

    Args:
        spec: the model.
        documents: lengths in tokens of the documents packed in it, which do not see each other; one length for a
            sequence that is one document.
    """
    tokens = sum(documents)
    windowed = spec.windowed_layers
    pairs = windowed * sum(attended_pairs(length, spec.sliding_window) for length in documents)
    pairs += (spec.num_layers - windowed) * sum(attended_pairs(length) for length in documents)
    moe_layers = sum(spec.is_moe_layer(layer) for layer in range(spec.num_layers))
    width = (spec.num_layers - moe_layers) * spec.ffn_dim
    experts = 0
    if spec.moe is not None:
        width += moe_layers * (spec.moe.top_k_experts * spec.moe.ffn_dim + spec.moe.shared_ffn_dim)
        experts = spec.moe.num_experts
    return Flops(
        projections=2 * tokens * spec.num_layers * projection_params(spec),
        attention=2 * pairs * (spec.query_dim + spec.value_dim),
        ffn=2 * tokens * (3 if spec.gated else 2) * spec.dim * width,
        router=2 * tokens * moe_layers * spec.dim * experts,
        head=2 * tokens * spec.dim * spec.vocab_size,
    )


def flops_per_token(spec: ModelSpec, seq_len: int) -> float:
    """FLOPs of training on one token of a sequence that is one document of `seq_len` tokens."""
    return flops(spec, [seq_len]).train / seq_len


def mfu(spec: ModelSpec, seq_len: int, tokens_per_second_per_gpu: float, peak_flops: float) -> float:
    """Model FLOPs utilisation as a fraction (PaLM, arXiv:2204.02311, appendix B, but with causal attention once).

    Args:
        spec: the model.
        seq_len: tokens of a sequence, taken as one document.
        tokens_per_second_per_gpu: as measured, over everything that a step does.
        peak_flops: FLOP/s of one device in the precision of the matrix products, without sparsity.
    """
    return flops_per_token(spec, seq_len) * tokens_per_second_per_gpu / peak_flops


def hfu(spec: ModelSpec, layout: Layout, seq_len: int, tokens_per_second_per_gpu: float, peak_flops: float) -> float:
    """Hardware FLOPs utilisation: as `mfu`, with what the layout's `recompute` does again."""
    work = flops(spec, [seq_len])
    share = (work.train + work.recomputed(layout.recompute)) / work.train
    return share * mfu(spec, seq_len, tokens_per_second_per_gpu, peak_flops)


def kv_cache_bytes(spec: ModelSpec, tokens: int, *, bytes_per_value: float = 2) -> float:
    """Bytes of keys and values that a server keeps for one sequence of `tokens` tokens; a window keeps its own only."""
    windowed = spec.windowed_layers
    kept = windowed * min(tokens, spec.sliding_window) + (spec.num_layers - windowed) * tokens
    width = spec.mla.kv_rank + spec.mla.qk_rope_dim if spec.mla else 2 * spec.num_kv_heads * spec.head_dim
    return width * bytes_per_value * kept
