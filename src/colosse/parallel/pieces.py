"""The piece of each tensor that a rank holds."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from colosse.model.init import init_values
from colosse.model.transformer import Transformer


def local(tensor: Tensor) -> Tensor:
    """The piece that this rank holds, sharing memory; a tensor that is not spread is its own piece."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def held(tensor: Tensor) -> tuple[slice, ...]:
    """Where this rank's piece lies in the whole tensor, one slice a dimension."""
    if not isinstance(tensor, DTensor):
        return tuple(slice(0, size) for size in tensor.shape)
    sizes, starts = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))


@torch.no_grad()
def materialise(part: Transformer, device: torch.device, seed: int) -> None:
    """Take memory for a part that is on the meta device, and fill it with its first values.

    Args:
        part: already spread, so that only this rank's pieces are made.
        device: where to; on the meta device, as a dry run has it, nothing has a value.
        seed: of the first values, which are the same on every mesh.
    """
    part.to_empty(device=device)
    if part.spec.tied_embeddings and part.embed is not None and part.head is not None:
        part.head.weight = cast(nn.Parameter, part.embed.weight)  # they come back apart
    if device.type == "meta":
        return
    for name, weight in part.named_parameters():
        local(weight).copy_(init_values(part.spec, seed, name, weight.shape, held(weight)))
    for buffer in part.buffers():
        buffer.zero_()
