"""Shards: the token ids of a split, one after the other, in files of one size; written once, read anywhere."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from colosse.core.errors import UserError
from colosse.core.files import write_atomic
from colosse.data.manifest import Manifest, ends_name
from colosse.data.tokenise import ends_file, ids_file
from colosse.data.workers import atomic

OPEN_FILES = 64
"""Shards that one loader holds open."""
BLOCK_TOKENS = 1 << 20


@dataclass(frozen=True)
class ShardJob:
    """Tokens [start, stop) of a split of a source, gathered from chunks.

    Attributes:
        file: the shard, below `folder`.
        pieces: (chunk, first token, end) in order.
    """

    folder: Path
    work: Path
    file: str
    split: str
    dtype: str
    pieces: tuple[tuple[int, int, int], ...]

    @property
    def tokens(self) -> int:
        """How many the shard will hold."""
        return sum(stop - start for _, start, stop in self.pieces)


def plan_shards(counts: Sequence[tuple[int, int]], size: int) -> list[tuple[tuple[int, int, int], ...]]:
    """Cut (chunk, tokens) in order into shards of `size` tokens: the pieces of each."""
    shards: list[tuple[tuple[int, int, int], ...]] = []
    pieces: list[tuple[int, int, int]] = []
    room = size
    for chunk, tokens in counts:
        start = 0
        while start < tokens:
            stop = min(tokens, start + room)
            pieces.append((chunk, start, stop))
            room -= stop - start
            start = stop
            if not room:
                shards.append(tuple(pieces))
                pieces, room = [], size
    return [*shards, tuple(pieces)] if pieces else shards


def write_shard(job: ShardJob) -> None:
    """Write a shard, the ends of its documents, and beside the chunks what the manifest says of it, last."""
    width = np.dtype(job.dtype).itemsize
    path = job.folder / job.file
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, tokens = hashlib.sha256(), 0
    ends: list[NDArray[np.uint64]] = []
    with atomic(path) as shard:
        for chunk, start, stop in job.pieces:
            with ids_file(job.work / "tokens", chunk, job.split).open("rb") as ids:
                ids.seek(start * width)
                for first in range(start, stop, BLOCK_TOKENS):
                    block = ids.read(min(BLOCK_TOKENS, stop - first) * width)
                    digest.update(block)
                    shard.write(block)
            found = np.load(ends_file(job.work / "tokens", chunk, job.split))
            ends.append(found[(found > start) & (found <= stop)] + np.uint64(tokens) - np.uint64(start))
            tokens += stop - start
    joined = np.concatenate(ends).astype("<u8").tobytes()
    with atomic(job.folder / ends_name(job.file)) as file:
        file.write(joined)
    done = {
        "file": job.file,
        "tokens": tokens,
        "documents": len(joined) // 8,
        "sha256": digest.hexdigest(),
        "ends_sha256": hashlib.sha256(joined).hexdigest(),
    }
    write_atomic(shard_done(job), orjson.dumps(done))


def shard_done(job: ShardJob) -> Path:
    """Where it is written that a shard is done, and its entry in the manifest."""
    return job.work / "shards" / (job.file.replace("/", "+") + ".json")


class Stream:
    """The token ids of one split of one source, as one long array that is never in memory.

    Reads go through `pread` on at most a few open files, so that memory does not grow with the corpus, threads may
    share a stream, and a shard that is cut while it is in use is an error and not a crash.
    """

    def __init__(self, prepared: Path, manifest: Manifest, source: str, split: str) -> None:
        self._open: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()
        found = manifest.source(source).split(split)
        self.name = source
        self.tokens = found.tokens
        self.documents = found.documents
        self.bytes = found.bytes
        self._folder = prepared
        self._shards = found.shards
        self._size = manifest.shard_tokens
        self._dtype = np.dtype(manifest.dtype).newbyteorder("<")

    def read(self, start: int, count: int, into: NDArray[np.int64]) -> int:
        """Put tokens [start, start + count) into `into`, as many as there are; returns that number."""
        count = min(count, self.tokens - start)
        done = 0
        while done < count:
            shard, offset = divmod(start + done, self._size)
            wanted = min(count - done, self._size - offset)
            into[done : done + wanted] = self._pread(shard, offset, wanted)
            done += wanted
        return done

    def document(self, number: int) -> NDArray[np.int64]:
        """Token ids of a document, its end-of-text token included."""
        first = 0  # tokens before the shard
        begin = 0
        for shard in self._shards:
            ends = np.fromfile(self._folder / ends_name(shard.file), dtype="<u8")
            if number < len(ends):
                if number:
                    begin = first + int(ends[number - 1])
                ids = np.empty(first + int(ends[number]) - begin, dtype=np.int64)
                self.read(begin, len(ids), ids)
                return ids
            number -= len(ends)
            begin = first + int(ends[-1]) if len(ends) else begin
            first += shard.tokens
        raise IndexError(number)

    def _pread(self, shard: int, offset: int, count: int) -> NDArray[np.integer]:
        width = self._dtype.itemsize
        with self._lock:
            file = self._open.pop(shard, None)
            if file is None:
                if len(self._open) >= OPEN_FILES:
                    os.close(self._open.popitem(last=False)[1])
                file = os.open(self._path(shard), os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._open[shard] = file
            data = os.pread(file, count * width, offset * width)
        if len(data) != count * width:
            raise UserError(
                f"shard {self._path(shard)} was cut short while in use",
                hint="delete the folder and run `colosse data prepare` again",
            )
        return np.frombuffer(data, dtype=self._dtype)

    def _path(self, shard: int) -> Path:
        return self._folder / self._shards[shard].file

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": OrderedDict(), "_lock": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __del__(self) -> None:
        for file in self._open.values():
            os.close(file)
