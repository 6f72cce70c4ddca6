"""In which number type matrix products run. Parameters, norms, softmax and sums stay in float32."""

from __future__ import annotations

import contextlib
import functools

import torch
from torch import Tensor


@functools.cache
def has_bfloat16(device_type: str) -> bool:
    """Whether a kind of device multiplies bfloat16 faster than float32: of CPUs, those with instructions for it."""
    if device_type != "cpu":
        return True
    return any(there and name.endswith("bf16") for name, there in torch.cpu.get_capabilities().items())


def product_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Type in which matrices are multiplied under a `Layout.precision`.

    A CPU that would have to imitate bfloat16 computes in float32: faster there, and no less exact. What float8 leaves
    over is in bfloat16.
    """
    if precision == "float32" or not has_bfloat16(device.type):
        return torch.float32
    return torch.bfloat16


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Context in which matrix products of float32 parameters run in the layout's precision.

    Args:
        precision: `Layout.precision`; float8 replaces linear layers, and has its own check of the device.
        device: where the model is.
    """
    dtype = product_dtype(precision, device)
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def compute_dtype(x: Tensor) -> torch.dtype:
    """Type of matrix products of `x`: autocast's where it is on, else its own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
