"""The language-model head and its cross-entropy, in chunks of tokens so that logits never exist whole.

Shapes: B sequences, T tokens, N = B * T, D dim, V vocab_size (or this rank's part of it).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from colosse.model.precision import compute_dtype

IGNORE = -100
"""Target of a position where nothing is to be learnt."""


def chunk_tokens(vocab_size: int, device: torch.device) -> int:
    """Tokens whose logits exist at once: enough to keep matrix products efficient, few enough to stay small.

    On a CPU 2**22 values, 8 MB in bfloat16, so that they stay in the caches; on a GPU 2**27.
    """
    budget = 2**22 if device.type == "cpu" else 2**27
    return max(128, budget // vocab_size // 128 * 128)


class Shard:
    """Part of a vocabulary that is spread over the ranks of a group.

    Args:
        group: the ranks; each holds the same hidden states.
        start: the first token id of this rank's part.
    """

    def __init__(self, group: dist.ProcessGroup, start: int) -> None:
        self.group = group
        self.start = start


class Losses(NamedTuple):
    """What `cross_entropy` says about n tokens."""

    ce: Tensor
    """[n] cross-entropy in nats, 0 where ignored."""
    z: Tensor
    """[n] z-loss, 0 where ignored."""
    gradient: Tensor | None
    """[n, V] by which the logits' gradient is known, but for the targets' own columns."""
    target: Tensor
    """[n] those columns; any where the target is ignored or not of this rank."""
    at_target: Tensor | None
    """[n] what belongs there."""


def cross_entropy(logits: Tensor, targets: Tensor, z_loss: float, shard: Shard | None, with_gradient: bool) -> Losses:
    """Losses of some tokens, and the gradient of their sum.

    Targets' columns are kept apart: written into the gradient afterwards they cost nothing, while in the middle they
    would cut one pass over the logits in two.

    Args:
        logits: [n, V], of any floating type; the softmax is in float32 or better.
        targets: [n], `IGNORE` where nothing is to be learnt.
        z_loss: coefficient of the squared log-partition.
        shard: where this rank's part of the vocabulary lies, if it is spread.
        with_gradient: whether the gradient is wanted.
    """
    valid = (targets != IGNORE).unsqueeze(1)
    index = (targets if shard is None else targets - shard.start).unsqueeze(1)
    mine = valid if shard is None else valid & (index >= 0) & (index < logits.shape[1])
    index = index.where(mine, 0)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    top = wide.amax(dim=1, keepdim=True)
    if shard is not None:
        dist.all_reduce(top, dist.ReduceOp.MAX, group=shard.group)
    total = (wide - top).exp().sum(dim=1, keepdim=True)
    at_index = logits.gather(1, index).to(wide.dtype) - top
    picked = at_index * mine
    if shard is not None:
        dist.all_reduce(total, group=shard.group)
        dist.all_reduce(picked, group=shard.group)
    log_total = total.log()
    log_partition = log_total + top
    ce = ((log_total - picked) * valid).squeeze(1)
    z = (log_partition.square() * (z_loss * valid)).squeeze(1)
    if not with_gradient:
        return Losses(ce, z, None, index.squeeze(1), None)
    # Exponentials are computed twice: to keep them in float32 from one pass to the next takes several times as long.
    factor = (1 + 2 * z_loss * log_partition) * valid
    gradient = ((wide - log_partition).exp() * factor).to(logits.dtype)
    at_target = ((at_index - log_total).exp() * factor - mine.to(wide.dtype)).to(logits.dtype)
    return Losses(ce, z, gradient, index.squeeze(1), at_target.squeeze(1))


class _Given(torch.autograd.Function):
    """A value whose gradient is known already: backward only hands it on."""

    @staticmethod
    def forward(ctx: Any, _x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        """Value [2], and what one unit of its first element owes to `_x`, in its shape."""
        ctx.gradient = gradient
        return value

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        """Scale what forward was given by the objective's gradient; the second element of the result has none."""
        scale = grad_outputs[0][0]
        gradient, ctx.gradient = ctx.gradient, None
        if not (scale.device.type == "cpu" and scale == 1):  # the usual case; on a GPU looking would wait for it
            gradient = gradient.mul_(scale)
        return gradient, None, None


