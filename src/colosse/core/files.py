"""Files: atomic writes, locks between processes, hashes, free space."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

from colosse.core.errors import ConflictError, UnavailableError

if sys.platform == "win32":  # pragma: no cover - the two branches are one function
    import msvcrt

    def _lock(handle: IO[bytes]) -> None:
        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(handle: IO[bytes]) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


BLOCK = 16 << 20
SPARE_BYTES = 64 << 20
"""Left free on a disk that we fill: databases and logs live there too."""


class DiskFullError(UnavailableError):
    """There is no room; what was written so far is kept."""

    code = "disk_full"


def format_bytes(count: float) -> str:
    """`1117320768` as `1.12 GB` (decimal units, as disks and hubs count)."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.0f} {units[0]}" if units[0] == "B" or count >= 100 else f"{count:.3g} {units[0]}"


def size_of(path: Path) -> int:
    """Size in bytes; 0 where there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def free_bytes(path: Path) -> int:
    """Bytes that may still be written where `path` is or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def ensure_free(path: Path, count: int) -> None:
    """Refuse to start writing `count` bytes below `path` when they cannot fit.

    Raises:
        DiskFullError: with both sizes.
    """
    free = free_bytes(path)
    if free < count + SPARE_BYTES:
        raise DiskFullError(
            f"the disk of {path} is too full: {format_bytes(count + SPARE_BYTES)} are needed and "
            f"{format_bytes(free)} are free",
            hint="free some space, or set COLOSSE_HOME to a folder on a larger disk",
        )


@contextmanager
def disk_full_is_clear(path: Path) -> Iterator[None]:
    """Turn "no space left" (or a quota, or a file size limit) below `path` into a `DiskFullError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFullError(
            f"the disk of {path} is full",
            hint="what has come so far is kept: free some space and run the same command again",
        ) from None


def write_all(file: IO[bytes], data: bytes) -> None:
    """Write everything to an unbuffered file, whose own `write` may stop half-way on a disk that fills up."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file that is afterwards either the old one or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with fresh.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Make a large file or a folder that appears at `path` complete or not at all.

    Yields:
        A fresh name beside `path`: make a file or a folder there. It is renamed at the end, and removed on an error.

    Raises:
        ConflictError: there is something at `path` (an empty folder does not count).
        DiskFullError: there is no room.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ConflictError(f"{path} exists already", hint="remove it, or choose another place")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with disk_full_is_clear(path.parent):
            yield fresh
            for file in [*fresh.rglob("*"), fresh]:
                if file.is_file():
                    with file.open("r+b") as handle:
                        os.fsync(handle.fileno())
            fresh.replace(path)
    except BaseException:
        if fresh.is_dir():
            shutil.rmtree(fresh, ignore_errors=True)
        else:
            fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames inside `path` last; a no-op where folders cannot be opened (Windows)."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def try_lock(path: Path) -> IO[bytes] | None:
    """Take the lock that the file `path` stands for; None when another process has it.

    Closing the returned handle, or dying, gives it back. The file stays: removing it would let two processes lock
    two different files of one name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a+b")
    try:
        _lock(handle)
    except OSError:
        handle.close()
        return None
    return handle


@asynccontextmanager
async def exclusive(path: Path, on_wait: Callable[[], None]) -> AsyncIterator[None]:
    """Hold the lock `path`, waiting for whoever has it; `on_wait` is called once if there is a wait."""
    handle = try_lock(path)
    if handle is None:
        on_wait()
    while handle is None:
        await asyncio.sleep(0.1)
        handle = try_lock(path)
    with handle:
        yield


async def copy_blocks(source: IO[bytes], sink: IO[bytes], advance: Callable[[int], None]) -> None:
    """Copy what is left of `source` to the unbuffered `sink`, in blocks so that the task can be cancelled between two.

    `advance` hears of each block before it is written, and may raise to refuse it.
    """
    while block := await asyncio.to_thread(source.read, BLOCK):
        advance(len(block))
        await asyncio.to_thread(write_all, sink, block)


async def sha256_file(path: Path, advance: Callable[[int], None] = lambda count: None) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks so that the task can be cancelled between two."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := await asyncio.to_thread(file.read, BLOCK):
            await asyncio.to_thread(digest.update, block)
            advance(len(block))
    return digest.hexdigest()
