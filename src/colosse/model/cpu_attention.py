"""Attention on a CPU whose backward is made of matrix products over blocks of queries.

torch's fused CPU attention goes back at a fraction of the speed of its forward in bfloat16. Written as products and
pointwise arithmetic, which a compiler fuses, it takes half the time; each block skips the keys that come after it. It
pays only where it is compiled and in low precision, and holds the scores of one block of queries, [B * H, Q, S].

Shapes: B sequences, S tokens, H heads, K key/value heads, G = H / K, E head_dim, Q queries of a block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MIN_BLOCK, MAX_BLOCKS, MAX_LENGTH = 128, 8, 4096
"""Least queries of a block, most blocks, which the compiler unrolls, and longest sequence, whose scores take memory."""


def pays(q: Tensor) -> bool:
    """Whether `attend` is faster than torch's own attention for queries [B, S, H, E]; asked while compiling."""
    small = q.dtype in (torch.bfloat16, torch.float16) and q.shape[1] <= MAX_LENGTH
    return small and q.device.type == "cpu" and torch.compiler.is_compiling() and torch.is_grad_enabled()


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
        delta = (grad.to(wide) * out.to(wide)).sum(-1, keepdim=True)
        log_partition = log_partition.transpose(1, 2).unsqueeze(-1)
        block = max(MIN_BLOCK, -(-length // MAX_BLOCKS))
        grads_q = []
        grad_k, grad_v = torch.zeros_like(_rows(k, kv_heads)), torch.zeros_like(_rows(v, kv_heads))
        for start in range(0, length, block):
            end = min(start + block, length)
            # Each operand is laid out by itself, since products copy slices that are not contiguous.
            q_block, grad_block, delta_block, log_block = (
                _rows(x[:, start:end], kv_heads) for x in (q * scale, grad, delta, log_partition)
            )
            k_seen, v_seen = _rows(k[:, :end], kv_heads), _rows(v[:, :end], kv_heads)
            scores = torch.bmm(q_block, k_seen.mT).to(wide).view(batch, kv_heads, end - start, group, end)
            if mask is None:
                order = torch.arange(end, dtype=torch.int32, device=q.device)
                later = order > order[start:end, None]
                scores = scores.masked_fill(later[:, None], float("-inf"))
            else:
                scores = scores + mask[:, :, start:end, None, :end]
            weights = (scores.view(-1, q_block.shape[1], end) - log_block).exp()
            grad_weights = torch.bmm(grad_block, v_seen.mT).to(wide)
            grad_scores = (weights * (grad_weights - delta_block)).to(q.dtype)
            grads_q.append(_tokens(torch.bmm(grad_scores, k_seen) * scale, batch, kv_heads, group))
            grad_k[:, :end] += torch.bmm(grad_scores.mT, q_block)
            grad_v[:, :end] += torch.bmm(weights.to(q.dtype).mT, grad_block)
        grad_k, grad_v = (_tokens(x, batch, kv_heads, 1) for x in (grad_k, grad_v))
        return torch.cat(grads_q, dim=1), grad_k, grad_v, None


def _rows(x: Tensor, kv_heads: int) -> Tensor:
    """[B, S, H or K, X] to [B * K, S * (G or 1), X]: queries that share keys are rows of one matrix."""
    batch, length, heads, width = x.shape
    grouped = x.reshape(batch, length, kv_heads, heads // kv_heads, width).transpose(1, 2)
    return grouped.reshape(batch * kv_heads, -1, width)


def _tokens(x: Tensor, batch: int, kv_heads: int, group: int) -> Tensor:
    """The way back: [B * K, S * G, X] to [B, S, K * G, X]."""
    return x.view(batch, kv_heads, -1, group, x.shape[-1]).transpose(1, 2).flatten(2, 3)
