"""Tensor parallelism: each matrix is cut over `tp` ranks, and what lies between the matrices is cut along the sequence.

Shapes: B sequences, T tokens of a context rank, D dim, V vocab_size, H heads, E head_dim.

Between blocks every rank holds [B, T / tp, D]. Attention and feed-forward gather the sequence, compute their part of
the heads or of the inner width, and scatter the sum over ranks back along the sequence (arXiv:2205.05198). The
embedding and the head are cut by vocabulary. Experts are not cut: inside a mixture of experts the tensor ranks are
further data ranks, each with its own tokens (`Mesh.folded`), so that only weights travel.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.distributed.tensor.parallel.style import ParallelStyle
from torch.nn import functional as F

from colosse.model import loss
from colosse.model.transformer import Transformer
from colosse.parallel.mesh import Mesh
from colosse.parallel.pieces import local


def tensor_parallel(part: Transformer, mesh: Mesh) -> None:
    """Cut a part of the model over the tensor ranks.

    Args:
        part: changed in place; on the meta device.
        mesh: where to.
    """
    group = mesh.group("tp")
    if group is None:
        return
    spread = mesh.tensor
    styles = [_block_styles(part.spec.qk_norm, block) for block in part.layers.values()]
    for block, plan in zip(part.layers.values(), styles, strict=True):
        parallelize_module(block, spread, plan)
        if part.spec.qk_norm == "full":
            attention = block.get_submodule("attention")
            for name in ("q_norm", "k_norm"):
                setattr(attention, name, CutNorm(attention.get_parameter(f"{name}.weight"), part.spec.norm_eps, spread))
    if part.embed is not None:
        part.embed = CutEmbedding(part.embed.weight, spread)
    if part.norm is not None and part.head is not None:
        whole = PrepareModuleInput(
            input_layouts=(Shard(1), None), desired_input_layouts=(Replicate(), None), use_local_output=True
        )
        parallelize_module(part, spread, {"norm": SequenceParallel(use_local_output=True), "head": whole})
        tied = part.embed if part.spec.tied_embeddings else None
        part.head.weight = _cut(part.head.weight, spread) if tied is None else cast(nn.Parameter, tied.weight)
        part.head.shard = loss.Shard(group, spread.get_local_rank() * (part.spec.vocab_size // mesh.layout.tp))


def _block_styles(qk_norm: str, block: nn.Module) -> dict[str, ParallelStyle]:
    """What each module of a block does with its weights, and with what goes in and out."""
    along_sequence = SequenceParallel(use_local_output=True)
    scattered = RowwiseParallel(output_layouts=Shard(1))
    styles: dict[str, ParallelStyle] = {
        "attention_norm": along_sequence,
        # One gathering for the three projections, whose gradients are summed before they are scattered.
        "attention": PrepareModuleInput(input_layouts=(Shard(1), None), desired_input_layouts=(Replicate(), None)),
        "attention.q": ColwiseParallel(),
        "attention.k": ColwiseParallel(),
        "attention.v": ColwiseParallel(),
        "attention.o": scattered,
        "ffn_norm": along_sequence,
    }
    if qk_norm == "head":
        # Cut along the heads; like the sequence, that leaves the weight whole and its gradient to be summed.
        along_heads = SequenceParallel(sequence_dim=2, use_local_output=True)
        styles |= {"attention.q_norm": along_heads, "attention.k_norm": along_heads}
    if hasattr(block, "ffn"):
        styles |= {
            "ffn": PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),)),
            "ffn.gate": ColwiseParallel(),
            "ffn.up": ColwiseParallel(),
            "ffn.down": scattered,
        }
    return styles


def _cut(weight: Tensor, spread: DeviceMesh) -> nn.Parameter:
    return nn.Parameter(distribute_tensor(weight, spread, [Shard(0)]))


class CutEmbedding(nn.Embedding):
    """An embedding of which each rank has a part of the vocabulary, and gives its part of the sequence.

    DTensor's own takes the gradient of the whole matrix on every rank: 4 GB for the vocabulary of Llama 3 405B.

    Args:
        weight: of all ranks, which is taken over and cut.
        spread: the tensor ranks.
    """

    def __init__(self, weight: Tensor, spread: DeviceMesh) -> None:
        super().__init__(weight.shape[0], weight.shape[1], device="meta")
        self.group = spread.get_group()
        self.start = spread.get_local_rank() * (weight.shape[0] // spread.size())
        self.weight = _cut(weight, spread)

    def forward(self, input: Tensor) -> Tensor:
        """[B, T] to [B, T / tp, D]."""
        rows = local(self.weight)
        index = input - self.start
        elsewhere = (index < 0) | (index >= rows.shape[0])
        mine = F.embedding(index.masked_fill(elsewhere, 0), rows).masked_fill(elsewhere.unsqueeze(-1), 0)
        out: Tensor = _Scattered.apply(mine, self.group)  # type: ignore[no-untyped-call]
        return out


class CutNorm(nn.Module):
    """RMSNorm over a last dimension of which each rank has a part (`qk_norm = "full"`).

    Args:
        weight: of all ranks, which is taken over and cut.
        eps: what keeps the root from zero.
        spread: the tensor ranks.
    """

    def __init__(self, weight: Tensor, eps: float, spread: DeviceMesh) -> None:
        super().__init__()
        self.eps = eps
        self.size = weight.numel()
        self.group = spread.get_group()
        self.weight = _cut(weight, spread)

    def forward(self, x: Tensor) -> Tensor:
        """[..., size / tp] to the same; the mean square is over all ranks, in float32."""
        wide = x.float()
        total: Tensor = _Sum.apply(wide.square().sum(-1, keepdim=True), self.group)  # type: ignore[no-untyped-call]
        return (wide * (total / self.size + self.eps).rsqrt()).type_as(x) * local(self.weight)


class _Sum(torch.autograd.Function):
    """Sum over ranks, of which each then computes something else: gradients are summed, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        """From x of any shape to the sum."""
        ctx.group = group
        total = x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        """What all ranks' results owe to this rank's x."""
        gradient = grad_outputs[0].clone()
        dist.all_reduce(gradient, group=ctx.group)
        return gradient, None


class _Scattered(torch.autograd.Function):
    """Sum over ranks, of which each gets its part of the second dimension."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        """From [B, T, D] to [B, T / ranks, D]."""
        ctx.group = group
        parts = torch.unflatten(x, 1, (group.size(), -1)).movedim(1, 0).contiguous()
        out = torch.empty_like(parts[0])
        dist.reduce_scatter_single(out, parts.flatten(0, 1), group=group)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        """Every rank's part, which all of them had a share in."""
        gradient = grad_outputs[0].contiguous()
        parts = gradient.new_empty(ctx.group.size() * gradient.shape[0], *gradient.shape[1:])
        dist.all_gather_single(parts, gradient, group=ctx.group)
        return torch.unflatten(parts, 0, (ctx.group.size(), -1)).movedim(0, 1).flatten(1, 2), None
