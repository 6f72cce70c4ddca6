"""Expert parallelism: each of the `ep` ranks holds some of the experts, and tokens travel to the ranks of theirs.

Shapes: N rows (tokens times experts of each) of this rank, M rows that come to this rank's experts, D dim.
"""

from __future__ import annotations

import functools

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_to_all_single_autograd
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_tensor

from colosse.model.moe import Experts, Reorder, grouped_swiglu
from colosse.model.transformer import Transformer
from colosse.parallel.mesh import Mesh
from colosse.parallel.pieces import local


def expert_parallel(part: Transformer, mesh: Mesh) -> None:
    """Spread experts, and make the balance loss see whole microbatches.

    Args:
        part: changed in place; on the meta device.
        mesh: where to.
    """
    for moe in part.mixtures():
        if mesh.layout.cp * mesh.layout.tp > 1:
            moe.sum_counts = functools.partial(_sum_counts, mesh)
        if mesh.layout.ep > 1:
            moe.experts = SpreadExperts(moe.experts, mesh.expert)


def update_balance(parts: list[Transformer], mesh: Mesh) -> None:
    """Once a step: sum the tokens per expert over all ranks of the stage, and correct the router's biases by them."""
    mixtures = [moe for part in parts for moe in part.mixtures()]
    if not mixtures:
        return
    counts = torch.stack([moe.counts for moe in mixtures])
    mesh.sum(counts, "dp_replicate", "fsdp", "tp")
    for moe, total in zip(mixtures, counts, strict=True):
        moe.counts.copy_(total)
        moe.update_balance()


class SpreadExperts(Experts):
    """`Experts` of which each rank has a part, in order.

    Args:
        experts: whose weights are taken over and cut.
        spread: the expert ranks; their number divides that of the experts.
    """

    def __init__(self, experts: Experts, spread: DeviceMesh) -> None:
        nn.Module.__init__(self)
        self.group = spread.get_group()
        for name, weight in experts.named_parameters():
            setattr(self, name, nn.Parameter(distribute_tensor(weight, spread, [Shard(0)])))

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        """Each expert on its own tokens of all ranks.

        Args:
            x: [N, D], sorted by expert.
            counts: [num_experts] how many of them each expert has.
        """
        sent = counts.to(torch.int64).view(self.group.size(), -1)
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=self.group)
        # Row r, column e: rows from rank r for this rank's expert e.
        there, back = message_rows(x, sent, received)
        rows = all_to_all_single_autograd(x, back, there, self.group)
        # They come sorted by rank, then expert; experts want them by expert.
        number = torch.arange(received.shape[1], device=x.device).repeat(received.shape[0])
        order = number.repeat_interleave(received.flatten(), output_size=rows.shape[0]).argsort(stable=True)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=x.device))
        rows = Reorder.apply(rows, order, place, 1)  # type: ignore[no-untyped-call]
        rows = grouped_swiglu(rows, received.sum(0), local(self.gate), local(self.up), local(self.down))
        rows = Reorder.apply(rows, place, order, 1)  # type: ignore[no-untyped-call]
        out: Tensor = all_to_all_single_autograd(rows, there, back, self.group)
        return out


def message_rows(_x: Tensor, sent: Tensor, received: Tensor) -> tuple[list[int], list[int]]:
    """Rows to and from each rank, of N in all: sizes of messages must be known to the CPU.

    A function of its own because a dry run, whose routers choose nothing, replaces it.
    """
    return sent.sum(1).tolist(), received.sum(1).tolist()


def _sum_counts(mesh: Mesh, counts: Tensor) -> Tensor:
    return mesh.sum(counts.clone(), "cp", "tp")
