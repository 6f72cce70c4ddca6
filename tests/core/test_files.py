"""Files: writes that are whole or not at all, locks between processes, sizes for people."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from colosse.core.files import exclusive, format_bytes, free_bytes, sha256_file, size_of, try_lock, write_atomic

HOLD = """
import sys
from pathlib import Path
from colosse.core.files import try_lock
handle = try_lock(Path(sys.argv[1]))
print("held" if handle else "busy", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (98_362_432, "98.4 MB"),
        (1_117_320_768, "1.12 GB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes_for_people(count: float, text: str) -> None:
    assert format_bytes(count) == text


def test_an_atomic_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()  # cannot be replaced by a file
    (path / "inside").touch()
    with pytest.raises(OSError):
        write_atomic(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_missing_file_has_no_size_and_its_disk_is_found(tmp_path: Path) -> None:
    assert size_of(tmp_path / "none") == 0
    assert free_bytes(tmp_path / "none" / "below") > 0


async def test_hash_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colosse.core.files.BLOCK", 7)
    path = tmp_path / "file"
    path.write_bytes(b"some bytes that span blocks")
    seen: list[int] = []
    assert await sha256_file(path, seen.append) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(seen) == 27
    assert len(seen) == 4


async def test_a_lock_is_held_against_other_processes_until_they_end(tmp_path: Path) -> None:
    path = tmp_path / "run" / "a.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert try_lock(path) is None
        waits: list[str] = []

        async def take() -> str:
            async with exclusive(path, lambda: waits.append("waiting")):
                return "taken"

        task = asyncio.create_task(take())
        await asyncio.sleep(0.25)
        assert not task.done()
        holder.kill()  # no chance to clean up: the kernel gives the lock back
        assert await task == "taken"
        assert waits == ["waiting"]
    free = try_lock(path)
    assert free is not None
    free.close()
