"""Duplicates: the first of a cluster stays, wherever the chunks are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from colosse.data.clean import document_keys
from colosse.data.dedup import KEPT, duplicates
from tests.data.conftest import FRENCH, prose

BASE = prose(1, 40)
TEXTS = [
    BASE,
    prose(2, 40),
    BASE.replace("lamp", "light", 2),  # near 0
    prose(3, 40, FRENCH),
    BASE,  # exactly 0
    prose(2, 40) + "\nOne more line at the end.",  # near 1
    "short",
    "short",
    prose(2, 40).upper(),  # near 1: case counts for nothing
]


def run(folder: Path, cuts: list[int], method: str) -> tuple[list[int], list[bool]]:
    files = []
    for number, part in enumerate(np.split(np.arange(len(TEXTS)), cuts)):
        keys = [document_keys(TEXTS[i], method) for i in part]
        files.append(folder / f"{number}.npy")
        empty = np.empty((len(document_keys("", method)), 0), np.uint64)
        np.save(files[-1], np.stack(keys, axis=1) if keys else empty)
    original, exact = duplicates(files, method)
    return original.tolist(), exact.tolist()


@pytest.mark.parametrize("cuts", [[], [4], [0, 2, 2, 7]])
def test_minhash(cuts: list[int], tmp_path: Path) -> None:
    original, exact = run(tmp_path, cuts, "minhash")
    assert original == [KEPT, KEPT, 0, KEPT, 0, 1, KEPT, 6, 1]
    assert np.flatnonzero(exact).tolist() == [4, 7]


def test_exact_and_none(tmp_path: Path) -> None:
    assert run(tmp_path, [3], "exact")[0] == [KEPT, KEPT, KEPT, KEPT, 0, KEPT, KEPT, 6, KEPT]
    assert run(tmp_path, [3], "none")[0] == [KEPT] * 9


def test_likeness_is_passed_on(tmp_path: Path) -> None:
    """A like B in one band and B like C in another make one cluster, whose first document stays."""
    keys = np.arange(17 * 4, dtype=np.uint64).reshape(17, 4)
    keys[5, 3] = keys[5, 2]
    keys[9, 2] = keys[9, 0]
    np.save(tmp_path / "keys.npy", keys)
    original, _ = duplicates([tmp_path / "keys.npy"], "minhash")
    assert original.tolist() == [KEPT, KEPT, 0, 0]
