"""The transformer once more, slowly and plainly, to compare with: loops over documents and tokens, whole logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from colosse.model.rope import frequencies
from colosse.spec.model import ModelSpec

Weights = dict[str, Tensor]


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def turn(x: Tensor, positions: Tensor, spec: ModelSpec) -> Tensor:
    """[T, H, E]"""
    radians, scale = frequencies(spec)
    angles = positions[:, None].to(x.dtype) * torch.cat((radians, radians)).to(x.dtype)
    half = spec.head_dim // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return scale * (x * angles.cos()[:, None] + turned * angles.sin()[:, None])


def attention(x: Tensor, w: Weights, spec: ModelSpec, documents: Tensor, positions: Tensor) -> Tensor:
    """[T, D] to [T, D]"""

    def project(name: str, heads: int) -> Tensor:
        out = x @ w[f"attention.{name}.weight"].T + w.get(f"attention.{name}.bias", torch.zeros(()))
        if name != "v" and spec.qk_norm == "full":
            out = norm(out, w[f"attention.{name}_norm.weight"], spec.norm_eps)
        out = out.view(-1, heads, spec.head_dim)
        if name != "v" and spec.qk_norm == "head":
            out = norm(out, w[f"attention.{name}_norm.weight"], spec.norm_eps)
        return turn(out, positions, spec) if name != "v" else out

    q, k, v = project("q", spec.num_heads), project("k", spec.num_kv_heads), project("v", spec.num_kv_heads)
    rows = []
    for t in range(x.shape[0]):
        first = max(0, t + 1 - spec.sliding_window) if spec.sliding_window else 0
        seen = [s for s in range(first, t + 1) if documents[s] == documents[t]]
        heads = []
        for h in range(spec.num_heads):
            kv = h * spec.num_kv_heads // spec.num_heads
            scores = k[seen, kv] @ q[t, h] / math.sqrt(spec.head_dim)
            heads.append(scores.softmax(0) @ v[seen, kv])
        rows.append(torch.cat(heads))
    return torch.stack(rows) @ w["attention.o.weight"].T


def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T


def mixture(x: Tensor, w: Weights, spec: ModelSpec) -> Tensor:
    """Every expert sees every token; the weights of those that were not chosen are zero."""
    moe = spec.moe
    assert moe is not None
    logits = x @ w["moe.router.weight"].T
    scores = logits.softmax(-1) if moe.score == "softmax" else logits.sigmoid()
    chosen = (scores + w.get("moe.bias", torch.zeros(()))).topk(moe.top_k_experts).indices
    weights = scores * torch.zeros_like(scores).scatter(1, chosen, 1)
    if moe.normalize:
        weights = weights / weights.sum(-1, keepdim=True)
    out = torch.zeros_like(x)
    for e in range(moe.num_experts):
        expert = swiglu(x, *(w[f"moe.experts.{m}"][e] for m in ("gate", "up", "down")))
        out = out + moe.route_scale * weights[:, e : e + 1] * expert
    if moe.shared_ffn_dim:
        out = out + swiglu(x, *(w[f"moe.shared.{m}.weight"] for m in ("gate", "up", "down")))
    return out


def logits(spec: ModelSpec, weights: Weights, tokens: Tensor, documents: Tensor, positions: Tensor) -> Tensor:
    """One sequence: [T] to [T, V]"""
    x = weights["embed.weight"][tokens]
    for layer in range(spec.num_layers):
        prefix = f"layers.{layer}."
        w = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}

        def mix(x: Tensor, w: Weights = w, layer: int = layer) -> Tensor:
            if spec.is_moe_layer(layer):
                return mixture(x, w, spec)
            return swiglu(x, *(w[f"ffn.{m}.weight"] for m in ("gate", "up", "down")))

        if spec.norm_position == "post":
            x = x + norm(attention(x, w, spec, documents, positions), w["attention_norm.weight"], spec.norm_eps)
            x = x + norm(mix(x), w["ffn_norm.weight"], spec.norm_eps)
        else:
            x = x + attention(norm(x, w["attention_norm.weight"], spec.norm_eps), w, spec, documents, positions)
            x = x + mix(norm(x, w["ffn_norm.weight"], spec.norm_eps))
    x = norm(x, weights["norm.weight"], spec.norm_eps)
    return x @ weights["embed.weight" if spec.tied_embeddings else "head.weight"].T
