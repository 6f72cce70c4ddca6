"""MinHash: documents that share most of their words are found by a few numbers each.

Parameters as FineWeb's (arXiv:2406.17557, section 3): 5-grams of words, 112 hashes in 14 bands of 8. Two documents
whose 5-grams overlap by a share s (Jaccard) meet in some band with probability 1 - (1 - s^8)^14: 5 % at 0.5, 77 % at
0.75, 92 % at 0.8, almost surely at 0.9.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from colosse.data.words import Hashes, mix, shingles

NGRAM = 5
BANDS = 14
ROWS = 8
_BLOCK = 1024
"""Shingles hashed at a time: 112 x 1024 x 4 bytes fit into the second cache."""

_SEEDS = mix(np.arange(1, 2 * BANDS * ROWS + BANDS * ROWS + ROWS + 1, dtype=np.uint64))
_FACTORS = (_SEEDS[: BANDS * ROWS] | np.uint64(1)).astype(np.uint32)[:, None]
_OFFSETS = _SEEDS[BANDS * ROWS : 2 * BANDS * ROWS].astype(np.uint32)[:, None]
_COMBINE = _SEEDS[-ROWS:] | np.uint64(1)


def signature(words: Hashes) -> NDArray[np.uint32]:
    """The smallest value of each of 112 hash functions over the 5-grams of `words` [112]; all ones for no words.

    The functions are `a x + b mod 2^32` of well mixed x, which 8 lanes of a vector unit compute at once.
    """
    least = np.full(BANDS * ROWS, 0xFFFFFFFF, dtype=np.uint32)
    grams = (shingles(words, NGRAM) >> np.uint64(32)).astype(np.uint32)
    for start in range(0, grams.size, _BLOCK):
        values = grams[None, start : start + _BLOCK] * _FACTORS
        values += _OFFSETS
        np.minimum(least, values.min(axis=1), out=least)
    return least


def bands(words: Hashes) -> Hashes:
    """One number per band [14]: documents with an equal one are taken for near-duplicates."""
    rows = signature(words).astype(np.uint64).reshape(BANDS, ROWS)
    return mix((mix(rows) * _COMBINE).sum(axis=1, dtype=np.uint64))
