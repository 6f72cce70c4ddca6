"""`colosse sandbox`, as somebody types it."""

import json

import pytest
from typer.testing import CliRunner

from colosse.cli.main import app
from colosse.core.errors import NotFoundError, UserError


def colosse(*words: str, input: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["sandbox", *words], input=input)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_output_and_exit_code_are_the_programs():
    assert colosse("run", "--", "sh", "-c", "cat; echo err >&2; exit 3", input="in\n") == (3, "in\n", "err\n")


def test_files_in_and_out(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    given = f"{tmp_path / 'a.txt'}:in/b.txt"
    code, _, said = colosse(
        "run", "-f", given, "-k", "*.up", "-o", str(tmp_path / "out"), "--", "sh", "-c", "tr a-z A-Z <in/b.txt >c.up"
    )
    assert code == 0, said
    assert (tmp_path / "out" / "c.up").read_text() == "HELLO" and "wrote" in said


def test_links_that_lie_in_wait_are_not_followed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="a link that leads out"):
        colosse("run", "-k", "x", "-o", str(tmp_path / "out"), "--", "touch", "x")
    assert not (tmp_path / "outside").exists()


def test_hidden_files_are_written_only_when_asked_for(tmp_path):
    script = "mkdir .git; echo a >.git/config; echo b >b; cp b c"
    (tmp_path / "c").write_text("b\n")
    given = ("-f", str(tmp_path / "c"), "-o", str(tmp_path / "out"))
    assert "wrote" in colosse("run", *given, "-k", "*", "--", "sh", "-c", script)[2]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]
    colosse("run", *given, "-k", ".git/*", "--", "sh", "-c", script)
    assert (tmp_path / "out" / ".git" / "config").read_text() == "a\n"


def test_a_limit_says_so():
    code, _, said = colosse("run", "--wall-s", "0.2", "--", "sleep", "60")
    assert code == 124 and "stopped: over the limit of time" in said


def test_json():
    code, out, _ = colosse("run", "--json", "--", "echo", "hi")
    assert code == 0 and json.loads(out)["stdout"] == "hi\n" and json.loads(out)["files"] == []


def test_check():
    code, out, _ = colosse("check", "--json")
    found = json.loads(out)
    assert code == 0 and found["isolated"] and found["languages"]["python"] == ""
    assert "✓ python" in colosse("check")[1]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(NotFoundError, match="there is no file"):
        colosse("run", "-f", str(tmp_path / "none"), "--", "true")
