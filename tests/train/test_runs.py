import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from colosse.core.errors import NotFoundError, UserError
from colosse.train.manifest import FileEntry, Manifest, folder_of, seal
from colosse.train.runs import Run, brief, differences, find_run, list_runs, summarize
from colosse.train.textplot import plot
from tests.train.folders import evaluation_row, make_run, step_row, write_lines


def test_looking_at_runs_needs_no_torch(tmp_path: Path) -> None:
    make_run(tmp_path, "a-1")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from colosse.train.report import write_report\nfrom colosse.train.runs import list_runs, summarize\n"
        f"summarize(list_runs(Path({str(tmp_path)!r}))[0])\nwrite_report(Path({str(tmp_path / 'a-1')!r}))\n"
        "assert not {'torch', 'numpy'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_runs_are_listed_by_when_they_were_heard_of(tmp_path: Path) -> None:
    make_run(tmp_path, "old-1", updated="2026-05-01T10:00:00+00:00")
    make_run(tmp_path, "new-1", updated="2026-05-02T10:00:00+00:00")
    (tmp_path / "no-run").mkdir()
    assert [run.name for run in list_runs(tmp_path)] == ["new-1", "old-1"]
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_name_beginning_or_folder(tmp_path: Path) -> None:
    for name in ("laptop-20260501-100000", "laptop-20260502-100000", "muon-20260503-100000"):
        make_run(tmp_path, name)
    assert find_run(tmp_path, "muon").name == "muon-20260503-100000"
    assert find_run(tmp_path, "laptop-20260502").name == "laptop-20260502-100000"
    assert find_run(Path("elsewhere"), str(tmp_path / "muon-20260503-100000")).name == "muon-20260503-100000"
    with pytest.raises(UserError, match=r"several train runs \(laptop-20260501-100000, laptop-20260502-100000\)"):
        find_run(tmp_path, "lap")
    with pytest.raises(NotFoundError, match="did you mean 'muon-20260503-100000'"):
        find_run(tmp_path, "mun")
    with pytest.raises(NotFoundError, match="known: laptop"):
        find_run(tmp_path, "zzz")
    with pytest.raises(NotFoundError, match="no train run"):
        find_run(tmp_path, "")
    with pytest.raises(NotFoundError, match="colosse train RECIPE"):
        find_run(tmp_path / "nowhere", "x")


def test_history_that_was_given_up_and_half_lines_do_not_count(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a-1", done=0)
    first = [*(step_row(n) for n in range(1, 41)), evaluation_row(20), evaluation_row(40)]
    again = [step_row(n, train_loss=1.0) for n in range(31, 36)]
    write_lines(folder / "metrics.jsonl", sorted(first, key=lambda row: row["step"]) + again)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 36, "train_lo')
    run = Run(folder)
    assert [row["step"] for row in run.steps] == list(range(1, 36))
    assert run.series("train_loss")[1][-5:] == [1.0] * 5
    assert [row["step"] for row in run.evaluations] == [20]


def test_values_that_are_no_numbers_leave_gaps(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a-1", done=0)
    rows = [step_row(1), step_row(2, train_loss=None), step_row(3, mfu=None)]
    write_lines(folder / "metrics.jsonl", rows)
    run = Run(folder)
    assert run.series("train_loss")[0] == [1, 3]
    assert run.series("mfu")[0] == [1, 2]


def test_the_state_is_corrected_where_the_process_is_gone(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    now = datetime.now(UTC).isoformat()
    dead = Run(make_run(tmp_path, "dead-1", state="running", done=30, pid=child.pid, updated=now))
    alive = Run(make_run(tmp_path, "alive-1", state="running", done=30, pid=os.getpid(), updated=now))
    taken = Run(make_run(tmp_path, "taken-1", state="running", pid=os.getpid()))  # by a process younger than its word
    away = Run(make_run(tmp_path, "away-1", state="running", pid=child.pid, host=f"not-{socket.gethostname()}"))
    assert dead.status.state == "interrupted"
    assert "ended without a word" in dead.status.message
    assert alive.status.state == "running"
    assert taken.status.state == "interrupted"
    assert away.status.state == "running"


def test_metrics_are_ahead_of_the_status(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a-1", state="running", pid=os.getpid(), updated=datetime.now(UTC).isoformat())
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "step": 3}))
    assert Run(folder).status.step == 60


def test_a_summary(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a-1")
    shard = folder_of(folder / "checkpoints", 60)
    shard.mkdir(parents=True)
    (shard / "data").write_bytes(b"12345")
    seal(shard, Manifest(60, 1, {"data": FileEntry(5, "?")}, {}, "2026-05-01T10:00:00+00:00"))
    folder_of(folder / "checkpoints", 40).mkdir()
    summary = summarize(Run(folder))
    assert (summary.state, summary.step, summary.total_steps, summary.tokens) == ("finished", 60, 60, 60 * 2048)
    assert summary.train_loss == pytest.approx(2.42, abs=0.01)
    assert summary.bpb_by_source == {"code": pytest.approx(1.0167, abs=1e-3), "books": pytest.approx(1.1167, abs=1e-3)}
    assert summary.data_wait == pytest.approx(0.005)
    assert summary.checkpoint_stall == pytest.approx(0.06 / 12)
    assert (summary.memory_bytes, summary.mfu, summary.seconds) == (300_000_000, 0.5, 12)
    assert summary.parameters
    assert summary.checkpoints == [{"step": 60, "size_bytes": 5, "created_at": "2026-05-01T10:00:00+00:00"}]
    row = brief(Run(folder))
    assert (row["step"], row["bpb"], row["tokens"]) == (60, summary.bpb, summary.tokens)


def test_a_run_that_has_said_nothing_is_no_error(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a-1")
    for name in ("status.json", "metrics.jsonl", "events.jsonl"):
        (folder / name).unlink()
    (folder / "recipe.toml").write_text("nonsense = [")
    run = Run(folder)
    summary = summarize(run)
    assert (summary.state, summary.step, summary.train_loss, summary.parameters) == ("unknown", 0, None, None)
    assert brief(run)["state"] == "unknown"
    assert differences([run, run]) == {}


def test_differences_of_recipes(tmp_path: Path) -> None:
    runs = [Run(make_run(tmp_path, "a-1")), Run(make_run(tmp_path, "b-1", lr=0.01, seed=4))]
    assert differences(runs) == {"seed": [0, 4], "optimizer.lr": [0.003, 0.01]}


def test_a_curve_in_dots_goes_from_its_first_to_its_last_value() -> None:
    lines = plot(range(1, 101), [100 - x for x in range(100)], width=20, height=5)
    assert len(lines) == 6
    assert lines[0].startswith("   99.5 ")
    assert lines[4].startswith("    1.5 ")
    assert lines[-1].split() == ["1", "100"]
    dots = [line[8:] for line in lines[:5]]
    assert [line.lstrip("\u2800")[0] != "\u2800" for line in dots] == [True] * 5
    assert len(plot([0, 1], [3.0, 3.0], width=5, height=3)) == 4
