"""What a run writes about itself: a line a step in `metrics.jsonl`, and the same numbers to other loggers."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from colosse.core.files import disk_full_is_clear, write_all, write_atomic

Record = Mapping[str, Any]


class Lines:
    """A file of JSON lines that is only ever appended to, each line in one write, so that none is torn by a kill."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _mend_end(path)
        self._file = path.open("ab", buffering=0)

    def write(self, record: Record) -> None:
        """Append one line.

        Raises:
            DiskFullError: there is no room.
        """
        with disk_full_is_clear(self.path):
            write_all(self._file, (json.dumps(_finite(record), ensure_ascii=False) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def cut_lines(path: Path, step: int) -> None:
    """Drop the lines whose `step` is beyond `step`: the steps that a resumed run is going to do again."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # the half line of a disk that was full
    write_atomic(path, b"".join(kept))


def _mend_end(path: Path) -> None:
    """A half line, left where the disk was full, must not swallow the next one."""
    if path.is_file() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        write_atomic(path, data[: data.rfind(b"\n") + 1])


def _finite(record: Record) -> dict[str, Any]:
    """JSON knows no NaN and no infinity: they become null."""
    return {k: None if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in record.items()}


class Logger(Protocol):
    """Somebody who is told the numbers of a step."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers of `step`."""

    def close(self) -> None:
        """No more will come."""


class Metrics:
    """The metrics of one run: its file, and the loggers that its recipe asks for and that are installed.

    Args:
        folder: the run's.
        loggers: names from the recipe.
        name: of the run, for loggers that show several.
        recipe: as it is written out, for loggers that keep it.
        say: hears one line about each logger that is not there.
    """

    def __init__(
        self, folder: Path, loggers: Iterable[str], *, name: str, recipe: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self._path = folder / "metrics.jsonl"
        self._lines = Lines(self._path)
        self._loggers: list[Logger] = []
        for kind in loggers:
            try:
                self._loggers.append(LOGGERS[kind](folder, name, recipe))
            except ImportError as error:
                say(f"no {kind}: {error.name or kind} is not installed; metrics.jsonl has the same numbers")

    def cut(self, step: int) -> None:
        """Forget what was written of steps beyond `step`: they are going to be done again."""
        self._lines.close()
        cut_lines(self._path, step)
        self._lines = Lines(self._path)

    def write(self, record: Record) -> None:
        """One step's record, or an evaluation's; its numbers go to the loggers too."""
        self._lines.write(record)
        numbers = {k: float(v) for k, v in record.items() if isinstance(v, int | float) and k != "step"}
        for logger in self._loggers:
            logger.write(int(record["step"]), numbers)

    def close(self) -> None:
        """Close file and loggers."""
        self._lines.close()
        for logger in self._loggers:
            logger.close()


class TensorBoard:
    """Event files in `tensorboard/` of the run."""

    def __init__(self, folder: Path, name: str, recipe: dict[str, Any]) -> None:
        module = importlib.import_module("torch.utils.tensorboard")
        self._writer = module.SummaryWriter(folder / "tensorboard")

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Logger`."""
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        """See `Logger`."""
        self._writer.close()


class Tracker:
    """Weights & Biases, or trackio, which has the same functions."""

    def __init__(self, module: str, folder: Path, name: str, recipe: dict[str, Any]) -> None:
        self._module = importlib.import_module(module)
        where = {"dir": str(folder)} if module == "wandb" else {}
        self._module.init(project="colosse", name=name, config=recipe, **where)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Logger`."""
        self._module.log(dict(numbers), step=step)

    def close(self) -> None:
        """See `Logger`."""
        self._module.finish()


class MlFlow:
    """An MLflow server, or its folder: `MLFLOW_TRACKING_URI` says which."""

    def __init__(self, folder: Path, name: str, recipe: dict[str, Any]) -> None:
        self._module = importlib.import_module("mlflow")
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            self._module.set_tracking_uri((folder / "mlruns").as_uri())
        self._module.set_experiment("colosse")
        self._module.start_run(run_name=name)
        self._module.log_dict(recipe, "recipe.json")

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Logger`."""
        self._module.log_metrics(dict(numbers), step=step, synchronous=False)

    def close(self) -> None:
        """See `Logger`."""
        self._module.end_run()


LOGGERS: dict[str, Callable[[Path, str, dict[str, Any]], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": lambda folder, name, recipe: Tracker("wandb", folder, name, recipe),
    "trackio": lambda folder, name, recipe: Tracker("trackio", folder, name, recipe),
    "mlflow": MlFlow,
}
