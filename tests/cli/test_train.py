"""`colosse train` as a command: alone, on two ranks, stopped by a signal, and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("torch")

from tests.train.corpus import write_recipe

pytestmark = pytest.mark.torch


@pytest.fixture
def recipe(home: Path, tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "colosse.cli.main", "train", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def train(*arguments: object) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def losses(run: str) -> dict[int, float]:
    rows = map(json.loads, (Path(run) / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["train_loss"] for row in rows if "train_loss" in row}


def only_run(home: Path) -> Path:
    (run,) = (home / "runs").iterdir()
    return run


def test_two_ranks_train_what_one_trains_and_one_goes_on_where_two_stopped(recipe: Path, home: Path) -> None:
    status, out, err = train(recipe, "--json")
    assert status == 0, err
    alone: dict[str, Any] = json.loads(out)
    assert alone["finished"] and alone["step"] == 12
    assert (Path(alone["run"]) / "report.html").is_file()

    # dp_shard=2 is another recipe: a run of its own, which takes the same steps.
    process = start(recipe, "layout.dp_shard=2", "train.steps=4000")
    try:
        deadline = time.monotonic() + 100
        while not (paths := [p for p in (home / "runs").glob("*/metrics.jsonl") if p.parent != Path(alone["run"])]):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.1)
        while paths[0].read_text().count("\n") < 14:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.05)
        # One rank hears it; all of them stop after the same step.
        psutil.Process(process.pid).children()[1].send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "the same command goes on from there" in out
    run = paths[0].parent
    assert json.loads((run / "status.json").read_text())["state"] == "interrupted"
    both = losses(str(run))
    for step in range(1, 3):  # the warm-up of a longer run differs from there on by rounding of its rates
        assert both[step] == pytest.approx(losses(alone["run"])[step], rel=1e-5)

    stopped = len(both)
    status, out, err = train(recipe, f"train.steps={stopped + 3}", "--resume", run.name, "--json")
    assert status == 0, err
    assert json.loads(out)["step"] == stopped + 3
    assert {step: both[step] for step in both} == {s: loss for s, loss in losses(str(run)).items() if s <= stopped}


def test_dry_run_shows_numbers_and_does_nothing(recipe: Path, home: Path, colosse: Any) -> None:
    done = colosse("train", str(recipe), "--dry-run", "--json", "layout.dp_shard=4")
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert numbers["grad_accum_steps"] == 1 and numbers["recipe"]["layout"]["dp_shard"] == 4
    assert not (home / "data").exists() and not (home / "runs").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stesp=1", "unknown setting 'train.stesp' (command) (did you mean 'steps'?)"),
        ("layout.dp_shard=3", "does not divide among 3 data ranks"),
        ("data.sources=[{name='none', paths=['nowhere']}]", "nowhere"),
    ],
)
def test_refusals_are_one_line_before_any_work(
    recipe: Path, home: Path, colosse: Any, override: str, message: str
) -> None:
    done = colosse("train", str(recipe), override)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (home / "runs").exists()
