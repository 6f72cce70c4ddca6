"""Child processes that never outlive us, and how to end them.

A child is started in a session of its own, so that Ctrl-C in the terminal reaches us alone and its whole group can be
ended. Two things end it when we die without a word: the kernel's parent-death signal (Linux), and its standard input,
a pipe that closes with us (everywhere). A child of ours calls `die_with_parent`; a program that knows nothing of this
is run under a guard: `python -m colosse.core.process PROGRAM ARGUMENT...`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

POSIX = os.name == "posix"
SLEEPING_THREADS = {"GOMP_SPINCOUNT": "1000"}
"""Environment in which OpenMP's threads that wait for each other sleep soon: spinning, the default, divides the speed
of engines and of training by ten as soon as anything else wants one of the processors. Read when OpenMP is loaded."""


async def spawn(
    argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> asyncio.subprocess.Process:
    """Start `argv` with its errors appended to `log`, a pipe as output, and an input that stays open after `stdin`.

    Raises:
        OSError: the program or the log's folder is not there.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(env or {})},
            start_new_session=POSIX,
            creationflags=0 if POSIX else subprocess.CREATE_NEW_PROCESS_GROUP,  # type: ignore[attr-defined,unused-ignore]
        )
    try:
        if stdin and process.stdin is not None:
            process.stdin.write(stdin)
            await process.stdin.drain()
    except ConnectionError:
        pass  # it died already: its exit status says so
    except BaseException:
        await terminate(process, grace_s=0)
        raise
    return process


async def terminate(process: asyncio.subprocess.Process, grace_s: float = 5.0) -> None:
    """End `process` and everything it started: politely, and after `grace_s` seconds for good. Idempotent."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace_s)
    _signal_group(process.pid, signal.SIGKILL if POSIX else signal.SIGTERM)  # what is left of the group
    if process.returncode is None:
        await process.wait()
    if process.stdin is not None:
        process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await process.stdin.wait_closed()


def _signal_group(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if POSIX:
            os.killpg(pid, signum)
        else:
            os.kill(pid, signum)


def die_with_parent(parent: int = 0) -> None:
    """Called by a child of ours: end this process, and its group, as soon as the parent is gone.

    Args:
        parent: its process id; a parent that died before this call is noticed by it.
    """
    set_parent_death_signal()
    if parent and os.getppid() != parent and POSIX:
        os._exit(1)
    threading.Thread(target=_exit_at_end_of_input, name="parent", daemon=True).start()


def set_parent_death_signal() -> None:
    """Linux: SIGKILL for this process when its parent dies; elsewhere nothing."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def _exit_at_end_of_input() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    _end_own_group()


def _end_own_group() -> None:
    if POSIX and os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def guard(argv: Sequence[str]) -> int:
    """Run `argv` until it ends or our parent dies, and leave nothing of it behind. Returns its exit status."""
    threading.Thread(target=_exit_at_end_of_input, name="parent", daemon=True).start()
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            preexec_fn=set_parent_death_signal if sys.platform == "linux" else None,
        )
    except OSError as error:
        print(f"cannot start {argv[0]}: {error}", file=sys.stderr)  # noqa: T201 - this is the log
        return 127
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    return child.wait()


if __name__ == "__main__":
    sys.exit(guard(sys.argv[1:]))
