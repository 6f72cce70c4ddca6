"""The fleet: roofline and queue behave as physics says, agree with published results, and meet what was asked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.core.errors import UserError
from colosse.plan.costs import Amount
from colosse.plan.fleet import SPEED, Demand, fleet, output_cost
from colosse.plan.fleet_engine import Engine, Rates
from colosse.plan.fleet_load import at_rate, drain, steady
from colosse.plan.fleet_published import check, model_of, results, sources, summary
from colosse.plan.hardware import catalogue
from colosse.spec.counts import kv_cache_bytes, params
from colosse.spec.presets import preset

H100 = catalogue().cluster("h100", 1)
LLAMA = preset("llama3-70b").spec
PRICE = Amount(2, 3, 4)


def engine(gpus: int = 2, **changes: Any) -> Engine:
    return replace(Engine(LLAMA, H100.gpu, gpus, weights="fp8", cache_bytes=1), **changes)


def test_published_results_are_met() -> None:
    checked = check(results()[::5])
    assert {one.result.source for one in check(results()[-20:])} <= sources().keys()
    got = summary(checked)
    assert got.rows > 100
    assert got.median_error < 0.13
    assert abs(got.bias) < 0.04
    inside = [SPEED[0] <= 1 / one.speed <= SPEED[1] for one in checked]
    assert sum(inside) / len(inside) > 0.86


def test_every_source_and_model_of_the_table_is_known() -> None:
    assert {row.source for row in results()} == sources().keys()
    for name in {row.model for row in results()}:
        assert params(model_of(name)).total > 1e9


def test_weights_and_cache_are_shared_out() -> None:
    count = params(LLAMA)
    one, two = engine(1), engine(2)
    assert one.weight_bytes == pytest.approx(count.non_embedding - count.norms + 2 * (count.embedding + count.head))
    assert two.weight_bytes == pytest.approx(one.weight_bytes / 2)
    assert one.cached_sequence(1900) == pytest.approx(kv_cache_bytes(LLAMA, 1900, bytes_per_value=1))
    assert two.cached_sequence(1900) == pytest.approx(one.cached_sequence(1900) / 2)
    assert engine(16).cached_sequence(10) == pytest.approx(one.cached_sequence(10) / LLAMA.num_kv_heads)
    assert engine(1, weights="bf16", cache_bytes=2).max_sequences(1) == 0


def test_latent_attention_keeps_everything_on_every_tensor_rank_and_a_share_where_each_has_its_own() -> None:
    spec = model_of("deepseek-r1")
    tensor, expert = (replace(engine(8, model=spec, cache_bytes=2), split=split) for split in ("tensor", "expert"))
    assert tensor.cached_sequence(4000) == pytest.approx(8 * expert.cached_sequence(4000))
    assert tensor.cached_sequence(4000) == pytest.approx(61 * 576 * 2 * 4000)
    assert tensor.weight_bytes < expert.weight_bytes


def test_few_tokens_read_few_experts() -> None:
    spec = model_of("deepseek-r1")
    bare = Rates(hop_s=0, layer_s=0, step_s=0, sequence_s=0)
    one = Engine(spec, H100.gpu, 1, "tensor", "fp8", rates=bare)
    rate = H100.gpu.memory_gb_per_s * 1e9 * bare.memory
    assert one.step_s(1, 1) == pytest.approx(params(spec).active / rate, rel=0.15)
    assert one.step_s(4000, 1) > params(spec).total / rate


@given(st.floats(1, 500), st.floats(1, 8000), st.floats(0, 4000), st.integers(0, 3))
def test_a_step_takes_longer_for_more_work(sequences: float, context: float, prompts: float, shift: int) -> None:
    one = engine(1 << shift)
    now = one.step_s(sequences, context, prompts, 1000)
    assert 0 < now < one.step_s(sequences + 10, context, prompts, 1000)
    assert now < one.step_s(sequences, context + 100, prompts, 1000)
    assert now < one.step_s(sequences, context, prompts + 100, 1000)
    assert replace(one, speed=2.0).step_s(sequences, context, prompts, 1000) == pytest.approx(now / 2)


@given(st.floats(1, 100), st.integers(1, 6000), st.integers(1, 2000), st.floats(0, 0.9))
def test_a_steady_stream_keeps_littles_law(sequences: float, prompt: int, answer: int, cached: float) -> None:
    state = steady(engine(4), prompt, answer, sequences, cached=cached)
    if state is None:
        return
    assert state.requests_per_s * answer * state.tpot_s == pytest.approx(sequences)
    assert 0 <= state.prompt_share < 1
    assert state.ttft_s(0.95) >= state.prefill_s


def test_a_prefix_cache_and_a_rate() -> None:
    plain, cached = (steady(engine(), 2000, 200, 20, cached=share) for share in (0, 0.8))
    assert plain is not None
    assert cached is not None
    assert cached.requests_per_s > plain.requests_per_s
    again = at_rate(engine(), 2000, 200, plain.requests_per_s)
    assert again.sequences == pytest.approx(20, rel=1e-3)


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 300), st.integers(1, 400))
def test_a_pile_is_worked_off(prompt: int, answer: int, requests: int) -> None:
    done = drain(engine(), prompt, answer, requests)
    assert done.output_tokens_per_s * done.seconds == pytest.approx(requests * answer)
    assert 0 < done.ttft_s <= done.seconds
    assert drain(engine(), prompt, answer, requests + 50).seconds > done.seconds


def test_what_does_not_fit_is_never_done() -> None:
    assert drain(engine(1, weights="bf16"), 100, 100, 10).output_tokens_per_s == 0


def test_a_fleet_meets_the_targets() -> None:
    demand = Demand(users=1000)
    found = fleet(LLAMA, H100, demand, price=PRICE)
    assert found.engine.weights == "fp8"
    assert found.ttft_s.value <= demand.ttft_s
    assert found.tpot_s.value <= demand.tpot_s
    assert found.gpus.low <= found.gpus.value <= found.gpus.high
    assert found.gpus.value == found.replicas * found.engine.gpus == found.options[0].gpus
    assert output_cost(LLAMA, H100, demand, PRICE) is not None
    assert found.memory.cache <= found.memory.cache_room
    assert found.utilisation <= 1
    assert found.usd_per_hour is not None
    assert found.usd_per_m_input is not None
    assert found.usd_per_m_output is not None
    assert found.usd_per_hour.central == pytest.approx(found.gpus.value * PRICE.central)
    hourly = 3600 * demand.requests_per_s / 1e6
    spent = hourly * (1500 * found.usd_per_m_input.central + 400 * found.usd_per_m_output.central)
    assert spent == pytest.approx(found.usd_per_hour.central)


@pytest.mark.parametrize(
    "harder", [{"users": 20_000}, {"answer": 1600}, {"prompt": 8000}, {"tpot_s": 0.02}, {"ttft_s": 0.4}, {"peak": 8}]
)
def test_more_asked_is_not_fewer_gpus(harder: dict[str, Any]) -> None:
    demand = Demand(users=2000)
    easy, hard = (fleet(LLAMA, H100, one).gpus.value for one in (demand, replace(demand, **harder)))
    assert hard >= easy


def test_experts_are_spread_where_that_pays() -> None:
    found = fleet(preset("qwen3-235b-a22b").spec, H100, Demand(users=100_000))
    assert {option.split for option in found.options} == {"tensor", "expert"}
    assert found.usd_per_hour is None


@pytest.mark.parametrize(
    ("model", "changes", "quantize", "words"),
    [
        ("llama3-405b", {}, "none", "do not fit.*--quantize fp8"),
        ("llama3-70b", {"tpot_s": 1e-4}, "auto", "meets 1 s to the first token and 0.1 ms a token"),
        ("llama3-70b", {"users": 0}, "auto", "users = 0 is not above 0"),
        ("llama3-70b", {"users": math.inf}, "auto", "users = inf"),
        ("llama3-70b", {"peak": 0.5}, "auto", "below the mean"),
        ("llama3-70b", {"cached": 1.0}, "auto", "no share"),
        ("llama3-70b", {}, "nvfp4", "does not compute in nvfp4"),
    ],
)
def test_what_cannot_be_is_refused(model: str, changes: dict[str, Any], quantize: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        fleet(preset(model).spec, H100, replace(Demand(users=10), **changes), quantize=quantize)
