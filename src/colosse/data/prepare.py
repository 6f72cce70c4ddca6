"""`prepare`: from a corpus to shards; done work is found again by the hash of what it was made from."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from colosse.core.errors import UserError
from colosse.core.files import ensure_free, sync_folder, try_lock
from colosse.core.machine import machine
from colosse.core.progress import Progress
from colosse.data import sources
from colosse.data.config import DataConfig
from colosse.data.manifest import FILE, FORMAT
from colosse.data.passes import Passes
from colosse.data.tokenizer import Tokenizer
from colosse.data.workers import Pool, Workers


def prepare(
    config: DataConfig, home: Path, *, progress: Progress | None = None, workers: int = 0, pool: Pool | None = None
) -> Path:
    """Make the prepared data of `config`, or find it made.

    Args:
        config: sources, steps, tokenizer.
        home: `$COLOSSE_HOME`; the data goes to `home/data/<identity>`.
        progress: hears how far it has come.
        workers: processes; 0 for one per processor. Their number changes nothing in the result.
        pool: what runs the work in place of processes of this machine, such as `executor.Cluster`.

    Returns:
        The folder: `manifest.json`, `tokenizer/`, `train/`, `val/`.

    Raises:
        UserError: nothing to read, or nothing left after the steps.
        DiskFullError: what was done so far is kept.
    """
    progress = progress or Progress()
    parts = [sources.list_parts(source) for source in config.sources]
    identity = identify(config, parts)
    done = home / "data" / identity
    if (done / FILE).is_file():
        return done
    for source, group in zip(config.sources, parts, strict=True):
        sources.probe(source, group)
    if config.tokenizer.path:
        Tokenizer.load(config.tokenizer.path.expanduser())
    build = home / "data" / ".partial" / identity
    ensure_free(build, sum(part.size for group in parts for part in group))
    with _locked(build.with_suffix(".lock"), progress):
        if (done / FILE).is_file():  # whoever had the lock made it
            return done
        if not (build / FILE).is_file():
            with pool or Workers(workers or machine().cpus) as running:
                Passes(config, identity, sources.cut(config.sources, parts), build, running, progress).run()
        shutil.rmtree(build / "work", ignore_errors=True)
        for stray in build.glob("*/.*"):  # of workers that were killed
            stray.unlink()
        build.replace(done)
        sync_folder(done.parent)
    return done


def identify(config: DataConfig, parts: Sequence[Sequence[sources.Part]]) -> str:
    """The name of what `config` makes of these inputs: 16 hexadecimal digits."""
    content: dict[str, Any] = {"format": FORMAT, "config": config.model_dump(mode="json")}
    content["inputs"] = [[sources.fingerprint(part) for part in group] for group in parts]
    files = [*config.steps.decontaminate]
    if config.tokenizer.path:
        files.append(config.tokenizer.path / "tokenizer.json")
    content["files"] = [_digest(path.expanduser()) for path in files]
    if any(source.kind == "python" for source in config.sources):
        content["python"] = platform.python_version()
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", hint="check the path") from None


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Only one process prepares the same data; others wait for it."""
    handle = try_lock(path)
    if handle is None:
        progress.note("another process prepares the same data; waiting for it")
    while handle is None:
        time.sleep(0.2)
        handle = try_lock(path)
    with handle:
        yield
