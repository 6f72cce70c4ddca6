"""Beyond one machine: the steps and the passes of `prepare` as blocks of datatrove, whose executors run them anywhere.

`Cluster` takes the place of this machine's processes in `prepare`: each pass is cut into the same chunks, whose files
are on a disk that all machines see, so that the result has the same bytes. `StepsBlock` puts our steps into a pipeline
of datatrove's own readers, filters and writers.

The local executor is what the tests run. Those of Slurm and Ray are called by the same lines and **have never been
run**.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from datatrove.data import Document as Row
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from colosse.core.errors import ColosseError
from colosse.data import steps
from colosse.data.config import StepsConfig
from colosse.data.document import Document, Tally

Job = TypeVar("Job")
EXECUTORS = {"local": LocalPipelineExecutor, "slurm": SlurmPipelineExecutor, "ray": RayPipelineExecutor}


class StepsBlock(PipelineStep):  # type: ignore[misc]  # datatrove is untyped
    """Our steps on datatrove's documents; `metadata["language"]` is read and written.

    Duplicates are not its business: within one task there is nothing to compare with; datatrove has blocks for them.
    """

    name = "Colosse steps"
    type = "🔻 - FILTER"

    def __init__(self, config: StepsConfig) -> None:
        super().__init__()
        self.config = config

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Row]:
        """Documents that come through; what happened to the others is in the block's statistics."""
        pipeline, tally = steps.build(self.config), Tally()
        for row in data:
            with self.track_time():
                document = Document(row.text, row.id, language=row.metadata.get("language", ""))
                cleaned = steps.run(pipeline, document, tally)
            if cleaned:
                row.text = cleaned.text
                if cleaned.language:
                    row.metadata["language"] = cleaned.language
                yield row
        for rule, count in tally.dropped.items():
            self.stat_update(f"dropped_{rule}", value=count)


class _JobsBlock(PipelineStep):  # type: ignore[misc]  # datatrove is untyped
    """Every task's share of the jobs of a pass."""

    name = "Colosse pass"
    type = "🫂 - JOBS"

    def __init__(self, function: Callable[[Any], None], jobs: Sequence[Any]) -> None:
        super().__init__()
        self.function, self.jobs = function, jobs

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        for job in self.jobs[rank::world_size]:
            with self.track_time():
                self.function(job)


class Cluster:
    """Runs the passes of `prepare(..., pool=Cluster(...))` under an executor of datatrove. A context manager.

    Args:
        kind: `local`, `slurm` or `ray`.
        tasks: how many shares a pass is cut into, at most.
        logs: folder for the executor's logs, on the disk that all machines see.
        options: what the executor needs besides, such as Slurm's `time` and `partition`.
    """

    def __init__(self, kind: Literal["local", "slurm", "ray"], *, tasks: int, logs: Path, **options: Any) -> None:
        self._kind, self._tasks, self._logs, self._options = kind, tasks, logs, options
        self._passes = 0

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def run(self, function: Callable[[Job], None], jobs: Sequence[Job]) -> Iterator[Job]:
        """Run every job on some machine and wait for all; each is given back when all are done.

        Raises:
            ColosseError: a task failed; the executor's logs say why.
        """
        if not jobs:
            return
        self._passes += 1
        logs = self._logs / f"{time.strftime('%Y%m%d-%H%M%S')}-{self._passes}-{function.__name__}"
        executor = EXECUTORS[self._kind](
            [_JobsBlock(function, list(jobs))],
            tasks=min(self._tasks, len(jobs)),
            logging_dir=str(logs),
            **self._options,
        )
        try:
            executor.run()
            while executor.get_incomplete_ranks(skip_completed=True):  # Slurm's returns at once
                time.sleep(10)
        except ColosseError:
            raise
        except Exception as error:  # whatever a job, or the executor itself, fails with
            raise ColosseError(f"a task of {function.__name__} failed: {error}", hint=f"see {logs}") from error
        yield from jobs
