"""The simulation: it agrees with the closed form, its seconds add up, and more failures are never better."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.core.errors import UserError
from colosse.plan.faults import faults_for
from colosse.plan.hardware import Cluster
from colosse.plan.reliability import LOSSES, Reliability, reliability
from colosse.plan.simulate import simulate
from tests.plan.test_reliability import cluster, simple


def plan_of(where: Cluster, factor: float = 1.0, **arguments: Any) -> Reliability:
    faults = faults_for(where.gpu).scaled(factor)
    return reliability(where, **({"params": 405e9, "ideal_days": 20.0, "faults": faults} | arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"interval_s": 3600.0},
        {"asynchronous": False},
        {"spares": 12},
        {"spares": 0, "replica_nodes": 16},
        {"factor": 4.0},
    ],
    ids=str,
)
def test_it_agrees_with_the_closed_form(arguments: dict[str, Any]) -> None:
    plan = plan_of(cluster(16_384), **arguments)
    played = simulate(plan, runs=100)
    elapsed = sum(played.seconds.values())
    starved = (
        plan.losses["waiting"] + plan.losses["short_handed"] > 0.01
    )  # the run begins with all its spares: the closed form has no begin
    assert played.mean_ettr == pytest.approx(plan.ettr.value, abs=0.04 if starved else 0.004)
    for key in LOSSES:
        assert played.seconds[key] / elapsed == pytest.approx(plan.losses[key], abs=0.04 if starved else 0.002), key
    assert sum(played.failures.values()) == pytest.approx(plan.failures, rel=0.04)


@settings(max_examples=25)
@given(
    gpus=st.sampled_from([8, 1024, 16_384]),
    factor=st.floats(0, 10),
    days=st.floats(0.01, 20),
    seed=st.integers(0, 2**32),
    left_out=st.sampled_from([0, 1]),
    spares=st.integers(0, 40),
)
def test_every_second_is_accounted_for(
    gpus: int, factor: float, days: float, seed: int, left_out: int, spares: int
) -> None:
    where = cluster(gpus)
    plan = plan_of(where, factor, params=1e9, ideal_days=days, spares=spares + 60, replica_nodes=left_out * (gpus > 8))
    played = simulate(plan, runs=5, seed=seed)
    assert sum(played.seconds.values()) == pytest.approx(86_400 * sum(played.days) / 5)
    assert played.seconds["training"] == pytest.approx(86_400 * days)
    assert all(value >= -1e-6 for value in played.seconds.values())
    assert all(0 < goodput <= 1 for goodput in played.goodput)
    assert played.timeline[0].start == 0
    assert played.timeline[-1].end == pytest.approx(86_400 * played.days[0])
    for before, after in zip(played.timeline, played.timeline[1:], strict=False):
        assert before.end == after.start


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), factor=st.floats(1.3, 4))
def test_more_failures_are_never_better(seed: int, factor: float) -> None:
    """With the same luck and the same interval."""
    few, many = (
        simulate(plan_of(cluster(4096), f, interval_s=1800, spares=40), runs=40, seed=seed) for f in (1, factor)
    )
    assert many.mean_ettr < few.mean_ettr
    assert sum(many.failures.values()) > sum(few.failures.values())


def test_without_failures_there_are_only_saves_and_one_start() -> None:
    faults = simple(0.0, schedule_s=60.0)
    plan = reliability(cluster(8), params=1e9, ideal_days=1, faults=faults, interval_s=3600)
    played = simulate(plan, runs=3)
    assert {key: value for key, value in played.seconds.items() if value} == {
        "training": pytest.approx(86_400),
        "checkpoint_stall": pytest.approx(23 * plan.checkpoint_stall_s),
        "restart": pytest.approx(plan.restart_s),
    }
    assert [span.kind for span in played.timeline] == ["restart", "training"]
    assert played.days_at(10) == played.days_at(90)


def test_planned_stops_lose_no_work() -> None:
    faults = simple(0.0, schedule_s=60.0, planned_per_day=2.0, planned_s=600.0)
    played = simulate(reliability(cluster(8), params=1e9, ideal_days=3, faults=faults, interval_s=3600), runs=2)
    assert played.seconds["lost_work"] == 0
    assert [span.kind for span in played.timeline].count("planned") == 6


def test_the_same_seed_is_the_same_story() -> None:
    plan = plan_of(cluster(2048))
    assert simulate(plan, runs=10, seed=3) == simulate(plan, runs=10, seed=3)
    assert simulate(plan, runs=10, seed=3).days != simulate(plan, runs=10, seed=4).days
    assert simulate(plan, runs=50).days_at(10) < simulate(plan, runs=50).days_at(90)


@pytest.mark.parametrize("runs", [0, -1, 10**6])
def test_a_number_of_runs_that_cannot_be(runs: int) -> None:
    with pytest.raises(UserError, match="cannot be simulated"):
        simulate(plan_of(cluster(8)), runs=runs)
