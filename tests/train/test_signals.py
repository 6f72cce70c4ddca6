"""Asking a run to stop."""

from __future__ import annotations

import signal
import threading

import pytest

from colosse.train.signals import StopRequest


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_and_ends_nothing(name: signal.Signals) -> None:
    before = signal.getsignal(name)
    with StopRequest() as stop:
        assert not stop.received
        signal.raise_signal(name)
        assert stop.received
    assert signal.getsignal(name) is before


def test_a_second_ctrl_c_ends_at_once_and_a_second_notice_does_not() -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.received
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_other_threads_take_nothing_over() -> None:
    def enter() -> None:
        with StopRequest() as stop:
            assert not stop.received

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
