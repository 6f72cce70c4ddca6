"""How much memory training takes, and that a CPU keeps it from step to step."""

from __future__ import annotations

import ctypes
from functools import cache

import psutil
import torch


def memory_in_use(device: torch.device) -> int:
    """Bytes: of a GPU the most that was allocated at once so far, elsewhere what the process holds now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(_process().memory_info().rss)


def keep_freed_memory() -> bool:
    """Let this process use freed memory again instead of giving it back; returns whether its C library can be told.

    The C library of Linux gives large blocks back at once, and each step of training on a CPU then gets its activations
    page by page anew: a hundred thousand page faults a step for 17 M parameters, a tenth of its time.
    """
    trim_threshold, mmap_max = -1, -4  # of malloc.h, the same on all architectures
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # another system, another C library
        return False
    return bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1))


@cache
def _process() -> psutil.Process:
    return psutil.Process()
