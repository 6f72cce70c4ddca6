"""In which number type matrix products run. Parameters, norms, softmax and sums stay in float32."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from colosse.core.errors import UserError


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Context in which matrix products of float32 parameters run in the layout's precision.

    Args:
        precision: `Layout.precision`; float8 replaces linear layers, what remains runs in bfloat16.
        device: where the model is.

    Raises:
        UserError: float8 on a CPU.
    """
    if precision == "float8" and device.type == "cpu":
        raise UserError('layout.precision = "float8" needs a GPU', hint='use "bfloat16" or "float32" on a CPU')
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def compute_dtype(x: Tensor) -> torch.dtype:
    """Type of matrix products of `x`: autocast's where it is on, else its own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
