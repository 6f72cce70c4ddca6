"""Context parallelism: a sequence is cut over `cp` ranks, which exchange sequence for heads around attention.

Shapes: B sequences, S tokens of the whole sequence, T = S / cp, H heads, K key/value heads, E head_dim; with tensor
parallelism H and K are this rank's.

Attention sees whole sequences of H / cp heads, so document masks, sliding windows and rotary positions stay what they
are, and work is even. Everything else is token by token, on T tokens (DeepSpeed-Ulysses, arXiv:2309.14509).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_to_all_single_autograd

from colosse.model.attention import Attention, Context
from colosse.model.transformer import Transformer
from colosse.parallel.mesh import Mesh


def context_parallel(part: Transformer, mesh: Mesh) -> None:
    """Make attention exchange heads for sequence.

    Args:
        part: changed in place.
        mesh: where it lies.
    """
    # A later stage gets hidden states, which tensor parallelism cuts along the sequence as well.
    part.sequence_parts = mesh.layout.cp * (1 if part.embed is not None else mesh.layout.tp)
    group = mesh.group("cp")
    if group is None:
        return
    for attention in [module for module in part.modules() if isinstance(module, Attention)]:
        attention.attend = ExchangingAttend(attention.attend, group)


def context_part(tokens: Tensor, mesh: Mesh) -> Tensor:
    """The context rank's part of whole sequences: [B, S] to [B, T], contiguous."""
    return tokens.tensor_split(mesh.layout.cp, dim=1)[mesh.context_rank]


class ExchangingAttend(nn.Module):
    """`Attend` between two exchanges. Where there are fewer key/value heads than ranks, they are repeated before.

    Args:
        attend: what attends, on whole sequences.
        group: the context ranks; their number divides H, and divides K or is a multiple of it.
    """

    def __init__(self, attend: nn.Module, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.attend = attend
        self.group = group
        self.ranks = group.size()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """From q [B, T, H, E], k and v [B, T, K, E] to [B, T, H, E]."""
        repeats = max(1, self.ranks // k.shape[2])
        if repeats > 1:
            k, v = k.repeat_interleave(repeats, dim=2), v.repeat_interleave(repeats, dim=2)
        # One exchange for all three: [ranks, B, T, heads of q, k and v for that rank, E].
        parts = [torch.unflatten(x, 2, (self.ranks, -1)).movedim(2, 0) for x in (q, k, v)]
        heads = [part.shape[3] for part in parts]
        whole = self._exchange(torch.cat(parts, dim=3)).movedim(0, 1).flatten(1, 2)
        out = self.attend(*torch.split(whole, heads, dim=2), context)
        # [B, S, H / ranks, E] to [ranks, B, T, H / ranks, E]: each rank gets its tokens back, with all heads.
        back = self._exchange(torch.unflatten(out, 1, (self.ranks, -1)).movedim(1, 0))
        return back.movedim(0, 2).flatten(2, 3)

    def _exchange(self, x: Tensor) -> Tensor:
        """Element i of the first dimension goes to rank i, and what comes from rank i is element i."""
        out: Tensor = all_to_all_single_autograd(x.contiguous(), None, None, self.group)
        return out
