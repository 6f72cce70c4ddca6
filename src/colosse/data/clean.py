"""First pass: a chunk's documents through the steps, to a file of those that came through."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import orjson
import xxhash
import zstandard

from colosse.core.files import write_atomic
from colosse.data import sources, steps
from colosse.data.config import DataConfig, StepsConfig
from colosse.data.document import Document, Tally
from colosse.data.minhash import bands
from colosse.data.readers import UnreadableError
from colosse.data.sources import Chunk
from colosse.data.words import Hashes, normalised_words
from colosse.data.workers import atomic

UNREADABLE = "unreadable"
"""The rule by which files and rows fall that cannot be read."""
LEVEL = 1
"""Of zstandard: faster than the disks it saves."""


@dataclass(frozen=True)
class CleanJob:
    """One chunk. `config` is JSON of the whole configuration; files go to `folder`."""

    chunk: Chunk
    config: str
    folder: Path


def clean_chunk(job: CleanJob) -> None:
    """Clean a chunk: kept documents, their keys for `dedup`, and the tally, which is written last."""
    config = _config(job.config)
    source = config.sources[job.chunk.source]
    pipeline = _pipeline(config.steps.model_dump_json())
    tally = Tally()
    keys: list[Hashes] = []
    with (
        atomic(documents_file(job.folder, job.chunk.number)) as file,
        zstandard.ZstdCompressor(LEVEL).stream_writer(file, closefd=False) as packed,
    ):
        for document in _documents(job.chunk, config, tally):
            if cleaned := steps.run(pipeline, document, tally):
                keys.append(document_keys(cleaned.text, config.steps.dedup))
                packed.write(orjson.dumps([cleaned.name, cleaned.text]) + b"\n")
            if source.max_documents and tally.read >= source.max_documents:
                break
    table = np.stack(keys, axis=1) if keys else np.empty((len(document_keys("", config.steps.dedup)), 0), np.uint64)
    with atomic(keys_file(job.folder, job.chunk.number)) as file:
        np.save(file, table)
    write_atomic(tally_file(job.folder, job.chunk.number), orjson.dumps(tally.to_json()))


def document_keys(text: str, method: str) -> Hashes:
    """Length in bytes, 128 bits of the text's hash, and MinHash's bands where the method has them [3 or 17]."""
    data = text.encode()
    digest = xxhash.xxh3_128_intdigest(data)
    keys = np.array([len(data), digest >> 64, digest & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
    return np.concatenate([keys, bands(normalised_words(text))]) if method == "minhash" else keys


def read_documents(folder: Path, chunk: int) -> Iterator[tuple[str, str]]:
    """(name, text) of a chunk's cleaned documents, in order."""
    with (
        documents_file(folder, chunk).open("rb") as file,
        io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 1 << 20) as lines,
    ):
        for line in lines:
            name, text = orjson.loads(line)
            yield name, text


def documents_file(folder: Path, chunk: int) -> Path:
    """Cleaned documents: zstandard of JSON lines `[name, text]`."""
    return folder / f"{chunk:06d}.jsonl.zst"


def keys_file(folder: Path, chunk: int) -> Path:
    """`document_keys` of the cleaned documents: [columns, documents] of uint64."""
    return folder / f"{chunk:06d}.keys.npy"


def tally_file(folder: Path, chunk: int) -> Path:
    """What happened to the chunk's documents; where it exists the chunk is done."""
    return folder / f"{chunk:06d}.json"


def _documents(chunk: Chunk, config: DataConfig, tally: Tally) -> Iterator[Document]:
    """Documents of a chunk; what cannot be read is counted and passed over."""
    source = config.sources[chunk.source]
    for part in chunk.parts:
        try:
            for found in sources.read_part(source, part):
                if isinstance(found, UnreadableError):
                    tally.drop(UNREADABLE, part.name, "", str(found))
                else:
                    tally.read += 1
                    tally.read_bytes += steps.utf8_length(found.text)
                    yield found
        except UnreadableError as error:
            tally.drop(UNREADABLE, part.name, "", str(error))


@lru_cache(maxsize=1)
def _config(config: str) -> DataConfig:
    return DataConfig.model_validate_json(config)


@lru_cache(maxsize=1)
def _pipeline(config: str) -> list[tuple[str, steps.Step]]:
    """The steps, whose models and lists are loaded once a process."""
    return steps.build(StepsConfig.model_validate_json(config))
