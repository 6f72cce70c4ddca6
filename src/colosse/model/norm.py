"""Root-mean-square normalisation (arXiv:1910.07467)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` that also takes what autocast has made of its input: kernels want a weight of the same type."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D], computed in float32 or better."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)
