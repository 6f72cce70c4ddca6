"""Scaling laws: they reproduce what their papers say, and give sensible values for the smallest models."""

from __future__ import annotations

import pytest

from colosse.spec import counts, scaling
from colosse.spec.presets import ModelChoice, preset


@pytest.mark.parametrize("depth", [1, 2, 4, 7, 12, 17, 32, 64])
def test_the_dial_grows_evenly(depth: int) -> None:
    spec = ModelChoice.model_validate({"depth": depth}).spec
    size = counts.params(spec).non_embedding
    assert spec.dim == spec.num_heads * spec.head_dim
    assert spec.dim / depth == pytest.approx(64, rel=0.07)
    assert size == pytest.approx(49_152 * depth**3, rel=0.13)
    assert scaling.depth_for(49_152 * depth**3) == depth


def test_chinchilla_is_reproduced() -> None:
    # Gopher's compute, which Chinchilla was trained with: 70 B parameters and 1.4 T tokens.
    best = scaling.compute_optimal(flops=5.76e23)
    assert best.params == pytest.approx(70e9, rel=0.1)
    assert best.tokens == pytest.approx(1.4e12, rel=0.1)
    assert 15 < scaling.compute_optimal(params=1e9).tokens / 1e9 < 25
    assert best.extrapolated
    assert not scaling.compute_optimal(flops=1e20).extrapolated


def test_chinchilla_is_where_the_loss_is_lowest() -> None:
    best = scaling.compute_optimal(flops=1e20)

    def loss(params: float) -> float:
        return 482.01 / params**0.3478 + 2085.43 / (1e20 / 6 / params) ** 0.3658

    assert loss(best.params) < min(loss(best.params * 1.02), loss(best.params / 1.02))


def test_llama3_is_reproduced() -> None:
    best = scaling.compute_optimal(flops=3.8e25, law="llama3")
    assert best.tokens == pytest.approx(16.55e12)
    assert best.params == pytest.approx(402e9, rel=0.06)


@pytest.mark.parametrize("law", scaling.LAWS)
def test_any_of_the_three_gives_the_others(law: str) -> None:
    best = scaling.compute_optimal(flops=1e21, law=law)
    assert best.params * best.tokens * 6 == pytest.approx(best.flops)
    for known in ({"params": best.params}, {"tokens": best.tokens}):
        again = scaling.compute_optimal(**known, law=law)
        assert (again.params, again.tokens, again.flops) == pytest.approx((best.params, best.tokens, best.flops))
    with pytest.raises(ValueError, match="one of"):
        scaling.compute_optimal(flops=1e20, params=1e9)


def test_deepseeks_own_settings_are_near_its_laws() -> None:
    # arXiv:2401.02954, table 2: 7 B and 67 B on 2 T tokens, sequences of 4,096.
    for size, sequences, rate in ((6.9e9, 2304, 4.2e-4), (67e9, 4608, 3.2e-4)):
        flops = 6 * size * 2e12
        assert scaling.tokens_per_step(flops) == pytest.approx(sequences * 4096, rel=0.35)
        assert scaling.learning_rate(flops) == pytest.approx(rate, rel=0.35)


@pytest.mark.parametrize("name", ["5m", "14m", "25m"])
def test_small_models_get_sensible_values(name: str) -> None:
    spec = preset(name).spec
    tokens = 20 * counts.params(spec).non_embedding
    flops = counts.flops_per_token(spec, 512) * tokens
    assert 8192 <= scaling.tokens_per_step(flops) <= 131_072
    assert 1e-3 <= scaling.learning_rate(flops) <= 4e-3


def test_clamps_and_small_steps() -> None:
    assert scaling.tokens_per_step(1e12) == 8192
    assert scaling.tokens_per_step(1e30) == 2**26
    assert scaling.learning_rate(1e12) == 4e-3
    flops = 1e20
    best = scaling.tokens_per_step(flops)
    assert scaling.learning_rate(flops, best / 4) == pytest.approx(scaling.learning_rate(flops) / 2)
    assert scaling.learning_rate(flops, best * 4) == scaling.learning_rate(flops)
