"""Code that is mended: seen to fail, seen to pass, and nothing else broken."""

from __future__ import annotations

import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from colosse.assistant import code
from colosse.assistant.code import repository
from colosse.assistant.code.judge import Trial
from colosse.core.errors import ConflictError, NotFoundError, TooLargeError, UserError
from colosse.engines.engines import Engines
from tests.fixtures.scripted import Scripted

fixing = import_module("colosse.assistant.code.fix")
BUG = "def double(x):\n    return x + 2\n\n\ndef half(x):\n    return x / 2\n"
GOOD = BUG.replace("x + 2", "2 * x")
TESTS = (
    "from calc import double, half\n\n\ndef test_double():\n    assert double(3) == 6\n\n\n"
    "def test_half():\n    assert half(4) == 2\n"
)
FILES = {"calc.py": BUG, "test_calc.py": TESTS}
RUN = "pytest -q"


def block(text: str) -> str:
    return f"```python\n{text}```\nIt added."


async def test_red_to_green(scripted: Scripted, client: Engines) -> None:
    scripted.reply = block(GOOD)
    result = await code.fix(client, FILES, command=RUN)
    assert (result.verified, result.answer, result.files) == (True, GOOD, {"calc.py": GOOD})
    assert [(s.attempt, s.passed, s.failed) for s in result.transcript] == [("before", 1, 1), ("attempt 1", 2, 0)]
    assert "assert 5 == 6" in result.transcript[0].output
    assert result.diff.startswith("--- a/calc.py\n+++ b/calc.py\n")
    assert (result.note, [c.name for c in result.checks]) == ("It added.", ["reproduced", "command", "kept_passing"])
    request = scripted.requests[0].body["messages"][1]["content"]
    assert BUG.rstrip() in request
    assert "assert 5 == 6" in request


@pytest.mark.parametrize(
    "bad",
    [
        BUG.replace("x + 2", "2 * x").replace("x / 2", "x"),
        "import os\nos._exit(0)\n" + BUG,
        "import sys\n\nsys.modules['pytest'].skip = None\n" + BUG,
        "def double(x:\n",
        BUG,
    ],
)
async def test_what_only_seems_to_pass_is_not_accepted(scripted: Scripted, client: Engines, bad: str) -> None:
    scripted.reply = block(bad)
    result = await code.fix(client, FILES, command=RUN, candidates=1)
    assert (result.verified, result.files, result.diff, result.answer) == (False, {}, "", BUG)
    assert [c.name for c in result.failed] == ["command"]


async def test_tests_are_never_changed(scripted: Scripted, client: Engines) -> None:
    hunk = "test_calc.py\n<<<<<<< SEARCH\n    assert double(3) == 6\n=======\n    assert True\n>>>>>>> REPLACE\n"
    scripted.reply = hunk
    result = await code.fix(client, FILES, command=RUN, candidates=2)
    assert not result.verified
    assert result.files == {}


async def test_repaired_from_the_real_failure(scripted: Scripted, client: Engines) -> None:
    def reply(body: Any) -> str:
        return block(GOOD if "assert 9 == 6" in body["messages"][-1]["content"] else BUG.replace("x + 2", "3 * x"))

    scripted.reply = reply
    result = await code.fix(client, FILES, command=RUN, candidates=1)
    assert result.verified
    assert result.transcript[-1].attempt == "attempt 2 (repair)"


async def test_several_files_and_patches(scripted: Scripted, client: Engines) -> None:
    files = {
        "src/shop/__init__.py": "",
        "src/shop/tax.py": "RATE = 20\n\n\ndef tax(x):\n    return x * RATE\n",
        "src/shop/total.py": "from shop.tax import tax\n\n\ndef total(x):\n    return x + tax(x)\n",
        "src/shop/other.py": "def unrelated():\n    return 1\n",
        "tests/test_total.py": "from shop.total import total\n\n\ndef test_total():\n    assert total(10) == 12\n",
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\n',
    }
    scripted.reply = (
        "src/shop/tax.py\n<<<<<<< SEARCH\ndef tax(x):\n  return x * RATE\n=======\ndef tax(x):\n"
        "    return x * RATE / 100\n>>>>>>> REPLACE\n"
    ).replace("  return x * RATE\n=", "    return x * RATE  \n=")
    result = await code.fix(client, files, command="python -m pytest -q tests")
    assert result.verified
    assert list(result.files) == ["src/shop/tax.py"]
    assert result.answer == result.diff
    request = scripted.requests[0].body["messages"][1]["content"]
    assert "unrelated" not in request
    assert "src/shop/tax.py\n```python" in request


async def test_other_commands_are_judged_by_their_exit_code(scripted: Scripted, client: Engines) -> None:
    scripted.reply = block("print('ok')\n")
    result = await code.fix(client, "raise SystemExit(3)\n", command="python code.py")
    assert (result.verified, result.transcript[0].failed) == (True, 1)
    result = await code.fix(client, "x = 1\n", command="test -e gone && echo found", candidates=1)
    assert not result.verified


@pytest.mark.parametrize(
    ("files", "command", "said"),
    [
        ({**FILES, "calc.py": GOOD}, RUN, "passes already"),
        (FILES, "no-such-program --x", "cannot be run"),
        (FILES, "pytest -q --no-such-option", "unrecognized"),
        ({"calc.py": BUG}, RUN, "no test"),
    ],
)
async def test_a_failure_that_is_not_one(
    scripted: Scripted, client: Engines, files: dict[str, str], command: str, said: str
) -> None:
    result = await code.fix(client, files, command=command)
    (check,) = result.failed
    assert check.name == "reproduced"
    assert said in check.detail
    assert scripted.requests == []