class Head(nn.Module):
    """Logits, or losses straight from hidden states."""

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, dim))
        self.z_loss = 0.0
        """Coefficient of the squared log-partition (PaLM, arXiv:2204.02311); the trainer sets it."""
        self.shard: Shard | None = None
        """Set by tensor parallelism where `weight` holds a part of the vocabulary and losses are taken over all."""
        self.kernel: Any = cross_entropy
        """`cross_entropy`, or a compiled version of it."""

    def forward(self, x: Tensor, targets: Tensor | None = None, *, per_target: bool = False) -> Tensor:
        """Compute logits or losses of hidden states.

        Args:
            x: [B, T, D].
            targets: [B, T] token ids, `IGNORE` where nothing is to be learnt.
            per_target: whether to return the cross-entropy of each target, without gradient, instead of sums.

        Returns:
            Logits [B, T, V] without targets (of this rank's part of the vocabulary where that is spread); else [2],
            see `Transformer.forward`, or [B, T] with `per_target`.
        """
        if targets is None:
            return F.linear(x, self._held())
        flat, wanted = x.flatten(0, -2), targets.flatten()
        if per_target:
            return self._nll(flat, wanted).view_as(targets)
        weight = self._held()
        with_gradient = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
        sums, grad_x, grad_w = self._sums(flat, weight, wanted, with_gradient)
        if grad_x is None or grad_w is None:
            return sums
        # Two nodes of the graph: zero-bubble pipelines ask for the two gradients at different times.
        of_x: Tensor = _Given.apply(flat, sums, grad_x)  # type: ignore[no-untyped-call]
        of_weight: Tensor = _Given.apply(weight, torch.zeros_like(sums), grad_w)  # type: ignore[no-untyped-call]
        return of_x + of_weight

    def _held(self) -> Tensor:
        """The weight, or what tensor parallelism has left of it on this rank."""
        return self.weight.to_local() if isinstance(self.weight, DTensor) else self.weight

    @torch.no_grad()
    def _sums(
        self, x: Tensor, weight: Tensor, targets: Tensor, with_gradient: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Sums [2] of the losses, and the gradients of the first, made chunk by chunk together with them.

        Args:
            x: [N, D].
            weight: [V, D].
            targets: [N].
            with_gradient: whether gradients, like x and weight, are wanted.
        """
        dtype = compute_dtype(x)
        w = weight.to(dtype)
        sums = torch.zeros(2, dtype=torch.promote_types(dtype, torch.float32), device=x.device)
        grad_x = torch.empty_like(x) if with_gradient else None
        grad_w = torch.zeros_like(weight) if with_gradient else None
        size = chunk_tokens(w.shape[0], x.device)
        rows = torch.arange(size, device=x.device)
        for start in range(0, x.shape[0], size):
            part = x[start : start + size].to(dtype)
            losses: Losses = self.kernel(
                part @ w.t(), targets[start : start + size], self.z_loss, self.shard, with_gradient
            )
            ce = losses.ce.sum()
            sums += torch.stack((ce + losses.z.sum(), ce))
            if losses.gradient is None or losses.at_target is None or grad_x is None or grad_w is None:
                continue
            gradient = losses.gradient
            gradient[rows[: gradient.shape[0]], losses.target] = losses.at_target
            grad_x[start : start + size] = gradient @ w
            if grad_w.dtype == dtype:
                grad_w.addmm_(gradient.t(), part)
            else:
                grad_w += gradient.t() @ part
        if grad_x is not None and self.shard is not None:
            dist.all_reduce(grad_x, group=self.shard.group)
        return sums, grad_x, grad_w

    @torch.no_grad()
    def _nll(self, x: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each target in nats: x [N, D] and targets [N] to [N], 0 where ignored."""
        dtype = compute_dtype(x)
        w = self._held().to(dtype)
        size = chunk_tokens(w.shape[0], x.device)
        parts = zip(torch.split(x, size), torch.split(targets, size), strict=True)
        losses = [self.kernel(h.to(dtype) @ w.t(), t, 0.0, self.shard, False).ce for h, t in parts]
        return torch.cat(losses)
