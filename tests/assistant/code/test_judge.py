"""Runs that are read: what leaves early, hangs or prints much is never taken for one that passed."""

from __future__ import annotations

import pytest

from colosse.assistant.code import judge
from colosse.assistant.code.judge import argv_of, run_cases, run_command, shorten
from colosse.assistant.sandbox import PYTHON


async def test_each_case_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "CASE_SECONDS", 0.3)
    source = "import sys\nprint('noise')\n\n\ndef f(x):\n    while x == 9:\n        pass\n    return [x]\n"
    cases = [
        "assert f(1) == [1]",
        "assert f(2) == [3]",
        "f(3)",
        "assert f(9)",
        "sys.exit(0)",
        "raise KeyError('k')",
        "y = f(4)\nassert len(y) == 2",
        "assert not f(1)",
    ]
    trial = await run_cases(source, cases)
    assert [o.passed for o in trial.outcomes] == [True, False, True, False, False, False, False, False]
    assert (trial.passed, trial.failed, trial.ok) == (2, 6, False)
    assert trial.outcomes[2].value == "[3]"
    errors = [o.error for o in trial.outcomes]
    assert errors[1] == "AssertionError: f(2) is [2], not [3]"
    assert errors[3] == "stopped after 0.3 s"
    assert errors[4] == "SystemExit: 0"
    assert errors[6] == "AssertionError: len(y) is 1, not 2"
    assert errors[7] == "AssertionError: not true: not f(1)"


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos._exit(0)",
        "raise SystemExit(0)",
        "import sys, os\nsys.stdout.write('[{}]')\nos.close(1)\nos._exit(0)",
        "x = (",
        "while True: pass",
    ],
)
async def test_a_module_that_does_not_load_passes_nothing(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr(judge, "CASE_SECONDS", 0.3)
    trial = await run_cases(source, ["assert True"])
    assert (trial.ok, trial.passed, trial.failed) == (False, 0, 1)
    assert trial.problem


async def test_a_report_of_pytest_is_needed() -> None:
    trial = await run_command("pytest -q", {"test_a.py": "import os\n\ndef test():\n    os._exit(0)\n"})
    assert (trial.ok, trial.outcomes) == (False, [])
    assert "before the tests were done" in trial.problem
    skipped = "import pytest\n\n@pytest.mark.skip\ndef test():\n    pass\n"
    trial = await run_command("pytest -q", {"test_a.py": skipped})
    assert (trial.ok, trial.passed, trial.failed) == (False, 0, 0)


def test_command_lines() -> None:
    assert argv_of("pytest -q 'a b.py'") == [PYTHON, "-m", "pytest", "-q", "a b.py"]
    assert argv_of("python3 -m pytest") == [PYTHON, "-m", "pytest"]
    assert argv_of("make test | tail") == ["/bin/sh", "-c", "make test | tail"]
    with pytest.raises(ValueError, match="quotation"):
        argv_of("pytest '")


def test_of_a_long_log_the_end_is_kept() -> None:
    assert shorten("a\nb") == "a\nb"
    assert shorten("noise line\n" * 5000 + "ValueError: the reason").endswith("ValueError: the reason")
    assert len(shorten("x" * 10**6, 10)) == 40
    assert shorten("y\n" * 10**6, 10).strip("y\n") == ""
