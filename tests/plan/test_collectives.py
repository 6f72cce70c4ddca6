"""Collectives against arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest

from colosse.plan import collectives
from colosse.plan.hardware import Fabric, catalogue
from colosse.plan.job import Job
from colosse.plan.parameters import Parameters
from colosse.plan.points import Column, Points
from colosse.spec.layout import Layout
from colosse.spec.presets import preset

PAR = Parameters(link_rate=0.75, nic_rate=0.8, hop_s=8e-6)


def points(gpus: int = 64, fabric: Fabric | None = None) -> Points:
    cluster = catalogue().cluster("h100", gpus)
    if fabric:
        cluster = cluster.model_copy(update={"fabric": fabric})
    spec = preset("llama3-8b").spec
    layout = Layout(dp_shard=gpus)
    return Points.of([Job(model=spec, layout=layout, cluster=cluster, seq_len=8192, global_batch_size=gpus)])


def one(value: float) -> Column:
    return np.array([float(value)])


def test_inside_a_node_the_links_carry_a_gather() -> None:
    took = collectives.gather(points(), PAR, one(8e9), one(8), one(1))[0]
    assert took == pytest.approx(8e9 * 7 / 8 / (0.75 * 450e9), rel=1e-2)


def test_across_nodes_all_cards_of_a_group_work_for_it() -> None:
    together = collectives.gather(points(), PAR, one(8e9), one(64), one(1))[0]
    assert together == pytest.approx(8e9 * 63 / 64 / (8 * 0.8 * 50e9), rel=0.02)
    alone = collectives.gather(points(), PAR, one(8e9), one(8), one(8))[0]
    assert alone == pytest.approx(8e9 * 7 / 8 / (0.8 * 50e9), rel=0.01)


def test_oversubscription_binds_beyond_the_pod_only() -> None:
    narrow = points(fabric=Fabric(oversubscription=4, pod_gpus=32))
    inside, beyond = (collectives.rate(narrow, PAR, one(ranks), one(8))[0] for ranks in (4, 8))
    assert inside == pytest.approx(4 * beyond)


def test_a_ring_of_many_takes_long_even_for_nothing() -> None:
    few, many = (collectives.gather(points(), PAR, one(1), one(ranks), one(1))[0] for ranks in (64, 16_384))
    assert many > 100 * few


def test_a_group_of_one_sends_nothing() -> None:
    assert collectives.gather(points(), PAR, one(1e9), one(1), one(1))[0] == 0
    assert collectives.all_to_all(points(), PAR, one(1e9), one(1), one(1))[0] == 0


def test_an_exchange_uses_links_and_cards_at_once() -> None:
    took = collectives.all_to_all(points(), PAR, one(1e9), one(64), one(1))[0]
    assert took == pytest.approx(1e9 * 56 / 64 / (0.8 * 50e9), rel=0.01)


def test_neighbours_in_other_nodes_hear_through_the_card() -> None:
    near, far = (collectives.send(points(), PAR, one(1e9), one(stride))[0] for stride in (1, 8))
    assert far > 5 * near


def test_a_sum_takes_the_fastest_way() -> None:
    small, large = one(1e3), one(8e9)
    plain = points().with_columns(link_reduces=one(0))
    assert collectives.all_reduce(plain, PAR, large, one(8), one(1))[0] == pytest.approx(
        2 * collectives.gather(plain, PAR, large, one(8), one(1))[0]
    )
    ring, tree = (
        2 * collectives.gather(plain, PAR, small, one(2048), one(8)),
        collectives.all_reduce(plain, PAR, small, one(2048), one(8)),
    )
    assert tree[0] < ring[0] / 20  # eleven levels, not two thousand hops
    adding = points().with_columns(link_reduces=one(1))
    assert (
        collectives.all_reduce(adding, PAR, large, one(8), one(1))[0]
        < 0.6 * collectives.all_reduce(plain, PAR, large, one(8), one(1))[0]
    )
    fabric = points().with_columns(fabric_reduces=one(1))
    far = (large, one(8), one(8))
    assert collectives.all_reduce(fabric, PAR, *far)[0] < 0.6 * collectives.all_reduce(points(), PAR, *far)[0]
