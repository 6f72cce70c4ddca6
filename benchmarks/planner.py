"""How far the planner is from published results, and an open peer beside it on the rows that the peer can express.

    python -m benchmarks.planner [TABLE.csv] [--calculon PATH] [--report planner.html] [--json planner.json]

Every source is predicted with parameters fitted to all other sources, so that no row taught its own prediction; for a
table of one's own, with the parameters that come along. Time per layout is that of the whole table at once and of one
estimate alone, median of five. `git clone https://github.com/calculon-ai/calculon` gives the peer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colosse.plan import published
from colosse.plan.cost import estimate, step_times
from colosse.plan.points import Points
from colosse.plan.validate import Checked, Validation, validate
from colosse.plan.validate_page import write_page


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?", help="published results; Colosse's own by default")
    parser.add_argument("--calculon", type=Path, metavar="PATH", help="a clone of Calculon, to run beside")
    parser.add_argument("--report", type=Path, help="write a page with plots here")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    options = parser.parse_args()
    rows, left_out = published.read(options.table)
    found = validate(rows, left_out, hold_out=options.table is None)
    _print(found)
    times = _time(rows)
    together = f"{times['table_us']:.0f} us a layout in a table of {len(rows)}"
    print(f"\ntime        {together}, {times['one_ms']:.1f} ms for one estimate")
    peer = _beside(rows, found, options.calculon) if options.calculon else None
    if options.report:
        print(f"wrote {write_page(found, options.report, 'Published results')}")
    if options.json:
        options.json.write_text(json.dumps(found.as_json() | {"time": times, "peer": peer}, indent=1))


def _print(found: Validation) -> None:
    how = "sources left out in turn" if found.held_out else "parameters as shipped"
    print(f"{found.overall.rows} step times, {how}; {len(found.left_out)} rows left out\n")
    print(f"{'':60}{'rows':>6}{'median':>9}{'p90':>9}{'bias':>9}{'in band':>9}")
    for title, groups in {"all": [found.overall], **found.by}.items():
        for one in sorted(groups, key=lambda group: -group.rows):
            name = f"{title}: {one.name}" if title != "all" else "all"
            figures = f"{one.median:>8.1%} {one.p90:>8.1%} {one.bias:>+8.1%} {one.inside:>8.0%}"
            print(f"{name[:59]:60}{one.rows:>6} {figures}")
    memory, ranking = found.memory, found.ranking
    print(
        f"\nmemory      median {memory.median:.1%}, p90 {memory.p90:.1%}, bias {memory.bias:+.1%} ({memory.rows} rows)"
    )
    out = f"{memory.out_of_memory_found} of {memory.out_of_memory}"
    print(f"fit         {memory.fitting_found} of {memory.fitting} that ran, {out} that ran out of memory")
    behind = f"chosen layout {ranking.loss:.1%} behind the best"
    print(f"ranking     {behind}, Spearman {ranking.spearman:.2f} ({ranking.groups} groups)")


def _time(rows: Sequence[published.Measured]) -> dict[str, float]:
    points, job = Points.of([row.job for row in rows]), rows[0].job
    return {
        "table_us": 1e6 * _median(lambda: step_times(points)) / len(rows),
        "one_ms": 1e3 * _median(lambda: estimate(job)),
    }


def _median(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(5):
        begin = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent)


def _beside(rows: Sequence[published.Measured], found: Validation, path: Path) -> list[dict[str, Any]]:
    from benchmarks.planner_peer import approximations, peer_predictions

    timed = [row for row in rows if row.step_s]
    ours: dict[str, Checked] = {row.id: row for row in found.rows}
    jobs = {row.id: row for row in timed}
    said = [one for one in peer_predictions(timed, path) if one[1]]
    exact = [one for one in said if not approximations(jobs[one[0]].job)]
    table = []
    print(f"\n{'beside Calculon':44}{'rows':>6}{'median':>9}{'p90':>9}{'bias':>9}{'ms':>9}")
    for title, some in (("as they are", exact), ("approximated too", said)):
        peers = np.array([step / jobs[name].step_s - 1 for name, step, _ in some if step])
        mine = np.array([ours[name].error for name, _, _ in some])
        spent = 1e3 * statistics.median(seconds for _, _, seconds in some)
        for who, errors, cost in (("Calculon", peers, spent), ("Colosse", mine, 0.0)):
            median, p90 = float(np.median(abs(errors))), float(np.quantile(abs(errors), 0.9))
            bias = float(np.median(errors))
            took = f"{cost:>8.2f}" if cost else ""
            print(f"{who + ', ' + title:44}{len(some):>6} {median:>8.1%} {p90:>8.1%} {bias:>+8.1%} {took}")
            table.append({"who": who, "rows": title, "count": len(some), "median": median, "p90": p90, "bias": bias})
    return table


if __name__ == "__main__":
    main()
