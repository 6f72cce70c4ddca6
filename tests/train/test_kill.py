"""A short version of `benchmarks/train_kill.py`."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.train_kill import run

pytestmark = pytest.mark.torch


def test_a_run_whose_ranks_are_killed_ends_as_if_they_had_not_been(tmp_path: Path) -> None:
    tally = run(tmp_path, ranks=2, kills=3)
    assert tally.faults == 0, tally.details
    assert tally.kills == 3
