"""Documents that hold what a model will be tested on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from colosse.core.errors import UserError
from colosse.data import readers
from colosse.data.document import Document
from colosse.data.words import Hashes, normalised_words, shingles

NGRAM = 13
"""Words, as in GPT-3's paper (arXiv:2005.14165, appendix C)."""


class Contamination:
    """The 13-grams of evaluation files.

    Args:
        files: text, rows of which every field counts, or parquet.

    Raises:
        UserError: a file cannot be read, or has no run of 13 words.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        found: list[Hashes] = []
        for file in files:
            grams = [_grams(text) for text in _texts(file.expanduser())]
            if not sum(map(len, grams)):
                raise UserError(f"{file} has no text of {NGRAM} words to look for", hint="check steps.decontaminate")
            found += grams
        self._grams = np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64)

    def count(self, text: str) -> int:
        """How many 13-grams of a text are in the evaluation files."""
        grams = _grams(text)
        places = np.minimum(np.searchsorted(self._grams, grams), len(self._grams) - 1)
        return int((self._grams[places] == grams).sum()) if len(self._grams) else 0


def _grams(text: str) -> Hashes:
    words = normalised_words(text)
    return shingles(words, NGRAM) if len(words) >= NGRAM else words[:0]


def _texts(file: Path) -> Iterator[str]:
    kind = readers.kind_of(file)
    if kind == "rows":
        for number, row in enumerate(readers.lines(file), 1):
            try:
                yield from _strings(orjson.loads(row))
            except orjson.JSONDecodeError as error:
                raise UserError(f"{file}, line {number}: not JSON: {error}") from None
    elif kind == "parquet":
        import pyarrow.parquet

        try:
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=256):
                yield from _strings(batch.to_pylist())
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UserError(f"cannot read {file}: {error}") from None
    else:
        yield from (found.text for found in readers.read(file, file.name, "") if isinstance(found, Document))


def _strings(value: Any) -> Iterator[str]:
    """Every text in decoded JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
