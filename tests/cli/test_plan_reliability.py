"""`colosse plan reliability`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from colosse.cli.plan.reliability import reliability
from colosse.core.errors import UserError

Colosse = Callable[..., CompletedProcess[str]]
RECIPES = Path(__file__).parents[2] / "recipes"
LLAMA = ("plan", "reliability", "--model", "llama3-405b", "--gpus", 16_384, "--gpu", "h100", "--days", 54)


def test_llama_3(colosse: Colosse) -> None:
    done = colosse(*LLAMA)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("training that is kept", "days of 200 simulated runs, seed 1", "p90: ", "hbm", "checkpoint every"):
        assert words in done.stdout
    assert "!" not in done.stdout  # H100s have published rates
    answer = json.loads(colosse(*LLAMA, "--storage", "tectonic", "--runs", 20, "--json").stdout)
    assert 0.9 < answer["ettr"]["value"] < 0.95
    assert answer["simulated"]["mean_ettr"] == pytest.approx(answer["ettr"]["value"], abs=0.01)
    percentiles = answer["simulated"]["days_percentiles"]
    assert 54 < percentiles["p10"] < percentiles["p50"] < percentiles["p90"]
    assert len(answer["simulated"]["days"]) == 20
    assert "regime" not in answer


def test_what_is_given_is_what_is_planned(colosse: Colosse) -> None:
    given = ("--interval", "15m", "--spares", "2%", "--failures", "x2", "--runs", 5, "--json")
    answer = json.loads(colosse(*LLAMA, *given).stdout)
    assert (answer["interval_s"], answer["spares"]) == (900, 41)
    assert answer["mtbf_s"] == pytest.approx(3.093 * 3600 / 2, rel=1e-3)
    assert "instead" not in answer["advice"][0]
    spot = ("--preemptions", 0.005, "--spares", 3, "--leave-out", 16, "--failures", 0.5, "--runs", 5, "--json")
    answer = json.loads(colosse(*LLAMA, *spot).stdout)
    assert answer["by_cause"]["preemption"]["failures"] > answer["by_cause"]["gpu"]["failures"]
    assert answer["losses"]["short_handed"] > 0 == answer["losses"]["waiting"]


def test_a_recipe(colosse: Colosse) -> None:
    recipe = RECIPES / "llama3-405b-16384gpu.toml"
    answer = json.loads(colosse("plan", "reliability", recipe, "--days", "67d", "--runs", 2, "--json").stdout)
    assert (answer["gpus"], answer["interval_s"], answer["run"]) == (16_384, 900, "llama3-405b-16384gpu")
    best = json.loads(
        colosse("plan", "reliability", recipe, "--days", 67, "--interval", "best", "--runs", 2, "--json").stdout
    )
    assert best["interval_s"] == best["optimal_interval_s"] == answer["optimal_interval_s"]
    assert best["ettr"]["value"] > answer["ettr"]["value"]


def test_what_cannot_be_is_one_line(colosse: Colosse) -> None:
    done = colosse("plan", "reliability", "--model", "llama9", "--gpus", 8, "--days", 3)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "colosse: unknown preset 'llama9' (did you mean 'llama3-8b'?)\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": ""}, "give a recipe, or a model and a number of GPUs"),
        ({"gpus": 0}, "give a recipe, or a model and a number of GPUs"),
        ({"days": ""}, "--days 54"),
        ({"gpu": "h10"}, "did you mean 'h100'?"),
        ({"spares": "1.5"}, "write it as 40, 2% or best"),
        ({"spares": "1e9"}, "more than one each"),
        ({"seed": -1}, "-1 is no seed"),
        ({"days": "900y", "gpus": 16_384}, "too many to play"),
        ({"days": "2000y"}, "more than can be meant"),
        ({"spares": "-1"}, "write it as 40, 2% or best"),
        ({"failures": "often"}, "--failures: 'often'"),
        ({"storage": "-1"}, "not above 0"),
        ({"storage": "disk"}, "unknown storage 'disk'"),
        ({"interval": "1ms"}, "an interval of at least"),
        ({"preemptions": -1.0}, "-1 preemptions"),
        ({"runs": 0}, "0 runs cannot be simulated"),
        ({"recipe": RECIPES / "laptop.toml"}, "leave out --model and --gpus"),
    ],
    ids=str,
)
def test_what_cannot_be(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        reliability(**({"model": "llama3-8b", "gpus": 8, "days": "3"} | arguments))
    assert words in str(caught.value)
