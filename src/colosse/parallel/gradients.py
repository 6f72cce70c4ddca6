"""Gradients of a whole step: from sums to means, and clipped, on any mesh."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from colosse.parallel.mesh import Mesh
from colosse.parallel.pieces import local


@torch.no_grad()
def finish(parameters: Iterable[nn.Parameter], mesh: Mesh, num_targets: Tensor | float, max_norm: float) -> Tensor:
    """Divide summed gradients by the number of targets, and clip them to a global norm, in one pass.

    Args:
        parameters: this rank's, each once, with gradients that are already summed over the data.
        mesh: where they lie.
        num_targets: of the whole step.
        max_norm: largest Euclidean norm of all gradients of the model together; 0 does not clip.

    Returns:
        The norm before clipping, the same on every rank; 0-dimensional, float32.
    """
    by_copies: dict[int, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_copies.setdefault(_copies(parameter.grad, mesh), []).append(local(parameter.grad))
    square = torch.zeros((), device=mesh.device)
    for copies, gradients in by_copies.items():
        norms = torch.stack(torch._foreach_norm(gradients, dtype=torch.float32))
        square += norms.square().sum() / copies
    if mesh.world_size > 1:
        dist.all_reduce(square)
    scale = 1 / torch.as_tensor(num_targets, dtype=torch.float32, device=mesh.device).clamp(min=1)
    norm = square.sqrt() * scale
    if max_norm > 0:
        scale = scale * (max_norm / (norm + 1e-6)).clamp(max=1)
    for gradients in by_copies.values():
        torch._foreach_mul_(gradients, scale)
    return norm


def _copies(gradient: Tensor, mesh: Mesh) -> int:
    """How many ranks hold the same piece: all of the pipeline stage's, except those over which it is cut."""
    pieces = 1
    if isinstance(gradient, DTensor):
        for size, placement in zip(gradient.device_mesh.shape, gradient.placements, strict=True):
            if not isinstance(placement, Replicate):
                pieces *= size
    return mesh.world_size // mesh.layout.pp // pieces
