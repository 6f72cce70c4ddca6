"""`colosse code optimize` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.scripted import Scripted

pytestmark = pytest.mark.usefixtures("scripted_settings")

SLOW = "def total(n):\n    return sum(1 for i in range(n) for j in range(100))\n"
FAST = "def total(n):\n    return 100 * max(n, 0)\n"
DIFF = (
    "--- a/slow.py\n+++ b/slow.py\n@@ -1,2 +1,2 @@\n def total(n):\n"
    "-    return sum(1 for i in range(n) for j in range(100))\n+    return 100 * max(n, 0)\n"
)
BENCH = ("--bench", "total(500)", "--candidates", 1)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "slow.py"
    path.write_text(SLOW)
    return path


def test_faster(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = f"```python\n{FAST}```\nNo loop."
    Path("test_slow.py").write_text("from slow import total\n\ndef test():\n    assert total(2) == 200\n")
    done = colosse("code", "optimize", "slow.py", *BENCH, "--tests", "test_slow.py", "--diff")
    assert (done.returncode, done.stdout, file.read_text()) == (0, DIFF, SLOW), done.stderr
    assert "calls of total(n: int) (known by: calls)" in done.stderr
    assert "No loop.\nbench   total(500)\n" in done.stderr
    assert " times as fast (95 %: " in done.stderr
    assert "\nverified; " in done.stderr
    done = colosse("code", "optimize", "slow.py", *BENCH, "--in-place")
    assert (done.returncode, done.stdout, file.read_text()) == (0, "", FAST)


def test_nothing_faster(scripted: Scripted, colosse: Any, file: Path) -> None:
    scripted.reply = f"```python\n{FAST.replace('100', '101')}```"
    done = colosse("code", "optimize", "slow.py", *BENCH)
    assert (done.returncode, done.stdout) == (1, SLOW)
    assert "warning: other results: total(" in done.stderr
    assert "this is the file as it was" in done.stderr
    assert "\nnot verified; " in done.stderr
    done = colosse("code", "optimize", "-", *BENCH, "--json", input=SLOW)
    result = json.loads(done.stdout)
    assert (done.returncode, result["answer"], result["diff"], result["speedup"]) == (1, SLOW, "", 1.0)
    done = colosse("code", "optimize", "slow.py", *BENCH, "--in-place")
    assert (done.returncode, file.read_text()) == (1, SLOW)
    assert "slow.py is left as it was" in done.stderr


def test_a_command_with_the_files_it_names(scripted: Scripted, colosse: Any, file: Path) -> None:
    file.write_text("import sys\nfrom slower import total\nprint(total(len(open(sys.argv[1]).read()) * 50_000))\n")
    Path("slower.py").write_text(SLOW)
    Path("data.txt").write_text("abc")
    scripted.reply = "```python\nimport sys\nprint(len(open(sys.argv[1]).read()) * 5_000_000)\n```"
    options = ("--bench", "ls slower.py && python slow.py data.txt", "-n", 1)
    done = colosse("code", "optimize", "slow.py", *options)
    assert done.returncode == 0, done.stderr
    assert "5_000_000" in done.stdout
