"""The passes of `prepare`: clean, deduplicate, learn the tokenizer, tokenise, assemble."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from colosse.core.errors import UserError
from colosse.core.files import write_atomic
from colosse.core.progress import Progress
from colosse.data import clean, dedup
from colosse.data.clean import CleanJob, clean_chunk
from colosse.data.config import DataConfig, SourceConfig
from colosse.data.document import EXAMPLES, Tally, excerpt
from colosse.data.manifest import FILE, FORMAT, Drop, Example, Manifest, Shard, Source, Split
from colosse.data.shards import ShardJob, plan_shards, shard_done, write_shard
from colosse.data.sources import Chunk
from colosse.data.tokenise import SPLITS, TokeniseJob, counts_file, held_out, keep_file, tokenise_chunk
from colosse.data.tokenizer import Tokenizer
from colosse.data.workers import Pool, atomic

Job = TypeVar("Job")
PROGRAMS = ("ftfy", "tokenizers", "xxhash", "numpy", "trafilatura", "py3langid")
"""Whose versions are written into the manifest."""
SAMPLE_PIECE = 1 << 14
"""Characters of a document that come into the tokenizer's sample together."""


class Passes:
    """The passes over one folder."""

    def __init__(
        self, config: DataConfig, identity: str, chunks: list[Chunk], build: Path, pool: Pool, progress: Progress
    ) -> None:
        self.config, self.identity, self.chunks, self.build = config, identity, chunks, build
        self.pool, self.progress = pool, progress
        self.work = build / "work"
        for name in ("clean", "keep", "tokens", "shards"):
            (self.work / name).mkdir(parents=True, exist_ok=True)
        self.tallies = [Tally() for _ in config.sources]

    def run(self) -> None:
        """All passes; each job of a pass is skipped when its file exists."""
        self._clean()
        self._deduplicate()
        self._learn_tokenizer()
        self._tokenise()
        self._assemble()

    def _jobs(self, label: str, function: Callable[[Job], None], jobs: Sequence[tuple[Job, Path, int]]) -> None:
        """Run the jobs (job, its marker, its size in bytes) whose marker does not exist."""
        pending = [(job, size) for job, marker, size in jobs if not marker.is_file()]
        total = sum(size for _, _, size in jobs)
        self.progress.begin(label, total, total - sum(size for _, size in pending))
        sizes = {id(job): size for job, size in pending}
        for job in self.pool.run(function, [job for job, _ in pending]):
            self.progress.advance(sizes[id(job)])

    def _clean(self) -> None:
        """Documents through the steps.

        Raises:
            UserError: a source has nothing left.
        """
        folder, config = self.work / "clean", self.config.model_dump_json()
        self._jobs(
            "cleaning",
            clean_chunk,
            [(CleanJob(c, config, folder), clean.tally_file(folder, c.number), c.size) for c in self.chunks],
        )
        for chunk in self.chunks:
            found = orjson.loads(clean.tally_file(folder, chunk.number).read_bytes())
            self.tallies[chunk.source].add(Tally.from_json(found))
        for source, tally in zip(self.config.sources, self.tallies, strict=True):
            if tally.read <= sum(count for rule, count in tally.dropped.items() if rule != clean.UNREADABLE):
                fell = ", ".join(f"{count} by {rule}" for rule, count in tally.dropped.most_common())
                unreadable = [example["detail"] for example in tally.examples.get(clean.UNREADABLE, [])]
                raise UserError(
                    f"nothing is left of source {source.name!r}: {tally.read} documents read, dropped {fell or 'none'}",
                    hint=unreadable[0] if unreadable and not tally.read else "check data.steps, or leave it out",
                )

    def _deduplicate(self) -> None:
        """Which documents stay."""
        files = [clean.keys_file(self.work / "clean", chunk.number) for chunk in self.chunks]
        lengths = [np.load(file, mmap_mode="r")[dedup.LENGTH] for file in files]
        size = sum(int(found.sum()) for found in lengths)
        self.progress.begin("finding duplicates", size)
        original, exact = dedup.duplicates(files, self.config.steps.dedup)
        self.progress.advance(size)
        starts = np.cumsum([0, *(len(found) for found in lengths)])
        for chunk, found, start in zip(self.chunks, lengths, starts.tolist(), strict=False):
            place = slice(start, start + len(found))
            stays = original[place] == dedup.KEPT
            with atomic(keep_file(self.work, chunk.number)) as file:
                np.save(file, stays)
            tally = self.tallies[chunk.source]
            for rule, mine in (("dedup/exact", ~stays & exact[place]), ("dedup/near", ~stays & ~exact[place])):
                if mine.any():
                    tally.dropped[rule] += int(mine.sum())
                    tally.dropped_bytes[rule] += int(found[mine].sum())
                    for number in np.flatnonzero(mine)[: EXAMPLES - len(tally.examples.get(rule, []))].tolist():
                        like = int(original[start + number])
                        other = int(np.searchsorted(starts, like, side="right")) - 1
                        name, text = self._document(chunk.number, number)
                        detail = f"like {self._document(self.chunks[other].number, like - int(starts[other]))[0]}"
                        tally.examples.setdefault(rule, []).append(excerpt(name, text, detail))

    def _document(self, chunk: int, number: int) -> tuple[str, str]:
        return next(islice(clean.read_documents(self.work / "clean", chunk), number, None))

    def _kept(self, chunk: Chunk) -> tuple[NDArray[np.bool_], NDArray[np.uint64], NDArray[np.uint64]]:
        """Which cleaned documents of a chunk stay, their lengths in bytes and their hashes [documents]."""
        keys = np.load(clean.keys_file(self.work / "clean", chunk.number), mmap_mode="r")
        return np.load(keep_file(self.work, chunk.number)), keys[dedup.LENGTH], keys[dedup.HASH]

    def _learn_tokenizer(self) -> None:
        """The tokenizer's folder appears when it is whole."""
        folder = self.build / "tokenizer"
        if folder.is_dir():
            return
        given = self.config.tokenizer
        if given.path:
            tokenizer = Tokenizer.load(given.path.expanduser())
        else:
            tokenizer = Tokenizer.train(self._sample(), given.vocab_size)
        fresh = self.work / "tokenizer"
        tokenizer.save(fresh)
        fresh.replace(folder)

    def _sample(self) -> Iterator[str]:
        """Pieces of documents of all sources, by weight or else by size, chosen by their hash."""
        sizes = [0] * len(self.config.sources)
        for chunk in self.chunks:
            keep, lengths, _ = self._kept(chunk)
            sizes[chunk.source] += int(lengths[keep].sum())
        weights = [source.weight for source in self.config.sources]
        shares = weights if any(weights) else sizes
        wanted = self.config.tokenizer.sample_mb * 1e6
        self.progress.begin("learning the tokenizer", int(min(wanted, sum(sizes))))
        fractions = [wanted * share / sum(shares) / size for share, size in zip(shares, sizes, strict=True)]
        for chunk in self.chunks:
            keep, _, hashes = self._kept(chunk)
            fraction = min(fractions[chunk.source], 1.0)
            documents = clean.read_documents(self.work / "clean", chunk.number)
            for stays, seed, (_, text) in zip(keep.tolist(), hashes.tolist(), documents, strict=True):
                if stays:
                    starts = np.arange(0, len(text), SAMPLE_PIECE)
                    for start in starts[held_out(starts.astype(np.uint64), fraction, seed)].tolist():
                        yield text[start : start + SAMPLE_PIECE]
                        self.progress.advance(SAMPLE_PIECE)

    def _tokenise(self) -> None:
        """Documents that stay, to token ids."""
        chosen = [[0, 0] for _ in self.config.sources]  # documents per source for training and for validation
        sizes = []
        for chunk in self.chunks:
            keep, lengths, hashes = self._kept(chunk)
            val = held_out(hashes[keep], self.config.val_fraction, self.config.seed)
            chosen[chunk.source][0] += int((~val).sum())
            chosen[chunk.source][1] += int(val.sum())
            sizes.append(int(lengths[keep].sum()))
        folder = self.build / "tokenizer"
        dtype = id_type(Tokenizer.load(folder).vocab_size)
        jobs = []
        for chunk, size in zip(self.chunks, sizes, strict=True):
            tails = not all(chosen[chunk.source])
            job = TokeniseJob(chunk.number, self.work, folder, self.config.val_fraction, tails, self.config.seed, dtype)
            jobs.append((job, counts_file(self.work / "tokens", chunk.number), size))
        self._jobs("tokenising", tokenise_chunk, jobs)

    def _assemble(self) -> None:
        """Chunks to shards of one size, and the manifest."""
        tokenizer = Tokenizer.load(self.build / "tokenizer")
        dtype = id_type(tokenizer.vocab_size)
        jobs: dict[tuple[int, str], list[ShardJob]] = {}
        totals: dict[tuple[int, str], dict[str, int]] = {}
        for number, source in enumerate(self.config.sources):
            mine = [chunk.number for chunk in self.chunks if chunk.source == number]
            counts = [orjson.loads(counts_file(self.work / "tokens", chunk).read_bytes()) for chunk in mine]
            for split in SPLITS:
                totals[number, split] = {k: sum(c[split][k] for c in counts) for k in ("documents", "tokens", "bytes")}
                tokens = [(chunk, c[split]["tokens"]) for chunk, c in zip(mine, counts, strict=True)]
                jobs[number, split] = [
                    ShardJob(self.build, self.work, f"{split}/{source.name}-{n:05d}.bin", split, dtype, pieces)
                    for n, pieces in enumerate(plan_shards(tokens, self.config.shard_tokens))
                ]
        width = np.dtype(dtype).itemsize
        flat = [(job, shard_done(job), job.tokens * width) for group in jobs.values() for job in group]
        self._jobs("writing shards", write_shard, flat)

        splits = {
            key: Split(shards=[Shard.model_validate_json(shard_done(job).read_bytes()) for job in group], **totals[key])
            for key, group in jobs.items()
        }
        manifest = Manifest(
            format=FORMAT,
            identity=self.identity,
            dtype=dtype,
            shard_tokens=self.config.shard_tokens,
            vocab_size=tokenizer.vocab_size,
            eot_id=tokenizer.eot_id,
            sources=[
                _source(config, tally, splits[number, "train"], splits[number, "val"])
                for number, (config, tally) in enumerate(zip(self.config.sources, self.tallies, strict=True))
            ],
            config=self.config,
            versions={name: version(name) for name in PROGRAMS},
        )
        write_atomic(self.build / FILE, manifest.model_dump_json(indent=1).encode())


def id_type(vocab_size: int) -> str:
    """The smallest type that holds every token id."""
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def _source(config: SourceConfig, tally: Tally, train: Split, val: Split) -> Source:
    drops = [
        Drop(
            rule=rule,
            documents=count,
            bytes=tally.dropped_bytes[rule],
            examples=[Example(**example) for example in tally.examples.get(rule, [])],
        )
        for rule, count in sorted(tally.dropped.items())
    ]
    return Source(
        name=config.name,
        weight=config.weight,
        read_documents=tally.read,
        read_bytes=tally.read_bytes,
        changed=dict(sorted(tally.changed.items())),
        dropped=drops,
        languages=dict(sorted(tally.languages.items())),
        train=train,
        val=val,
    )
