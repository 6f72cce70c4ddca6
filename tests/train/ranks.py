"""Runs a function on several local processes that form a process group."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_ranks(function: Callable[..., None], world_size: int, folder: Path, *arguments: Any) -> None:
    """Call `function(rank, *arguments)` on `world_size` ranks with gloo; an exception on one fails the test."""
    mp.spawn(_entry, (function, world_size, str(folder / "rendezvous"), arguments), nprocs=world_size)


def _entry(rank: int, function: Callable[..., None], world_size: int, store: str, arguments: tuple[Any, ...]) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    try:
        function(rank, *arguments)
    finally:
        dist.destroy_process_group()
