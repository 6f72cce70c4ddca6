"""The one global order of training sequences: which sequence of which source stands at any place, in constant time.

It is a pure function of the seed and the place, with no state and no lists: going on after an interruption needs one
number, and how many ranks share the work changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from colosse.data.words import mix

Places = NDArray[np.int64]
ROUNDS = 6
MIXTURE_BLOCK = 4096
"""Sequences in which each source of a weighted mixture has its exact share."""


def permute(places: Places, size: int, key: NDArray[np.uint64] | int) -> Places:
    """A pseudo-random permutation of [0, size), evaluated where it is asked for.

    A Feistel network over the next even number of bits, walked along its cycle until it lands below `size` (Black and
    Rogaway, "Ciphers with arbitrary finite domains", 2002): fewer than four evaluations on average.

    Args:
        places: numbers in [0, size).
        size: at least 1.
        key: which permutation; one for all places, or one for each.

    Returns:
        Their images, of the same shape.
    """
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    keys = np.broadcast_to(np.asarray(key, dtype=np.uint64), places.shape).copy()
    values = places.astype(np.uint64)
    walking = np.arange(values.size)
    flat, flat_keys = values.reshape(-1), keys.reshape(-1)
    while walking.size:
        left, right = flat[walking] >> np.uint64(half), flat[walking] & mask
        for number in range(ROUNDS):
            left, right = right, left ^ (mix(right + flat_keys[walking] + np.uint64(number << 48)) & mask)
        image = (left << np.uint64(half)) | right
        flat[walking] = image
        walking = walking[image >= np.uint64(size)]
    return flat.reshape(places.shape).astype(np.int64)


class Order:
    """Which sequence of which source stands at which place.

    Without weights, the sequences of all sources are one set, passed over once an epoch in a new order. With weights,
    each block of 4096 places holds every source's share exactly, and each source has epochs of its own.

    Args:
        counts: sequences of each source.
        weights: share of each, relative; all 0 for no weights.
        seed: another seed is another order.
    """

    def __init__(self, counts: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self.counts = np.array(counts, dtype=np.int64)
        self._seed = seed
        self._quotas = _quotas(weights) if any(weights) else None

    def locate(self, places: Places) -> tuple[Places, Places]:
        """Source and sequence within it of each place (from 0, without end)."""
        if self._quotas is None:
            total = int(self.counts.sum())
            epoch, place = np.divmod(places, total)
            found = permute(place, total, self._keys(epoch, 0))
            ends = np.cumsum(self.counts)
            source = np.searchsorted(ends, found, side="right")
            return source, found - (ends - self.counts)[source]
        block, place = np.divmod(places, MIXTURE_BLOCK)
        slot = permute(place, MIXTURE_BLOCK, self._keys(block, 1))
        ends = np.cumsum(self._quotas)
        source = np.searchsorted(ends, slot, side="right")
        turn = block * self._quotas[source] + slot - (ends - self._quotas)[source]
        epoch, place = np.divmod(turn, self.counts[source])
        sequence = np.empty_like(places)
        for number in np.unique(source):
            mine = source == number
            keys = self._keys(epoch[mine], 2 + int(number))
            sequence[mine] = permute(place[mine], int(self.counts[number]), keys)
        return source, sequence

    def _keys(self, epoch: Places, purpose: int) -> NDArray[np.uint64]:
        salt = mix(np.array([self._seed], dtype=np.uint64) ^ mix(np.array([purpose + 1], dtype=np.uint64)))
        return mix(epoch.astype(np.uint64) ^ salt)


def _quotas(weights: Sequence[float]) -> Places:
    """Places of each source in a block: largest remainders, at least one for a weight that is not 0."""
    shares = np.array(weights, dtype=np.float64) / sum(weights) * MIXTURE_BLOCK
    quotas = np.maximum(np.floor(shares).astype(np.int64), (shares > 0).astype(np.int64))
    missing = MIXTURE_BLOCK - int(quotas.sum())
    for number in np.argsort(-(shares - np.floor(shares)), kind="stable")[: max(missing, 0)]:
        quotas[number] += 1
    if missing < 0:
        quotas[np.argmax(quotas)] += missing
    return quotas
