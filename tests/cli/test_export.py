"""`colosse export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from colosse.cli.main import app  # noqa: E402
from colosse.core.errors import UserError  # noqa: E402
from tests.train.test_export import NAME, make_run  # noqa: E402

pytestmark = pytest.mark.torch


def export(*arguments: object) -> None:
    """In this process: importing torch takes longer than exporting."""
    app(["export", *map(str, arguments)], standalone_mode=False)


def test_a_run_becomes_a_model(home: Path, colosse: Any) -> None:
    make_run(home / "runs" / NAME)
    done = colosse("export", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["format"]) == (NAME, "gguf")
    assert Path(found["path"]).stat().st_size == found["size_bytes"]
    rows = json.loads(colosse("models", "list", "--installed", "--json").stdout)
    assert [(row["id"], row["note"]) for row in rows] == [(NAME, "trained here, step 20: it continues text")]


def test_a_run_becomes_a_folder_and_a_folder_a_file(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(home / "runs" / NAME)
    export(NAME, "--to", "hf", "--step", 10, "--dtype", "float32", "--out", tmp_path / "hf")
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["dtype"] == "float32"
    export(tmp_path / "hf", "--out", tmp_path / "m.gguf", "--dtype", "q8_0")
    export(tmp_path / "m.gguf", "--to", "hf", "--out", tmp_path / "back")
    export(tmp_path / "m.gguf")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines[:3]] == [str(tmp_path / n) for n in ("hf", "m.gguf", "back")]
    assert lines[3].startswith(str(home / "models" / "m" / "m.gguf"))
    assert lines[4:] == ["colosse chat --model m"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no train run 'nothing'"),
        ([NAME, "--to", "onnx"], "no format 'onnx'"),
        ([NAME, "--step", "3"], "cannot be used"),
        ([NAME, "--dtype", "int3"], "no dtype 'int3'"),
        (["missing.gguf"], "there is no file"),
        (["missing.gguf", "--step", "3"], "--step is for train runs"),
    ],
)
def test_bad_requests(arguments: list[str], message: str, home: Path) -> None:
    make_run(home / "runs" / NAME)
    with pytest.raises(UserError, match=message):
        export(*arguments)
    assert not (home / "models").exists() or not list((home / "models").glob("[!.]*"))
