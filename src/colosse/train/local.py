"""Starts the ranks of a layout on this machine, where nobody else (`torchrun`, Slurm) has.

Each rank runs the same command with the variables that `torchrun` would set. They live and die together: one that fails
takes the others with it, a signal for us is passed on to all, and on Linux they do not outlive us.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from colosse.core.errors import UserError
from colosse.core.machine import machine
from colosse.core.process import set_parent_death_signal

POLL_S = 0.05
GRACE_S = 10.0
"""Between asking the ranks that are left to stop and ending them."""


def ranks_are_needed(world_size: int) -> bool:
    """Whether this process must start ranks: the layout wants several and nobody has made us one of them."""
    return world_size > 1 and "RANK" not in os.environ


def run_ranks(argv: Sequence[str], world_size: int) -> int:
    """Run `argv` once per rank until all are done.

    Returns:
        0, or the exit status of the first rank that failed.

    Raises:
        UserError: the machine has GPUs, but fewer than ranks.
    """
    from torch._C._distributed_c10d import TCPStore  # here: everything else works without torch

    gpus = len(machine().gpus)
    if 0 < gpus < world_size:
        raise UserError(
            f"the layout is for {world_size} ranks and this machine has {gpus} GPUs",
            hint=f"use a layout of {gpus} ranks, or start the same command with torchrun on several machines",
        )
    # Held by us, on a port that the system picks: no two runs can meet on one.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(1, machine().cpus // world_size)),
    }
    ranks = [
        subprocess.Popen(
            argv,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            preexec_fn=set_parent_death_signal if sys.platform == "linux" else None,
        )
        for rank in range(world_size)
    ]

    def pass_on(signum: int, frame: object) -> None:
        for rank in ranks:
            if rank.poll() is None:
                rank.send_signal(signum)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
        # The terminal tells the ranks itself; they finish their step, and we wait for them.
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
    }
    try:
        return _wait(ranks)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
        _end(ranks)


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> int:
    while True:
        statuses = [rank.poll() for rank in ranks]
        failed = [status for status in statuses if status]
        if failed:
            time.sleep(POLL_S)  # the rank that knows why may be about to say so
            return failed[0] if failed[0] > 0 else 128 - failed[0]
        if all(status == 0 for status in statuses):
            return 0
        time.sleep(POLL_S)


def _end(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what is left, at once: a rank whose peer has died waits for it for ever."""
    for rank in ranks:
        if rank.poll() is None:
            rank.kill()
    for rank in ranks:
        rank.wait(GRACE_S)
