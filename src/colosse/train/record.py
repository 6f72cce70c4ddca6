"""What a run writes into its folder while it goes on: metrics, events and its status. Only rank 0 does.

`metrics.jsonl` has a line a step and a line an evaluation, and is cut back when steps are done again; `events.jsonl` is
the run's diary and only grows; `status.json` says where it stands.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from colosse.core.files import disk_full_is_clear, write_atomic
from colosse.train.live import View
from colosse.train.metrics import Lines, Metrics

State = Literal["running", "finished", "interrupted", "failed"]


class Record:
    """Hears what happens. This one writes nothing; `FolderRecord` does."""

    def begin(self, step: int, total_steps: int) -> None:
        """Training goes on after `step`; what was written about later steps is void."""

    def step(self, metrics: Mapping[str, Any]) -> None:
        """The metrics of a step."""

    def evaluation(self, metrics: Mapping[str, Any]) -> None:
        """What an evaluation found."""

    def event(self, event: str, step: int, text: str, **more: Any) -> None:
        """Something that is not a step; `text` says it to a person."""

    def status(self, state: State, step: int, message: str = "") -> None:
        """Where the run stands now, with one line for people where that does not say all."""


class FolderRecord(Record):
    """Writes to a run's folder, its loggers and whoever watches.

    Args:
        folder: the run's; exists.
        loggers: names from the recipe.
        recipe: as it is written out.
        view: who watches.
    """

    def __init__(self, folder: Path, *, loggers: Sequence[str], recipe: dict[str, Any], view: View) -> None:
        self._folder = folder
        self._view = view
        self._total_steps = 0
        self._events = Lines(folder / "events.jsonl")
        self._metrics = Metrics(folder, loggers, name=folder.name, recipe=recipe, say=view.note)

    def begin(self, step: int, total_steps: int) -> None:  # noqa: D102
        self._total_steps = total_steps
        self._metrics.cut(step)
        self._view.begin(step, total_steps)
        self.status("running", step)

    def step(self, metrics: Mapping[str, Any]) -> None:  # noqa: D102
        self._metrics.write(metrics)
        self._view.step(metrics)

    def evaluation(self, metrics: Mapping[str, Any]) -> None:  # noqa: D102
        self._metrics.write(metrics)

    def event(self, event: str, step: int, text: str, **more: Any) -> None:  # noqa: D102
        self._events.write({"time": now(), "event": event, "step": step, "text": text, **more})
        self._view.note(text)

    def status(self, state: State, step: int, message: str = "") -> None:  # noqa: D102
        about = {
            "state": state,
            "step": step,
            "total_steps": self._total_steps,
            "message": message,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "updated": now(),
        }
        with disk_full_is_clear(self._folder):
            write_atomic(self._folder / "status.json", json.dumps(about, ensure_ascii=False).encode())

    def __enter__(self) -> FolderRecord:
        """Nothing more than the constructor did."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._events.close()
        self._metrics.close()


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
