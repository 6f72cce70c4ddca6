"""Second pass: a chunk's documents that stay, to token ids, those held out apart from the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import orjson
from numpy.typing import NDArray

from colosse.core.files import write_atomic
from colosse.data import clean, dedup
from colosse.data.bpe import Ids
from colosse.data.steps import utf8_length
from colosse.data.tokenizer import Tokenizer
from colosse.data.words import mix
from colosse.data.workers import atomic

SPLITS = ("train", "val")
BATCH_BYTES = 1 << 20


@dataclass(frozen=True)
class TokeniseJob:
    """One chunk.

    Attributes:
        number: the chunk's.
        work: the folder with `clean`, `keep` and `tokens`.
        tokenizer: its folder.
        val_fraction: share of documents held out.
        tails: hold out the end of each document instead, for a source with too few documents to choose among.
        seed: which documents are held out.
        dtype: of the ids.
    """

    number: int
    work: Path
    tokenizer: Path
    val_fraction: float
    tails: bool
    seed: int
    dtype: str


@dataclass
class Counts:
    """Documents, tokens and UTF-8 bytes of one split."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0
    ends: list[int] = field(default_factory=list)


def held_out(hashes: NDArray[np.uint64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which documents are held out, by the hash of their text alone: the same wherever they stand."""
    salt = mix(np.array([seed], dtype=np.uint64))
    chosen: NDArray[np.bool_] = (mix(hashes ^ salt) >> np.uint64(11)) * 2.0**-53 < fraction
    return chosen


def tokenise_chunk(job: TokeniseJob) -> None:
    """Tokenise a chunk: ids and ends of documents per split, and the counts, which are written last."""
    tokenizer = _tokenizer(job.tokenizer)
    keep = np.load(keep_file(job.work, job.number))
    hashes = np.load(clean.keys_file(job.work / "clean", job.number), mmap_mode="r")[dedup.HASH]
    val = held_out(hashes, 0.0 if job.tails else job.val_fraction, job.seed)
    counts = {split: Counts() for split in SPLITS}
    folder = job.work / "tokens"
    with atomic(ids_file(folder, job.number, "train")) as train, atomic(ids_file(folder, job.number, "val")) as held:
        files = dict(zip(SPLITS, (train, held), strict=True))
        batch: list[tuple[str, str]] = []
        size = 0
        for number, (_, text) in enumerate(clean.read_documents(job.work / "clean", job.number)):
            if not keep[number]:
                continue
            batch.append(("val" if val[number] else "train", text))
            size += len(text)
            if size >= BATCH_BYTES:
                _write(batch, tokenizer, job, files, counts)
                batch, size = [], 0
        _write(batch, tokenizer, job, files, counts)
    for split, count in counts.items():
        with atomic(ends_file(folder, job.number, split)) as file:
            np.save(file, np.array(count.ends, dtype=np.uint64))
    write_atomic(
        counts_file(folder, job.number),
        orjson.dumps({s: {"documents": c.documents, "tokens": c.tokens, "bytes": c.bytes} for s, c in counts.items()}),
    )


def keep_file(work: Path, chunk: int) -> Path:
    """Which of a chunk's cleaned documents are no duplicates."""
    return work / "keep" / f"{chunk:06d}.npy"


def ids_file(folder: Path, chunk: int, split: str) -> Path:
    """A chunk's token ids, raw."""
    return folder / f"{chunk:06d}.{split}.ids"


def ends_file(folder: Path, chunk: int, split: str) -> Path:
    """Where a chunk's documents end, in tokens from its beginning."""
    return folder / f"{chunk:06d}.{split}.ends.npy"


def counts_file(folder: Path, chunk: int) -> Path:
    """Counts per split; where it exists the chunk is done."""
    return folder / f"{chunk:06d}.json"


def _write(
    batch: list[tuple[str, str]],
    tokenizer: Tokenizer,
    job: TokeniseJob,
    files: dict[str, IO[bytes]],
    counts: dict[str, Counts],
) -> None:
    encoded = tokenizer.encode_batch([text for _, text in batch])
    for (split, text), ids in zip(batch, encoded, strict=True):
        size = utf8_length(text)
        if job.tails and (tail := int(job.val_fraction * len(ids))) > 1:
            tail_bytes = round(size * tail / len(ids))
            _append(ids[-tail:], tokenizer.eot_id, tail_bytes, job.dtype, files["val"], counts["val"])
            ids, size = ids[:-tail], size - tail_bytes
        _append(ids, tokenizer.eot_id, size, job.dtype, files[split], counts[split])


def _append(ids: Ids, eot: int, size: int, dtype: str, file: IO[bytes], counts: Counts) -> None:
    file.write(np.append(ids, np.uint32(eot)).astype(dtype).tobytes())
    counts.documents += 1
    counts.tokens += len(ids) + 1
    counts.bytes += size
    counts.ends.append(counts.tokens)


@lru_cache(maxsize=1)
def _tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)
