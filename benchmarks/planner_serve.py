"""The serving model against published results: the table of docs/plan/serve.md, and where its numbers come from.

    python benchmarks/planner_serve.py [--json serve.json] [--rows]
    python benchmarks/planner_serve.py --fit            finds `fleet_engine.Rates` anew
    python benchmarks/planner_serve.py --leave-out      the same without each large source, and its errors then

Speed is predicted over measured: throughput, or the inverse of a latency. Fitting minimises the mean absolute logarithm
of it over at most 30 rows of each source, sources weighted by the root of their rows; a random descent from one start.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from pathlib import Path

from colosse.plan.fleet_engine import Rates
from colosse.plan.fleet_published import Checked, Result, check, results, sources, summary

LIMITS = {
    "memory": (0.6, 0.93),
    "cache": (0.4, 0.88),
    "product": (0.4, 1.0),
    "tile_depth": (1.0, 1500.0),
    "balance": (0.3, 1.0),
    "attention": (0.2, 0.9),
    "link": (0.3, 0.9),
    "hop_s": (3e-6, 3e-5),
    "layer_s": (5e-6, 7e-5),
    "step_s": (1e-4, 5e-3),
    "sequence_s": (2e-7, 3e-5),
}
"""What is physically possible."""

START = Rates(
    memory=0.85,
    cache=0.75,
    product=0.75,
    tile_depth=400,
    balance=0.8,
    attention=0.5,
    link=0.6,
    hop_s=15e-6,
    layer_s=30e-6,
    step_s=1e-3,
    sequence_s=5e-6,
)
LARGE = ("trtllm-0.17", "trtllm-1.0", "trtllm-1.2", "trtllm-0.14")
WEIGHTLESS = "oci-mi300x"
"""The only source of another vendor, with software of its first year: not fitted."""


def main() -> None:
    """Print the table, or fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write every row here")
    parser.add_argument("--rows", action="store_true", help="print every row")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--leave-out", action="store_true")
    parser.add_argument("--tries", type=int, default=200)
    options = parser.parse_args()
    if options.fit:
        print(fit(results(), options.tries))
        return
    if options.leave_out:
        for source in LARGE:
            rates = fit([row for row in results() if row.source != source], options.tries)
            line(f"{source}, left out", check((row for row in results() if row.source == source), rates))
        return
    checked = check(results())
    table(checked)
    if options.rows:
        for one in sorted(checked, key=lambda one: one.speed):
            print(f"{one.speed:6.2f}  {one.predicted:12.5g}  {one.result}")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) | {"speed": one.speed} for one in checked], indent=1))


def table(checked: list[Checked]) -> None:
    """By source, by kind, and all; then the share of speeds that bands are made of."""
    print(f"{'':36}{'rows':>6}{'median':>9}{'p90':>9}{'bias':>9}")
    for source in sources():
        line(source, [one for one in checked if one.result.source == source])
    for key in ("gpu", "model", "weights", "metric", "mode", "split"):
        print()
        for value in sorted({str(getattr(one.result, key)) for one in checked}):
            line(value, [one for one in checked if str(getattr(one.result, key)) == value])
    print()
    line("all", checked)
    over = sorted(1 / one.speed for one in checked)
    print(f"measured over predicted: {over[len(over) // 20]:.2f} to {over[-len(over) // 20]:.2f} for nine of ten")


def line(name: str, checked: list[Checked]) -> None:
    """One group."""
    got = summary(checked)
    print(
        f"{name:36}{got.rows:6}{100 * got.median_error:8.1f}%{100 * got.p90_error:8.1f}%{100 * got.bias:+8.1f}%",
        flush=True,
    )


def fit(rows: Iterable[Result], tries: int) -> Rates:
    """Rates of least error."""
    rng = random.Random(0)
    by_source: dict[str, list[Result]] = {}
    for row in rows:
        by_source.setdefault(row.source, []).append(row)
    chosen = {name: rng.sample(group, min(30, len(group))) for name, group in by_source.items() if name != WEIGHTLESS}
    best, least = START, error(chosen, START)
    names = [field.name for field in fields(Rates)]
    for tried in range(tries):
        width = 0.25 * (1 - tried / tries) + 0.04
        changed = {}
        for name in rng.sample(names, rng.choice((1, 1, 2, 3))):
            low, high = LIMITS[name]
            changed[name] = min(max(getattr(best, name) * math.exp(rng.gauss(0, width)), low), high)
        other = replace(best, **changed)
        if (now := error(chosen, other)) < least:
            best, least = other, now
    return best


def error(groups: dict[str, list[Result]], rates: Rates) -> float:
    """Mean absolute logarithm of the speed, weighted."""
    total = weight = 0.0
    for group in groups.values():
        logs = [min(abs(math.log(max(one.speed, 1e-3))), 1.0) for one in check(group, rates)]
        total += math.sqrt(len(logs)) * sum(logs) / len(logs)
        weight += math.sqrt(len(logs))
    return total / weight


if __name__ == "__main__":
    main()
