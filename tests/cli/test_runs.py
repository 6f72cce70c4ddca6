import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.train.folders import make_run

Colosse = Callable[..., CompletedProcess[str]]


@pytest.fixture
def runs(home: Any) -> Path:
    folder: Path = home / "runs"
    make_run(folder, "laptop-20260501-100000")
    make_run(folder, "laptop-20260502-100000", lr=0.01, done=30, state="interrupted", sources=("code",))
    make_run(folder, "muon-20260503-100000", state="failed", message="the loss of step 7 is nan")
    return folder


def test_list(colosse: Colosse, runs: Path) -> None:
    lines = colosse("runs", "list").stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:3] == ["run", "state", "step"]
    assert any("laptop-20260502-100000" in line and "interrupted" in line and "30/60" in line for line in lines)
    rows = json.loads(colosse("runs", "list", "--json").stdout)
    assert {row["name"]: row["state"] for row in rows}["muon-20260503-100000"] == "failed"
    assert json.loads(colosse("runs", "list", "--json", "--runs-dir", runs / "none").stdout) == []


def test_there_is_none(colosse: Colosse) -> None:
    done = colosse("runs", "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert "colosse train RECIPE" in done.stderr


def test_show(colosse: Colosse, runs: Path) -> None:
    text = colosse("runs", "show", "muon").stdout
    for words in ("failed", "the loss of step 7 is nan", "60/60", "loss by step", "sample at step 60", "return 60 & x"):
        assert words in text
    shown = json.loads(colosse("runs", "show", "muon", "--json").stdout)
    assert (shown["name"], shown["step"]) == ("muon-20260503-100000", 60)
    path = Path(colosse("runs", "show", runs / "muon-20260503-100000", "--html").stdout.strip())
    assert path.read_text().startswith("<!doctype html>")


def test_compare(colosse: Colosse, runs: Path, tmp_path: Path) -> None:
    names = ("laptop-20260501", "laptop-20260502")
    text = colosse("runs", "compare", *names).stdout
    assert "optimizer.lr" in text
    assert "books" in text
    out = tmp_path / "page.html"
    both = json.loads(colosse("runs", "compare", *names, "--json", "--html", out).stdout)
    assert both["differences"] == {"optimizer.lr": [0.003, 0.01]}
    assert len(both["runs"]) == 2
    assert out.is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "laptop"], "the beginning of several"),
        (["show", "mun"], "did you mean 'muon-20260503-100000'"),
        (["compare", "muon"], "two different train runs"),
        (["compare", "muon", "muon"], "two different train runs"),
    ],
)
def test_what_is_refused(colosse: Colosse, runs: Path, arguments: list[str], words: str) -> None:
    done = colosse("runs", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
