"""What isolation costs: the same command bare and in the sandbox, in turn, each many times.

    python -m benchmarks.sandbox                # 40 rounds, some seconds
    python -m benchmarks.sandbox --rounds 200 --output sandbox.json

Printed are medians and the 95th percentile in milliseconds; the overhead is the median of the rounds' differences. The
bare command is started by the same means (a pipe for each stream), so that Python's own start cancels out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from colosse.assistant.sandbox import PYTHON, require, run

COMMANDS = {
    "true": ["true"],
    "python -c pass": [PYTHON, "-c", "pass"],
    "import pytest": [PYTHON, "-c", "import pytest"],
}
PARALLEL = 16


def _bare(argv: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, input=b"", capture_output=True, check=True)
    return time.perf_counter() - start


async def _isolated(argv: Sequence[str]) -> float:
    start = time.perf_counter()
    ran = await run(argv)
    assert ran.exit_code == 0, ran
    return time.perf_counter() - start


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "median_ms": 1e3 * statistics.median(seconds),
        "p95_ms": 1e3 * statistics.quantiles(seconds, n=20)[-1],
    }


async def measure(rounds: int) -> dict[str, Any]:
    """Time every command both ways, `rounds` times each, and many sandboxes at once."""
    commands = {}
    for name, argv in COMMANDS.items():
        _bare(argv), await _isolated(argv)
        pairs = [(_bare(argv), await _isolated(argv)) for _ in range(rounds)]
        bare, isolated = zip(*pairs, strict=True)
        commands[name] = {
            "bare": _spread(bare),
            "sandbox": _spread(isolated),
            "overhead_ms": 1e3 * statistics.median(inside - outside for outside, inside in pairs),
        }
    start = time.perf_counter()
    await asyncio.gather(*(_isolated(["true"]) for _ in range(PARALLEL)))
    parallel = (time.perf_counter() - start) / PARALLEL
    return {"commands": commands, "at_once": PARALLEL, "ms_each": 1e3 * parallel}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="times that each command is run each way")
    parser.add_argument("--output", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    require()
    found = asyncio.run(measure(max(2, options.rounds)))
    found["machine"] = {"system": platform.platform(), "cpus": os.cpu_count()}
    print(f"{'command':16} {'bare':>8} {'sandbox':>8} {'p95':>8} {'overhead':>9}   ms")
    for name, row in found["commands"].items():
        bare, isolated = row["bare"]["median_ms"], row["sandbox"]
        print(f"{name:16} {bare:8.1f} {isolated['median_ms']:8.1f} {isolated['p95_ms']:8.1f} {row['overhead_ms']:9.1f}")
    print(f"{found['at_once']} at once: {found['ms_each']:.1f} ms each")
    if options.output:
        options.output.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
