"""Times a command on two versions of a file, whole processes in ABBA order, each in a fresh copy of its folder.

`job.json`: build (a command done once, not timed; may be empty), command, pairs, budget_s; the folders `a` and `b` hold
the files of each version. `found.json`: `before` and `after` in seconds, `before_mb` and `after_mb` (peak of the
process), `outputs` of each, or `error` and `version`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MIN_PAIRS = 7
SHOWN = 2000
LIMIT_S = 30.0


def once(version: str, command: str) -> dict[str, Any]:
    """One run: seconds, MB, exit code and what it wrote on standard output and standard error."""
    folder = Path("run")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(version, folder, symlinks=True)
    with (Path("out")).open("wb") as out, Path("err").open("wb") as err:
        start = time.perf_counter_ns()
        process = subprocess.Popen(["sh", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        while True:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            taken = (time.perf_counter_ns() - start) / 1e9
            if done or taken > LIMIT_S:
                break
            time.sleep(min(0.0002 + taken / 1000, 0.005))
        process.returncode = os.waitstatus_to_exitcode(status) if done else -9
        if not done:
            process.kill()
            os.wait4(process.pid, 0)
    code = process.returncode
    error = Path("err").read_bytes().decode(errors="replace")
    text = Path("out").read_bytes().decode(errors="replace")
    return {"seconds": taken, "mb": usage.ru_maxrss / 1024, "code": code, "out": text, "err": error, "late": not done}


def main() -> None:
    """Build both, run each once for its output, then time them."""
    job = json.loads(Path("job.json").read_text())
    outputs: list[str] = []
    again, cost = "", 0.0
    for version in ("a", "b"):
        if job["build"]:
            built = subprocess.run(["sh", "-c", job["build"]], cwd=version, capture_output=True, text=True)
            if built.returncode:
                _leave({"error": f"{job['build']}: {built.stderr[-SHOWN:].strip()}", "version": version})
        ran = once(version, job["command"])
        if ran["code"] or ran["late"]:
            said = (
                f"no end after {LIMIT_S:.0f} s"
                if ran["late"]
                else f"exit code {ran['code']}: {ran['err'][-SHOWN:].strip()}"
            )
            _leave({"error": said, "version": version})
        outputs.append(ran["out"])
        cost += ran["seconds"]
        if version == "a":
            again = once(version, job["command"])["out"]
    if job["pairs"] == 0:
        _leave({"outputs": outputs, "again": again})
    pairs = min(job["pairs"], max(MIN_PAIRS, int(job["budget_s"] / cost)))
    found: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
    for pair in range(pairs):
        for version in "ab" if pair % 2 == 0 else "ba":
            found[version].append(once(version, job["command"]))
    _leave(
        {
            "before": [ran["seconds"] for ran in found["a"]],
            "after": [ran["seconds"] for ran in found["b"]],
            "before_mb": statistics.median(ran["mb"] for ran in found["a"]),
            "after_mb": statistics.median(ran["mb"] for ran in found["b"]),
            "outputs": outputs,
            "again": again,
        }
    )


def _leave(found: dict[str, Any]) -> None:
    Path("found.json").write_text(json.dumps(found))
    sys.exit()


if __name__ == "__main__":
    main()
