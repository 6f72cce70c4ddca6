"""Matrix products in float8, by torchao, on GPUs that have them; each takes the scales of its tensors anew.

Weights stay what they are between products, so that FSDP, checkpoints and export know nothing of it.
"""

from __future__ import annotations

import torch
from torch import nn

from colosse.core.errors import UserError
from colosse.model.transformer import Transformer

MULTIPLE = 16
"""What float8 kernels want both dimensions of a matrix to be a multiple of."""


def use_float8(part: Transformer, device: torch.device) -> None:
    """Let the linear layers of a part multiply in float8. Routers, experts and the head are left in bfloat16.

    Args:
        part: changed in place; on the meta device, not yet spread.
        device: what it will run on.

    Raises:
        UserError: the device has no float8, or torchao is not installed.
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
        raise UserError(
            f'layout.precision = "float8" needs a GPU of compute capability 8.9 or more, and this is {name}',
            hint='set layout.precision = "bfloat16"',
        )
    try:
        from torchao.float8 import convert_to_float8_training
    except ImportError as error:
        raise UserError('layout.precision = "float8" needs torchao', hint="pip install 'colosse[float8]'") from error
    convert_to_float8_training(part, module_filter_fn=takes_float8)


def takes_float8(module: nn.Module, name: str) -> bool:
    """Whether a module of a part is a linear layer that may multiply in float8."""
    return (
        isinstance(module, nn.Linear)
        and "router" not in name
        and module.in_features % MULTIPLE == 0
        and module.out_features % MULTIPLE == 0
    )
