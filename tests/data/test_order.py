"""The global order: a permutation, mixed by weight, the same wherever one begins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.data.order import MIXTURE_BLOCK, Order, permute


@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_permute_is_a_permutation(size: int, key: int) -> None:
    assert sorted(permute(np.arange(size), size, key).tolist()) == list(range(size))


@given(size=st.integers(1, 2**45), key=st.integers(0, 2**63), data=st.data())
@settings(max_examples=60, deadline=None)
def test_permute_of_one_place_needs_no_other(size: int, key: int, data: st.DataObject) -> None:
    places = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20)))
    images = permute(places, size, key)
    assert ((images >= 0) & (images < size)).all()
    assert [int(permute(places[i : i + 1], size, key)[0]) for i in range(len(places))] == images.tolist()
    assert len(set(images.tolist())) == len(set(places.tolist()))


def test_permute_looks_random() -> None:
    images = permute(np.arange(100_000), 100_000, 7)
    assert abs(np.corrcoef(np.arange(100_000), images)[0, 1]) < 0.01
    assert (np.abs(np.diff(images)) < 1000).mean() == pytest.approx(0.02, abs=0.003)
    other = permute(np.arange(100_000), 100_000, 8)
    assert (images == other).sum() < 10  # 1 expected


@given(counts=st.lists(st.integers(1, 50), min_size=1, max_size=5), seed=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_without_weights_every_epoch_holds_every_sequence_once(counts: list[int], seed: int) -> None:
    order = Order(counts, [0.0] * len(counts), seed)
    total = sum(counts)
    everything = sorted((s, n) for s, count in enumerate(counts) for n in range(count))
    epochs = []
    for epoch in range(3):
        source, sequence = order.locate(np.arange(epoch * total, (epoch + 1) * total))
        found = list(zip(source.tolist(), sequence.tolist(), strict=True))
        assert sorted(found) == everything
        epochs.append(found)
    if total > 20:
        assert epochs[0] != epochs[1] != epochs[2]


@given(
    counts=st.lists(st.integers(1, 9000), min_size=2, max_size=4),
    weights=st.lists(st.floats(0.01, 10), min_size=4, max_size=4),
    start=st.integers(0, 5),
)
@settings(max_examples=30, deadline=None)
def test_with_weights_every_block_has_exact_shares(counts: list[int], weights: list[float], start: int) -> None:
    weights = weights[: len(counts)]
    order = Order(counts, weights, 3)
    source, sequence = order.locate(np.arange(start * MIXTURE_BLOCK, (start + 1) * MIXTURE_BLOCK))
    for number, count in enumerate(counts):
        share = (source == number).mean()
        assert share == pytest.approx(weights[number] / sum(weights), abs=len(counts) / MIXTURE_BLOCK)
        assert ((sequence[source == number] >= 0) & (sequence[source == number] < count)).all()


def test_with_weights_every_source_has_epochs_of_its_own() -> None:
    order = Order([100, 1000], [1, 3], 0)
    source, sequence = order.locate(np.arange(2 * MIXTURE_BLOCK))
    for number, count in ((0, 100), (1, 1000)):
        block = MIXTURE_BLOCK // 4 * (1 if number == 0 else 3)
        mine = sequence[source == number]
        assert len(mine) == 2 * block
        times = np.bincount(mine, minlength=count)
        assert times.max() - times.min() <= 1  # each as often as any other, to one epoch that is under way


def test_a_tiny_weight_is_not_lost() -> None:
    source, _ = Order([10, 10], [1, 1e-9], 0).locate(np.arange(MIXTURE_BLOCK))
    assert (source == 1).sum() == 1


def test_a_part_of_the_order_is_part_of_the_whole() -> None:
    order = Order([37, 411], [2, 1], 5)
    whole = np.stack(order.locate(np.arange(10_000)))
    for first, count in ((0, 1), (4095, 2), (7777, 500)):
        assert (np.stack(order.locate(np.arange(first, first + count))) == whole[:, first : first + count]).all()
    assert (np.stack(Order([37, 411], [2, 1], 6).locate(np.arange(10_000))) != whole).any()
