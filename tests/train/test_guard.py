"""The loss-spike guard."""

from __future__ import annotations

import math

from colosse.train.guard import ENOUGH, PATIENCE, SpikeGuard


def steady(guard: SpikeGuard, count: int = 40) -> SpikeGuard:
    for step in range(count):
        assert not guard.is_spike(3.0 + 0.02 * math.sin(step))
    return guard


def test_a_spike_is_far_above_and_only_above() -> None:
    guard = steady(SpikeGuard(6.0))
    assert not guard.is_spike(2.0)
    assert not guard.is_spike(3.03)
    assert guard.is_spike(4.0)
    assert guard.is_spike(math.nan) and guard.is_spike(math.inf)


def test_nothing_is_judged_before_enough_is_known_or_without_a_factor() -> None:
    guard = steady(SpikeGuard(6.0), ENOUGH - 2)
    assert not guard.is_spike(50.0)
    assert not steady(SpikeGuard(0.0)).is_spike(50.0)


def test_equal_losses_do_not_turn_rounding_into_spikes() -> None:
    guard = SpikeGuard(6.0)
    for _ in range(30):
        assert not guard.is_spike(3.0)
    assert not guard.is_spike(3.01)


def test_a_lasting_rise_becomes_the_new_level() -> None:
    guard = steady(SpikeGuard(6.0))
    assert [guard.is_spike(5.0) for _ in range(PATIENCE + 3)] == [True] * PATIENCE + [False] * 3


def test_its_state_goes_into_a_checkpoint() -> None:
    guard = steady(SpikeGuard(6.0))
    guard.is_spike(9.0)
    state = guard.state()
    again = SpikeGuard(6.0, **state)  # type: ignore[arg-type]
    assert again.state() == state and again.limit() == guard.limit()
