"""The batches of each step, read ahead by a thread so that training does not wait for disks."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from colosse.data.loader import Batch
from colosse.model.loss import IGNORE

AHEAD = 2
"""Steps that are ready before they are asked for."""


class Sequences(Protocol):
    """What batches are taken from: `data.loader.Loader`."""

    def batch(self, first: int, count: int) -> Batch:
        """The sequences numbered `first` to `first + count - 1` of the global order."""


@dataclass(frozen=True)
class Fed:
    """What one data rank computes in one step.

    Attributes:
        batches: its micro batches.
        num_targets: how many tokens of them are to be predicted.
        wait_s: seconds that training stood still for them.
    """

    batches: list[Batch]
    num_targets: int
    wait_s: float


class Feed:
    """The steps from sequence number `first` on; each takes `global_batch_size` sequences, this rank its equal share.

    Args:
        sequences: all of them, in the global order.
        first: number of the first sequence of the next step.
        global_batch_size: sequences of a step over all data ranks.
        data_rank: which share.
        data_ranks: how many shares.
        micro_batch_size: sequences of a micro batch.
        device: where the batches shall be.
    """

    def __init__(
        self,
        sequences: Sequences,
        *,
        first: int,
        global_batch_size: int,
        data_rank: int,
        data_ranks: int,
        micro_batch_size: int,
        device: torch.device,
    ) -> None:
        share = global_batch_size // data_ranks
        self._sequences = sequences
        self._starts = range(data_rank * share, (data_rank + 1) * share, micro_batch_size)
        self._next, self._stride, self._micro = first, global_batch_size, micro_batch_size
        self._device = device
        self._ready: queue.Queue[tuple[list[Batch], int] | BaseException] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read_ahead, name="feed", daemon=True)
        self._thread.start()

    def next(self) -> Fed:
        """The micro batches of the next step.

        Raises:
            ColosseError: what reading them met, such as a truncated shard.
        """
        began = time.perf_counter()
        ready = self._ready.get()
        if isinstance(ready, BaseException):
            raise ready
        batches, num_targets = ready
        batches = [to_device(batch, self._device) for batch in batches]
        return Fed(batches, num_targets, time.perf_counter() - began)

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        while self._thread.is_alive():  # it may be waiting for room
            try:
                self._ready.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def _read_ahead(self) -> None:
        try:
            while not self._closed.is_set():
                batches = [self._sequences.batch(self._next + start, self._micro) for start in self._starts]
                if self._device.type == "cuda":
                    batches = [_map(batch, torch.Tensor.pin_memory) for batch in batches]
                self._ready.put((batches, sum(int((batch.targets != IGNORE).sum()) for batch in batches)))
                self._next += self._stride
        except BaseException as error:
            self._ready.put(error)  # raised where the batch is asked for


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch on `device`; from pinned memory without waiting for it."""
    return batch if device.type == "cpu" else _map(batch, lambda tensor: tensor.to(device, non_blocking=True))


def _map(batch: Batch, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    def optional(tensor: torch.Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else function(tensor)

    return Batch(
        tokens=function(batch.tokens),
        targets=function(batch.targets),
        documents=optional(batch.documents),
        positions=optional(batch.positions),
    )
