"""What isolation costs: the same command bare and in the sandbox, in turn, each many times.

    python -m benchmarks.sandbox --items 40 --output sandbox.json

Printed are medians in milliseconds; the overhead is the median of the rounds' differences. The bare command ("raw") is
started by the same means (a pipe for each stream), so that Python's own start cancels out.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.skills_common import Answer, Bench, Measure, Run, main

from colosse.assistant.sandbox import PYTHON, require, run

COMMANDS = {
    "true": ["true"],
    "python -c pass": [PYTHON, "-c", "pass"],
    "import pytest": [PYTHON, "-c", "import pytest"],
}
PARALLEL = 16


def _bare(argv: Sequence[str]) -> None:
    subprocess.run(argv, input=b"", capture_output=True, check=True)


async def _isolated(argv: Sequence[str]) -> None:
    ran = await run(argv)
    assert ran.exit_code == 0, ran


async def bare(argv: Sequence[str]) -> Answer:
    """The command without isolation."""
    _bare(argv)
    return Answer("")


async def isolated(argv: Sequence[str]) -> Answer:
    """The command in a sandbox."""
    await _isolated(argv)
    return Answer("")


async def measure(bench: Run) -> None:
    """Time every command both ways, a round an item, and many sandboxes at once."""
    require()
    for name, argv in COMMANDS.items():
        _bare(argv)
        await _isolated(argv)
        for number in range(bench.items):
            seconds: list[float] = []

            async def judge(answer: Answer, seconds: list[float] = seconds) -> dict[str, Any]:
                seconds.append(answer.seconds)
                return {"ms": 1e3 * answer.seconds, "over": 1e3 * (seconds[1] - seconds[0]) if seconds[1:] else None}

            await bench.both(
                f"sandbox {name}",
                f"round {number}",
                lambda argv=argv: bare(argv),
                lambda argv=argv: isolated(argv),
                judge,
            )
    start = time.perf_counter()
    await asyncio.gather(*(_isolated(["true"]) for _ in range(PARALLEL)))
    each = 1e3 * (time.perf_counter() - start) / PARALLEL
    bench.notes["sandbox"] = f"{PARALLEL} at once: {each:.1f} ms each"


MEASURES = (Measure("ms", "ms", "median"), Measure("over", "ms over bare", "median"))
BENCH = Bench("sandbox", {f"sandbox {name}": MEASURES for name in COMMANDS}, measure, needs_model=False)

if __name__ == "__main__":
    main(BENCH, __doc__)
