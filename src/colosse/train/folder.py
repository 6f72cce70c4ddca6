"""The folders of train runs: making one, and finding the one to go on with."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from colosse.core.errors import ConflictError, NotFoundError, UserError
from colosse.core.files import try_lock, write_atomic
from colosse.train.recipe import Recipe, dump
from colosse.train.runs import find_run

RECIPE = "recipe.toml"
LOCK = ".lock"
FIXED = ("model", "data", "seed", "train.seq_len")
"""Parts of a recipe without which a checkpoint means something else."""


class RunFolder:
    """A run's folder, held (by rank 0) until the process ends or `close` is called.

    Attributes:
        path: the folder.
        resumed: whether it was there before.
    """

    def __init__(self, path: Path, lock: IO[bytes] | None, *, resumed: bool) -> None:
        self.path = path
        self.resumed = resumed
        self._lock = lock

    def close(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            self._lock.close()


def choose(recipe: Recipe, runs_dir: Path, *, resume: str = "", new: bool = False) -> RunFolder:
    """The folder that this recipe trains in.

    Without `resume` and `new`: the newest unfinished run of the very same recipe, else a new one.

    Args:
        recipe: what is to be trained.
        runs_dir: where run folders are.
        resume: name or folder of a run to go on with, also with another layout; `auto` for the newest unfinished one of
            the recipe's name.
        new: begin a new run in any case.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: another process is training it.
        UserError: it was of another model or other data.
    """
    if resume and new:
        raise UserError("--resume and --new contradict each other")
    if resume and resume != "auto":
        return _named(recipe, runs_dir, resume)
    if not new:
        for path in _unfinished(recipe.name, runs_dir):
            if resume == "auto" or _text(path) == dump(recipe):
                held = _hold(path)
                if held is not None:
                    return _continue(recipe, path, held)
    if resume:
        raise NotFoundError(f"there is no unfinished run of {recipe.name!r} in {runs_dir}")
    return _create(recipe, runs_dir)


def state_of(path: Path) -> str:
    """`running`, `finished`, `interrupted` or `failed`, as the run itself said last; empty where it said nothing."""
    try:
        return str(json.loads((path / "status.json").read_bytes())["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _named(recipe: Recipe, runs_dir: Path, name: str) -> RunFolder:
    path = find_run(runs_dir, name).folder
    if state_of(path) == "finished":
        raise UserError(f"{path.name} is finished", hint="begin a new run with --new")
    held = _hold(path)
    if held is None:
        raise ConflictError(f"another process is training {path.name}")
    return _continue(recipe, path, held)


def _unfinished(name: str, runs_dir: Path) -> Iterator[Path]:
    """Newest first; their names end with the time."""
    found = sorted((p.parent for p in runs_dir.glob(f"{name}-*/{RECIPE}")), key=lambda p: p.name, reverse=True)
    return (
        p for p in found if p.name[: len(name)] == name and _is_time(p.name[len(name) :]) and state_of(p) != "finished"
    )


def _is_time(rest: str) -> bool:
    return rest.replace("-", "").isdigit()


def _hold(path: Path) -> IO[bytes] | None:
    return try_lock(path / LOCK)


def _continue(recipe: Recipe, path: Path, held: IO[bytes]) -> RunFolder:
    """Refuse other weights and other data; keep the recipe that is going to be run."""
    try:
        before, now = tomllib.loads(_text(path)), tomllib.loads(dump(recipe))
    except tomllib.TOMLDecodeError as error:
        held.close()
        raise UserError(f"{path / RECIPE} is damaged: {error}", hint="restore it, or begin with --new") from None
    changed = [name for name in FIXED if _at(before, name) != _at(now, name)]
    if changed:
        held.close()
        raise UserError(
            f"{path.name} was started with another {' and another '.join(changed)}",
            hint="begin a new run with --new, or restore the recipe that it has in its folder",
        )
    write_atomic(path / RECIPE, dump(recipe).encode())
    return RunFolder(path, held, resumed=True)


def _at(values: Any, name: str) -> Any:
    """What stands at a dotted name; None where nothing does."""
    for part in name.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _create(recipe: Recipe, runs_dir: Path) -> RunFolder:
    stem = f"{recipe.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    number = 1
    while True:
        path = runs_dir / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UserError(f"cannot make {path}: {error.strerror}", hint="set runs_dir, or COLOSSE_HOME") from None
    held = _hold(path)
    assert held is not None  # noqa: S101 - nobody else knows it yet
    write_atomic(path / RECIPE, dump(recipe).encode())
    return RunFolder(path, held, resumed=False)


def _text(path: Path) -> str:
    return (path / RECIPE).read_text(encoding="utf-8")
