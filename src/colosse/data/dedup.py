"""Which documents are duplicates of earlier ones, from the numbers that cleaning left of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KEPT = -1
LENGTH, HASH, BAND = 0, 1, 3
"""Rows of a chunk's array of keys: length in bytes, two of the exact hash, then those of MinHash's bands."""


def duplicates(keys: Sequence[Path], method: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find every document's first likeness.

    Documents that are equal, or meet in a band, are of one cluster, and clusters that share a document are one; the
    first document of a cluster stays. Memory: about 40 bytes a document, one band at a time.

    Args:
        keys: one array file per chunk, in order: [columns, documents] of uint64.
        method: `none`, `exact` or `minhash`.

    Returns:
        original [documents]: number of the cluster's first document, -1 for those that stay.
        exact [documents]: whether an earlier document has the very same text.
    """
    arrays = [np.load(path, mmap_mode="r") for path in keys]
    count = sum(array.shape[1] for array in arrays)
    parent = np.arange(count, dtype=np.int64)
    exact = np.zeros(count, dtype=np.bool_)
    if method == "none":
        return np.full(count, KEPT, dtype=np.int64), exact

    first, second = _column(arrays, HASH), _column(arrays, HASH + 1)
    order = np.lexsort((np.arange(count), second, first))
    equal = (first[order][1:] == first[order][:-1]) & (second[order][1:] == second[order][:-1])
    exact[order[1:][equal]] = True
    _unite(parent, order[:-1][equal], order[1:][equal])
    del first, second
    for column in range(BAND, arrays[0].shape[0]):
        values = _column(arrays, column)
        order = np.argsort(values, kind="stable")
        equal = values[order][1:] == values[order][:-1]
        _unite(parent, order[:-1][equal], order[1:][equal])

    original = np.array([_root(parent, document) for document in range(count)], dtype=np.int64)
    original[original == np.arange(count)] = KEPT
    return original, exact


def _column(arrays: Sequence[NDArray[np.uint64]], column: int) -> NDArray[np.uint64]:
    return np.concatenate([array[column] for array in arrays]) if arrays else np.empty(0, np.uint64)


def _unite(parent: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    """Union-find whose root is always the smallest number."""
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        one, other = _root(parent, a), _root(parent, b)
        if one != other:
            parent[max(one, other)] = min(one, other)


def _root(parent: NDArray[np.int64], document: int) -> int:
    root = document
    while (above := int(parent[root])) != root:
        root = above
    while (above := int(parent[document])) != root:
        parent[document], document = root, above
    return root
