"""The mathematics of a speed-up, on made-up samples, and the clock on differences that nothing can hide."""

from __future__ import annotations

import json
import math
import random
import statistics
from pathlib import Path

import pytest

from colosse.assistant.code import measure
from colosse.assistant.code.inside import timing
from colosse.assistant.code.measure import Speedup, Unmeasured, ratio_interval

SLOW = "def total(n):\n    return sum(i for i in range(n) for _ in range(100))\n"
FAST = "def total(n):\n    return 50 * n * (n - 1)\n"


def test_a_constant_ratio_is_found_exactly() -> None:
    before = [2.0, 2.2, 2.1, 2.4, 1.9, 2.0, 2.3]
    estimate, low, high = ratio_interval(before, [b / 2 for b in before])
    assert (estimate, low, high) == pytest.approx((2, 2, 2))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    chance = random.Random(7)
    covered = false_alarms = 0
    for _ in range(600):
        before, after, load = [], [], 1.0
        for _ in range(10):
            load *= chance.lognormvariate(0, 0.1)  # a machine that gets slower and faster while it measures
            before.append(1.3 * load * chance.lognormvariate(0, 0.08))
            after.append(load * chance.lognormvariate(0, 0.08))
        _, low, high = ratio_interval(before, after)
        covered += low <= 1.3 <= high
        _, low, _ = ratio_interval(after, [a * chance.lognormvariate(0, 0.08) for a in after])
        false_alarms += low > 1.05
    assert 0.93 <= covered / 600 <= 0.985
    assert false_alarms / 600 < 0.01


def test_the_interval_is_that_of_the_tables() -> None:
    # Wilcoxon's signed-rank statistic, two-sided 5 %: critical value 8 for n = 10, 25 for n = 15 (ends: next one).
    assert measure._signed_rank_cut(10, 0.025) == 9
    assert measure._signed_rank_cut(15, 0.025) == 26
    assert measure._signed_rank_cut(5, 0.025) == 0
    assert ratio_interval([1.0] * 5, [0.5] * 5) == (pytest.approx(2), 0.0, math.inf)


def test_one_outlier_does_not_move_it_far() -> None:
    chance = random.Random(1)
    after = [chance.uniform(0.98, 1.02) for _ in range(15)]
    before = [2 * a for a in after]
    before[3] *= 100
    estimate, low, high = ratio_interval(before, after)
    assert 1.9 < low <= estimate <= high < 2.2


async def test_faster_is_measured() -> None:
    (found,), replaced = await measure.measure(SLOW, FAST, "solution", ["total(2000)"], pairs=7, budget_s=1)
    assert isinstance(found, Speedup)
    assert found.low > 50
    assert found.before_s > found.after_s
    assert found.pairs == 7
    assert replaced == []


async def test_a_cache_does_not_outlive_a_call() -> None:
    cached = f"CACHE = {{}}\n{SLOW.replace('total', '_total')}\n" + (
        "def total(n):\n    if n not in CACHE:\n        CACHE[n] = _total(n)\n    return CACHE[n]\n"
    )
    (found,), _ = await measure.measure(SLOW, cached, "solution", ["total(30)"], pairs=7, budget_s=1)
    assert isinstance(found, Speedup)
    assert found.low < 1.5  # a cache that is kept makes the second call hundreds of times as fast


async def test_work_done_while_loading_counts() -> None:
    moved = (
        f"{SLOW.replace('total', '_total')}\nTABLE = {{2000: _total(2000)}}\n\n\ndef total(n):\n    return TABLE[n]\n"
    )
    (found,), _ = await measure.measure(SLOW, moved, "solution", ["total(2000)"], pairs=7, budget_s=1)
    assert isinstance(found, Speedup)
    assert found.low < 1.5


async def test_the_clock_cannot_be_replaced() -> None:
    tricked = f"import time\ntime.perf_counter_ns = lambda: 0\ntime.perf_counter = lambda: 0.0\n{SLOW}"
    (found,), replaced = await measure.measure(SLOW, tricked, "solution", ["total(2000)"], pairs=7, budget_s=1)
    assert isinstance(found, Speedup)
    assert found.low < 1.5
    assert replaced == ["time.perf_counter", "time.perf_counter_ns"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def total(n):\n    return 1 / 0\n", "ZeroDivisionError"),
        ("import os\ndef total(n):\n    os._exit(3)\n", "crashed"),
        ("def total(n):\n    return [0] * 10**11\n", "MemoryError"),
    ],
)
async def test_a_version_that_fails_is_not_measured(code: str, said: str) -> None:
    (found,), _ = await measure.measure(SLOW, code, "solution", ["total(100)"], pairs=7, budget_s=1)
    assert isinstance(found, Unmeasured)
    assert said in found.error


def test_a_repeat_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "REPEAT_S", 1)
    program = compile("def f():\n    while True:\n        pass\n", "f.py", "exec")
    found = timing.repeat(program, "solution", timing.Bench("f()"), 1)
    assert found == {"error": "no answer after 1 s"}


def test_pairs_are_made_in_turning_order(monkeypatch: pytest.MonkeyPatch) -> None:
    order = []

    def repeat(program: object, name: str, bench: object, calls: int, *, memory: bool = False) -> dict[str, object]:
        order.append(program)
        return {"mb": 1.0} if memory else {"seconds": 0.1, "loading": 0.0, "tampered": []}

    monkeypatch.setattr(timing, "repeat", repeat)
    monkeypatch.setattr("builtins.compile", lambda source, *_: source)
    monkeypatch.setattr(timing, "Bench", str)
    found = timing.measure(["a", "b"], "m", "f()", 4, 100.0)
    assert order[4:] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert statistics.median(found["before"]) == 0.1


async def test_commands_are_timed_as_whole_processes(tmp_path: Path) -> None:
    job = {"build": "", "command": "sh run.sh", "pairs": 7, "budget_s": 1}
    files = {"a/run.sh": "sleep 0.15; echo hello", "b/run.sh": "echo hello"}
    found = await measure.started("commands", job, files)
    speedup = measure.to_speedup(found)
    assert isinstance(speedup, Speedup)
    assert speedup.low > 3
    assert speedup.before_mb > 0
    assert found["outputs"] == ["hello\n", "hello\n"]
    failed = await measure.started("commands", job, {**files, "b/run.sh": "echo no >&2; exit 3"})
    assert json.dumps(failed) == '{"error": "exit code 3: no", "version": "b"}'
