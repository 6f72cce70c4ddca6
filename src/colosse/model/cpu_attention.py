"""Attention on a CPU whose backward is made of matrix products over blocks of queries.

torch's fused CPU attention goes back at a fraction of the speed of its forward, most of all in bfloat16. Written as
products and pointwise arithmetic, which a compiler fuses, it takes half the time; each block skips the keys that come
after it. Memory: scores of one block of queries, [B * H, BLOCK, S].

Shapes: B sequences, S tokens, H heads, K key/value heads, G = H / K, E head_dim, Q queries of a block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BLOCK = 128
"""Queries of a block."""


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Causal attention.

    Args:
        q: [B, S, H, E].
        k: [B, S, K, E].
        v: [B, S, K, E].
        mask: added to the scores on top of causality, [B or 1, 1, S, S]; None for nothing.

    Returns:
        [B, S, H, E].
    """
    out: Tensor = _Attend.apply(q, k, v, mask)  # type: ignore[no-untyped-call]
    return out


class _Attend(torch.autograd.Function):
    """Forward is torch's fused one, backward our own."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """See `attend`."""
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        fused_out, log_partition = fused(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), 0.0, True, attn_mask=mask
        )
        out: Tensor = fused_out.transpose(1, 2)
        ctx.save_for_backward(q, k, v, mask, out, log_partition)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Equations of FlashAttention-2 (arXiv:2307.08691, section 2.3.2) with the rows of G heads in one product."""
        q, k, v, mask, out, log_partition = ctx.saved_tensors
        batch, length, _, head_dim = q.shape
        kv_heads = k.shape[2]
        group = q.shape[2] // kv_heads
        (grad,) = grad_outputs
        scale = head_dim**-0.5
        wide = torch.promote_types(q.dtype, torch.float32)
        delta = _rows((grad.to(wide) * out.to(wide)).sum(-1, keepdim=True), kv_heads)
        log_partition = _rows(log_partition.transpose(1, 2).unsqueeze(-1), kv_heads)
        q, grad = _rows(q * scale, kv_heads), _rows(grad, kv_heads)
        k, v = _rows(k, kv_heads), _rows(v, kv_heads)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for start in range(0, length, BLOCK):
            end = min(start + BLOCK, length)
            rows = slice(start * group, end * group)
            q_block, grad_block, seen = q[:, rows], grad[:, rows], slice(0, end)
            shape = (batch, kv_heads, end - start, group, end)
            scores = torch.bmm(q_block, k[:, seen].transpose(1, 2)).to(wide).view(shape)
            if mask is None:
                order = torch.arange(end, device=q.device)
                later = order > order[start:end, None]
                scores = scores.masked_fill(later[:, None], float("-inf"))
            else:
                scores = scores + mask[:, :, start:end, None, seen]
            weights = (scores.view(-1, q_block.shape[1], end) - log_partition[:, rows]).exp()
            grad_weights = torch.bmm(grad_block, v[:, seen].transpose(1, 2)).to(wide)
            grad_scores = (weights * (grad_weights - delta[:, rows])).to(q.dtype)
            grad_q[:, rows] = torch.bmm(grad_scores, k[:, seen])
            grad_k[:, seen] += torch.bmm(grad_scores.transpose(1, 2), q_block)
            grad_v[:, seen] += torch.bmm(weights.to(q.dtype).transpose(1, 2), grad_block)
        shape = (batch, kv_heads, length, -1, head_dim)
        grads = ((x.view(shape).transpose(1, 2).flatten(2, 3)) for x in (grad_q * scale, grad_k, grad_v))
        return *grads, None


def _rows(x: Tensor, kv_heads: int) -> Tensor:
    """[B, S, H or K, X] to [B * K, S * (G or 1), X]: queries that share keys are rows of one matrix."""
    batch, length, heads, width = x.shape
    grouped = x.reshape(batch, length, kv_heads, heads // kv_heads, width).transpose(1, 2)
    return grouped.reshape(batch * kv_heads, -1, width)
