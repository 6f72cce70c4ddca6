"""The language-model head and its cross-entropy, in chunks so that logits never exist whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IGNORE = -100


class Head(nn.Module):
    """Logits, or the summed loss straight from hidden states."""

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, dim))
        self.z_loss = 0.0
        """Coefficient of the squared log-partition (PaLM, arXiv:2204.02311); the trainer sets it."""

    def forward(self, x: Tensor, targets: Tensor | None) -> Tensor:
        """[B, T, D] to [B, T, V]; with targets to [2], see `Transformer.forward`."""
        raise RuntimeError("helper B")
