"""Sources cut into chunks: the units of work that are done, skipped or done again as a whole.

How a source is cut depends on its inputs alone, never on who works on it, and chunks are numbered in the order of their
documents: that is what makes the result independent of the number of workers and of interruptions.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from colosse.core.errors import NotFoundError, UserError
from colosse.data import hub, installation, readers
from colosse.data.config import SourceConfig
from colosse.data.document import Document
from colosse.data.readers import UnreadableError

SKIPPED_FOLDERS = {"__pycache__", "node_modules"}
SMALLEST_CHUNK, LARGEST_CHUNK = 256 << 10, 32 << 20
CHUNKS = 64
"""Chunks that a small corpus is cut into, so that every worker has some."""
PROBES = 20
"""Files of a source that are tried before it is refused as unreadable."""


@dataclass(frozen=True)
class Part:
    """A file or a part of one: `start` and `stop` are bytes, row groups or shards; `stop` 0 for all.

    `name` is what its documents are called; `path` is empty for documents of the Python installation and of the hub.
    """

    name: str
    path: str = ""
    start: int = 0
    stop: int = 0
    size: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True)
class Chunk:
    """Parts that are worked on together; `number` counts over all sources, `size` in bytes of input."""

    number: int
    source: int
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Bytes of input."""
        return sum(part.size for part in self.parts)


def list_parts(source: SourceConfig) -> list[Part]:
    """Everything that a source reads, in order.

    Raises:
        UserError: a path that is missing, a source without anything to read.
    """
    if source.kind == "python":
        return [Part(name, size=size) for name, size in installation.entries()]
    if source.kind == "hub":
        return [Part(f"{source.dataset}/{n}", start=n, stop=count, size=size) for n, count, size in hub.shards(source)]
    parts = []
    for path, name in _files(source):
        info = path.stat()
        if info.st_size:
            parts.append(Part(name, str(path), size=info.st_size, mtime_ns=info.st_mtime_ns))
    if not parts:
        raise UserError(
            f"source {source.name!r} is empty: nothing to read in {', '.join(map(str, source.paths))}",
            hint="it takes txt, md, html, source code, jsonl (also .gz and .zst) and parquet files",
        )
    return parts


def cut(sources: Sequence[SourceConfig], parts: Sequence[Sequence[Part]]) -> list[Chunk]:
    """Chunks of all sources. One with `max_documents` is one chunk: where it ends is known only by reading it."""
    total = sum(part.size for group in parts for part in group)
    target = min(max(total // CHUNKS, SMALLEST_CHUNK), LARGEST_CHUNK)
    chunks: list[Chunk] = []
    for number, (source, group) in enumerate(zip(sources, parts, strict=True)):
        pending: list[Part] = []
        for part in group if source.max_documents else (piece for p in group for piece in _pieces(p, target)):
            pending.append(part)
            if not source.max_documents and sum(p.size for p in pending) >= target:
                chunks.append(Chunk(len(chunks), number, tuple(pending)))
                pending = []
        if pending:
            chunks.append(Chunk(len(chunks), number, tuple(pending)))
    return chunks


def probe(source: SourceConfig, parts: Sequence[Part]) -> None:
    """Read a document of a source before any work is done.

    Raises:
        UserError: none of its first files can be read; the first one's reason.
    """
    first: UnreadableError | None = None
    for part in parts[:PROBES]:
        try:
            for found in read_part(source, part):
                if isinstance(found, Document):
                    return
                first = first or found
                break
        except UnreadableError as error:
            first = first or error
    if first:
        raise first


def read_part(source: SourceConfig, part: Part) -> Iterator[Document | UnreadableError]:
    """Documents of a part; an error in place of a row that is none.

    Raises:
        UnreadableError: the file cannot be read (any further).
    """
    if source.kind == "python":
        if document := installation.read(part.name):
            yield document
    elif source.kind == "hub":
        yield from hub.read(source, part.start, part.stop)
    else:
        for found in readers.read(Path(part.path), part.name, source.text_field, part.start, part.stop):
            if isinstance(found, Document):
                found.language = source.language
            yield found


def fingerprint(part: Part) -> dict[str, Any]:
    """What of a part goes into the identity of the prepared data."""
    return asdict(part)


def _files(source: SourceConfig) -> Iterator[tuple[Path, str]]:
    """(file, name of its documents), each file once, in the order of the source's paths and then of their names."""
    seen: set[Path] = set()
    for given in source.paths:
        path = given.expanduser()
        if path.is_dir():
            found = [(file, str(file.relative_to(path.parent))) for file in _walk(path)]
        elif path.exists():
            found = [(path, path.name)]
        elif matches := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207 - the pattern may be absolute
            found = [(Path(m), Path(m).name) for m in matches if Path(m).is_file()]
        else:
            raise NotFoundError(f"source {source.name!r}: {path} does not exist", hint="check data.sources.paths")
        for file, name in found:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file, name


def _walk(folder: Path) -> Iterator[Path]:
    """Files of a kind that we read below `folder`, hidden ones left out."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in SKIPPED_FOLDERS)
        for name in sorted(files):
            if not name.startswith(".") and readers.kind_of(Path(name)):
                yield Path(place) / name


def _pieces(part: Part, target: int) -> Iterator[Part]:
    """Parts of about `target` bytes of a file that can be read from the middle; else the whole."""
    path = Path(part.path)
    kind = readers.kind_of(path) if part.path else ""
    if part.size <= target or kind not in ("rows", "parquet") or readers.is_compressed(path):
        yield part
    elif kind == "rows":
        for start in range(0, part.size, target):
            stop = min(start + target, part.size)
            yield Part(part.name, part.path, start, stop, stop - start, part.mtime_ns)
    else:
        yield from _row_groups(part, target)


def _row_groups(part: Part, target: int) -> Iterator[Part]:
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_metadata(part.path)
    except (pyarrow.ArrowInvalid, OSError):
        yield part  # its reader says what is wrong with it
        return
    count = metadata.num_row_groups
    each = max(1, round(count * target / part.size))
    for start in range(0, count, each):
        stop = min(start + each, count)
        yield Part(part.name, part.path, start, stop, part.size * (stop - start) // count, part.mtime_ns)
