"""Kill -9 in the middle of training, again and again, to see whether the run that goes on is still the same run.

A small model is trained twice from the same recipe: once undisturbed, once with a rank killed at random moments (while
starting, in a step, in an evaluation, in a checkpoint) and started again each time. In the end the two must agree to
the bit: every tensor of model and optimiser, the loss of every step, the number of sequences after every step. Then no
sequence was trained twice or left out, and no torn checkpoint was resumed from.

    python -m benchmarks.train_kill                    # 20 kills of one process, 20 of two ranks
    python -m benchmarks.train_kill --kills 5 --ranks 2

Ranks are forked from a process that has imported everything, so that a start takes no longer than it must; each is
`colosse train` with the variables that `torchrun` sets.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from colosse.train.manifest import candidates, folder_of, is_complete
from colosse.train.runs import list_runs

PATIENCE_S = 300.0
STEPS_PER_KILL = 9
"""Steps of the recipe for each kill: a try gets this far on average."""
RECIPE = """\
name = "kill"
loggers = []
[model]
dim = 32
num_layers = 2
num_heads = 2
ffn_dim = 64
vocab_size = 512
[layout]
dp_shard = {ranks}
precision = "float32"
compile = "off"
[train]
seq_len = 32
tokens_per_step = 256
steps = {steps}
[data]
sources = [{{ name = "words", kind = "files", paths = ["words"] }}]
tokenizer = {{ vocab_size = 512 }}
val_fraction = 0.1
[eval]
interval_steps = 17
tokens = 512
[checkpoint]
interval_steps = 4
"""
NURSERY = """
import json, os, signal, sys
import colosse.cli.main, colosse.cli.train, colosse.data.prepare, colosse.train.local, colosse.train.pretrain
import colosse.train.checkpoint, colosse.train.report, colosse.train.export
for line in sys.stdin:
    job, pids = json.loads(line), []
    for rank in range(job["ranks"]):
        child = os.fork()
        if not child:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if job["ranks"] > 1:
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(job["ranks"]),
                                  MASTER_ADDR="127.0.0.1", MASTER_PORT=str(job["port"]))
            sys.argv = ["colosse", "train", *job["arguments"]]
            sys.stdin.close()
            log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1), os.dup2(log, 2)
            colosse.cli.main.main()
            sys.exit(0)
        pids.append(child)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print(json.dumps(pids), flush=True)
"""


@dataclass
class Tally:
    """What the kills found; the four numbers after `seconds` must stay 0.

    Attributes:
        in_checkpoint: kills that left a checkpoint half written.
        while_starting: kills before the first step of a try.
        steps_lost: steps done again because they came after the last checkpoint.
        seconds: of all of it.
        different_tensors: of model and optimiser, after the last step.
        different_steps: whose loss or number of sequences differs from the undisturbed run's.
        torn_checkpoints: kills after which something newer than the newest complete checkpoint bore the name of one.
        failed_starts: tries that ended by themselves without having finished.
    """

    ranks: int
    kills: int = 0
    in_checkpoint: int = 0
    while_starting: int = 0
    steps: int = 0
    steps_lost: int = 0
    seconds: float = 0.0
    different_tensors: int = 0
    different_steps: int = 0
    torn_checkpoints: int = 0
    failed_starts: int = 0
    details: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How many things went wrong."""
        return self.different_tensors + self.different_steps + self.torn_checkpoints + self.failed_starts


class Nursery:
    """Forks ranks that have imported everything already."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "ranks.log"
        environment = {**os.environ, "COLOSSE_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=folder
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def train(self, ranks: int, *arguments: object) -> list[psutil.Process]:
        """Start `colosse train` on `ranks` ranks."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        job = {"ranks": ranks, "port": port, "arguments": list(map(str, arguments)), "log": str(self.log)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(job)}\n".encode())
        self._process.stdin.flush()
        return [process for pid in json.loads(self._process.stdout.readline()) if (process := _process(pid))]

    def finish(self, processes: Sequence[psutil.Process]) -> None:
        """Wait until all have ended; one that does not is a fault of the program."""
        _, alive = psutil.wait_procs(processes, PATIENCE_S)
        if alive:
            raise RuntimeError(f"ranks that do not end:\n{self.log.read_text()[-3000:]}")


def run(folder: Path, *, ranks: int, kills: int, seed: int = 0) -> Tally:
    """Train undisturbed and disturbed in `folder`, and compare."""
    chance, began = random.Random(seed), time.monotonic()
    tally = Tally(ranks, steps=kills * STEPS_PER_KILL)
    _make_corpus(folder / "words")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(ranks=ranks, steps=tally.steps))
    with Nursery(folder) as nursery:
        undisturbed, disturbed = (f"runs_dir={folder / name}" for name in ("undisturbed", "disturbed"))
        nursery.finish(nursery.train(ranks, recipe, undisturbed))
        while tally.kills < kills:
            _one_kill(folder / "disturbed", nursery.train(ranks, recipe, disturbed), tally, chance)
        nursery.finish(nursery.train(ranks, recipe, disturbed))
    _compare(_run_of(folder / "undisturbed"), _run_of(folder / "disturbed"), tally)
    tally.seconds = round(time.monotonic() - began, 1)
    return tally


