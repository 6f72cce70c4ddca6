"""How the state of a train run gets into files: the copy that is written, the room it needs, the hashes it leaves."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator
from contextlib import contextmanager
from copy import deepcopy
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemWriter
from torch.distributed.checkpoint.metadata import MetadataIndex, StorageMeta
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.distributed.tensor import DTensor
from torch.futures import Future

from colosse.core.files import ensure_free
from colosse.train.manifest import FileEntry


class Staged(DefaultSavePlanner):
    """Plans from the live state's names and shapes, and writes the values of the moment at which it was made.

    DCP's own staging copies DTensors as such, mesh included; what is written of one is its local part alone.

    Args:
        state: the live state.
        buffers: name to memory of an earlier copy, used again where it fits: fresh memory costs more than the copy.
    """

    def __init__(self, state: dict[str, Any], buffers: dict[str, torch.Tensor]) -> None:
        super().__init__()
        super().set_up_planner(state)
        self._values: dict[str, Any] = {}
        pin = torch.cuda.is_available()
        for name, value in self.state_dict.items():
            if not isinstance(value, torch.Tensor):
                self._values[name] = deepcopy(value)
                continue
            local = (value.to_local() if isinstance(value, DTensor) else value).detach()
            buffer = buffers.get(name)
            if buffer is None or buffer.shape != local.shape or buffer.dtype != local.dtype:
                buffer = buffers[name] = torch.empty(local.shape, dtype=local.dtype, pin_memory=pin)
            self._values[name] = buffer.copy_(local, non_blocking=True)
        if pin:
            torch.cuda.synchronize()

    def set_up_planner(
        self, state_dict: dict[str, Any], storage_meta: StorageMeta | None = None, is_coordinator: bool = False
    ) -> None:
        """Everything but who coordinates is known already."""
        self.is_coordinator = is_coordinator

    def lookup_object(self, index: MetadataIndex) -> Any:
        """The copy of what the plan calls `index`."""
        return self._values[index.fqn]


class ShardWriter(FileSystemWriter):
    """DCP's writer, which first looks whether there is room, and hashes what it writes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._files = _HashedFiles()
        self.fs = self._files

    def entries(self) -> dict[str, FileEntry]:
        """Name to size and hash of the files that this rank has written."""
        return {name: stream.entry() for name, stream in self._files.written.items()}

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Refuse, on rank 0 and before anything is written, what cannot fit; replicas are in no plan twice."""
        items = [item.tensor_data for plan in plans for item in plan.items if item.tensor_data is not None]
        ensure_free(Path(self.path), sum(item.chunk.sizes.numel() * item.properties.dtype.itemsize for item in items))
        return super().prepare_global_plan(plans)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write this rank's files.

        Raises:
            OSError: what the disk answered, in place of what torch's archive makes of it (a complaint about positions).
        """
        try:
            return super().write_data(plan, planner)
        except RuntimeError as error:
            for stream in self._files.written.values():
                if stream.failure:
                    raise stream.failure from error
            raise


class _HashedFiles(FileSystem):
    """The local file system; what is written through it is hashed."""

    def __init__(self) -> None:
        self.written: dict[str, _HashedStream] = {}

    @contextmanager
    def create_stream(self, path: str | PathLike[str], mode: str) -> Generator[io.IOBase, None, None]:
        """A new file to write."""
        with _HashedStream(Path(path)) as stream:
            self.written[Path(path).name] = stream
            yield stream

    def rename(self, path: str | PathLike[str], new_path: str | PathLike[str]) -> None:
        """Rename, and go on knowing the file by its new name."""
        super().rename(path, new_path)
        self.written[Path(new_path).name] = self.written.pop(Path(path).name)


class _HashedStream(io.RawIOBase):
    """A new file, and the hash of everything written to it from beginning to end."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self._size = 0
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Append bytes; all of them are taken."""
        with self._remembering():
            self._file.write(data)
        self._digest.update(data)
        size = memoryview(data).nbytes
        self._size += size
        return size

    def entry(self) -> FileEntry:
        """What was written so far."""
        return FileEntry(self._size, self._digest.hexdigest())

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        if not self._file.closed:
            with self._remembering():
                self._file.flush()

    def fileno(self) -> int:
        """For `fsync`, which DCP calls without a flush: what is still buffered would not be made to last."""
        self._file.flush()
        return self._file.fileno()

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()

    @contextmanager
    def _remembering(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error
            raise
