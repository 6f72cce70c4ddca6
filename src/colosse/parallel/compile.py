"""`torch.compile` of blocks, where a compiler works."""

from __future__ import annotations

import functools
import warnings
from typing import Literal

import structlog
import torch
from torch import nn

from colosse.core.errors import UserError
from colosse.model.loss import cross_entropy
from colosse.model.transformer import Transformer

log = structlog.get_logger(__name__)


@functools.cache
def compiler_problem(device_type: str) -> str:
    """Why `torch.compile` does not work for a kind of device; empty where it does. Tries it, once a process."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of itself
            torch.compile(_probe)(torch.ones(64, device=device_type))
    except Exception as error:  # whatever the compiler behind it has to say
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return lines[0]
    return ""


def compile_blocks(part: Transformer, mode: Literal["auto", "on", "off"], device: torch.device) -> None:
    """Compile each block's forward, and the arithmetic of the loss. Blocks of one shape share the compiled code.

    Args:
        part: changed in place; names of parameters stay what they are.
        mode: `auto` leaves the part as it is where compiling does not work, and says so.
        device: what it runs on.

    Raises:
        UserError: mode is `on` and compiling does not work.
    """
    if mode == "off":
        return
    problem = compiler_problem(device.type)
    if problem and mode == "on":
        raise UserError(
            f'layout.compile = "on", but torch.compile does not work here: {problem}',
            hint='install a C++ compiler, or set layout.compile = "auto"',
        )
    if problem:
        log.warning("not compiled", reason=problem)
        return
    for block in part.layers.values():
        block.forward = torch.compile(block.forward)
    if part.head is not None and part.head.shard is None:
        part.head.kernel = torch.compile(cross_entropy)
    if part.norm is not None:
        part.norm.forward = torch.compile(part.norm.forward)  # type: ignore[method-assign]


def _probe(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.silu(x) * 2
