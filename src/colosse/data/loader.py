"""Prepared data to batches, in one global order that depends on nothing but the seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from colosse.core.errors import UserError
from colosse.data.manifest import read_manifest
from colosse.data.order import Order
from colosse.data.shards import Stream

IGNORED = -100
"""Target of a place that asks for nothing."""


@dataclass
class Batch:
    """Sequences to train or evaluate on; all int64 [n, seq_len].

    Attributes:
        tokens: token ids.
        targets: the token after each; -100 where none is asked for.
        documents: which of a sequence's documents a token is of, from 0; None where documents are not told apart.
        positions: a token's place in its document, counted from the sequence's beginning at most; None likewise.
    """

    tokens: torch.Tensor
    targets: torch.Tensor
    documents: torch.Tensor | None
    positions: torch.Tensor | None


class Loader:
    """Sequences of prepared data.

    `train` is a shuffled mixture without end; `val` is in order, each token once, and ends. Memory is fixed.

    Args:
        prepared: a folder that `prepare` made.
        seq_len: tokens of a sequence.
        seed: of the order.
        split: `train` or `val`.
        source: only this one; empty for all.
        mask_documents: tell packed documents apart: no target crosses from one to the next.

    Attributes:
        num_sequences: sequences of an epoch (`train`), or all (`val`).
        num_tokens: tokens of the split.
        sources: names of the sources that have any.

    Raises:
        UserError: the data is damaged, or has fewer tokens than one sequence needs.
    """

    def __init__(
        self,
        prepared: Path,
        *,
        seq_len: int,
        seed: int = 0,
        split: str = "train",
        source: str = "",
        mask_documents: bool = True,
    ) -> None:
        manifest = read_manifest(prepared)
        names = [source] if source else [s.name for s in manifest.sources if s.split(split).tokens > 1]
        self._streams = [Stream(prepared, manifest, name, split) for name in names]
        self._training = split == "train"
        self._mask = mask_documents
        self._eot = manifest.eot_id
        self.seq_len = seq_len
        if self._training:  # the last token of a sequence needs the one after it
            self._streams = [stream for stream in self._streams if stream.tokens > seq_len]
            counts = [(stream.tokens - 1) // seq_len for stream in self._streams]
        else:
            counts = [-(-(stream.tokens - 1) // seq_len) for stream in self._streams]
        self.sources = [stream.name for stream in self._streams]
        self.num_tokens = sum(stream.tokens for stream in self._streams)
        self.num_sequences = sum(counts)
        if not self.num_sequences and self._training:
            raise UserError(
                f"the data in {prepared} has no sequence of {seq_len} tokens",
                hint="lower train.seq_len, or add to the corpus",
            )
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._order = Order(counts, [manifest.source(name).weight for name in self.sources], seed)

    def batch(self, first: int, count: int) -> Batch:
        """Sequences [first, first + count) of the global order; `val` gives those that there are.

        Raises:
            UserError: a shard was cut or removed meanwhile.
        """
        places = np.arange(first, first + count, dtype=np.int64)
        if self._training:
            sources, sequences = self._order.locate(places)
        else:
            places = places[places < self.num_sequences]
            sources = np.searchsorted(self._ends, places, side="right")
            sequences = places - np.concatenate([[0], self._ends])[sources]
        raw = np.full((len(places), self.seq_len + 1), self._eot, dtype=np.int64)
        filled = np.empty(len(places), dtype=np.int64)
        for row, (source, sequence) in enumerate(zip(sources.tolist(), sequences.tolist(), strict=True)):
            filled[row] = self._streams[source].read(sequence * self.seq_len, self.seq_len + 1, raw[row])
        return self._batch(raw, filled)

    def _batch(self, raw: NDArray[np.int64], filled: NDArray[np.int64]) -> Batch:
        """`raw` [n, seq_len + 1], of which the first `filled` [n] tokens are real."""
        tokens = raw[:, :-1].copy()  # of one row a slice is contiguous already and would share memory with the other
        targets = raw[:, 1:].copy()
        place = np.arange(self.seq_len)
        if int(filled.min(initial=self.seq_len + 1)) <= self.seq_len:
            targets[place[None] >= filled[:, None] - 1] = IGNORED
        if not self._mask:
            return Batch(torch.from_numpy(tokens), torch.from_numpy(targets), None, None)
        ends = tokens == self._eot
        targets[ends] = IGNORED
        begins = np.zeros_like(ends)
        begins[:, 1:] = ends[:, :-1]
        documents = np.cumsum(begins, axis=1)
        positions = place - np.maximum.accumulate(np.where(begins, place, 0), axis=1)
        return Batch(*(torch.from_numpy(array) for array in (tokens, targets, documents, positions)))
