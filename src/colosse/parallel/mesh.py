"""The mesh: which rank computes which part of the model and of the data.

Ranks are counted with the axes `pp, dp_replicate, dp_shard, cp, tp`, outermost first, so that the ranks which talk
most (`tp`) are neighbours. Weights do not care whether two ranks differ in their sequences or in their part of one, so
FSDP shards over `fsdp = dp_shard * cp`; and inside a mixture of experts tensor ranks, too, have different tokens. So
there are several views of the same ranks, each a `DeviceMesh` made when it is first asked for: torch has no public way
to regroup the axes of one.
"""

from __future__ import annotations

import datetime
import os

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from colosse.core.errors import UserError
from colosse.spec.layout import Layout


class Mesh:
    """One rank's place in a layout.

    Args:
        layout: sizes of the axes.
        device: what this rank computes on.

    A process group of `layout.world_size` ranks must be running, except where that is 1.

    Attributes:
        rank: this process, from 0.
        world_size: number of processes.
        data_rank: which share of the batch it computes, from 0.
        stage_rank: its place along `pp`.
        context_rank: its place along `cp`.
    """

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self.layout = layout
        self.device = device
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world_size = layout.world_size
        outer, self.context_rank = divmod(self.rank // layout.tp, layout.cp)
        self.stage_rank, self.data_rank = divmod(outer, layout.data_ranks)
        self._views: dict[tuple[tuple[str, int], ...], DeviceMesh] = {}

    def prepare(self, *, experts: bool) -> None:
        """Make all views, since to make one is collective: later, ranks ask for what their parts of the model need.

        Args:
            experts: whether the model has any.
        """
        for axis in ("pp", "dp_replicate", "fsdp", "cp", "tp"):
            self.group(axis)
        if experts and self.world_size > 1:
            _ = self.folded, self.expert_fsdp

    @property
    def data_ranks(self) -> int:
        """Number of different shares of the batch."""
        return self.layout.data_ranks

    @property
    def fsdp(self) -> DeviceMesh:
        """What shards everything but the experts: `[fsdp]`, or `[dp_replicate, fsdp]`."""
        return self._replicated(self._dense(), "fsdp")

    @property
    def tensor(self) -> DeviceMesh:
        """`[tp]`, of the same root as `fsdp`, so that a parameter can lie on both."""
        return self._dense()["tp"]

    @property
    def folded(self) -> DeviceMesh:
        """What shards routers and shared experts: like `fsdp`, with the tensor ranks as further data ranks."""
        if self.layout.tp == 1:
            return self.fsdp
        return self._replicated(self._view(folded=self._replica_size()), "folded")

    @property
    def expert_fsdp(self) -> DeviceMesh:
        """What shards the experts of one expert rank."""
        if self.layout.ep == 1:
            return self.folded
        return self._replicated(self._sparse(), "expert_fsdp")

    @property
    def expert(self) -> DeviceMesh:
        """`[ep]`, of the same root as `expert_fsdp`."""
        return self._sparse()["ep"]

    def group(self, axis: str) -> dist.ProcessGroup | None:
        """The group of this rank along `pp`, `dp_replicate`, `fsdp`, `cp` or `tp`; None where the axis has size 1."""
        layout = self.layout
        if (layout.dp_shard * layout.cp if axis == "fsdp" else getattr(layout, axis)) == 1:
            return None
        if axis == "cp" and layout.dp_shard > 1:
            return self._view(dp_shard=layout.dp_shard, cp=layout.cp, tp=layout.tp).get_group("cp")
        return self._dense().get_group("fsdp" if axis == "cp" else axis)

    def sum(self, values: Tensor, *axes: str) -> Tensor:
        """Sum of `values` along axes, the same on each of their ranks; in place."""
        for axis in axes:
            group = self.group(axis)
            if group is not None:
                dist.all_reduce(values, group=group)
        return values

    def sum_data(self, values: Tensor) -> Tensor:
        """Sum over the data ranks of float values that each rank of one share of the batch has alike; in place."""
        if self.data_ranks > 1:
            dist.all_reduce(values)
            values /= self.world_size // self.data_ranks
        return values

    def _replica_size(self) -> int:
        return self.layout.dp_shard * self.layout.cp * self.layout.tp

    def _dense(self) -> DeviceMesh:
        return self._view(fsdp=self.layout.dp_shard * self.layout.cp, tp=self.layout.tp)

    def _sparse(self) -> DeviceMesh:
        return self._view(expert_fsdp=self._replica_size() // self.layout.ep, ep=self.layout.ep)

    def _replicated(self, view: DeviceMesh, axis: str) -> DeviceMesh:
        return view["dp_replicate", axis] if self.layout.dp_replicate > 1 else view[axis]

    def _view(self, **inner: int) -> DeviceMesh:
        """The ranks as `pp, dp_replicate` and then `inner`."""
        sizes = {"pp": self.layout.pp, "dp_replicate": self.layout.dp_replicate, **inner}
        key = tuple(sizes.items())
        if key not in self._views:
            names, shape = tuple(sizes), tuple(sizes.values())
            self._views[key] = init_device_mesh(self.device.type, shape, mesh_dim_names=names)
        return self._views[key]


def start(layout: Layout, *, device_type: str = "auto", timeout_s: float = 600.0) -> Mesh:
    """Join the process group that `torchrun` (or Slurm's equivalent variables) describes, and find our place in it.

    Without those variables this is a job of one process, and no group is made. A group that is already running is used.

    Args:
        layout: sizes of the axes.
        device_type: "cpu", "cuda", or "auto" for the latter where there is one.
        timeout_s: seconds after which a collective that some rank does not join is an error.

    Raises:
        UserError: another number of ranks than the layout's was started, or more on this node than it has GPUs.
    """
    started = dist.is_initialized()
    world_size = dist.get_world_size() if started else int(os.environ.get("WORLD_SIZE", "1"))
    layout.check_world(world_size)
    device = _device(device_type)
    if not started and "RANK" in os.environ:
        dist.init_process_group(
            # Checkpoints are gathered and written from CPU copies while the GPUs' group is busy.
            "gloo" if device.type == "cpu" else f"cpu:gloo,{device.type}:nccl",
            timeout=datetime.timedelta(seconds=timeout_s),
        )
    return Mesh(layout, device)


def stop() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _device(device_type: str) -> torch.device:
    if device_type == "auto":
        device_type = "cuda" if torch.cuda.is_available() else "cpu"
    if device_type == "cpu":
        return torch.device("cpu")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if local_rank >= torch.cuda.device_count():
        raise UserError(
            f"local rank {local_rank} has no GPU: this node has {torch.cuda.device_count()}",
            hint="start one process per GPU (torchrun --nproc-per-node)",
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
