"""Muon's update of matrices (arXiv:2502.16982), each computed once, whatever mesh its rows and columns lie on.

Orthogonalising needs a whole matrix, and sharded parameters have only parts of it. Every axis of the mesh therefore
trades "a part of each matrix" for "the whole of some matrices" (an all-to-all of a stack of equally shaped ones), each
rank orthogonalises its own, and the way back is the same in reverse.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration (kellerjordan.github.io/posts/muon)."""
ITERATIONS = 5
RMS_OF_ADAMW = 0.2
"""Root mean square of a typical AdamW update: with it both optimisers share learning rate and weight decay."""


def orthogonalise(matrices: Tensor) -> Tensor:
    """Replace the singular values of [n, a, b] by values near 1, by Newton-Schulz iteration.

    On GPUs in bfloat16, which the iteration tolerates; on CPUs in float32, which is faster there.
    """
    a, b, c = COEFFICIENTS
    x = matrices.to(torch.float32 if matrices.device.type == "cpu" else torch.bfloat16)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


def muon_updates(momenta: Sequence[Tensor], like: Tensor) -> list[Tensor]:
    """Orthogonalised and scaled updates of equally shaped and equally spread parameters.

    Args:
        momenta: this rank's parts of n matrices [a, b] or n stacks of matrices [E, a, b] (experts).
        like: one of the parameters: a DTensor says how they are spread.

    Returns:
        This rank's parts of the updates, in the same order, to be subtracted after multiplying by the learning rate.
    """
    if like.ndim == 3:  # the experts' own axis is the stack
        sizes = [part.shape[0] for part in momenta]
        stack, shape, first = torch.cat(list(momenta)), like.shape[1:], 1
    else:
        sizes = []
        stack, shape, first = torch.stack(list(momenta)), like.shape, 0
    placements: tuple[Placement, ...] = like.placements if isinstance(like, DTensor) else ()
    way: list[_Trade] = []
    for axis, placement in enumerate(placements):
        assert isinstance(like, DTensor)  # noqa: S101 - only they have placements
        # A sharding of the experts' axis cuts no matrix. Copies share out the matrices between them.
        cut = _cut_dim(placement)
        if cut is not None and cut < first:
            continue
        way.append(_Trade(like, axis, first, stack.shape[0]))
        stack = way[-1].there(stack)
    stack = orthogonalise(stack) * (RMS_OF_ADAMW * max(shape) ** 0.5)
    for trade in reversed(way):
        stack = trade.back(stack)
    return list(torch.split(stack, sizes)) if like.ndim == 3 else list(stack.unbind())


def _cut_dim(placement: Placement) -> int | None:
    """The dimension that a placement shards (also in the strided way of FSDP over tensor parallelism), if any."""
    return getattr(placement, "dim", None)


class _Trade:
    """Along one mesh axis: parts of all of `count` matrices against some whole ones.

    The parameter's placements are undone from the first axis to the last, because sharding over data ranks is applied
    after that over tensor ranks and comes first in the mesh; so each trade undoes the outermost cut that is left.
    """

    def __init__(self, like: DTensor, axis: int, first: int, count: int) -> None:
        names = like.device_mesh.mesh_dim_names
        self._mesh = like.device_mesh if like.device_mesh.ndim == 1 else like.device_mesh[(names or ())[axis]]
        cut = _cut_dim(like.placements[axis])
        self._cut: Placement = Replicate() if cut is None else Shard(cut - first + 1)
        shape = list(like.shape[first:])
        for later, placement in enumerate(like.placements[axis + 1 :], start=axis + 1):
            other = _cut_dim(placement)
            if other is not None and other >= first:
                shape[other - first] //= like.device_mesh.size(later)  # tensor parallelism divides evenly
        self._shape = torch.Size([count, *shape])

    def there(self, parts: Tensor) -> Tensor:
        """[count, part of a, b] to [some of count, a, b]."""
        return self._move(parts, self._cut, Shard(0))

    def back(self, whole: Tensor) -> Tensor:
        """[some of count, a, b] to [count, part of a, b]."""
        return self._move(whole, Shard(0), self._cut)

    def _move(self, local: Tensor, source: Placement, target: Placement) -> Tensor:
        stride = torch.empty(self._shape, device="meta").stride()
        spread = DTensor.from_local(
            local.contiguous(), self._mesh, [source], run_check=False, shape=self._shape, stride=stride
        )
        return spread.redistribute(placements=[target]).to_local()
