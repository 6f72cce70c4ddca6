"""Checkpoints: everything a train run needs to go on, written beside the training and never half.

Built on torch's distributed checkpoint (`torch.distributed.checkpoint`, DCP): every rank writes its shards, and a
reader on another mesh or with another number of ranks takes from them what it needs. Around it: a copy of the state, so
that training goes on while the copy is written; hashes, taken from what was meant to be written (`staging.py`); a
marker that is written last, then one rename (`manifest.py`); and a folder that `kill -9` at any moment leaves good.

All ranks share the folder. Every method is collective: all ranks call it, in the same order. Without a process group
the one process is all of them.
"""

from __future__ import annotations

import errno
import json
import logging
import shutil
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from colosse.core.errors import ColosseError, UnavailableError, UserError
from colosse.core.files import DiskFullError
from colosse.train import manifest as folders
from colosse.train.manifest import DamagedError, Manifest
from colosse.train.staging import ShardWriter, Staged

JSON = Any
"""Decoded JSON."""
RNG = "rng"
"""The key of `extra` that is each rank's own."""
_PER_RANK = "per_rank"
"""Entry of the stored state under which every rank keeps its own part of `extra`."""

Value = TypeVar("Value")


class Checkpoints:
    """The checkpoints of one train run.

    Args:
        folder: `checkpoints/` of the run, on storage that all ranks see.
        keep: how many complete ones stay.
        asynchronous: write in the background from a copy of the state in memory (on CUDA: pinned).
        say: hears one line about each checkpoint that is passed over; a warning in the log when None.
    """

    def __init__(
        self, folder: Path, *, keep: int, asynchronous: bool, say: Callable[[str], None] | None = None
    ) -> None:
        self.folder = folder
        self.keep = keep
        self.asynchronous = asynchronous
        self._say = say or logging.getLogger(__name__).warning
        self._ranks = _Ranks()
        self._buffers: dict[str, torch.Tensor] = {}
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(self, step: int, state: dict[str, Any], extra: dict[str, JSON], *, wait: bool = False) -> float:
        """Write the state after `step` as the newest checkpoint.

        Args:
            step: optimiser steps done.
            state: nested dictionaries of tensors, DTensors and small picklable values, by the same names on any mesh.
            extra: what else to remember: JSON types. `extra["rng"]` is each rank's own; of the rest, rank 0's counts.
            wait: return only when it is complete.

        Returns:
            Seconds for which training stood still: waiting for the save before this one, copying, and when not
            asynchronous (or with `wait`) writing.

        Raises:
            DiskFullError: there is no room, now or during the save before this one; the older checkpoints are intact.
            UnavailableError: the folder cannot be written; the older checkpoints are intact.
        """
        began = time.perf_counter()
        self.wait()
        shared = {key: value for key, value in extra.items() if key != RNG}
        own = {str(self._ranks.rank): json.dumps(extra.get(RNG))}
        state = {**state, _PER_RANK: own}
        if self.asynchronous:
            planner: DefaultSavePlanner = Staged(state, self._buffers)
            self._writer = threading.Thread(
                target=self._write_quietly, args=(step, state, planner, shared), name="checkpoint", daemon=True
            )
            self._writer.start()
            if wait:
                self.wait()
        else:
            self._write(step, state, DefaultSavePlanner(), shared)
        return time.perf_counter() - began

    def wait(self) -> None:
        """Return when nothing is being written any more.

        Raises:
            ColosseError: what the save in the background met.
        """
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def newest(self) -> int | None:
        """Step of the newest complete checkpoint, by its marker and the sizes of its files; None when there is none.

        Raises:
            UserError: there are checkpoints and not one of them is complete.
        """
        found = self._ranks.first(partial(folders.candidates, self.folder))
        for step, folder in found:
            manifest, problem = self._ranks.first(partial(_look, folder))
            if manifest is not None:
                return step
            self._pass_over(folder, problem)
        self._refuse_all_damaged(found)
        return None

    def load(self, step: int, state: dict[str, Any]) -> dict[str, JSON]:
        """Fill `state` in place from the checkpoint of `step`, on whatever mesh it is spread now.

        Args:
            step: one that exists.
            state: like the one saved, or a part of it; every tensor allocated. Its values are overwritten.

        Returns:
            `extra` as saved; without `rng` when the number of ranks has changed.

        Raises:
            UserError: there is no such checkpoint, damaged (`state` is then untouched) or of another model.
        """
        folder = folders.folder_of(self.folder, step)
        manifest, problem = self._inspect(folder)
        if manifest is None:
            raise UserError(f"the checkpoint {folder} cannot be used: {problem}", hint="take another one")
        return self._read(folder, manifest, state)

    def load_newest(self, state: dict[str, Any]) -> tuple[int, dict[str, JSON]] | None:
        """Fill `state` from the newest checkpoint whose every byte is as it was written, passing over others.

        Returns:
            Its step and `extra` (see `load`); None when the run has no checkpoint yet.

        Raises:
            UserError: there are checkpoints and not one of them is intact, or they are of another model.
        """
        found = self._ranks.first(partial(folders.candidates, self.folder))
        for step, folder in found:
            manifest, problem = self._inspect(folder)
            if manifest is not None:
                return step, self._read(folder, manifest, state)
            self._pass_over(folder, problem)
        self._refuse_all_damaged(found)
        return None

    def _pass_over(self, folder: Path, problem: str) -> None:
        if self._ranks.rank == 0:
            self._say(f"passing over the checkpoint {folder.name}: {problem}")

    def _refuse_all_damaged(self, found: list[tuple[int, Path]]) -> None:
        if found:
            raise UserError(
                f"none of the {len(found)} checkpoints in {self.folder} is intact",
                hint="move that folder away to begin the train run again, or restore one of them from a copy",
            )

    def _inspect(self, folder: Path) -> tuple[Manifest | None, str]:
        """The manifest of a folder, or what is wrong with it; the ranks share the work of hashing."""
        manifest, problem = self._ranks.first(partial(_look, folder))
        if manifest is None:
            return None, problem
        mine = sorted(manifest.files)[self._ranks.rank :: self._ranks.size]
        try:
            folders.check_hashes(folder, manifest, mine)
        except (DamagedError, OSError) as error:
            problem = str(error)
        problem = next(filter(None, self._ranks.gather(problem)), "")
        return (None, problem) if problem else (manifest, "")

    def _read(self, folder: Path, manifest: Manifest, state: dict[str, Any]) -> dict[str, JSON]:
        wanted, rank = dict(state), str(self._ranks.rank)
        if manifest.world_size == self._ranks.size:
            wanted[_PER_RANK] = {rank: ""}
        try:
            load(
                wanted,
                storage_reader=FileSystemReader(folder),
                process_group=self._ranks.group,
                no_dist=self._ranks.alone(),
            )
        except CheckpointException as error:
            raise _as_load_error(error, folder) from error
        state.update({key: wanted[key] for key in state})
        own = {RNG: json.loads(wanted[_PER_RANK][rank])} if _PER_RANK in wanted else {}
        return {**manifest.extra, **own}

    def _write_quietly(self, step: int, state: dict[str, Any], planner: DefaultSavePlanner, extra: JSON) -> None:
        try:
            self._write(step, state, planner, extra)
        except BaseException as error:
            self._failure = error  # raised by the next `save` or `wait`, in the thread that can act on it

    def _write(self, step: int, state: dict[str, Any], planner: DefaultSavePlanner, extra: JSON) -> None:
        temporary, folder = folders.temporary_of(self.folder, step), folders.folder_of(self.folder, step)
        try:
            self._ranks.first(partial(_begin, self.folder, temporary))
            writer = ShardWriter(temporary)
            save(
                state,
                storage_writer=writer,
                planner=planner,
                process_group=self._ranks.group,
                no_dist=self._ranks.alone(),
            )
            files = {name: entry for part in self._ranks.gather(writer.entries()) for name, entry in part.items()}
            manifest = Manifest(step, self._ranks.size, files, extra, folders.now())
            self._ranks.first(partial(_finish, temporary, folder, manifest, self.keep))
        except BaseException as error:
            if self._ranks.rank == 0:
                shutil.rmtree(temporary, ignore_errors=True)
            raise _as_save_error(error, self.folder) from error


