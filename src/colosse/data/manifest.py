"""`manifest.json` of prepared data: what is in it, how it came about, and whether it is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from colosse.core.config import Config
from colosse.core.errors import NotFoundError, UserError
from colosse.core.files import BLOCK, size_of
from colosse.data.config import DataConfig

FILE = "manifest.json"
FORMAT = 1


class Shard(Config):
    """A file of token ids, and beside it one of the ends of documents."""

    file: str
    """Below the prepared folder; the ends are at the same place with `.ends` for `.bin`."""
    tokens: int
    documents: int
    """Documents that end in it."""
    sha256: str
    ends_sha256: str


class Split(Config):
    """The training or the held-out part of a source. Each document ends with the tokenizer's end-of-text token."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0
    """UTF-8 bytes of the text."""
    shards: list[Shard] = []


class Example(Config):
    """A document that fell, and why."""

    document: str
    detail: str
    text: str


class Drop(Config):
    """What a rule let fall."""

    rule: str
    documents: int
    bytes: int
    examples: list[Example]


class Source(Config):
    """What became of a source."""

    name: str
    weight: float
    read_documents: int
    read_bytes: int
    changed: dict[str, int]
    """Documents that each step rewrote."""
    dropped: list[Drop]
    languages: dict[str, int]
    train: Split
    val: Split

    def split(self, name: str) -> Split:
        """`train` or `val`."""
        return {"train": self.train, "val": self.val}[name]


class Manifest(Config):
    """Prepared data."""

    format: int
    identity: str
    """Hash of the configuration and of the inputs' names, sizes and times."""
    dtype: str
    """Of token ids: `uint16` or `uint32`, little-endian."""
    shard_tokens: int
    """Tokens of every shard but a split's last."""
    vocab_size: int
    eot_id: int
    sources: list[Source]
    config: DataConfig
    versions: dict[str, str]
    """Programs that the result depends on."""

    def source(self, name: str) -> Source:
        """A source by name.

        Raises:
            NotFoundError: there is none, with those that there are.
        """
        for source in self.sources:
            if source.name == name:
                return source
        raise NotFoundError(
            f"there is no source {name!r} in this data", hint="sources: " + ", ".join(s.name for s in self.sources)
        )


def read_manifest(prepared: Path) -> Manifest:
    """The manifest of a prepared folder, after a look at the size of every shard.

    Raises:
        UserError: this is no prepared data, or a shard is missing or has another size than it was written with.
    """
    try:
        text = (prepared / FILE).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"{prepared} is not prepared data: it has no {FILE}", hint="`colosse data prepare` makes it"
        ) from None
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{prepared / FILE} is damaged or of another version: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            hint=_AGAIN,
        ) from None
    for shard, bytes_each in _files(manifest):
        for file, expected in ((shard.file, bytes_each), (ends_name(shard.file), shard.documents * 8)):
            if (size := size_of(prepared / file)) != expected:
                raise UserError(f"shard {prepared / file} has {size} bytes and should have {expected}", hint=_AGAIN)
    return manifest


def verify(prepared: Path, advance: Any = lambda count: None) -> Manifest:
    """Read every shard and compare it with its hash; `advance` hears of the bytes.

    Raises:
        UserError: a shard is not what was written.
    """
    manifest = read_manifest(prepared)
    for shard, _ in _files(manifest):
        for file, expected in ((shard.file, shard.sha256), (ends_name(shard.file), shard.ends_sha256)):
            digest = hashlib.sha256()
            with (prepared / file).open("rb") as handle:
                while block := handle.read(BLOCK):
                    digest.update(block)
                    advance(len(block))
            if digest.hexdigest() != expected:
                raise UserError(f"shard {prepared / file} is damaged: its hash is not the one written", hint=_AGAIN)
    return manifest


def ends_name(shard: str) -> str:
    """File with the ends of a shard's documents: uint64, in tokens from the shard's beginning."""
    return shard.removesuffix(".bin") + ".ends"


def _files(manifest: Manifest) -> Iterator[tuple[Shard, int]]:
    """(shard, its size in bytes) of all shards."""
    width = 2 if manifest.dtype == "uint16" else 4
    for source in manifest.sources:
        for split in (source.train, source.val):
            for shard in split.shards:
                yield shard, shard.tokens * width


_AGAIN = "delete the folder and run `colosse data prepare` again"
