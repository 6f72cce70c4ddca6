"""The machine as a container sees it, and its GPUs as their tools tell."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from colosse.core import machine as module
from colosse.core.machine import Gpu, machine

GIB = 1 << 30


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cgroup"
    folder.mkdir()
    monkeypatch.setattr(module, "CGROUP", folder)
    return folder


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which only what a test puts there can be found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    module._gpus.cache_clear()
    yield folder
    module._gpus.cache_clear()


def write_tool(folder: Path, name: str, lines: str, code: int = 0) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{lines}\nEND\nexit {code}\n")
    path.chmod(0o755)


def test_without_limits_it_is_the_whole_machine(cgroup: Path, tools: Path) -> None:
    here = machine()
    assert here.cpus == len(os.sched_getaffinity(0))
    assert here.memory_total == psutil.virtual_memory().total
    assert 0 < here.memory_available <= here.memory_total
    assert here.cpu
    assert here.gpus == ()
    assert here.disk_free(cgroup / "not yet there") > 0


def test_limits_of_cgroup_2(cgroup: Path, tools: Path) -> None:
    (cgroup / "cpu.max").write_text("50000 100000\n")
    (cgroup / "memory.max").write_text(f"{GIB}\n")
    (cgroup / "memory.current").write_text(f"{GIB // 2}\n")
    (cgroup / "memory.stat").write_text(f"anon 5\ninactive_file {GIB // 4}\nactive_file 9\n")
    here = machine()
    assert here.cpus == 1
    assert (here.memory_total, here.memory_available) == (GIB, GIB * 3 // 4)


def test_limits_of_cgroup_1(cgroup: Path, tools: Path) -> None:
    (cgroup / "cpu").mkdir()
    (cgroup / "cpu/cpu.cfs_quota_us").write_text("100000")
    (cgroup / "cpu/cpu.cfs_period_us").write_text("100000")
    (cgroup / "memory").mkdir()
    (cgroup / "memory/memory.limit_in_bytes").write_text(str(GIB))
    (cgroup / "memory/memory.usage_in_bytes").write_text(str(2 * GIB))
    here = machine()
    assert here.cpus == 1
    assert (here.memory_total, here.memory_available) == (GIB, 0)


def test_no_limit_is_said_in_two_ways(cgroup: Path, tools: Path) -> None:
    (cgroup / "cpu.max").write_text("max 100000")
    (cgroup / "memory.max").write_text("max")
    (cgroup / "memory").mkdir()
    (cgroup / "memory/memory.limit_in_bytes").write_text("9223372036854771712")
    assert machine().memory_total == psutil.virtual_memory().total


def test_nvidia_gpus(cgroup: Path, tools: Path) -> None:
    write_tool(tools, "nvidia-smi", "NVIDIA H100 80GB HBM3, 81559, 81000\nAn, odd one, 1024, 512\nbroken, [N/A], [N/A]")
    assert machine().gpus == (
        Gpu("NVIDIA H100 80GB HBM3", 81559 << 20, 81000 << 20),
        Gpu("An, odd one", 1024 << 20, 512 << 20),
    )


def test_amd_gpus(cgroup: Path, tools: Path) -> None:
    write_tool(tools, "rocm-smi", f"device,VRAM Total Memory (B),VRAM Total Used Memory (B)\ncard0,{16 * GIB},{GIB}\n")
    assert machine().gpus == (Gpu("AMD card0", 16 * GIB, 15 * GIB),)


def test_a_tool_that_fails_means_no_gpu(cgroup: Path, tools: Path) -> None:
    write_tool(tools, "nvidia-smi", "NVIDIA-SMI has failed, 1, 2", code=9)
    assert machine().gpus == ()