async def test_a_failure_that_comes_and_goes(
    scripted: Scripted, client: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ran = fixing.run_command, []

    async def second_time_lucky(command: str, files: dict[str, str]) -> Trial:
        ran.append(command)
        return await real(command, {**files, "calc.py": GOOD} if len(ran) > 1 else files)

    monkeypatch.setattr(fixing, "run_command", second_time_lucky)
    scripted.reply = block(GOOD)
    result = await code.fix(client, FILES, command=RUN)
    assert (result.verified, result.files) == (False, {"calc.py": GOOD})
    assert "only sometimes" in result.failed[0].detail


async def test_files_keep_their_line_ends(scripted: Scripted, client: Engines) -> None:
    bug = ("\ufeff" + BUG).replace("\n", "\r\n").encode()
    scripted.reply = block("def double(x):\n    return 2 * x\n")
    result = await code.fix(client, {"calc.py": bug, "test_calc.py": TESTS}, command=RUN)
    assert (result.verified, result.files) == (True, {"calc.py": ("\ufeff" + GOOD).replace("\n", "\r\n")})


async def test_without_a_command_nothing_is_verified(scripted: Scripted, client: Engines) -> None:
    scripted.reply = block(GOOD)
    result = await code.fix(client, BUG, error="noise\n" * 5000 + "AssertionError: double(3) is 5\n")
    assert (result.answer, result.verified, result.tests_from, result.failed) == (GOOD, False, "", [])
    request = scripted.requests[0].body["messages"][1]["content"]
    assert "double(3) is 5" in request
    assert request.count("noise") < 600
    await code.fix(client, BUG, prompt_language="fr")
    assert "Trouve et corrige" in scripted.requests[-1].body["messages"][1]["content"]
    answers = iter([block("def double(:\n"), block(GOOD)])
    scripted.reply = lambda body: next(answers)
    assert (await code.fix(client, BUG)).answer == GOOD
    scripted.reply = "I am sorry, I cannot help with that."
    result = await code.fix(client, BUG)
    assert ([c.name for c in result.failed], result.answer, result.files) == (["fits"], BUG, {})
    scripted.reply = block(BUG)
    result = await code.fix(client, BUG)
    assert [c.name for c in result.failed] == ["changed"]
    assert result.answer == BUG


async def test_bad_input(scripted: Scripted, client: Engines) -> None:
    with pytest.raises(UserError, match="no code to fix"):
        await code.fix(client, "\n")
    with pytest.raises(UserError, match="no code to fix"):
        await code.fix(client, {"test_a.py": "x = 1"})
    with pytest.raises(UserError, match="cannot be read"):
        await code.fix(client, BUG, command="pytest '")
    with pytest.raises(UserError, match="not among the files"):
        await code.fix(client, FILES, writable=["b.py"])
    with pytest.raises(TooLargeError, match="too long for"):
        await code.fix(client, "value = compute(1, 2, 3)\n" * 400)
    assert scripted.requests == []


def test_a_repository_is_read_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {**FILES, "data.bin": "\0", ".gitignore": "ignored.py\n", "ignored.py": "x"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    monkeypatch.chdir(tmp_path)
    assert "ignored.py" in repository.read([Path()]).files
    subprocess.run(["git", "init", "-q"], check=True)
    read = repository.read([Path()])
    assert (sorted(read.files), read.writable) == ([".gitignore", "calc.py", "data.bin", "test_calc.py"], ["calc.py"])
    assert repository.read([Path("calc.py")]).root == tmp_path
    (tmp_path / "calc.py").chmod(0o755)
    repository.apply(read, {"calc.py": GOOD})
    assert (tmp_path / "calc.py").read_text() == GOOD
    assert (tmp_path / "calc.py").stat().st_mode & 0o777 == 0o755
    with pytest.raises(ConflictError, match="changed meanwhile"):
        repository.apply(read, {"calc.py": BUG})
    with pytest.raises(UserError, match="never changes"):
        repository.read([Path("test_calc.py")])
    with pytest.raises(NotFoundError):
        repository.read([Path("gone.py")])
    with pytest.raises(UserError, match="is a link"):
        repository.read([Path("link.py")])
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    with pytest.raises(UserError, match="not UTF-8"):
        repository.read([Path("latin.py")])
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert repository.read([Path("../calc.py")]).writable == ["calc.py"]


def test_what_is_protected() -> None:
    for path in ("tests/a.py", "test_a.py", "a_test.go", "x/conftest.py", "a.spec.ts", "pyproject.toml", ".coveragerc"):
        assert repository.protected(path), path
    for path in ("a.py", "contest.py", "src/attest.py", "latest/a.py", "testing.py"):
        assert not repository.protected(path), path


def test_the_likeliest_file_is_first() -> None:
    files = {
        "a.py": "import b\n",
        "b.py": "def f(): return 1 / 0\n",
        "c.py": "",
        "tests/test_a.py": "import a\n",
    }
    log = 'tests/test_a.py:3: in test\nFile "/sandbox/a.py", line 1, in f\nb.py:1: ZeroDivisionError'
    assert repository.relevant(files, ["c.py", "a.py", "b.py"], log) == ["b.py", "a.py"]
    assert repository.relevant(files, ["c.py", "a.py"], "nothing") == ["c.py", "a.py"]
