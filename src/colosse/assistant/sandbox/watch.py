"""What the processes of one sandbox use together, read from outside."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from colosse.assistant.sandbox.system import WORKDIR

_FOLDERS = (WORKDIR, "/tmp", "/dev/shm")  # noqa: S108 (inside)
MAX_FILES = 50_000
"""Files and folders of one run: each takes memory of the kernel, also an empty one."""
MAX_DEPTH = 32
"""Folders below folders that are looked through for files to hand back."""


class Used(NamedTuple):
    """What all processes use now and used so far (CPU).

    Memory is in bytes, with what lies in the writable folders and what the buffers of sockets usually hold at most.
    """

    processes: int
    cpu_s: float
    memory: int
    files: int


class Inside:
    """A view from outside into a sandbox that runs; the open folders outlive its processes.

    Args:
        pid: its first process.
    """

    def __init__(self, pid: int) -> None:
        self._page, self._tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
        self._socket_bytes = 2 * int(Path("/proc/sys/net/core/wmem_default").read_text())
        self._numbers: list[int] = []
        self._process = self._own(os.pidfd_open(pid))
        root = f"/proc/{pid}/root"
        self._proc = self._own(os.open(f"{root}/proc", os.O_RDONLY | os.O_DIRECTORY))
        self._folders = [self._own(os.open(root + folder, os.O_RDONLY | os.O_DIRECTORY)) for folder in _FOLDERS]

    def _own(self, number: int) -> int:
        self._numbers.append(number)
        return number

    def close(self) -> None:
        """Let go of the folders: with the last process gone, what was in them is gone too."""
        for number in self._numbers:
            os.close(number)

    def kill(self) -> None:
        """End every process: the kernel ends all of a namespace with its first."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def used(self, memory_limit: int) -> Used:
        """Look at every process.

        Args:
            memory_limit: above it memory is counted again, exactly: what processes share counts once.
        """
        processes, ticks, resident = 0, 0, 0
        pids = [name for name in os.listdir(self._proc) if name.isdecimal()]  # noqa: PTH208 (a descriptor)
        for stat in self._read(pids, "stat"):
            fields = stat.rpartition(b")")[2].split()
            processes += 1
            ticks += sum(map(int, fields[11:15]))  # utime, stime, and those of children that were waited for
            resident += int(fields[21]) * self._page
        systems = [os.fstatvfs(folder) for folder in self._folders]
        stored = sum((system.f_blocks - system.f_bfree) * system.f_frsize for system in systems)
        files = sum(system.f_files - system.f_ffree for system in systems)
        stored += self._sockets() * self._socket_bytes
        if resident + stored > memory_limit:
            exact = [_pss(text) for text in self._read(pids, "smaps_rollup")]
            resident = sum(exact) if exact else resident
        return Used(processes, ticks / self._tick, resident + stored, files)

    def _read(self, pids: list[str], name: str) -> Iterator[bytes]:
        for pid in pids:
            with suppress(OSError):  # it ended meanwhile
                number = os.open(f"{pid}/{name}", os.O_RDONLY, dir_fd=self._proc)
                try:
                    yield os.read(number, 1 << 16)
                finally:
                    os.close(number)

    def _sockets(self) -> int:
        said = b"".join(self._read(["1"], "net/sockstat"))
        return int(found[1]) if (found := re.match(rb"sockets: used (\d+)", said)) else 0

    def regular_files(self) -> Iterator[tuple[str, int]]:
        """(path below the run's folder, descriptor) of its regular files; no link is followed."""
        yield from _walk(self._folders[0], "", MAX_DEPTH)


def _walk(folder: int, above: str, depth: int) -> Iterator[tuple[str, int]]:
    for name in sorted(os.listdir(folder)):
        try:
            number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError:  # a link, a socket, or not readable for its owner
            continue
        try:
            mode, path = os.fstat(number).st_mode, above + os.fsencode(name).decode(errors="replace")
            if mode & 0o170000 == 0o100000:
                yield path, number
            elif mode & 0o170000 == 0o040000 and depth:
                yield from _walk(number, f"{path}/", depth - 1)
        finally:
            os.close(number)


def _pss(rollup: bytes) -> int:
    """Bytes of a process where a page that n processes share counts as 1/n."""
    line = next((line for line in rollup.splitlines() if line.startswith(b"Pss:")), b"Pss: 0 kB")
    return int(line.split()[1]) * 1024
