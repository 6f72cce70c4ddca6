"""Children die with their parent, whatever kills it, and take their own children along."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from colosse.core.process import spawn, terminate

CHILD = """
import os, sys, time
from colosse.core.process import die_with_parent
sys.stdin.readline()
die_with_parent({parent})
print(os.getpid(), flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
print(grandchild.pid, flush=True)
time.sleep(600)
"""


async def gone(pid: int) -> None:
    """Wait until there is no such process, or only a zombie that nobody has to reap."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"process {pid} still runs")


async def pid_from(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    return int(await asyncio.wait_for(process.stdout.readline(), 20))


async def test_errors_go_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "child.log"
    code = "import sys; print(sys.stdin.readline(), file=sys.stderr)"
    process = await spawn([sys.executable, "-c", code], log=log, stdin=b"hello\n")
    assert await process.wait() == 0
    await terminate(process)
    assert "hello" in log.read_text()


async def test_a_child_that_does_not_read_is_no_error(tmp_path: Path) -> None:
    process = await spawn([sys.executable, "-c", ""], log=tmp_path / "log", stdin=b"x" * 1_000_000)
    assert await process.wait() == 0
    await terminate(process)


async def test_terminate_ends_a_whole_stubborn_group(tmp_path: Path) -> None:
    process = await spawn([sys.executable, "-c", STUBBORN], log=tmp_path / "log")
    grandchild = await pid_from(process)
    await terminate(process, grace_s=0.2)
    assert process.returncode == -signal.SIGKILL
    await gone(grandchild)
    await terminate(process)  # again is no error


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "pipe closed"])
async def test_die_with_parent(tmp_path: Path, kill: bool) -> None:
    """By the death signal when the parent is killed; by the end of its input alone when the pipe closes."""
    child = CHILD.format(parent="os.getppid()")
    parent = f"""
import asyncio, sys
from pathlib import Path
from colosse.core.process import spawn
async def main():
    process = await spawn([sys.executable, '-c', {child!r}], log=Path({str(tmp_path / "log")!r}), stdin=b'go\\n')
    print((await process.stdout.readline()).decode(), flush=True)
    if {kill}:
        await asyncio.sleep(600)
    process.stdin.close()
    await process.wait()
asyncio.run(main())
"""
    process = await spawn([sys.executable, "-c", parent], log=tmp_path / "parent.log")
    pid = await pid_from(process)
    if kill:
        os.kill(process.pid, signal.SIGKILL)
    await gone(pid)
    assert await asyncio.wait_for(process.wait(), 20) == (-signal.SIGKILL if kill else 0)
    await terminate(process)


async def test_a_child_of_another_parent_does_not_stay(tmp_path: Path) -> None:
    """The parent died before the child asked to die with it."""
    process = await spawn([sys.executable, "-c", CHILD.format(parent=1)], log=tmp_path / "log", stdin=b"go\n")
    assert await asyncio.wait_for(process.wait(), 20) == 1
    await terminate(process)


async def test_guard_runs_a_program_and_ends_it_with_us(tmp_path: Path) -> None:
    guard = [sys.executable, "-m", "colosse.core.process"]
    done = await spawn([*guard, sys.executable, "-c", "import sys; sys.exit(7)"], log=tmp_path / "log")
    assert await asyncio.wait_for(done.wait(), 20) == 7
    missing = await spawn([*guard, str(tmp_path / "no-such-program")], log=tmp_path / "log")
    assert await asyncio.wait_for(missing.wait(), 20) == 127
    assert "cannot start" in (tmp_path / "log").read_text()
    for process in (done, missing):
        await terminate(process)

    process = await spawn([*guard, sys.executable, "-c", STUBBORN], log=tmp_path / "log")
    grandchild = await pid_from(process)
    program = psutil.Process(process.pid).children()[0].pid
    assert process.stdin is not None
    process.stdin.close()  # what our death does
    await gone(program)
    await gone(grandchild)
    await terminate(process)
