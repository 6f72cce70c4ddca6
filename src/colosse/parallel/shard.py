"""FSDP2: every rank keeps a slice of each parameter, and gathers a block's weights while it computes that block.

Gradients and optimiser state are cut in the same way. With `dp_replicate` the slices are copied and their gradients
summed (HSDP).
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.fsdp._fully_shard._fsdp_common import FSDPMeshInfo, HSDPMeshInfo, ShardPlacementResult
from torch.distributed.tensor import DTensor, Shard

from colosse.model.precision import product_dtype
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
    dtype = product_dtype(layout.precision, mesh.device)
    policy = MixedPrecisionPolicy(param_dtype=None if dtype == torch.float32 else dtype, reduce_dtype=torch.float32)
    places = _expert_places(part, mesh)
    # torch takes a zero-bubble backward apart by the parameters that it finds in the modules: they must be whole ones.
    reshard = layout.reshard_after_forward and not (layout.pp > 1 and layout.schedule.endswith("zero_bubble"))

    def apply(modules: nn.Module | list[nn.Module], *, reshard: bool) -> None:
        fully_shard(
            modules,
            mesh=mesh.fsdp,
            reshard_after_forward=reshard,
            shard_placement_fn=places.get if places else None,
            mp_policy=policy,
        )

    for block in part.layers.values():
        apply(block, reshard=reshard)
    if not part.spec.tied_embeddings:
        if part.embed is not None:
            apply(part.embed, reshard=reshard)
        if part.norm is not None and part.head is not None:
            apply([part.norm, part.head], reshard=False)  # backward begins with them
    apply(part, reshard=False)
    for module in sharded(part):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    if layout.ep > 1:
        _prefetch([module for module in part.layers.values() if isinstance(module, FSDPModule)])


def sharded(part: nn.Module) -> list[FSDPModule]:
    """The modules of a part that gather their own weights; none where nothing is spread."""
    return [module for module in part.modules() if isinstance(module, FSDPModule)]


def _expert_places(part: Transformer, mesh: Mesh) -> dict[nn.Parameter, Shard | ShardPlacementResult]:
    """How the parameters of mixtures are cut, and over which ranks where those are not the rest of the block's."""
    places: dict[nn.Parameter, Shard | ShardPlacementResult] = {}
    mixtures = part.mixtures()
    folded = _info(mesh.folded) if mixtures and mesh.layout.tp > 1 else None
    experts = _info(mesh.expert_fsdp) if mixtures and mesh.layout.ep > 1 else folded
    ranks = (experts.mesh if experts is not None else mesh.fsdp).size(-1)
    for moe in mixtures:
        if folded is not None:
            places |= dict.fromkeys(moe.parameters(), ShardPlacementResult(Shard(0), folded))
        for weight in moe.experts.parameters():
            cut = _within_or_among(weight, ranks)
            places[weight] = cut if experts is None else ShardPlacementResult(cut, experts)
    return places


def _within_or_among(weight: nn.Parameter, ranks: int) -> Shard:
    """Cut among a rank's experts where they are enough, else within each: padding would be whole experts."""
    held = weight.to_local() if isinstance(weight, DTensor) else weight
    return Shard(1 if held.shape[0] % ranks and held.shape[1] % ranks == 0 else 0)


def _info(on: DeviceMesh) -> FSDPMeshInfo:
    if on.ndim == 1:
        return FSDPMeshInfo(on, shard_mesh_dim=0)
    return HSDPMeshInfo(on, shard_mesh_dim=1, replicate_mesh_dim=0)


def _prefetch(blocks: list[FSDPModule]) -> None:
    """Gather the next block's weights before a block, whose experts make the CPU wait, rather than while it runs."""
    for block, following in itertools.pairwise(blocks):
        block.set_modules_to_forward_prefetch([following])
        following.set_modules_to_backward_prefetch([block])
