"""Makes folders of train runs as the trainer writes them, without training."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

TOKENS_PER_STEP = 2048

RECIPE = """\
name = "{name}"
note = "a run for tests"
seed = {seed}

[model]
depth = 2
vocab_size = 512

[train]
seq_len = 128
tokens_per_step = 2048
steps = {steps}

[optimizer]
lr = {lr}
"""


def step_row(step: int, **more: Any) -> dict[str, Any]:
    """The record of a step."""
    return {
        "step": step,
        "tokens": step * TOKENS_PER_STEP,
        "train_loss": 2 + 5 * math.exp(-step / 20),
        "grad_norm": 0.5 + 3 / step,
        "lr": 0.001,
        "data_wait_s": 0.001,
        "checkpoint_stall_s": 0.02 if step % 20 == 0 else 0.0,
        "tokens_per_second": 10_000.0,
        "mfu": 0.5,
        "memory_bytes": 300_000_000,
        "seconds": step * 0.2,
        **more,
    }


def evaluation_row(step: int, sources: Sequence[str] = ("code", "books")) -> dict[str, Any]:
    """The record of an evaluation."""
    values = {name: 1.0 + 1 / step + 0.1 * index for index, name in enumerate(sources)}
    row: dict[str, Any] = {"step": step, "val_loss": 2 + 1 / step, "bpb": sum(values.values()) / len(values)}
    return row | {f"bpb.{name}": value for name, value in values.items()}


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def make_run(
    parent: Path,
    name: str,
    *,
    steps: int = 60,
    done: int | None = None,
    state: str = "finished",
    updated: str = "2026-05-01T10:00:00+00:00",
    lr: float = 0.003,
    seed: int = 0,
    sources: Sequence[str] = ("code", "books"),
    **status: Any,
) -> Path:
    """The folder of a run of `steps` steps that has done `done` of them."""
    done = steps if done is None else done
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(RECIPE.format(name=name.split("-")[0], steps=steps, lr=lr, seed=seed))
    rows: list[dict[str, Any]] = []
    events = [
        {"time": "2026-05-01T09:00:00+00:00", "event": "started", "step": 0, "text": "training <here> & there"},
    ]
    for step in range(1, done + 1):
        rows.append(step_row(step))
        if step % 20 == 0:
            rows.append(evaluation_row(step, sources))
            more = {"prompt": "def f(<x>):", "sample": f"\n    return {step} & x"}
            events.append({"time": "2026-05-01T09:30:00+00:00", "event": "sample", "step": step, "text": "", **more})
    write_lines(folder / "metrics.jsonl", rows)
    write_lines(folder / "events.jsonl", events)
    about = {"state": state, "step": done, "total_steps": steps, "pid": 0, "updated": updated, **status}
    (folder / "status.json").write_text(json.dumps(about))
    return folder
