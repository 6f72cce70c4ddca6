"""FSDP2: every rank keeps a slice of each parameter, and gathers a block's weights while it computes that block.

Gradients and optimiser state are cut in the same way. With `dp_replicate` the slices are copied and their gradients
summed (HSDP).
"""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Shard

from colosse.model.transformer import Transformer
from colosse.parallel.mesh import Mesh


def shard(part: Transformer, mesh: Mesh) -> None:
    """Spread a part of the model over the data ranks; its blocks, its head and the rest are gathered separately.

    Gradients come out as sums over the data, in float32.

    Args:
        part: changed in place; on the meta device.
        mesh: where to.
    """
    layout = mesh.layout
    low = None if layout.precision == "float32" else torch.bfloat16
    policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32)

    def apply(modules: nn.Module | list[nn.Module], on: DeviceMesh, *, reshard: bool) -> None:
        fully_shard(modules, mesh=on, reshard_after_forward=reshard, mp_policy=policy)

    for moe in part.mixtures():
        if layout.ep > 1:
            ranks = mesh.expert_fsdp.size(-1)
            fully_shard(
                moe.experts,
                mesh=mesh.expert_fsdp,
                reshard_after_forward=layout.reshard_after_forward,
                shard_placement_fn=functools.partial(_within_experts, ranks),
                mp_policy=policy,
            )
        if layout.tp > 1:
            apply(moe, mesh.folded, reshard=layout.reshard_after_forward)
    for block in part.layers.values():
        apply(block, mesh.fsdp, reshard=layout.reshard_after_forward)
    if not part.spec.tied_embeddings:
        if part.embed is not None:
            apply(part.embed, mesh.fsdp, reshard=layout.reshard_after_forward)
        if part.norm is not None and part.head is not None:
            apply([part.norm, part.head], mesh.fsdp, reshard=False)  # backward begins with them
    apply(part, mesh.fsdp, reshard=False)
    for module in sharded(part):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def sharded(part: nn.Module) -> list[FSDPModule]:
    """The modules of a part that gather their own weights; none where nothing is spread."""
    return [module for module in part.modules() if isinstance(module, FSDPModule)]


def _within_experts(ranks: int, weight: nn.Parameter) -> Shard | None:
    """Cut within each expert where that comes out even: a rank may have fewer experts than FSDP has ranks."""
    return Shard(1) if weight.shape[1] % ranks == 0 else None