def _one_kill(runs: Path, processes: list[psutil.Process], tally: Tally, chance: random.Random) -> None:
    """Let a try come some steps far, or into a checkpoint, or not even to its first step, and kill one of its ranks."""
    when = chance.choices(["starting", "training", "writing"], [2, 4, 4])[0]
    goal = min(_last_step(runs) + chance.randint(0, STEPS_PER_KILL), tally.steps - STEPS_PER_KILL)
    deadline = time.monotonic() + PATIENCE_S
    while when != "starting" and time.monotonic() < deadline and all(map(_lives, processes)):
        if _has_begun(runs, processes) and _last_step(runs) >= goal and (when == "training" or _is_writing(runs)):
            break
        time.sleep(0.001)
    time.sleep(chance.uniform(0, {"starting": 1.5, "training": 0.05, "writing": 0.01}[when]))
    victim = chance.choice(processes)
    if not _lives(victim):
        tally.failed_starts += 1
        tally.details.append(f"try {tally.kills + 1} ended by itself")
    tally.while_starting += not _has_begun(runs, processes)
    for process in (victim, *processes):  # as `torchrun` does: the others cannot go on without it
        if _lives(process):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, 30)
    tally.kills += 1
    tally.in_checkpoint += _is_writing(runs)
    complete, torn = _checkpoints(runs)
    tally.steps_lost += max(0, _last_step(runs) - complete)
    if torn > complete:
        tally.torn_checkpoints += 1
        tally.details.append(f"after kill {tally.kills} step {torn} looks like a checkpoint, {complete} is one")


def _compare(undisturbed: Path, disturbed: Path, tally: Tally) -> None:
    """Step by step, then tensor by tensor."""
    wanted, found = _history(undisturbed), _history(disturbed)
    if [row["step"] for row in found] != list(range(1, tally.steps + 1)):
        tally.different_steps += 1
        tally.details.append(f"steps recorded: {[row['step'] for row in found]}")
    for row, other in zip(wanted, found, strict=False):
        keys = ("step", "sequences", "tokens", "train_loss", "grad_norm", "lr")
        if any(row[key] != other[key] for key in keys):
            tally.different_steps += 1
            tally.details.append(f"step {row['step']}: {[(row[key], other[key]) for key in keys]}")
    tensors, others = _tensors(undisturbed, tally.steps), _tensors(disturbed, tally.steps)
    different = [name for name in tensors.keys() | others.keys() if not _equal(tensors.get(name), others.get(name))]
    tally.different_tensors = len(different)
    tally.details += [f"different: {name}" for name in different]


def _tensors(run_folder: Path, step: int) -> dict[str, Any]:
    """Every tensor of a checkpoint, whole."""
    import torch
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    from colosse.train.checkpoint import Checkpoints

    kept = FileSystemReader(folder_of(run_folder / "checkpoints", step)).read_metadata().state_dict_metadata
    whole = {
        name: torch.empty(about.size, dtype=about.properties.dtype)
        for name, about in kept.items()
        if isinstance(about, TensorStorageMetadata)
    }
    Checkpoints(run_folder / "checkpoints", keep=1, asynchronous=False).load(step, whole)
    return whole


def _equal(one: Any, other: Any) -> bool:
    import torch

    return one is not None and other is not None and torch.equal(one, other)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _run_of(runs: Path) -> Path:
    (only,) = (path.parent for path in runs.glob("*/recipe.toml"))
    return only


def _history(run_folder: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, (run_folder / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if "train_loss" in row]


def _last_step(runs: Path) -> int:
    """Of the disturbed run, by its metrics; 0 before there is one."""
    return max((row["step"] for run in list_runs(runs) for row in run.tail), default=0)


def _has_begun(runs: Path, processes: Sequence[psutil.Process]) -> bool:
    """Whether the try has come to its first step: then the status bears its number."""
    return any(run.status.pid == processes[0].pid for run in list_runs(runs))


def _is_writing(runs: Path) -> bool:
    """Whether a checkpoint is being written, or was when its writer died."""
    return any(runs.glob("*/checkpoints/.step-*.tmp"))


def _checkpoints(runs: Path) -> tuple[int, int]:
    """Steps of the newest complete checkpoint and of the newest folder with the name of one; 0 where there is none."""
    found = [item for run in list_runs(runs) for item in candidates(run.folder / "checkpoints")]
    complete = max((step for step, folder in found if is_complete(folder)), default=0)
    return complete, max((step for step, _ in found), default=0)


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _make_corpus(folder: Path) -> None:
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(2, 7))) for _ in range(200)]
    folder.mkdir()
    for number in range(40):
        lines = (" ".join(chance.choices(words, k=10)) for _ in range(20))
        (folder / f"{number:02}.txt").write_text("\n".join(lines))


def main() -> None:
    """Run, print, and fail when anything differs."""
    parser = argparse.ArgumentParser(description="kill -9 in the middle of training")
    parser.add_argument("--kills", type=int, default=20, help="for each number of ranks")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    tallies = []
    for ranks in options.ranks:
        with tempfile.TemporaryDirectory() as folder:
            tallies.append(run(Path(folder), ranks=ranks, kills=options.kills, seed=options.seed))
        for detail in tallies[-1].details[:20]:
            print(detail, file=sys.stderr)
    rows = [asdict(tally) for tally in tallies]
    for name in rows[0]:
        if name != "details":
            print(f"{name:>20}  " + "  ".join(f"{row[name]:>8}" for row in rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    raise SystemExit(1 if any(tally.faults for tally in tallies) else 0)


if __name__ == "__main__":
    main()
