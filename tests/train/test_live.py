"""Watching a run: lines in a log, a live view on a terminal."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console

from colosse.train.live import LineView, LiveView, sparkline, summary, watching


def record(step: int, loss: float = 2.5, **more: Any) -> dict[str, Any]:
    numbers = {"tokens_per_second": 12345.6, "mfu": 0.61, "grad_norm": 0.5, "lr": 0.003}
    return {"step": step, "train_loss": loss, **numbers, **more}


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("colosse.train.live.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    view = LineView(stream)
    view.begin(10, 20)
    for step in range(11, 21):
        now[0] += 2.0
        view.step(record(step))
    view.note("a note")
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines[:-1]] == ["11/20", "14/20", "17/20", "20/20"]
    assert "loss 2.500  12,346 tokens/s  MFU 61%" in lines[0] and lines[0].endswith("18 s left")
    assert lines[-1] == "a note"


def test_a_terminal_shows_how_far_and_how_well() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True, color_system=None)
    view = LiveView(console)
    console.print(view)  # it is drawn before training begins
    view.begin(0, 40)
    console.print(view)
    assert "starting" in stream.getvalue()
    for step in range(1, 31):
        view.step(record(step, 5 - step / 10))
    view.note("[red] stays as it is")
    console.print(view)
    shown = stream.getvalue()
    assert "step 30/40" in shown and "loss 2.000" in shown
    assert "█" in shown and "▁" in shown and "[red] stays" in shown


def test_what_fits_the_stream() -> None:
    with watching(io.StringIO()) as view:
        assert isinstance(view, LineView)


def test_sparkline() -> None:
    assert sparkline([], 10) == ""
    assert sparkline([3.0], 10) == "▁"
    assert sparkline([1.0, 2.0, 3.0], 10) == "▁▅█"
    assert len(sparkline(list(range(1000)), 40)) == 40
    assert sparkline([1.0, math.nan, 2.0], 3) == "▁ █"


def test_summary_without_a_peak() -> None:
    assert "MFU" not in summary(record(1, mfu=None))
