"""Give up activations in the forward pass, and compute them again in the backward pass."""

from __future__ import annotations

import functools
from typing import Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

_aten = torch.ops.aten

EXPENSIVE = [
    _aten.mm.default,
    _aten.addmm.default,
    _aten.bmm.default,
    _aten._grouped_mm.default,
    _aten._scaled_mm.default,
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.higher_order.flex_attention,
    torch.ops._c10d_functional.all_to_all_single.default,
    torch.ops._c10d_functional.reduce_scatter_tensor.default,
]
"""What `selective` keeps: matrix products, attention, and what came over the network."""


def recompute(block: nn.Module, mode: Literal["none", "selective", "full"]) -> None:
    """Make a block's forward keep less. Names of parameters stay what they are.

    Args:
        block: changed in place.
        mode: `selective` keeps the results of `EXPENSIVE` operations, `full` only the block's inputs.
    """
    if mode == "none":
        return
    # Nothing in a block is random: no generator's state need be kept.
    again = functools.partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
    if mode == "selective":
        again = functools.partial(again, context_fn=_contexts)
    block.forward = again


_contexts = functools.partial(create_selective_checkpoint_contexts, EXPENSIVE)
