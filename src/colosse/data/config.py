"""What `data prepare` is told: sources, steps, tokenizer, shards. Its hash names the prepared data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from colosse.core.config import Config


class SourceConfig(Config):
    """Where documents come from."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
    """Appears in counts, mixtures and validation results."""
    kind: Literal["python", "files", "hub"] = "files"
    """`python`: the modules of the Python installation that runs this; `files`: files and folders; `hub`: a Hugging
    Face dataset, streamed."""
    paths: list[Path] = []
    """Files, folders or patterns for `files`; txt, md, html, jsonl (also .gz and .zst), parquet and source code."""
    dataset: str = ""
    """Name on the hub for `hub`."""
    subset: str = ""
    split: str = "train"
    text_field: str = "text"
    """Field of the text in jsonl, parquet and hub rows; dotted for nested ones. Several are put together by naming them
    in braces: `"{en}\\n\\n{fr}"`."""
    weight: Annotated[float, Field(ge=0)] = 0.0
    """Share of the training mixture, relative to the others; 0 for all: each in proportion to its tokens."""
    language: str = ""
    """ISO 639-1 code if known; empty: identified per document."""
    max_documents: Annotated[int, Field(ge=0)] = 0
    """Stop after so many; 0 for all."""

    @model_validator(mode="after")
    def _is_whole(self) -> SourceConfig:
        if self.kind == "files" and not self.paths:
            raise ValueError(f"source {self.name!r} needs paths")
        if self.kind == "hub" and not self.dataset:
            raise ValueError(f"source {self.name!r} needs a dataset")
        return self


class StepsConfig(Config):
    """Which steps documents go through, in this order."""

    boilerplate: bool = True
    """Main text of HTML pages only."""
    repair: bool = True
    """Unicode repair and normalisation of line ends."""
    languages: list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]] = []
    """Keep only these (ISO 639-1); empty keeps all."""
    quality: list[Literal["gopher", "c4", "fineweb"]] = []
    """Rule sets for web text; not for code."""
    pii: bool = False
    """Replace e-mail addresses, public IP addresses and phone numbers."""
    decontaminate: list[Path] = []
    """Evaluation files: documents that share a 13-gram of words with them are dropped."""
    dedup: Literal["none", "exact", "minhash"] = "minhash"
    """`minhash` does exact duplicates too."""


class TokenizerConfig(Config):
    """A tokenizer to train on the corpus, or one that exists."""

    path: Path | None = None
    """Folder with `tokenizer.json`; None trains one."""
    vocab_size: Annotated[int, Field(ge=320)] = 8192
    sample_mb: Annotated[float, Field(gt=0)] = 64.0
    """Text that it is trained on, drawn from all sources."""


class DataConfig(Config):
    """From corpus to shards."""

    sources: Annotated[list[SourceConfig], Field(min_length=1)] = [SourceConfig(name="python", kind="python")]
    steps: StepsConfig = StepsConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    val_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """Share of each source's documents, chosen by their hash, that is held out."""
    shard_tokens: Annotated[int, Field(ge=1024)] = 50_000_000
    seed: Annotated[int, Field(ge=0)] = 0
    """Which documents are held out, and which the tokenizer learns from."""

    @model_validator(mode="after")
    def _fits_together(self) -> DataConfig:
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError("two sources have one name")
        unweighted = [source.name for source in self.sources if not source.weight]
        if unweighted and len(unweighted) < len(names):
            raise ValueError(f"give every source a weight, or none: {unweighted[0]!r} has none")
        return self
