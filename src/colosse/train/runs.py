"""Train runs as folders: which there are, how each stands, what it measured, how several compare. Free of torch.

A run is `recipe.toml, status.json, metrics.jsonl, events.jsonl, checkpoints/, tokenizer/, report.html`. Everything here
only reads, also while the run is being written, and takes what is there: a file that is missing or a half line at the
end of one is no error.
"""

from __future__ import annotations

import difflib
import json
import math
import socket
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from colosse.core.config import load
from colosse.core.errors import NotFoundError, UserError, nearest
from colosse.spec.counts import params
from colosse.train.manifest import DamagedError, candidates, read_manifest
from colosse.train.recipe import Recipe

STEP_SERIES = (
    "train_loss",
    "grad_norm",
    "lr",
    "tokens_per_second",
    "mfu",
    "memory_bytes",
    "data_wait_s",
    "checkpoint_stall_s",
)
"""What a step's record holds, in the order in which it is shown."""
TAIL_BYTES = 1 << 16
"""Read of a file of which only the end is wanted."""
RECENT_STEPS = 20
"""Steps whose mean stands for the loss at the end: a single one is noise."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    Attributes:
        state: `running`, `finished`, `interrupted` (it goes on when started again) or `failed`; `unknown` before it has
            said anything.
        step: optimiser steps done.
        total_steps: of its recipe; 0 when unknown.
        message: one line for people; empty where the state says all.
        updated: when the run last said something, ISO 8601; empty when never.
        pid: process that trains, or did; 0 when unknown.
    """

    state: str
    step: int = 0
    total_steps: int = 0
    message: str = ""
    updated: str = ""
    pid: int = 0


@dataclass(frozen=True)
class Run:
    """One run's folder; what is in it is read when asked for, once."""

    folder: Path

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @cached_property
    def status(self) -> Status:
        """As the run said, corrected where its process is gone."""
        said = _read_json(self.folder / "status.json")
        if not said:
            return Status("unknown", message="it has not said anything yet")
        status = Status(
            state=str(said.get("state", "unknown")),
            step=int(said.get("step") or 0),
            total_steps=int(said.get("total_steps") or 0),
            message=str(said.get("message") or ""),
            updated=str(said.get("updated") or ""),
            pid=int(said.get("pid") or 0),
        )
        if status.state != "running":
            return status
        status = replace(status, step=max(status.step, *(row["step"] for row in self.tail), 0))
        if _is_gone(status, str(said.get("host") or "")):
            return replace(status, state="interrupted", message=f"process {status.pid} ended without a word")
        return status

    @cached_property
    def tail(self) -> list[Row]:
        """The newest records of steps and evaluations: cheap however long the run is."""
        path = self.folder / "metrics.jsonl"
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - TAIL_BYTES))
                return [row for row in map(_decode, file.read().splitlines()) if row and "step" in row]
        except OSError:
            return []

    @property
    def steps(self) -> list[Row]:
        """The records of its steps in order, each step once: of one that was done again, the later record counts."""
        return self._history[0]

    @property
    def evaluations(self) -> list[Row]:
        """The records of its evaluations in order: `val_loss`, `bpb`, and both by source as `bpb.NAME`."""
        return self._history[1]

    @cached_property
    def _history(self) -> tuple[list[Row], list[Row]]:
        """Steps and evaluations that were not given up: a step that comes again voids all that was said after it."""
        steps: list[Row] = []
        evaluations: list[Row] = []
        for row in _read_lines(self.folder / "metrics.jsonl"):
            if "train_loss" in row:
                _put(steps, row)
                _cut(evaluations, row["step"])
            elif "val_loss" in row:
                _put(evaluations, row)
        return steps, evaluations

    @cached_property
    def events(self) -> list[Row]:
        """Its diary: `time, event, step, text` and what belongs to the event."""
        return list(_read_lines(self.folder / "events.jsonl"))

    @cached_property
    def recipe_text(self) -> str:
        """The recipe as it stands in the folder; empty where there is none."""
        try:
            return (self.folder / "recipe.toml").read_text(encoding="utf-8")
        except OSError:
            return ""

    @cached_property
    def recipe(self) -> Recipe | None:
        """The recipe; None where it is missing or no longer valid."""
        try:
            return load(Recipe, files=[self.folder / "recipe.toml"]).value
        except UserError:
            return None

    @cached_property
    def sources(self) -> list[str]:
        """Names of the held-out sources that it was evaluated on."""
        last = self.evaluations[-1] if self.evaluations else {}
        return [key.removeprefix("bpb.") for key in last if key.startswith("bpb.")]

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """(steps, values) of one number of the steps or evaluations, where it is one."""
        rows = self.evaluations if name.startswith(("val_loss", "bpb")) else self.steps
        points = [(int(row["step"]), float(row[name])) for row in rows if _is_number(row.get(name))]
        return [step for step, _ in points], [value for _, value in points]

    def checkpoints(self) -> list[Row]:
        """Its complete checkpoints, newest first, by markers and sizes: `step`, `size_bytes`, `created_at`."""
        found = []
        for step, folder in candidates(self.folder / "checkpoints"):
            try:
                manifest = read_manifest(folder)
            except DamagedError:
                continue
            found.append({"step": step, "size_bytes": manifest.size_bytes, "created_at": manifest.created_at})
        return found


