"""MinHash: the share of equal values estimates the overlap, and bands meet as theory says."""

from __future__ import annotations

import random

import numpy as np
import pytest

from colosse.data.minhash import BANDS, ROWS, bands, signature
from colosse.data.words import mix, shingles


def pair(draw: random.Random, changed: float) -> tuple[np.ndarray, np.ndarray]:
    one = mix(np.array([draw.getrandbits(63) for _ in range(400)], dtype=np.uint64))
    other = one.copy()
    for place in draw.sample(range(400), round(400 * changed)):
        other[place] = draw.getrandbits(63)
    return one, other


@pytest.mark.parametrize("changed", [0.0, 0.01, 0.03, 0.08])
def test_the_signature_estimates_the_overlap(changed: float) -> None:
    draw = random.Random(changed)
    errors, met, expected = [], 0, 0.0
    for _ in range(60):
        one, other = pair(draw, changed)
        a, b = set(shingles(one, 5).tolist()), set(shingles(other, 5).tolist())
        overlap = len(a & b) / len(a | b)
        errors.append((signature(one) == signature(other)).mean() - overlap)
        met += bool((bands(one) == bands(other)).any())
        expected += 1 - (1 - overlap**ROWS) ** BANDS
    assert abs(np.mean(errors)) < 0.02
    assert met == pytest.approx(expected, abs=9)


def test_texts_without_or_with_few_words() -> None:
    nothing = np.empty(0, np.uint64)
    assert (bands(nothing) == bands(nothing)).all()
    few = mix(np.arange(3, dtype=np.uint64))
    assert (bands(few) == bands(few.copy())).all() and not (bands(few) == bands(few[:2])).any()
