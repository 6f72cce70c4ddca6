"""How much memory training takes."""

from __future__ import annotations

from functools import cache

import psutil
import torch


def memory_in_use(device: torch.device) -> int:
    """Bytes: of a GPU the most that was allocated at once so far, elsewhere what the process holds now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(_process().memory_info().rss)


@cache
def _process() -> psutil.Process:
    return psutil.Process()
