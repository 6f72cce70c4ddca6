"""`colosse plan validate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Colosse = Callable[..., CompletedProcess[str]]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The first and the last rows of the table that comes along, and one that cannot be compared."""
    lines = resources.files("colosse.plan").joinpath("published.csv").read_text().splitlines()
    broken = ",".join("" for _ in lines[0].split(","))
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([*lines[:30], *lines[-10:], broken]))
    return path


def test_any_table_is_compared_row_by_row(colosse: Colosse, table: Path) -> None:
    done = colosse("plan", "validate", table, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    row = found["rows"][0]
    assert row.keys() >= {"id", "source", "predicted_s", "measured_s", "error", "band_s", "inside", "assumed"}
    assert row["error"] == pytest.approx(row["predicted_s"] / row["measured_s"] - 1)
    assert {"id": "row 40", "source": "", "reason": "no hardware"} in found["left_out"]
    assert sum(group["rows"] for group in found["by"]["source"]) == found["overall"]["rows"]


def test_a_person_reads_a_summary_and_a_page(colosse: Colosse, table: Path, tmp_path: Path) -> None:
    done = colosse("plan", "validate", table, "--report", tmp_path / "page.html", "--fit", tmp_path / "mine.toml")
    assert done.returncode == 0, done.stderr
    for words in ("median error", "in theirs", "by source", "by GPU"):
        assert words in done.stdout
    assert "<circle" in (tmp_path / "page.html").read_text()
    assert "product_rate" in (tmp_path / "mine.toml").read_text()


def test_a_table_of_something_else_is_refused_in_a_line(colosse: Colosse, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    done = colosse("plan", "validate", tmp_path / "t.csv")
    assert done.returncode == 2
    assert "no column 'hardware'" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_left_out_is_said(colosse: Colosse, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('hardware,n_gpus,seq_len,source\nB999,8,2048,[/x]\n"H100,8,2048\n')
    done = colosse("plan", "validate", tmp_path / "t.csv")
    assert done.returncode == 0, done.stderr
    assert "'B999' is not in the catalogue" in done.stdout
    assert "median error" not in done.stdout


@pytest.mark.parametrize("option", ["--held-out", "--fit"])
def test_nothing_to_fit_to_is_a_line(colosse: Colosse, tmp_path: Path, option: str) -> None:
    (tmp_path / "t.csv").write_text("hardware,n_gpus,seq_len\n")
    done = colosse("plan", "validate", tmp_path / "t.csv", option, *([tmp_path / "x"] if option == "--fit" else []))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("colosse: ")
    assert "Traceback" not in done.stderr
