"""What this machine has: usable processors, memory, disk and GPUs, as seen from inside a container too."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from colosse.core.files import free_bytes

CGROUP = Path("/sys/fs/cgroup")
MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    """One GPU; memory in bytes."""

    name: str
    memory_total: int
    memory_free: int


@dataclass(frozen=True)
class Machine:
    """What a program started here may use; memory in bytes.

    Attributes:
        cpus: processors, after affinity and the container's quota; a part of one counts as one.
        cpu: the processor's name.
        memory_total: memory, or the container's limit where that is less.
        memory_available: what can be taken without swapping.
        gpus: NVIDIA and AMD ones whose tools are installed.
        system: operating system and architecture.
    """

    cpus: int
    cpu: str
    memory_total: int
    memory_available: int
    gpus: tuple[Gpu, ...]
    system: str

    @staticmethod
    def disk_free(path: Path) -> int:
        """Bytes free where `path` is or will be."""
        return free_bytes(path)


def machine() -> Machine:
    """Look at this machine; memory is as of now."""
    memory = psutil.virtual_memory()
    limit, used = _memory_limit()
    total = min(memory.total, limit or memory.total)
    return Machine(
        cpus=_cpus(),
        cpu=_cpu_name(),
        memory_total=total,
        memory_available=max(0, min(memory.available, limit - used if limit else memory.available)),
        gpus=_gpus(),
        system=f"{platform.system()} {platform.machine()}",
    )


def _cpus() -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, min(count, round(quota + 0.49))) if quota else count


def _cpu_quota() -> float:
    """Processors that the container may use at once; 0 for no limit."""
    words = _read(CGROUP / "cpu.max").split()  # cgroup 2: "200000 100000" or "max 100000"
    if not words:
        words = [_read(CGROUP / "cpu/cpu.cfs_quota_us"), _read(CGROUP / "cpu/cpu.cfs_period_us")]
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
        return int(words[0]) / int(words[1])
    return 0.0


def _memory_limit() -> tuple[int, int]:
    """(limit, in use without what the kernel can drop) of the container; zeros for no limit."""
    for limit, used, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        text = _read(CGROUP / limit)
        if text.isdigit() and int(text) < 1 << 60:  # cgroup 1 says "no limit" with a huge number
            cached = sum(
                int(value)
                for key, _, value in (line.partition(" ") for line in _read(CGROUP / stat).splitlines())
                if key == "inactive_file"
            )
            return int(text), max(0, int(_read(CGROUP / used) or 0) - cached)
    return 0, 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


@cache
def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


@cache
def _gpus() -> tuple[Gpu, ...]:
    return _nvidia() or _amd()


def _nvidia() -> tuple[Gpu, ...]:
    rows = _run("nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits")
    gpus = []
    for row in rows:
        name, *numbers = (part.strip() for part in row.rsplit(",", 2))
        if len(numbers) == 2 and all(number.isdigit() for number in numbers):
            gpus.append(Gpu(name, int(numbers[0]) * MIB, int(numbers[1]) * MIB))
    return tuple(gpus)


def _amd() -> tuple[Gpu, ...]:
    gpus = []
    for row in _run("rocm-smi", "--showmeminfo", "vram", "--csv"):
        name, *numbers = (part.strip() for part in row.split(","))
        if len(numbers) >= 2 and numbers[0].isdigit() and numbers[1].isdigit():
            gpus.append(Gpu(f"AMD {name}", int(numbers[0]), int(numbers[0]) - int(numbers[1])))
    return tuple(gpus)


def _run(*command: str) -> list[str]:
    """Lines that a tool prints; none where it is missing, fails or hangs."""
    if not shutil.which(command[0]):
        return []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()
