"""How much faster one version is than another, with an interval that says how sure that is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from statistics import median
from typing import Any

from pydantic import BaseModel

from colosse.assistant import sandbox
from colosse.core.errors import ColosseError

PAIRS = 15
BUDGET_S = 12.0
"""For all repeats of one measurement; at least seven pairs are made, however long they take."""
CONFIDENCE = 0.95
LIMITS = sandbox.Limits(cpu_s=400, wall_s=400, memory_mb=2048, processes=64, file_mb=256)


class Speedup(BaseModel):
    """A measurement of two versions.

    Attributes:
        speedup: time before / time after; above 1 is faster.
        low: lower end of its 95 % interval.
        high: upper end.
        before_s: median seconds of the first version.
        after_s: of the second.
        before_mb: peak of the memory that a run takes (of commands: of the process); 0 when it was not measured.
        after_mb: of the second.
        pairs: repeats of each version.
    """

    speedup: float
    low: float
    high: float
    before_s: float
    after_s: float
    before_mb: float = 0.0
    after_mb: float = 0.0
    pairs: int


class Unmeasured(BaseModel):
    """Why there is no measurement.

    Attributes:
        error: what happened.
    """

    error: str


def ratio_interval(
    before: Sequence[float], after: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """(estimate, low, high) of how many times shorter `after` is, from runs that were made in pairs.

    Hodges and Lehmann's estimate and interval of the logarithm of the ratio within a pair: the median of the means of
    all pairs of differences (Walsh averages), cut where Wilcoxon's signed-rank statistic says (Hollander and Wolfe,
    Nonparametric Statistical Methods, section 3.3). It assumes no distribution, one outlier does not move it far, and
    what slows a machine for a while cancels, since it slows both runs of a pair.

    Args:
        before: seconds, one for each pair.
        after: seconds of the same pairs.
        confidence: that the interval covers the truth; fewer than six pairs cannot give 0.95, and it spans everything.
    """
    differences = [math.log(max(a, 1e-12) / max(b, 1e-12)) for a, b in zip(before, after, strict=True)]
    count = len(differences)
    walsh = sorted((differences[i] + differences[j]) / 2 for i in range(count) for j in range(i, count))
    cut = _signed_rank_cut(count, (1 - confidence) / 2)
    if cut == 0:
        return math.exp(median(walsh)), 0.0, math.inf
    return math.exp(median(walsh)), math.exp(walsh[cut - 1]), math.exp(walsh[-cut])


def _signed_rank_cut(count: int, tail: float) -> int:
    """The largest k with P(signed-rank statistic < k) <= tail: the k-th Walsh average is the end of the interval."""
    ways = [1]  # sum of a subset of 1..n to the number of subsets
    for rank in range(1, count + 1):
        longer = ways + [0] * rank
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    below, cut = 0, 0
    while cut < len(ways) and (below + ways[cut]) / 2**count <= tail:
        below += ways[cut]
        cut += 1
    return cut


async def measure(
    before: str, after: str, name: str, benches: Sequence[str], pairs: int = PAIRS, budget_s: float = BUDGET_S
) -> tuple[list[Speedup | Unmeasured], list[str]]:
    """Time two versions of a Python module on statements, alone in one sandbox.

    Args:
        before: source of the first version.
        after: of the second.
        name: of the module.
        benches: statements in the module's names; all but the first are measured with fewer repeats.
        pairs: repeats of each.
        budget_s: seconds for the first statement.

    Returns:
        a measurement for each statement, and which built-in names the second version put others in the place of.
    """
    job = {"sources": [before, after], "name": name, "benches": list(benches), "pairs": pairs, "budget_s": budget_s}
    found: list[dict[str, Any]] = await started("timing", job)
    replaced = {item for one in found for item in one.get("tampered", [])}
    return [to_speedup(one) for one in found], sorted(replaced)


def to_speedup(found: Mapping[str, Any]) -> Speedup | Unmeasured:
    """What `inside.timing` or `inside.commands` found, as a measurement."""
    if "error" in found:
        return Unmeasured(error=found["error"])
    estimate, low, high = ratio_interval(found["before"], found["after"])
    return Speedup(
        speedup=estimate,
        low=low,
        high=high,
        before_s=median(found["before"]),
        after_s=median(found["after"]),
        before_mb=found["before_mb"],
        after_mb=found["after_mb"],
        pairs=len(found["before"]),
    )


async def started(
    program: str, job: object, extra: Mapping[str, bytes | str] | None = None, limits: sandbox.Limits = LIMITS
) -> Any:
    """What a program of `inside` found.

    Args:
        program: its name.
        job: what it is to do.
        extra: further files of its folder.
        limits: of the sandbox.

    Raises:
        ColosseError: it could not say: the sandbox stopped it, or the code under test ended it.
    """
    ran = await run_inside(program, job, extra, limits)
    if "found.json" not in ran.files:
        why = f"stopped: {ran.stopped}" if ran.stopped else f"exit code {ran.exit_code}: {ran.stderr[-500:].strip()}"
        raise ColosseError(f"measuring came to no end ({why})", hint="a smaller --bench needs less time and memory")
    return json.loads(ran.files["found.json"])


async def run_inside(
    program: str,
    job: object,
    extra: Mapping[str, bytes | str] | None = None,
    limits: sandbox.Limits = LIMITS,
    seed: str = "0",
) -> sandbox.Ran:
    """Run a program of `inside` in a sandbox; `seed` is that of the hashes of texts, which order sets."""
    folder = files("colosse.assistant.code") / "inside"
    own = {
        f"inside/{item.name}": item.read_text(encoding="utf-8")
        for item in folder.iterdir()
        if item.name.endswith(".py")
    }
    return await sandbox.run(
        [sandbox.PYTHON, "-m", f"inside.{program}"],
        files={**own, **(extra or {}), "job.json": json.dumps(job)},
        keep=["found.json", "found.jsonl"],
        limits=limits,
        env={"PYTHONHASHSEED": seed},
    )
