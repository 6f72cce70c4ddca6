"""Metrics: whole lines only, cut back when steps are done again, told to the loggers that are there."""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from colosse.core.files import DiskFullError
from colosse.train import metrics
from colosse.train.metrics import Lines, Metrics, cut_lines


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_appended_and_numbers_json_knows_not_are_null(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for part in range(2):
        lines = Lines(path)
        lines.write({"step": part, "loss": math.nan if part else 1.5})
        lines.close()
    assert rows(path) == [{"step": 0, "loss": 1.5}, {"step": 1, "loss": None}]


def test_a_half_line_swallows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    lines = Lines(path)
    lines.write({"step": 2})
    lines.close()
    assert rows(path) == [{"step": 1}, {"step": 2}]


def test_steps_to_be_done_again_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 2, "val_loss": 3}\nnonsense\n{"step": 3}\n')
    cut_lines(path, 2)
    assert rows(path) == [{"step": 1}, {"step": 2}, {"step": 2, "val_loss": 3}]
    cut_lines(tmp_path / "none.jsonl", 2)
    assert not (tmp_path / "none.jsonl").exists()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(tmp_path / "m.jsonl")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics, "write_all", full)
    with pytest.raises(DiskFullError):
        lines.write({"step": 1})
    lines.close()


def make(folder: Path, loggers: list[str], said: list[str]) -> Metrics:
    return Metrics(folder, loggers, name="run", recipe={"seed": 1}, say=said.append)


def test_trackers_get_the_numbers_and_missing_ones_are_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    fake = types.ModuleType("trackio")
    for name in ("init", "log", "finish"):
        setattr(fake, name, lambda *args, _name=name, **kwargs: calls.append((_name, *args, kwargs)))
    monkeypatch.setitem(sys.modules, "trackio", fake)
    monkeypatch.setitem(sys.modules, "wandb", None)
    said: list[str] = []
    writer = make(tmp_path, ["trackio", "wandb"], said)
    writer.write({"step": 3, "train_loss": 2.0, "note": "text"})
    writer.close()
    assert len(said) == 1 and "wandb" in said[0]
    assert calls == [
        ("init", {"project": "colosse", "name": "run", "config": {"seed": 1}}),
        ("log", {"train_loss": 2.0}, {"step": 3}),
        ("finish", {}),
    ]


def test_mlflow_keeps_its_numbers_in_the_run_unless_told_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, Any] = {}
    fake = types.ModuleType("mlflow")
    for name in ("set_tracking_uri", "set_experiment", "start_run", "log_dict", "log_metrics", "end_run"):
        setattr(fake, name, lambda *args, _name=name, **kwargs: calls.update({_name: (args, kwargs)}))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    writer = make(tmp_path, ["mlflow"], [])
    writer.write({"step": 3, "train_loss": 2.0})
    writer.close()
    assert calls["set_tracking_uri"][0] == ((tmp_path / "mlruns").as_uri(),)
    assert calls["log_metrics"] == (({"train_loss": 2.0},), {"step": 3, "synchronous": False})
    assert "end_run" in calls


@pytest.mark.torch
def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = make(tmp_path, ["tensorboard"], [])
    writer.write({"step": 1, "train_loss": 2.0})
    writer.write({"step": 2, "train_loss": 1.0})
    writer.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train_loss")
    assert [(event.step, event.value) for event in events] == [(1, 2.0), (2, 1.0)]
