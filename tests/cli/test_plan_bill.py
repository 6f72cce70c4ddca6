"""`colosse plan bill`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Colosse = Callable[..., CompletedProcess[str]]


def test_the_machine_of_2020(colosse: Colosse) -> None:
    given = ("--model", "gpt3-175b", "--gpu", "v100", "--gpus", 10_000, "--tokens", "300B", "--year", 2020, "--build")
    done = colosse("plan", "bill", *given)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("To build", "Leaf switches", "A year of operation", "This run", "Per million tokens", "is assumed"):
        assert words in done.stdout
    answer = json.loads(colosse("plan", "bill", *given, "--json").stdout)
    assert 100e6 < answer["totals"]["capital"]["central"] < 500e6
    assert 1e6 < answer["totals"]["run"]["central"] < 12e6


def test_files(colosse: Colosse, tmp_path: Path) -> None:
    pytest.importorskip("fpdf")
    names = {option: tmp_path / f"bill.{option}" for option in ("html", "pdf", "csv")}
    options = [word for option, path in names.items() for word in (f"--{option}", path)]
    done = colosse("plan", "bill", "deepseek-v3", "--language", "fr", *options)
    assert done.returncode == 0
    assert "5\u202f576\u202f000\u00a0$" in done.stdout
    assert done.stderr.count("written: ") == 3
    assert all(path.stat().st_size > 200 for path in names.values())


def test_nothing_is_cut_on_a_narrow_terminal(colosse: Colosse) -> None:
    done = colosse("plan", "bill", "llama3-405b", "--language", "fr", COLUMNS="80")
    assert "…" not in done.stdout
    assert "heures-GPU" in done.stdout
    assert "d’après la fiche du modèle" in " ".join(done.stdout.split())


def test_small_quantities_are_not_none(colosse: Colosse) -> None:
    done = colosse("plan", "bill", "--days", 1, "--gpus", 8)
    assert " 0 person-years" not in done.stdout


def test_options_win_over_the_order(colosse: Colosse) -> None:
    answer = json.loads(colosse("plan", "bill", "deepseek-v3", "--days", 1, "--price", "gpu_hour=3", "--json").stdout)
    assert answer["totals"]["run"]["central"] == 2048 * 24 * 3


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (("--gpus", 0, "--days", 1), "gpus"),
        (("--days", 1, "--region", "frnace"), "france"),
        (("--days", 1, "--price", "gpu_hour=-1"), "0 or more"),
        (("--gpu", "h1000", "--days", 1), "h100"),
        (("--days", "soon"), "--days"),
        (("--model", "gpt3-175", "--tokens", "1B"), "gpt3-175b"),
        (("deepsek-v3",), "deepseek-v3"),
        ((), "how long"),
        (("--days", 1, "--model", "llama3-9b"), "llama3-8b"),
        (("--days", 1, "--gpu-hours", 5), "--days and --gpu-hours"),
        (("--model", "llama3-8b", "--tokens", "1B", "--mfu", 0), "--mfu: 0"),
        (("--days", 0), "--days: '0' is not above 0"),
        (("--days", 1, "--csv", Path(__file__).parent), "cannot write"),
        (("--days", 1, "--paper", "a5"), "a4"),
    ],
)
def test_what_cannot_be_is_one_line(colosse: Colosse, given: tuple[object, ...], word: str) -> None:
    done = colosse("plan", "bill", *given)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert word in done.stderr