@dataclass(frozen=True)
class Summary:
    """A run in a few numbers; None where it has not got so far.

    Attributes:
        train_loss: mean of the last `RECENT_STEPS` steps, nats per token.
        val_loss: of the last evaluation, nats per token.
        bpb: of the last evaluation, bits per byte; by source in `bpb_by_source`.
        tokens_per_second: median over the steps, all ranks together.
        mfu: median, as a fraction.
        seconds: of training, over all parts of the run.
        data_wait: share of the time in which the model waited for data.
        checkpoint_stall: share of the time in which it waited for checkpoints.
    """

    name: str
    state: str
    message: str
    step: int
    total_steps: int
    tokens: int | None
    parameters: int | None
    train_loss: float | None
    val_loss: float | None
    bpb: float | None
    bpb_by_source: dict[str, float]
    tokens_per_second: float | None
    mfu: float | None
    memory_bytes: float | None
    seconds: float | None
    data_wait: float | None
    checkpoint_stall: float | None
    updated: str
    folder: str
    checkpoints: list[Row] = field(default_factory=list)


def list_runs(parent: Path) -> list[Run]:
    """The runs below `parent`, the one that was heard of last first."""
    if not parent.is_dir():
        return []
    runs = [Run(folder) for folder in parent.iterdir() if (folder / "recipe.toml").is_file()]
    return sorted(runs, key=lambda run: (run.status.updated, run.name), reverse=True)


def brief(run: Run) -> Row:
    """What a list says of a run, without reading more than the end of its metrics."""
    step = next((row for row in reversed(run.tail) if "train_loss" in row), {})
    evaluation = next((row for row in reversed(run.tail) if "val_loss" in row), {})
    status = run.status
    return {
        "name": run.name,
        "state": status.state,
        "step": status.step,
        "total_steps": status.total_steps,
        "tokens": step.get("tokens"),
        "train_loss": _number(step.get("train_loss")),
        "val_loss": _number(evaluation.get("val_loss")),
        "bpb": _number(evaluation.get("bpb")),
        "tokens_per_second": _number(step.get("tokens_per_second")),
        "parameters": parameters(run),
        "updated": status.updated,
        "message": status.message,
        "folder": str(run.folder),
    }


