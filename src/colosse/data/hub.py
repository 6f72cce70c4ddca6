"""Datasets of the Hugging Face hub, streamed: nothing is stored but what the steps keep."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from colosse.core.errors import ColosseError, UnavailableError, UserError
from colosse.data.config import SourceConfig
from colosse.data.document import Document
from colosse.data.readers import UnreadableError, document_of

SHARD_BYTES = 100 << 20
"""What a shard is taken to hold: the hub does not say before it is read."""


def shards(source: SourceConfig) -> Iterator[tuple[int, int, int]]:
    """(number, how many there are, assumed bytes) of a dataset's shards.

    Raises:
        UserError: `datasets` is not installed, or there is no such dataset, subset or split.
        UnavailableError: the hub cannot be reached.
    """
    count = _stream(source.dataset, source.subset, source.split).num_shards
    for number in range(count):
        yield number, count, SHARD_BYTES


def read(source: SourceConfig, number: int, count: int) -> Iterator[Document | UnreadableError]:
    """Documents of a shard, in order."""
    rows = _stream(source.dataset, source.subset, source.split).shard(num_shards=count, index=number)
    try:
        for row, value in enumerate(rows):
            found = document_of(value, source.text_field, f"{source.dataset}/{number}:{row}")
            if isinstance(found, Document):
                found.language = source.language
            yield found
    except OSError as error:
        raise _failure(source.dataset, error) from None


@lru_cache(maxsize=8)
def _stream(dataset: str, subset: str, split: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            "datasets of the hub need an extra that is not installed", hint="pip install 'colosse[hub]'"
        ) from None
    try:
        return datasets.load_dataset(dataset, subset or None, split=split, streaming=True)
    except (OSError, ValueError) as error:
        raise _failure(dataset, error) from None


def _failure(dataset: str, error: Exception) -> ColosseError:
    """A missing dataset is the user's to mend, a hub out of reach is not."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, ConnectionError) or "Couldn't reach" in line or "offline" in line.lower():
        return UnavailableError(f"the hub is out of reach: {line}", hint="check the network, or HF_HUB_OFFLINE")
    return UserError(f"dataset {dataset!r}: {line}", hint="check data.sources: dataset, subset and split")
