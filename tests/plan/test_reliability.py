"""The closed form: its limits, its optimum, its sums, and what clusters have published."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from colosse.core.errors import UserError
from colosse.core.numbers import duration, share
from colosse.plan.faults import Cause, Faults, faults_for, sites
from colosse.plan.hardware import Cluster, Gpu, Node, Storage
from colosse.plan.reliability import (
    BYTES_PER_PARAM,
    LOSSES,
    Reliability,
    checkpoint_bytes,
    fractions,
    optimal_interval,
    reliability,
)
from colosse.spec.counts import params
from colosse.spec.presets import preset

DOCS = Path(__file__).parents[2] / "docs" / "plan" / "reliability.md"


def cluster(gpus: int, gpu: str = "H100-SXM-80GB", *, year: int = 2022, **storage: float) -> Cluster:
    chip = Gpu(
        name=gpu,
        vendor="NVIDIA",
        year=year,
        tflops={"bfloat16": 989},
        vector_tflops=67,
        multiprocessors=132,
        memory_gb=80,
        memory_gb_per_s=3350,
        link_gb_per_s=450,
        watts=700,
        source="a test",
    )
    node = Node(name="n", provider="own", gpu=gpu, gpus=8, domain=8, nic_gb_per_s=50, source="a test")
    return Cluster(gpu=chip, node=node, gpus=gpus, storage=Storage(**storage))


def a100s(gpus: int, **storage: float) -> Cluster:
    return cluster(gpus, "A100-SXM4-80GB", year=2020, **storage)


def llama(**arguments: Any) -> Reliability:
    """Its storage took 2 TB/s (arXiv:2407.21783, section 3.3.1)."""
    where = cluster(16_384, write_gb_per_s=2000, read_gb_per_s=2000)
    return reliability(where, params=405.9e9, ideal_days=50, **arguments)


def simple(rate_per_s: float, **arguments: Any) -> Faults:
    """One cause, nothing but failures."""
    values = dict.fromkeys(Faults.model_fields.keys() - {"causes", "caution"}, 0.0) | {
        "spread": 2.0,
        "save_s": 10.0,
        "copy_gb_per_s": 1e6,
    }
    cause = Cause(per_million_gpu_hours=rate_per_s * 3.6e9 / 8, detection_s=0)
    return Faults(causes={"gpu": cause}, **(values | arguments))


def test_llama_3_spends_more_than_nine_tenths_of_its_time_training() -> None:
    plan = llama()
    assert 0.90 < plan.ettr.value < 0.95
    assert plan.mtbf_s / 3600 == pytest.approx(3.093, rel=1e-3)
    assert plan.failures / plan.days.value * 54 == pytest.approx(419, rel=0.05)  # none while it stands still
    assert plan.by_cause["hbm"].failures / plan.failures == pytest.approx(72 / 419)
    assert "checkpoint every 4 min 5" in plan.advice[0]
    assert plan.regime.repair_load < plan.spares < 0.04 * plan.nodes


@given(
    gpus=st.sampled_from([8, 512, 16_384, 131_072]),
    factor=st.floats(0.01, 4),
    interval=st.floats(100, 20_000),
    spares=st.integers(0, 300),
    asynchronous=st.booleans(),
)
def test_the_parts_of_the_time_add_up(
    gpus: int, factor: float, interval: float, spares: int, asynchronous: bool
) -> None:
    faults = faults_for(cluster(gpus).gpu).scaled(factor)
    try:
        plan = reliability(
            cluster(gpus),
            params=70e9,
            ideal_days=30,
            faults=faults,
            interval_s=interval,
            spares=spares,
            asynchronous=asynchronous,
        )
    except UserError as error:
        assert "hardly ever advance" in error.message
        return
    assert plan.ettr.value + sum(plan.losses.values()) == pytest.approx(1)
    assert plan.losses.keys() == LOSSES.keys()
    assert all(value >= 0 for value in plan.losses.values())
    assert plan.ettr.low <= plan.ettr.value <= plan.ettr.high
    assert plan.days.low <= plan.days.value <= plan.days.high
    lost = sum(plan.losses[key] for key in ("lost_work", "detection", "diagnosis", "restart"))
    assert sum(cause.days for cause in plan.by_cause.values()) <= lost * plan.days.value * 1.0001


@given(mtbf=st.floats(600, 1e6), stall=st.floats(0.1, 100), factor=st.floats(0.3, 3))
def test_no_interval_beats_the_optimal_one(mtbf: float, stall: float, factor: float) -> None:
    assume(stall < mtbf / 10)
    rate = 1 / mtbf
    best = optimal_interval(rate, stall)
    assert rate * best == pytest.approx(1 - math.exp(-rate * (best + stall)), rel=1e-6)

    def kept(interval: float) -> float:
        return interval / math.expm1(rate * (interval + stall))

    assert kept(best * factor) <= kept(best) * (1 + 1e-9)


def test_the_optimum_is_youngs_for_rare_failures_and_waits_for_the_write() -> None:
    assert optimal_interval(1e-7, 5) == pytest.approx(math.sqrt(2 * 5 / 1e-7), rel=0.01)
    assert optimal_interval(1e-4, 5, at_least=900) == 900
    assert optimal_interval(0, 5, at_most=86_400) == 86_400


@pytest.mark.parametrize("interval", [600, 1800, 3600])
def test_to_first_order_it_is_the_formula_of_arxiv_2410_21680(interval: float) -> None:
    rate, restart, stall = 1 / 40_000, 300.0, 10.0
    faults = simple(rate, schedule_s=restart)
    plan = reliability(cluster(8), params=1, ideal_days=30, faults=faults, interval_s=interval)
    theirs = (1 - rate * (restart + interval / 2)) / (1 + stall / interval)
    assert plan.ettr.value == pytest.approx(theirs, abs=1.5e-3)


@given(factor=st.floats(0.01, 3), more=st.floats(1, 3), spares=st.integers(0, 100), left_out=st.sampled_from([0, 16]))
def test_more_failures_fewer_spares_and_slower_storage_are_never_better(
    factor: float, more: float, spares: int, left_out: int
) -> None:
    regime = replace(llama().regime, spares=spares, replica_nodes=left_out).scaled(factor)
    kept = fractions(regime)["training"]
    assert fractions(regime.scaled(more))["training"] <= kept * (1 + 1e-9)
    assert fractions(replace(regime, spares=spares + 1))["training"] >= kept * (1 - 1e-9)
    assert fractions(replace(regime, write_s=more * regime.write_s))["training"] <= kept
    assert fractions(replace(regime, restart_s=more * regime.restart_s))["training"] <= kept * (1 + 1e-9)


def test_without_failures_only_saves_cost() -> None:
    plan = reliability(cluster(8), params=1e9, ideal_days=10, faults=simple(0.0), interval_s=990)
    assert plan.ettr.value == pytest.approx(0.99)
    assert (plan.mtbf_s, plan.failures, plan.spares) == (math.inf, 0, 0)
    once = reliability(cluster(8), params=1e9, ideal_days=10, faults=simple(0.0))
    assert once.interval_s == 864_000


def test_what_is_lost_while_a_checkpoint_is_being_written() -> None:
    """A longer write costs its own length at each failure, to first order."""
    where = {seconds: cluster(8, write_gb_per_s=100 / seconds) for seconds in (1, 401)}
    plans = {
        seconds: reliability(
            place, params=1, checkpoint_bytes=1e11, ideal_days=30, faults=simple(1e-5), interval_s=1000
        )
        for seconds, place in where.items()
    }
    assert plans[401].checkpoint_write_s == pytest.approx(401)
    assert plans[1].ettr.value - plans[401].ettr.value == pytest.approx(400 * 1e-5, rel=0.05)


def test_spares() -> None:
    few, enough, many = (llama(spares=spares).ettr.value for spares in (5, 30, 200))
    assert few < enough <= many
    assert many - enough < 0.001
    assert llama().ettr.value == pytest.approx(many, abs=1e-3)
    smaller = llama(spares=0, replica_nodes=16)
    assert smaller.ettr.value > 0.75 > 0.1 > llama(spares=0).ettr.value
    assert smaller.losses["waiting"] == 0 < smaller.losses["short_handed"]
    assert reliability(cluster(8), params=1e9, ideal_days=10).spares == 0  # a second node would cost half


def test_checkpoints_are_as_large_as_ours_and_a_little_smaller_than_those_with_bfloat16_weights() -> None:
    spec = preset("llama3-405b").spec
    size = checkpoint_bytes(spec)
    assert size == BYTES_PER_PARAM * params(spec).total
    assert 1.0 < 5.2e12 / size < 14 / 12  # NeMo's, as its benchmark recipes state it
    assert checkpoint_bytes(spec, "muon") == pytest.approx(size * 8 / 12, rel=0.01)
    assert llama().checkpoint_write_s == pytest.approx(size / 2e12, rel=0.01)


def test_hosts_may_be_slower_than_storage_and_copies_are_moved_too() -> None:
    slow = cluster(16, write_gb_per_s=1e5, read_gb_per_s=1e5)
    plan = reliability(slow, params=1e9, checkpoint_bytes=8e12, ideal_days=10)
    assert plan.checkpoint_write_s == pytest.approx(8e12 / (16 * 50e9))
    copies = reliability(slow, params=1e9, checkpoint_bytes=8e12, ideal_days=10, replicas=2)
    assert copies.checkpoint_write_s == plan.checkpoint_write_s
    assert copies.restart_s - plan.restart_s == pytest.approx(plan.checkpoint_write_s)
    assert copies.checkpoint_stall_s - 4 == pytest.approx(2 * (plan.checkpoint_stall_s - 4))


def test_rates_by_generation_and_where_none_are_known() -> None:
    assert faults_for(cluster(8).gpu).per_million_gpu_hours == pytest.approx(19.73)
    assert faults_for(a100s(8).gpu).per_million_gpu_hours == pytest.approx(26.6)
    assert not faults_for(cluster(8).gpu).caution
    other = faults_for(cluster(8, "B200-SXM", year=2024).gpu)
    assert other.caution == "no failure rates of B200-SXM are published: these are the H100's"
    assert other.caution in reliability(cluster(8, "B200-SXM", year=2024), params=1e9, ideal_days=9).cautions
    assert 2 < other.spread < 4
    spot = other.with_preemptions(0.5, 8)
    assert spot.causes["preemption"].per_million_gpu_hours * 8 * 24 / 1e6 == pytest.approx(0.5)
    assert spot.scaled(3).causes["preemption"] == spot.causes["preemption"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"params": 0}, "params = 0"),
        ({"ideal_days": -1}, "ideal_days = -1"),
        ({"ideal_days": math.inf}, "ideal_days = inf"),
        ({"spares": -1}, "spares = -1"),
        ({"interval_s": 10}, "takes 49 s to write: saves every 10 s"),
        ({"replica_nodes": 5000}, "5000 of 2048 nodes"),
        ({"faults": faults_for(cluster(8).gpu).scaled(200)}, "hardly ever advance"),
    ],
)
def test_what_cannot_be(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        reliability(cluster(16_384), **({"params": 405e9, "ideal_days": 50} | arguments))
    with pytest.raises(UserError, match="preemptions"):
        faults_for(cluster(8).gpu).with_preemptions(-1, 8)


def published() -> list[tuple[str, str, str]]:
    """(what, as published, as computed) of the table in the documentation."""

    def ettr(plan: Reliability) -> str:
        return f"{share(plan.ettr.value)} ({share(plan.ettr.low)} to {share(plan.ettr.high)})"

    def hours(where: Cluster) -> str:
        faults = faults_for(where.gpu)
        middle, factor = 1e6 / (faults.per_million_gpu_hours * where.gpus), faults.spread
        return f"{middle:.3g} h ({middle / factor:.2g} to {middle * factor:.3g} h)"

    rsc = next(site for site in sites() if site.name == "Meta RSC-1").per_million_gpu_hours
    llama_3 = llama()
    megascale = reliability(a100s(12_288), params=175e9, ideal_days=35)
    bloom = reliability(
        a100s(384, write_gb_per_s=57.5), params=176e9, checkpoint_bytes=2.3e12, ideal_days=110, interval_s=3 * 3600,
        asynchronous=False,
    )  # fmt: skip
    best = fractions(replace(bloom.regime, interval_s=bloom.optimal_interval_s))["training"]
    weekly = 7 / bloom.days.value * (bloom.by_cause["gpu"].failures + bloom.by_cause["hbm"].failures)
    hopper = faults_for(cluster(8).gpu)
    fast = hopper.model_copy(
        update={
            "causes": {k: v.model_copy(update={"detection_s": 30}) for k, v in hopper.causes.items()},
            "save_s": 0.5,
            "manual_share": 0.0,
        }
    )
    robust = reliability(cluster(9600), params=200e9, ideal_days=90, faults=fast)
    return [
        ("Llama 3 405B, 16,384 H100: effective time", "> 90 %", ettr(llama_3)),
        ("the same: failures in 54 days", "419", f"{llama_3.failures / llama_3.days.value * 54:.0f}"),
        ("MegaScale, 12,288 A100: effective time", "> 90 %", ettr(megascale)),
        ("ByteRobust, 9,600 GPUs: effective time", "97 %", ettr(robust)),
        ("BLOOM, 384 A100: failures of GPUs a week", "about 1", f"{weekly:.2f}"),
        (
            "the same: interval",
            "3 h",
            f"best {duration(bloom.optimal_interval_s)}; 3 h keeps {100 * (best - bloom.ettr.value):.1f} points less",
        ),
        ("the same: spare nodes of 48", "4", str(bloom.spares)),
        ("Meta RSC-1 on 16,384 GPUs: between failures", "1.8 h", f"{1e6 / rsc / 16_384:.2g} h"),
        ("Meta RSC-1 on 131,072 GPUs: between failures", "0.23 h", f"{1e6 / rsc / 131_072:.2g} h"),
        ("Meta RSC-1, jobs of 1,024 A100: between failures", "7.9 h", hours(a100s(1024))),
        ("Crusoe, 1,600 H200: between failures", "14 h", hours(cluster(1600, "H200-SXM", year=2023))),
        ("OPT-175B, 992 A100: between restarts", "13.7 h", hours(a100s(992))),
        (
            "NeMo's checkpoint of Llama 3 405B",
            "5.2 TB",
            f"{checkpoint_bytes(preset('llama3-405b').spec) / 1e12:.2f} TB",
        ),
    ]


def test_the_documentation_has_the_published_results_beside_ours() -> None:
    text = DOCS.read_text()
    for row in published():
        assert f"| {' | '.join(row)} |" in text
