"""A mixture of experts in place of the dense feed-forward block: a router, routed experts, shared experts.

Shapes: B sequences, T tokens, N = B * T, D dim, F ffn_dim of an expert, E num_experts, K top_k_experts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colosse.model.feedforward import FeedForward
from colosse.model.precision import compute_dtype
from colosse.spec.model import MoESpec


class Experts(nn.Module):
    """The routed experts, each a SwiGLU. Expert parallelism replaces or wraps this module."""

    def __init__(self, dim: int, ffn_dim: int, num_experts: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.empty(num_experts, ffn_dim, dim))
        self.up = nn.Parameter(torch.empty(num_experts, ffn_dim, dim))
        self.down = nn.Parameter(torch.empty(num_experts, dim, ffn_dim))

    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        """Each expert on its own tokens.

        Args:
            x: [N * K, D], sorted by expert.
            counts: [E] how many of them each expert has.
        """
        return grouped_swiglu(x, counts, self.gate, self.up, self.down)


def grouped_swiglu(x: Tensor, counts: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """What `Experts` computes, with weights as they are there: of all experts, or of a rank's."""
    dtype = compute_dtype(x)
    x, gate, up, down = (t.to(dtype) for t in (x, gate, up, down))
    if x.device.type == "cpu":
        parts = zip(torch.split(x, counts.int().tolist()), gate.unbind(), up.unbind(), down.unbind(), strict=True)
        return torch.cat([F.linear(F.silu(F.linear(part, g)) * F.linear(part, u), d) for part, g, u, d in parts])
    ends = counts.cumsum(0).to(torch.int32)
    inner = F.silu(F.grouped_mm(x, gate.mT, offs=ends)) * F.grouped_mm(x, up.mT, offs=ends)
    return F.grouped_mm(inner, down.mT, offs=ends)


class MoE(nn.Module):
    """Route each token to its `top_k_experts`, and keep the experts evenly loaded."""

    bias: Tensor
    """[E] what is added to scores when experts are chosen, and only then (`balance = "bias"`)."""
    counts: Tensor
    """[E] tokens per expert of the microbatches since `update_balance`; the trainer sums it over ranks before that."""

    def __init__(self, dim: int, moe: MoESpec) -> None:
        super().__init__()
        self.moe = moe
        self.router = nn.Linear(dim, moe.num_experts, bias=False)
        self.experts = Experts(dim, moe.ffn_dim, moe.num_experts)
        self.shared = FeedForward(dim, moe.shared_ffn_dim) if moe.shared_ffn_dim else None
        if moe.balance == "bias":
            self.register_buffer("bias", torch.zeros(moe.num_experts, dtype=torch.float32))
        self.register_buffer("counts", torch.zeros(moe.num_experts, dtype=torch.float32), persistent=False)
        self.sum_counts: Callable[[Tensor], Tensor] = _alone
        """Sums counts over the ranks that cut up a microbatch's sequences; parallelism sets it."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        flat = x.flatten(0, -2)
        chosen, weights, counts = self.route(flat)
        order = chosen.flatten().argsort(stable=True)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
        rows: Tensor = Reorder.apply(flat, order, place, self.moe.top_k_experts)  # type: ignore[no-untyped-call]
        rows = self.experts(rows, counts)
        rows = Reorder.apply(rows, place, order, 1)  # type: ignore[no-untyped-call]
        out = (rows.view(*chosen.shape, -1) * weights.unsqueeze(-1).to(rows.dtype)).sum(1).view_as(x)
        if self.shared is not None:
            out = out + self.shared(x)
        return out

    def route(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose experts.

        Args:
            x: [N, D].

        Returns:
            Numbers of the chosen experts [N, K], their weights [N, K] in float32 or better, and how many tokens each
            expert has [E].
        """
        moe = self.moe
        logits = self.router(x)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        scores = logits.softmax(-1) if moe.score == "softmax" else logits.sigmoid()
        with torch.no_grad():
            preference = scores + self.bias if moe.balance == "bias" else scores
            chosen = preference.topk(moe.top_k_experts, dim=-1).indices
            counts = torch.zeros_like(self.counts)
            counts.scatter_add_(0, chosen.flatten(), counts.new_ones(chosen.numel()))
        scores = self._balanced(scores, counts)
        weights = scores.gather(1, chosen)
        if moe.normalize:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return chosen, weights * moe.route_scale, counts

    def _balanced(self, scores: Tensor, counts: Tensor) -> Tensor:
        """The scores [N, E], such that going back through them counts tokens and adds the balance loss's gradient.

        The classic loss (arXiv:2101.03961, equation 4, shared among K) of one token is `coefficient * sum_e f_e p_e`:
        f_e is the share of the microbatch's choices that fell on expert e, times E, so 1 when even; p_e is the token's
        score for e, where scores of a token sum to one.
        """
        moe = self.moe
        penalty = None
        if moe.balance == "loss":
            load = self.sum_counts(counts)
            load = load * (moe.num_experts / load.sum())
            shares = scores if moe.score == "softmax" else scores / scores.sum(-1, keepdim=True)
            penalty = moe.balance_rate * (shares * load.to(shares.dtype)).sum()
        out: Tensor = _Balance.apply(scores, penalty, counts, self.counts)  # type: ignore[no-untyped-call]
        return out

    @torch.no_grad()
    def update_balance(self) -> None:
        """Once a step: lift the bias of experts with less than the mean load, lower the others (arXiv:2408.15664)."""
        if self.moe.balance == "bias":
            self.bias += self.moe.balance_rate * (self.counts.mean() - self.counts).sign()
        self.counts.zero_()


def _alone(counts: Tensor) -> Tensor:
    return counts


class _Balance(torch.autograd.Function):
    """Identity of its first argument, with effects in backward.

    That is the place that runs exactly once for each microbatch, whether or not activations are recomputed and whatever
    the pipeline's schedule, and never in evaluation.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, penalty: Tensor | None, counts: Tensor, total: Tensor) -> Tensor:
        """Remember what is added in backward: `counts` to `total`, and one unit of `penalty` to the objective."""
        ctx.counts, ctx.total, ctx.has_penalty = counts, total, penalty is not None
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Hand the gradient on."""
        (gradient,) = grad_outputs
        ctx.total += ctx.counts
        return gradient, gradient.new_ones(()) if ctx.has_penalty else None, None, None


class Reorder(torch.autograd.Function):
    """Rows in another order, each used `copies` times; gradients are gathered too, for scattering is slow or random."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, place: Tensor, copies: int) -> Tensor:
        """Row i of the result is row `order[i] // copies` of x; `place` is the inverse permutation of `order`."""
        ctx.save_for_backward(place)
        ctx.copies = copies
        return x[order // copies]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Bring gradients back to their rows, summed over copies."""
        (place,) = ctx.saved_tensors
        gradient = grad_outputs[0][place]
        return gradient.view(-1, ctx.copies, gradient.shape[1]).sum(1), None, None, None