class _Ranks:
    """All ranks of the run, with a group of their own: a background thread's messages must not meet training's."""

    def __init__(self) -> None:
        self.group: dist.ProcessGroup | None = None
        self.rank, self.size = 0, 1
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            self.group = cast(dist.ProcessGroup, dist.new_group(backend="gloo"))
            self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def alone(self) -> bool:
        """Whether there is one rank; DCP warns of that on every call, although it is meant."""
        if self.group is None:
            warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        return self.group is None

    def gather(self, value: Value) -> list[Value]:
        """Every rank's `value`, on every rank."""
        if self.group is None:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def first(self, work: Callable[[], Value]) -> Value:
        """Let rank 0 do `work`; its result, or what it raised, is everybody's."""
        outcome: list[Any] = [None, None]
        if self.rank == 0:
            try:
                outcome[0] = work()
            except Exception as error:
                outcome[1] = error
        if self.group is not None:
            dist.broadcast_object_list(outcome, src=0, group=self.group)
        if outcome[1] is not None:
            raise outcome[1]
        return cast(Value, outcome[0])


def _look(folder: Path) -> tuple[Manifest | None, str]:
    try:
        return folders.read_manifest(folder), ""
    except DamagedError as error:
        return None, str(error)


def _begin(parent: Path, temporary: Path) -> None:
    parent.mkdir(parents=True, exist_ok=True)
    folders.sweep(parent)
    temporary.mkdir()


def _finish(temporary: Path, folder: Path, manifest: Manifest, keep: int) -> None:
    folders.seal(temporary, manifest)
    folders.publish(temporary, folder)
    folders.prune(folder.parent, manifest.step, keep)


def _causes(error: BaseException) -> list[BaseException]:
    """What each rank met, where DCP collected it."""
    return [cause for cause, _ in error.failures.values()] if isinstance(error, CheckpointException) else [error]


def _as_save_error(error: BaseException, folder: Path) -> BaseException:
    """What a failed save means to the person who trains; what is none of ours stays as it is."""
    for cause in _causes(error):
        if isinstance(cause, ColosseError):
            return cause
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return DiskFullError(
                f"the disk of {folder} is full: the checkpoint could not be written; the older ones are intact",
                hint="free some space and start the same train run again: it goes on from the newest checkpoint",
            )
        if isinstance(cause, OSError):
            return UnavailableError(f"the checkpoint could not be written; the older ones are intact: {cause}")
    return error


def _as_load_error(error: CheckpointException, folder: Path) -> BaseException:
    """A name or shape that the checkpoint does not have is a recipe that is not the one it was trained with."""
    cause = _causes(error)[0]
    if isinstance(cause, RuntimeError | ValueError | KeyError):
        return UserError(
            f"the checkpoint {folder} does not hold this model: {cause}",
            hint="go on with the recipe that the train run was started with, or start a new one",
        )
    return UnavailableError(f"the checkpoint {folder} could not be read: {cause}")
