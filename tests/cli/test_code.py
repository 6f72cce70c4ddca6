"""`colosse code` as a person runs it."""

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
UNVERIFIED = "It added.\nnot verified; checked: changed, syntax, names; tests: none were run\n"
TEST = "from d import double\n\n\ndef test():\n    assert double(3) == 6\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "d.py"
    path.write_text(SOURCE)
    path.chmod(0o755)
    return path


def test_fix_red_to_green(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = ANSWER
    Path("test_d.py").write_text(TEST)
    done = colosse("code", "fix", "d.py", "--run", "pytest -q")
    assert (done.returncode, done.stdout, file.read_text()) == (0, FIXED, SOURCE)
    assert "before: pytest -q: 0 passed, 1 failed" in done.stderr
    assert "attempt 1: pytest -q: 1 passed, 0 failed\nIt added.\nverified; " in done.stderr
    Path("link.py").symlink_to("d.py")
    done = colosse("code", "fix", ".", "--run", "pytest -q", "--apply")
    assert (done.returncode, done.stdout, file.read_text()) == (0, DIFF, FIXED)
    assert file.stat().st_mode & 0o777 == 0o755
    done = colosse("code", "fix", ".", "--run", "pytest -q", "-i")
    assert done.returncode == 1
    assert "passes already" in done.stderr


def test_fix_without_a_command(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = ANSWER
    done = colosse("code", "fix", "d.py", "--error", "-", input="AssertionError: 5")
    assert (done.returncode, done.stdout, done.stderr.endswith(UNVERIFIED)) == (1, FIXED, True)
    assert "AssertionError: 5" in scripted.requests[0].body["messages"][1]["content"]
    assert colosse("code", "fix", "d.py", "--diff").stdout == DIFF
    assert colosse("code", "fix", "-", "--lang", "py", input=SOURCE).stdout == FIXED
    result = json.loads(colosse("code", "fix", "d.py", "--json").stdout)
    assert (result["answer"], result["diff"], result["verified"]) == (FIXED, DIFF, False)
    done = colosse("code", "fix", "d.py", "-o", "new.py")
    assert (done.stdout, Path("new.py").read_text()) == ("", FIXED)
    done = colosse("code", "fix", "d.py", "--apply")
    assert (done.returncode, file.read_text()) == (1, SOURCE)
    assert "left as they were" in done.stderr


def test_write(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = ANSWER
    done = colosse("code", "write", "double", "a number:", "double(3) == 6", "-n", 1)
    assert (done.returncode, done.stdout) == (0, FIXED)
    assert "tests: the examples of the task" in done.stderr
    Path("test_d.py").write_text(TEST)
    done = colosse("code", "write", "-t", "test_d.py", "-o", "new.py", input="double a number")
    assert (done.returncode, done.stdout, Path("new.py").read_text()) == (0, "", FIXED)
    assert "tests: yours" in done.stderr
    request = scripted.requests[-1].body["messages"][1]["content"]
    assert "double a number" in request
    scripted.reply = "```python\ndef double(x):\n    return 7\n```"
    done = colosse("code", "write", "double: double(3) == 6", "-n", 1)
    assert done.returncode == 1
    assert "double(3) is 7, not 6" in done.stderr


def test_explain_and_translate(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = "`double` adds two. assert double(3) == 5"
    done = colosse("code", "explain", "d.py", "-q", "why?")
    assert done.stdout.startswith("`double` adds two.")
    scripted.reply = "```haskell\nmain = print 1\n```"
    done = colosse("code", "translate", "-", "--to", "haskell", input="print(1)")
    assert (done.returncode, done.stdout) == (1, "main = print 1\n")
    assert "Haskell is not run here" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["write"], "there is no task"),
        (["write", "x", "--lang", "pyton"], "did you mean 'python'"),
        (["write", "x", "-o", "nowhere/x.py"], "no such folder: nowhere"),
        (["write", "x", "-o", "."], "is a folder"),
        (["write", "x", "--tests", "gone.py"], "no such file"),
        (["fix", "gone.py"], "no such file"),
        (["fix", "-", "--error", "-"], "stands alone"),
        (["fix", "d.py", "-o", "x.py", "--diff"], "without --apply and --diff"),
        (["explain", "gone.py"], "no such file"),
        (["translate", "d.py", "--to", "pyton"], "did you mean 'python'"),
        (["translate", "d.py", "--to", "python"], "Python already"),
        (["optimize", "gone.py"], "no such file"),
    ],
)
def test_bad_input_is_one_line(scripted: Scripted, colosse: Any, file: Path, arguments: list[str], said: str) -> None:
    done = colosse("code", *arguments, input="")
    assert done.returncode == 2
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert said in done.stderr
    assert scripted.requests == []
