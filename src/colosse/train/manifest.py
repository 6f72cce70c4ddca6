"""What makes a folder a complete checkpoint: a manifest with sizes and hashes, and a marker that is written last.

    checkpoints/
      step-00000200/         a checkpoint; step-00000100/ stays until this one is complete
        __0_0.distcp ...     the shards, one file a rank, and `.metadata`, which says what is where in them
        manifest.json        step, number of ranks, size and SHA-256 of every file, what else the trainer remembers
        complete             SHA-256 of the manifest; without it nothing here counts
      .step-00000300.tmp/    being written, or left by a writer that died: never read, swept by the next save

Free of torch, so that everything that only looks at train runs can tell what is in them.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from colosse.core.files import BLOCK, size_of, sync_folder, write_atomic

MANIFEST = "manifest.json"
MARKER = "complete"
FORMAT = 1
"""Raised when what is written could not be read by an older version."""

_NAME = re.compile(r"step-(\d{8,})(\.old)?")
_TEMPORARY = re.compile(r"\.step-\d{8,}\.tmp")


@dataclass(frozen=True)
class FileEntry:
    """One file of a checkpoint as it was meant to be written."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint holds.

    Attributes:
        step: optimiser steps done.
        world_size: ranks that wrote it.
        files: name to size and hash.
        extra: what the trainer remembers besides tensors: data position, schedule, ...
        created_at: ISO 8601, UTC.
    """

    step: int
    world_size: int
    files: dict[str, FileEntry]
    extra: dict[str, Any]
    created_at: str

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(entry.size_bytes for entry in self.files.values())


class DamagedError(Exception):
    """A folder is no complete checkpoint, or not the one that was written; the message says why."""


def now() -> str:
    """The present moment, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def folder_of(parent: Path, step: int) -> Path:
    """Where the checkpoint of `step` is or will be."""
    return parent / f"step-{step:08d}"


def temporary_of(parent: Path, step: int) -> Path:
    """Where the checkpoint of `step` is written until it is complete."""
    return parent / f".step-{step:08d}.tmp"


def candidates(parent: Path) -> list[tuple[int, Path]]:
    """(step, folder) of everything that claims to be a checkpoint, newest first; a replaced one after its successor."""
    if not parent.is_dir():
        return []
    found = [(int(match[1]), not match[2], path) for path in parent.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [(step, path) for step, _, path in sorted(found, reverse=True)]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a complete checkpoint, the sizes of its files checked.

    Raises:
        DamagedError: it is not complete, or a file is missing, too short or too long.
    """
    try:
        marker = (folder / MARKER).read_text(encoding="ascii").strip()
        content = (folder / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise DamagedError(f"{Path(str(error.filename)).name} is missing: it was never completed") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"it cannot be read: {error}") from None
    if hashlib.sha256(content).hexdigest() != marker:
        raise DamagedError(f"{MANIFEST} is not the one that {MARKER} was written for")
    fields = json.loads(content)
    if fields.pop("format") != FORMAT:
        raise DamagedError("it was written by another version of Colosse")
    fields["files"] = {name: FileEntry(**entry) for name, entry in fields["files"].items()}
    manifest = Manifest(**fields)
    for name, entry in manifest.files.items():
        if not (folder / name).is_file():
            raise DamagedError(f"{name} is missing")
        if (size := size_of(folder / name)) != entry.size_bytes:
            raise DamagedError(f"{name} has {size} bytes instead of {entry.size_bytes}")
    return manifest


def check_hashes(folder: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Read the files `names` whole and compare them with the manifest.

    Raises:
        DamagedError: one of them has changed since it was written.
    """
    for name in names:
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        if digest.hexdigest() != manifest.files[name].sha256:
            raise DamagedError(f"{name} has changed since it was written (SHA-256)")


def seal(temporary: Path, manifest: Manifest) -> None:
    """Declare the written folder complete: manifest, then marker, each lasting before the next step."""
    content = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1).encode()
    write_atomic(temporary / MANIFEST, content)
    write_atomic(temporary / MARKER, hashlib.sha256(content).hexdigest().encode())


def publish(temporary: Path, folder: Path) -> None:
    """Give a sealed folder its name; one that has the name already stays readable as `.old` until then."""
    old = folder.with_name(f"{folder.name}.old")
    if folder.exists():
        _remove(old)
        folder.rename(old)
    temporary.rename(folder)
    sync_folder(folder.parent)
    _remove(old)


def sweep(parent: Path) -> None:
    """Remove what writers that died have left."""
    for path in parent.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            _remove(path)


def prune(parent: Path, newest: int, keep: int) -> None:
    """Keep the `keep` newest complete ones up to step `newest`; later ones are of a history that was given up."""
    kept = 0
    for step, folder in candidates(parent):
        if step <= newest and kept < keep and is_complete(folder):
            kept += 1
        else:
            _remove(folder)


def is_complete(folder: Path) -> bool:
    """Whether a folder is a complete checkpoint by its marker and the sizes of its files."""
    try:
        read_manifest(folder)
    except DamagedError:
        return False
    return True


def _remove(folder: Path) -> None:
    """Delete a folder; what a death half-way leaves no longer counts, because the marker goes first."""
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
