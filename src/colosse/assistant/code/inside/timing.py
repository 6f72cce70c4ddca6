"""Times two versions of a module on a statement: a fresh process and fresh arguments for every repeat, ABBA order.

`job.json`: sources (two), name, benches (statements; the first is measured with `pairs` repeats, others with fewer),
pairs, budget_s. `found.json`: one entry a bench, see `measure`.

A repeat is a fork of this process, which has never run the code, so nothing a repeat leaves behind is there for the
next. Within it the module is executed anew before each timed call, so that no cache of the module outlives a call; time
that loading takes beyond what the first version needs counts as time of the call, so that nothing is gained by moving
work there.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import signal
import statistics
import sys
import time
import tracemalloc
import types
from pathlib import Path
from typing import Any

from .outcomes import Bench, fingerprint, load, tampered

SHORT_S, TOGETHER_S = 0.02, 0.002
"""A call that is shorter than the first is made several times in one repeat, each with everything fresh, for the second
together or at least once after a call that does not count."""
MAX_CALLS = 100
REPEAT_S = 30.0
TRACED_S = 3.0
"""A longer call is not traced for its memory: tracing makes it many times slower."""
MIN_PAIRS = 7


def repeat(program: types.CodeType, name: str, bench: Bench, calls: int, *, memory: bool = False) -> dict[str, Any]:
    """One repeat in a fork: seconds of each call and of loading (medians), or MB at its peak; `error` when it failed.

    Args:
        program: the module's code.
        name: of the module.
        bench: what to time.
        calls: how many times; the first of several is left out as warm-up.
        memory: trace the peak of memory instead of timing.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(REPEAT_S))
        try:
            found = _run(program, name, bench, calls, memory=memory)
        except BaseException as error:
            found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")}
        os.write(writer, json.dumps(found)[:4000].encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status, _ = os.wait4(child, 0)
    if not said:
        late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        return {"error": f"no answer after {REPEAT_S:.0f} s" if late else f"crashed (status {status})"}
    answer: dict[str, Any] = json.loads(said)
    return answer


def _run(program: types.CodeType, name: str, bench: Bench, calls: int, *, memory: bool) -> dict[str, Any]:
    clock = time.perf_counter_ns  # kept, whatever the code does to `time`
    clean = fingerprint()
    seconds, loading = [], []
    sys.stdout = io.StringIO()
    for _ in range(calls):
        start = clock()
        module = load(program, name)
        loading.append((clock() - start) / 1e9)
        run = bench.prepare(module)
        gc.collect()
        gc.disable()
        if memory:
            tracemalloc.start()
            run()
            return {"mb": tracemalloc.get_traced_memory()[1] / 1e6}
        start = clock()
        result = run()
        seconds.append((clock() - start) / 1e9)
        gc.enable()
        del result, run, module
    kept = slice(1 if calls > 1 else 0, None)
    return {
        "seconds": statistics.median(seconds[kept]),
        "loading": statistics.median(loading[kept]),
        "tampered": tampered(clean),
    }


def measure(sources: list[str], name: str, statement: str, pairs: int, budget_s: float) -> dict[str, Any]:
    """Both versions timed in ABBA order.

    Args:
        sources: the first and the second version.
        name: of the module.
        statement: what is timed.
        pairs: of repeats, at most; fewer to stay within the budget, but not fewer than `MIN_PAIRS`.
        budget_s: seconds for all of it.

    Returns:
        `before` and `after`: seconds of the repeats, pair by pair; `before_mb`, `after_mb`; `tampered`; or `error`.
    """
    programs = [compile(source, f"{name}.py", "exec") for source in sources]
    bench = Bench(statement)
    calls, cost = [1, 1], 0.0
    peaks = [0.0, 0.0]
    for version, program in enumerate(programs):  # also the warm-up, of caches that processes share
        start = time.perf_counter()
        found = repeat(program, name, bench, 1)
        if "error" in found:
            return {"error": found["error"], "version": version}
        if found["seconds"] < SHORT_S:  # a first call is cold: pages are copied, nothing is in a cache
            warm = repeat(program, name, bench, 5).get("seconds", found["seconds"])
            calls[version] = min(MAX_CALLS, 2 + int(TOGETHER_S / max(warm, 1e-7)))
        if found["seconds"] < TRACED_S:
            peaks[version] = repeat(program, name, bench, 1, memory=True).get("mb", 0.0)
        cost += (time.perf_counter() - start) / (2 if found["seconds"] < TRACED_S else 1)
    if max(calls) <= 2 * min(calls):  # much alike: then alike in this as well
        calls = [max(calls)] * 2
    pairs = min(pairs, max(MIN_PAIRS, int(budget_s / cost)))
    seconds: list[list[float]] = [[], []]
    replaced: list[str] = []
    loads: list[list[float]] = [[], []]
    for pair in range(pairs):
        for version in (0, 1) if pair % 2 == 0 else (1, 0):
            found = repeat(programs[version], name, bench, calls[version])
            if "error" in found:
                return {"error": found["error"], "version": version}
            seconds[version].append(found["seconds"])
            loads[version].append(found["loading"])
            replaced += found["tampered"] if version else []
    longer = max(0.0, min(loads[1]) - min(loads[0]))
    return {
        "before": seconds[0],
        "after": [took + longer for took in seconds[1]],
        "before_mb": peaks[0],
        "after_mb": peaks[1],
        "tampered": sorted(set(replaced)),
    }


def main() -> None:
    """Measure every bench of the job."""
    sys.setrecursionlimit(3000)
    job = json.loads(Path("job.json").read_text())
    gc.collect()
    gc.freeze()  # what is here already need not be looked through again before each call
    found = []
    for at, statement in enumerate(job["benches"]):
        pairs, budget_s = (job["pairs"], job["budget_s"]) if at == 0 else (MIN_PAIRS, job["budget_s"] / 4)
        with contextlib.redirect_stdout(io.StringIO()):
            found.append(measure(job["sources"], job["name"], statement, pairs, budget_s))
    Path("found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