def find_run(parent: Path, text: str) -> Run:
    """The run that `text` means: its name, the beginning of just one name, or its folder.

    Raises:
        NotFoundError: there is none, with the nearest name.
        UserError: the beginning of several.
    """
    for folder in (Path(text), parent / text):
        if text and (folder / "recipe.toml").is_file():
            return Run(folder.resolve())
    names = [run.name for run in list_runs(parent)]
    matches = sorted(name for name in names if text and name.startswith(text))
    if len(matches) > 1:
        raise UserError(f"{text!r} is the beginning of several train runs", hint=", ".join(matches))
    if not matches:
        hint = _nearest_run(text, names) if names else f"`colosse train RECIPE` makes one in {parent}"
        raise NotFoundError(f"no train run {text!r} in {parent}", hint=hint)
    return Run(parent / matches[0])


def _nearest_run(text: str, names: Sequence[str]) -> str:
    """`did you mean ...?` for the run that begins most like `text`: names end with a time that nobody types."""
    beginnings = {name[: len(text)].lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(text.lower(), beginnings, n=1)
    return f"did you mean {beginnings[close[0]]!r}?" if close else nearest(text, names)


def summarize(run: Run) -> Summary:
    """A run in a few numbers."""
    last = run.steps[-1] if run.steps else {}
    evaluation = run.evaluations[-1] if run.evaluations else {}
    seconds = _number(last.get("seconds"))
    return Summary(
        name=run.name,
        state=run.status.state,
        message=run.status.message,
        step=run.status.step,
        total_steps=run.status.total_steps,
        tokens=last.get("tokens"),
        parameters=parameters(run),
        train_loss=_mean(run.series("train_loss")[1][-RECENT_STEPS:]),
        val_loss=_number(evaluation.get("val_loss")),
        bpb=_number(evaluation.get("bpb")),
        bpb_by_source={name: evaluation[f"bpb.{name}"] for name in run.sources},
        tokens_per_second=_median(run.series("tokens_per_second")[1]),
        mfu=_median(run.series("mfu")[1]),
        memory_bytes=max(run.series("memory_bytes")[1], default=None),
        seconds=seconds,
        data_wait=_share(run.series("data_wait_s")[1], seconds),
        checkpoint_stall=_share(run.series("checkpoint_stall_s")[1], seconds),
        updated=run.status.updated,
        folder=str(run.folder),
        checkpoints=run.checkpoints(),
    )


def parameters(run: Run) -> int | None:
    """Parameters of the run's model; None without a valid recipe."""
    return params(run.recipe.model.spec).total if run.recipe else None


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Dotted key of the recipes to each run's value, for the keys in which they are not all alike; None: not set."""
    flat = [dict(_flat(_read_toml(run.recipe_text))) for run in runs]
    keys = dict.fromkeys(key for values in flat for key in values if key not in ("name", "note"))
    rows = {key: [values.get(key) for values in flat] for key in keys}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def _cut(rows: list[Row], step: int) -> None:
    while rows and rows[-1]["step"] >= step:
        rows.pop()


def _put(rows: list[Row], row: Row) -> None:
    _cut(rows, row["step"])
    rows.append(row)


def _read_lines(path: Path) -> Iterator[Row]:
    """The JSON objects of a file of lines; what is none (the torn end of a killed writer) is left out."""
    try:
        with path.open("rb") as file:
            yield from filter(None, map(_decode, file))
    except OSError:
        return


def _decode(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step", 0), int) else None


def _read_json(path: Path) -> Row:
    try:
        return _decode(path.read_bytes()) or {}
    except OSError:
        return {}


def _read_toml(text: str) -> Row:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_gone(status: Status, host: str) -> bool:
    """Whether the process that said `running` no longer exists; of another machine's process we cannot know."""
    if not status.pid or (host and host != socket.gethostname()):
        return False
    try:
        started = datetime.fromtimestamp(psutil.Process(status.pid).create_time(), UTC)
    except psutil.NoSuchProcess:
        return True
    try:
        return started.timestamp() > datetime.fromisoformat(status.updated).timestamp() + 1  # the number is taken anew
    except ValueError:
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> float | None:
    return float(value) if _is_number(value) else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _share(values: Sequence[float], seconds: float | None) -> float | None:
    return sum(values) / seconds if values and seconds else None
