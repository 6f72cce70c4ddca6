"""Words of a text as 64-bit hashes, many at once: what near-duplicates, repetition and contamination are found with.

Hashing is polynomial over prefixes, so that numpy hashes all words of a text in a few passes over its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

BLOCK = 1 << 16
"""Bytes hashed at a time; the tables of powers stay in the processor's cache."""
_PRIME = 0x9E3779B97F4A7C15
_SPACE = 32
_NORMALISED = bytes(
    code + 32 if 65 <= code <= 90 else code if code >= 128 or chr(code).isalnum() else _SPACE for code in range(256)
)
_AS_WRITTEN = bytes(_SPACE if code < 128 and chr(code).isspace() else code for code in range(256))
_LETTER = np.array([code >= 128 or chr(code).isalpha() for code in range(256)])


def _powers(base: int) -> Hashes:
    factors = np.full(BLOCK + 1, base & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


_POWERS = _powers(_PRIME)
_INVERSE = _powers(pow(_PRIME, -1, 1 << 64))


@dataclass(frozen=True)
class Words:
    """Where the words of a text are.

    Attributes:
        data: UTF-8 of the text, white space as spaces.
        begins: first byte of each word [words].
        ends: the byte after each [words].
    """

    data: NDArray[np.uint8]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def characters(self) -> int:
        """Characters that are no white space: bytes that begin one."""
        return int(((self.data & 0xC0 != 0x80) & (self.data != _SPACE)).sum())

    @property
    def alphabetic(self) -> int:
        """Words with a letter in them; every character beyond ASCII counts as one."""
        return int(np.logical_or.reduceat(_LETTER[self.data], self.begins).sum()) if len(self.begins) else 0


def find_words(text: str, normalise: bool = False) -> Words:
    """Words of a text: what white space separates; normalised, in lower case and without ASCII punctuation.

    Letters beyond ASCII stay as they are.
    """
    encoded = text.encode(errors="replace").translate(_NORMALISED if normalise else _AS_WRITTEN)
    data = np.frombuffer(encoded, dtype=np.uint8)
    inside = np.zeros(data.size + 2, dtype=np.bool_)
    np.not_equal(data, _SPACE, out=inside[1:-1])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    return Words(data, edges[::2], edges[1::2])


def hash_words(words: Words) -> Hashes:
    """Hash of every word [words]; of one longer than 65,536 bytes, of its beginning."""
    hashes = np.empty(len(words.begins), dtype=np.uint64)
    done = 0
    while done < len(hashes):
        start = int(words.begins[done])
        last = max(done + 1, int(np.searchsorted(words.ends, start + BLOCK, side="right")))
        block = words.data[start : min(int(words.ends[last - 1]), start + BLOCK)]
        prefix = np.zeros(block.size + 1, dtype=np.uint64)
        np.cumsum((block + np.uint64(1)) * _POWERS[: block.size], out=prefix[1:])
        begins = words.begins[done:last] - start
        ends = np.minimum(words.ends[done:last] - start, block.size)
        hashes[done:last] = mix((prefix[ends] - prefix[begins]) * _INVERSE[begins])
        done = last
    return hashes


@lru_cache(maxsize=1)
def normalised_words(text: str) -> Hashes:
    """Hashes of the normalised words of a text [words]; several steps ask for those of one document."""
    return hash_words(find_words(text, normalise=True))


def mix(values: Hashes) -> Hashes:
    """Spread every bit over all (the finaliser of splitmix64); a bijection."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


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
