"""Work spread over processes: each piece leaves a file that says it is done, and is skipped when that exists."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Protocol, TypeVar

from colosse.core.errors import ColosseError
from colosse.core.files import disk_full_is_clear

Job = TypeVar("Job")
AHEAD = 2
"""Jobs handed out per worker: one that runs and one that waits, so that memory does not grow with their number."""


class Pool(Protocol):
    """Whatever runs the jobs of a pass: `Workers` on this machine, `executor.Cluster` on many."""

    def __enter__(self) -> Pool: ...

    def __exit__(self, *exception: object) -> None: ...

    def run(self, function: Callable[[Job], None], jobs: Sequence[Job]) -> Iterator[Job]:
        """Run every job, in any order; each is given back when it is done."""
        ...


class Workers:
    """Processes that run jobs; with a count of 1 the jobs run here. A context manager.

    Processes are spawned, not forked: a fork of a process with threads (a tokenizer's, torch's) may hang.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_start)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, function: Callable[[Job], None], jobs: Sequence[Job]) -> Iterator[Job]:
        """Run every job, in any order; each is given back when it is done.

        Raises:
            ColosseError: what a job raised, or a worker was killed (by the system, for want of memory).
        """
        if self._pool is None:
            for job in jobs:
                function(job)
                yield job
            return
        waiting = iter(jobs)
        running: dict[Future[None], Job] = {}
        try:
            while True:
                for job in islice(waiting, self.count * AHEAD - len(running)):
                    running[self._pool.submit(function, job)] = job
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    yield running.pop(future)
        except BrokenProcessPool:
            raise ColosseError(
                "a worker of `data prepare` was killed, perhaps for want of memory",
                hint="run the same command again: it goes on from there; --workers takes fewer at a time",
            ) from None
        finally:
            for future in running:
                future.cancel()


def _start() -> None:
    """Make a worker keep to one processor and end with its parent, also when that is killed."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = multiprocessing.process.parent_process()

    def watch() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is whole and on the disk.

    Raises:
        DiskFullError: no room; what came before is kept.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with disk_full_is_clear(path):
            with fresh.open("xb", buffering=1 << 20) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
