"""`colosse translate`, `summarize` and `code` as commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.scripted import Scripted

pytestmark = pytest.mark.usefixtures("scripted_settings")

SOURCE = "def double(x):\n    return x + 2\n"
FIXED = "def double(x):\n    return 2 * x\n"
DIFF = "--- a/d.py\n+++ b/d.py\n@@ -1,2 +1,2 @@\n def double(x):\n-    return x + 2\n+    return 2 * x\n"
ANSWER = f"```python\n{FIXED}```\nIt added."
CHECKED = "not run, so not verified; checked: complete, not_empty, code_block, syntax, changed, names\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "d.py"
    path.write_text(SOURCE)
    path.chmod(0o755)
    return path


def test_translate(scripted: Scripted, colosse: Any, tmp_path: Path) -> None:
    scripted.reply = "Bonjour"
    (tmp_path / "a.txt").write_text("Hello\n")
    for source, input in ((tmp_path / "a.txt", None), ("-", "Hello\n"), ("Hello", None)):
        done = colosse("translate", source, "--to", "français", input=input)
        assert (done.returncode, done.stdout, done.stderr) == (0, "Bonjour\n", "")
    assert len(scripted.requests) == 3


def test_translate_json_and_failed_checks(scripted: Scripted, colosse: Any) -> None:
    scripted.reply = "Trois chats"
    done = colosse("translate", "3 cats", "--to", "fr")
    assert (done.returncode, done.stdout) == (1, "Trois chats\n")
    assert done.stderr == "warning: numbers differ from the text: 3\n"
    done = colosse("translate", "3 cats", "--to", "fr", "--from", "en", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert result["answer"] == "Trois chats"
    assert result["verified"] is False
    assert {"name": "numbers", "passed": False, "detail": "3"} in result["checks"]
    assert result["usage"]["completion_tokens"] == 4
    assert result["seconds"] > 0


def test_summarize(scripted: Scripted, colosse: Any, tmp_path: Path) -> None:
    scripted.reply = "Short."
    (tmp_path / "a.txt").write_text("A long text. " * 50)
    assert colosse("summarize", tmp_path / "a.txt", "--length", "short").stdout == "Short.\n"
    assert "two sentences" in scripted.requests[0].body["messages"][1]["content"]
    done = colosse("summarize", "-", "--lang", "French", "--json", input="A long text.")
    assert json.loads(done.stdout)["answer"] == "Short."
    long = "\n\n".join("Words stand here to be read. " * 20 for _ in range(60))
    assert "summarising: part 1 of " in colosse("summarize", "-", input=long).stderr


def test_fix_prints_code_or_changes(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = ANSWER
    done = colosse("code", "fix", "d.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, FIXED, f"It added.\n{CHECKED}")
    assert colosse("code", "fix", "d.py", "--diff").stdout == DIFF
    assert colosse("code", "fix", "-", "--lang", "py", input=SOURCE).stdout == FIXED
    result = json.loads(colosse("code", "fix", "d.py", "--json").stdout)
    assert (result["answer"], result["diff"], result["verified"]) == (FIXED, DIFF, False)
    assert file.read_text() == SOURCE


def test_fix_writes_files(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = ANSWER
    done = colosse("code", "fix", "d.py", "-o", "new.py")
    assert (done.stdout, done.stderr) == ("", f"{DIFF}It added.\n{CHECKED}")
    assert Path("new.py").read_text() == FIXED
    Path("link.py").symlink_to("d.py")
    colosse("code", "fix", "link.py", "--in-place")
    assert file.read_text() == FIXED
    assert file.stat().st_mode & 0o777 == 0o755
    assert Path("link.py").is_symlink()


def test_a_bad_result_never_replaces_a_file(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = "```python\ndef double(:\n```"
    done = colosse("code", "fix", "d.py", "--in-place")
    assert done.returncode == 1
    assert "does not parse: line 1" in done.stderr
    assert "d.py is left as it was" in done.stderr
    assert file.read_text() == SOURCE


def test_error_log(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = ANSWER
    colosse("code", "fix", "d.py", "--error", "-", input="AssertionError: 5")
    assert "AssertionError: 5" in scripted.requests[0].body["messages"][1]["content"]


def test_write_and_optimize(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = ANSWER
    assert colosse("code", "write", "double", "a number").stdout == FIXED
    colosse("code", "write", "double", "-o", "out.rs", input="as i64")
    assert Path("out.rs").read_text() == FIXED
    request = scripted.requests[1].body["messages"][1]["content"]
    assert "Rust" in request
    assert request.endswith("double\n\nas i64")
    assert colosse("code", "optimize", "d.py", "--diff").stdout == DIFF


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["translate", "Hello", "--to", "klingon"], "unknown language"),
        (["translate", "a.txt", "--to", "fr"], "no such file"),
        (["translate", "-", "--to", "fr"], "standard input is empty"),
        (["summarize", "."], "is a folder"),
        (["code", "write"], "there is no task"),
        (["code", "write", "x", "--lang", "pyton"], "did you mean 'python'"),
        (["code", "write", "x", "-o", "nowhere/x.py"], "no such folder: nowhere"),
        (["code", "write", "x", "-o", "."], "is a folder"),
        (["code", "fix", "d.py", "--diff", "--in-place"], "exclude each other"),
        (["code", "fix", "-", "--in-place"], "needs a file"),
        (["code", "fix", "-", "--error", "-"], "cannot both"),
        (["code", "optimize", "gone.py"], "no such file"),
    ],
)
def test_bad_input_is_one_line(scripted: Scripted, colosse: Any, file: Path, arguments: list[str], said: str) -> None:
    done = colosse(*arguments, input="")
    assert done.returncode == 2
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert said in done.stderr
    assert scripted.requests == []
