"""What a run writes about itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

from colosse.train.live import View
from colosse.train.record import FolderRecord


class Watcher(View):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def begin(self, done: int, total: int) -> None:
        self.seen.append((done, total))

    def note(self, text: str) -> None:
        self.seen.append(text)


def test_files_and_view_hear_the_same(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    watcher = Watcher()
    with FolderRecord(tmp_path, loggers=[], recipe={}, view=watcher) as record:
        record.begin(1, 9)
        record.step({"step": 2, "train_loss": 1.5})
        record.evaluation({"step": 2, "val_loss": 1.25})
        record.event("sample", 2, "text for people", sample="x")
        record.status("interrupted", 2, "why")
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [{"step": 1}, {"step": 2, "train_loss": 1.5}, {"step": 2, "val_loss": 1.25}]
    (event,) = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    assert event.pop("time").endswith("+00:00")
    assert event == {"event": "sample", "step": 2, "text": "text for people", "sample": "x"}
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["step"], status["total_steps"]) == ("interrupted", 2, 9)
    assert status["message"] == "why" and status["pid"] == os.getpid()
    assert watcher.seen == [(1, 9), "text for people"]
