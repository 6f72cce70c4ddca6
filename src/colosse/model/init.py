"""First values of every parameter and buffer, the same on every layout.

Each parameter is drawn in blocks of rows, a block by a generator of its own, seeded with (seed, name, block). A rank
that holds any slice of a parameter draws just the blocks that its slice touches.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn

from colosse.spec.model import ModelSpec

BLOCK_VALUES = 1 << 20
"""Values of a block, at most, where a row has fewer."""


def init_std(spec: ModelSpec, name: str) -> float:
    """Standard deviation of a parameter: `sqrt(2 / (5 dim))` (arXiv:1910.05895, 0.02 at a dim of 1000).

    Matrices that write to the residual stream are divided by `sqrt(2 num_layers)` (GPT-2), so that its variance does
    not grow with depth.
    """
    std = math.sqrt(2 / (5 * spec.dim))
    writes = any(part in ("o", "down") for part in name.split("."))
    return std / math.sqrt(2 * spec.num_layers) if writes else std


def init_values(
    spec: ModelSpec, seed: int, name: str, shape: torch.Size | tuple[int, ...], index: tuple[slice, ...] = ()
) -> Tensor:
    """Draw a parameter, or a slice of it.

    Args:
        spec: the model.
        seed: of the run.
        name: fully qualified, as in `Transformer.named_parameters`, layers numbered over the whole model.
        shape: of the whole parameter.
        index: slices with step 1, one a dimension; left out dimensions are whole.

    Returns:
        The slice, float32 on the CPU.
    """
    bounds = [s.indices(n)[:2] for s, n in zip(index, shape, strict=False)]
    bounds += [(0, n) for n in shape[len(bounds) :]]
    sizes = [max(stop - start, 0) for start, stop in bounds]
    if len(shape) == 1:  # norms begin as the identity, biases as nothing
        return torch.full(sizes, 1.0 if "norm" in name else 0.0, dtype=torch.float32, device="cpu")
    out = torch.empty(sizes, dtype=torch.float32, device="cpu")
    if not out.numel():
        return out
    inner = tuple(slice(*b) for b in bounds[1:])
    rows = max(1, BLOCK_VALUES // math.prod(shape[1:]))
    first, last = bounds[0]
    std = init_std(spec, name)
    for block in range(first // rows, (last - 1) // rows + 1):
        begin, end = block * rows, min((block + 1) * rows, shape[0])
        digest = hashlib.blake2b(f"{seed}/{name}/{block}".encode(), digest_size=8).digest()
        generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest, "big"))
        values = torch.empty(end - begin, *shape[1:], dtype=torch.float32, device="cpu")
        values.normal_(0.0, std, generator=generator)
        lo, hi = max(first, begin), min(last, end)
        out[lo - first : hi - first] = values[(slice(lo - begin, hi - begin), *inner)]
    return out


@torch.no_grad()
def initialize(model: nn.Module, spec: ModelSpec, seed: int) -> None:
    """Give a plain model, on any device but meta, its first values; `parallel/` does the same for a spread one."""
    for name, parameter in model.named_parameters():
        parameter.copy_(init_values(spec, seed, name, parameter.shape))
    for buffer in model.buffers():
        buffer.zero_()
