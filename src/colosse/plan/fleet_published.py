"""Published serving results, and what the fleet's model says of them: `benchmarks/planner_serve.py` prints it."""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import median
from typing import Any, Literal

from colosse.plan.fleet_engine import RATES, Engine, Rates, Split, Weights
from colosse.plan.fleet_load import STEP_TOKENS, at_rate, drain
from colosse.plan.hardware import Cluster, catalogue
from colosse.spec.model import ModelSpec
from colosse.spec.presets import preset

Mode = Literal["offline", "batch", "rate", "prefill", "decode"]

BATCH_TOKENS = 16384
"""Of a step where all of a static batch begins at once."""


@dataclass(frozen=True)
class Result:
    """A measurement of one replica."""

    source: str
    gpu: str
    model: str
    weights: Weights
    cache_bytes: int
    gpus: int
    split: Split
    prompt: int
    answer: int
    mode: Mode
    """`offline`: a pile of requests; `batch`: as many as run at once; `rate`: a steady stream; `prefill`, `decode`:
    one of the two alone."""
    load: float
    """Requests, requests per second, tokens of a step, or answers at once."""
    metric: str
    """`output_tokens_per_s`, `input_tokens_per_s`, `tpot_s`, `ttft_s` (mean) or `latency_s`."""
    measured: float

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.metric.endswith("tokens_per_s")


@dataclass(frozen=True)
class Checked:
    """A result beside its prediction."""

    result: Result
    predicted: float

    @property
    def speed(self) -> float:
        """Predicted speed over measured: above 1 we are too fast."""
        share = self.predicted / self.result.measured
        return share if self.result.is_rate else 1 / share


@dataclass(frozen=True)
class Summary:
    """Of a group of results."""

    rows: int
    median_error: float
    """Median of the absolute relative errors of speed."""
    p90_error: float
    bias: float
    """Median of the relative errors."""


@cache
def results() -> list[Result]:
    """All of the table."""
    rows = csv.DictReader(_text("fleet_published.csv").splitlines())
    kinds: dict[str, Callable[[str], Any]] = {"load": float, "measured": float}
    kinds |= dict.fromkeys(("cache_bytes", "gpus", "prompt", "answer"), int)
    return [Result(**{key: kinds.get(key, str)(value) for key, value in row.items()}) for row in rows]


def sources() -> dict[str, str]:
    """Where each comes from, by its short name."""
    found: dict[str, str] = _tables()["sources"]
    return found


def model_of(name: str) -> ModelSpec:
    """A model of the table: of its own, or a preset."""
    own = _tables()["models"]
    return ModelSpec.model_validate(own[name]) if name in own else preset(name).spec


def check(rows: Iterable[Result], rates: Rates = RATES) -> list[Checked]:
    """Predict results, without looking at what was measured."""
    return [Checked(row, predict(row, rates)) for row in rows]


def predict(row: Result, rates: Rates = RATES) -> float:
    """What the model says of a result's metric."""
    cluster = _cluster(row.gpu)
    engine = Engine(
        model_of(row.model),
        cluster.gpu,
        row.gpus,
        row.split,
        row.weights,
        row.cache_bytes,
        cluster.node.nic_gb_per_s,
        cluster.node.domain,
        rates,
    )
    if row.mode == "prefill":
        return row.load / engine.step_s(0, 0, row.load, row.prompt)
    if row.mode == "decode":
        return row.load / engine.step_s(row.load, row.prompt + row.answer / 2)
    if row.mode == "rate":
        state = at_rate(engine, row.prompt, row.answer, row.load)
        return state.tpot_s if row.metric == "tpot_s" else state.ttft_s()
    tokens = STEP_TOKENS if row.mode == "offline" else BATCH_TOKENS
    done = drain(engine, row.prompt, row.answer, int(row.load), step_tokens=tokens)
    return {
        "output_tokens_per_s": done.output_tokens_per_s,
        "latency_s": done.seconds,
        "tpot_s": done.tpot_s,
        "ttft_s": done.ttft_s,
    }[row.metric]


def summary(checked: Iterable[Checked]) -> Summary:
    """Errors of a group; a prediction that nothing fits is an error of 100 %."""
    errors = sorted(abs(one.speed - 1) for one in checked)
    return Summary(
        rows=len(errors),
        median_error=median(errors),
        p90_error=errors[min(len(errors) - 1, math.ceil(0.9 * len(errors)))],
        bias=median(one.speed - 1 for one in checked),
    )


@cache
def _cluster(gpu: str) -> Cluster:
    return catalogue().cluster(gpu, 1)


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(_text("fleet_published.toml"))


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
