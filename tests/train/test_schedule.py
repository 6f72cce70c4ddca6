"""Learning-rate schedules."""

from __future__ import annotations

from itertools import pairwise

import pytest

from colosse.train.recipe import OptimizerConfig
from colosse.train.schedule import lr_fraction, warmup_steps


def fractions(total: int, **fields: object) -> list[float]:
    config = OptimizerConfig.model_validate(fields)
    return [lr_fraction(step, total, config) for step in range(total)]


@pytest.mark.parametrize("schedule", ["wsd", "cosine", "constant"])
def test_rises_to_the_peak_and_never_beyond(schedule: str) -> None:
    rates = fractions(200, schedule=schedule, warmup_steps=20)
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert max(rates) == 1.0 and min(rates) > 0


def test_wsd_is_flat_and_then_falls_in_a_straight_line_to_its_floor() -> None:
    rates = fractions(100, schedule="wsd", warmup_steps=10, decay_fraction=0.2, min_lr_fraction=0.1)
    assert rates[10:80] == [1.0] * 70
    falls = [a - b for a, b in pairwise(rates[79:])]
    assert falls == pytest.approx([falls[0]] * 20) and falls[0] > 0
    assert rates[-1] == pytest.approx(0.1 + falls[0])  # the floor itself would come one step after the last


def test_cosine_is_half_way_in_the_middle_and_constant_stays() -> None:
    rates = fractions(110, schedule="cosine", warmup_steps=10, min_lr_fraction=0.2)
    assert rates[60] == pytest.approx(0.6)
    assert fractions(50, schedule="constant", warmup_steps=5)[5:] == [1.0] * 45


@pytest.mark.parametrize(("total", "expected"), [(5, 5), (100, 10), (5000, 100)])
def test_warmup_follows_from_the_length(total: int, expected: int) -> None:
    assert warmup_steps(total, OptimizerConfig()) == expected
    assert all(0 < fraction <= 1 for fraction in fractions(total))
