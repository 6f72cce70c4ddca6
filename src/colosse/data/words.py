"""Words of a text as 64-bit hashes, many at once: what near-duplicates, repetition and contamination are found with.

A word is what stands between ASCII white space and punctuation, in lower case where it is ASCII; other letters stay as
they are. Hashing is polynomial over prefixes, so that numpy hashes all words of a text in a few passes over its bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

BLOCK = 1 << 17
"""Bytes hashed at a time; the tables of powers stay in the processor's cache."""
_PRIME = 0x9E3779B97F4A7C15
_SPACE = 32
_NORMALISED = bytes(
    code + 32 if 65 <= code <= 90 else code if code >= 128 or chr(code).isalnum() else _SPACE for code in range(256)
)
_AS_WRITTEN = bytes(_SPACE if code < 128 and chr(code).isspace() else code for code in range(256))


def _powers(base: int) -> Hashes:
    factors = np.full(BLOCK, base & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


_POWERS = _powers(_PRIME)
_INVERSE = _powers(pow(_PRIME, -1, 1 << 64))


def mix(values: Hashes) -> Hashes:
    """Spread every bit over all (the finaliser of splitmix64); a bijection."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def word_hashes(text: str, *, normalise: bool = True) -> tuple[Hashes, NDArray[np.int64]]:
    """Hash and length in bytes of every word.

    Args:
        text: any text.
        normalise: lower case, punctuation as space; else words are what white space separates.

    Returns:
        hashes [words], lengths [words].
    """
    data = text.encode(errors="replace").translate(_NORMALISED if normalise else _AS_WRITTEN)
    hashes, lengths = [], []
    for start, stop in _blocks(data):
        block = np.frombuffer(data, dtype=np.uint8, count=stop - start, offset=start)
        inside = np.zeros(block.size + 2, dtype=np.int8)
        inside[1:-1] = block != _SPACE
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        begins, ends = edges[::2], edges[1::2]
        prefix = np.zeros(block.size + 1, dtype=np.uint64)
        np.cumsum((block + np.uint64(1)) * _POWERS[: block.size], out=prefix[1:])
        hashes.append(mix((prefix[ends] - prefix[begins]) * _INVERSE[begins]))
        lengths.append(ends - begins)
    if not hashes:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    return np.concatenate(hashes), np.concatenate(lengths)


def shingles(words: Hashes, size: int) -> Hashes:
    """Hash of every run of `size` words [words - size + 1]; one of all words where there are fewer, none of none."""
    size = min(size, len(words))
    if not size:
        return words
    count = len(words) - size + 1
    total = words[:count].copy()
    for place in range(1, size):
        total *= np.uint64(_PRIME)
        total += words[place : place + count]
    return mix(total)


def _blocks(data: bytes) -> list[tuple[int, int]]:
    """Cuts at spaces, none longer than BLOCK; a single word that is longer is cut inside."""
    cuts, start = [], 0
    while start < len(data):
        stop = min(start + BLOCK, len(data))
        if stop < len(data):
            space = data.rfind(b" ", start, stop)
            stop = space + 1 if space >= start else stop
        cuts.append((start, stop))
        start = stop
    return cuts
