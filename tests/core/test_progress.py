"""Progress: lines for logs, a bar for terminals."""

from __future__ import annotations

import io

import pytest

from colosse.core import progress as module
from colosse.core.progress import Progress, reporting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def play(progress: Progress) -> None:
    progress.begin("model", 4_000_000, 1_000_000)
    progress.advance(1_000_000)
    progress.note("[a note] that is no markup")
    progress.begin("model: verifying", 0)
    progress.advance(5)


def test_a_log_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_INTERVAL_S", 0.0)
    stream = io.StringIO()
    with reporting(stream) as progress:
        play(progress)
    assert stream.getvalue().splitlines() == [
        "model: 4 MB, 1 MB are here already",
        "model: 2 MB (50%)",
        "[a note] that is no markup",
        "model: verifying: size unknown",
        "model: verifying: 5 B",
    ]


def test_a_log_is_not_flooded() -> None:
    stream = io.StringIO()
    with reporting(stream) as progress:
        progress.begin("model", 1000)
        for _ in range(1000):
            progress.advance(1)
    assert len(stream.getvalue().splitlines()) == 1


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with reporting(stream) as progress:
        play(progress)
    shown = stream.getvalue()
    assert "[a note] that is no markup" in shown
    assert "model: verifying" in shown
    assert shown.rstrip().endswith("\x1b[2K")  # the last thing is the bar's line, erased


def test_nobody_may_listen() -> None:
    play(Progress())
