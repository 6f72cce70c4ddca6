"""Advice: the law's loss and its inverse, budgets that are spent, alternatives that are what they say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colosse.core.errors import UserError
from colosse.plan.advise import FIT, Advice, advise, loss, tokens_for
from colosse.plan.costs import Amount
from colosse.plan.hardware import catalogue
from colosse.spec.counts import params

KNOWN = catalogue()
PRICE = Amount(2, 3, 4)


def advised(**asked: Any) -> Advice:
    return advise(KNOWN, "h100", **asked)


@pytest.fixture(scope="module")
def month() -> Advice:
    return advised(gpu_hours=10_000, price=PRICE)


def test_the_loss_is_the_published_fit() -> None:
    assert loss(70e9, 1.4e12).value == pytest.approx(1.8172 + 482.01 / 70e9**0.3478 + 2085.43 / 1.4e12**0.3658)
    assert loss(1e30, 1e30).value == pytest.approx(FIT[0])


@given(st.floats(1e6, 1e12), st.floats(1e8, 1e14))
def test_the_loss_has_an_inverse_and_a_band(size: float, tokens: float) -> None:
    band = loss(size, tokens)
    assert band.low < band.value < band.high
    assert tokens_for(size, band.value) == pytest.approx(tokens, rel=1e-6)
    assert tokens_for(size, FIT[0]) == float("inf")


def test_a_budget_is_spent_as_the_law_says(month: Advice) -> None:
    best = month.best
    assert best.gpu_hours == pytest.approx(10_000)
    assert best.usd is not None
    assert best.usd.central == pytest.approx(30_000)
    assert params(best.model).total == best.params == pytest.approx(month.optimum.params, rel=0.25)
    assert 10 < best.tokens_per_param < 40
    assert month.days.value == pytest.approx(10_000 / month.gpus / 24)
    assert month.days.low < month.days.value < month.days.high
    spent = month.estimate.tokens_per_s_per_gpu.value * month.goodput.value * 10_000 * 3600
    assert best.tokens == pytest.approx(spent)
    assert month.estimate.fits


def test_alternatives_are_smaller_and_have_the_budget_or_the_loss(month: Advice) -> None:
    assert month.same_budget
    assert month.same_loss
    for one in month.same_budget:
        assert one.params < month.best.params
        assert one.tokens > month.best.tokens
        assert one.gpu_hours == pytest.approx(10_000)
    for one in month.same_loss:
        assert one.params < month.best.params
        assert one.loss.value == pytest.approx(month.best.loss.value)
        assert one.gpu_hours > month.best.gpu_hours
        assert one.served_tokens is None or one.served_tokens > 0


def test_clusters_of_other_sizes(month: Advice) -> None:
    gpus = [size.gpus for size in month.sizes]
    assert month.gpus in gpus
    assert gpus == sorted(gpus)
    days = [size.days for size in month.sizes]
    assert days == sorted(days, reverse=True)
    assert any(size.efficient for size in month.sizes)


def test_money_a_deadline_and_gpus_say_the_same() -> None:
    money = advised(usd=30_000, deadline_s=30 * 86_400, price=PRICE)
    assert money.gpu_hours.value == pytest.approx(10_000)
    assert (money.gpu_hours.low, money.gpu_hours.high) == (7500, 15_000)
    assert money.gpus * 24 * 30 >= 0.99 * 10_000
    named = advised(deadline_s=10 * 86_400, gpus=16)
    assert (named.gpus, named.gpu_hours.value) == (16, 3840)
    assert named.best.days == pytest.approx(10)


def test_more_buys_a_lower_loss_and_overtraining_a_smaller_model() -> None:
    small, large = advised(gpu_hours=100).best, advised(gpu_hours=1000).best
    assert large.loss.value < small.loss.value
    assert large.params > small.params
    over = advised(gpu_hours=100, overtrain=9).best
    assert over.params < 0.6 * small.params
    assert over.loss.value > small.loss.value
    llama = advised(gpu_hours=100, law="llama3")
    assert llama.law == "llama3"


def test_what_cannot_be_spent_until_the_deadline_is_said() -> None:
    found = advised(gpu_hours=10_000, deadline_s=86_400, gpus=8)
    assert found.gpu_hours.value == pytest.approx(192)
    assert "until the deadline" in found.cautions[0]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "how much may it take"),
        ({"deadline_s": 86_400}, "how much may it take"),
        ({"usd": 1, "gpu_hours": 1}, "at once"),
        ({"usd": 1000}, "no price is known"),
        ({"usd": 0.1, "price": PRICE}, "a model of"),
        ({"gpu_hours": 1e8, "gpus": 8}, "do not fit on 8"),
        ({"gpu_hours": 1, "law": "chinchila"}, "did you mean 'chinchilla'"),
        ({"gpu_hours": 1, "overtrain": 0}, "not between"),
        ({"gpu_hours": 1, "gpus": 13}, "not whole nodes"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        advised(**asked)
