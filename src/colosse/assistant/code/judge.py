"""Code is run in the sandbox, and what came of it is read: which tests passed, what the error was."""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal
from xml.etree import ElementTree

from pydantic import BaseModel

from colosse.assistant.chat import count_tokens
from colosse.assistant.code.asked import Asked, asked
from colosse.assistant.sandbox import PYTHON, Limits, Ran, run
from colosse.assistant.skill import Result

CASE_SECONDS = 4.0
"""A case of a test that runs longer has failed."""
OUTPUT_TOKENS = 500
"""Of what a program printed the end is kept: that is where the error is."""
_REPORT = ".colosse-report.xml"
_USAGE, _NO_TESTS = 4, 5
"""Exit codes of pytest."""
_SHELL = set("|&;<>$`(){}*?~\n")


class Outcome(BaseModel):
    """One test: whether it passed, its error in a few words, and the value that it saw, if it looked at one."""

    name: str
    passed: bool
    skipped: bool = False
    error: str = ""
    value: str = ""


class Trial(BaseModel):
    """One run of a command or of cases.

    Attributes:
        command: as a person would type it.
        ok: the code did what was asked: the exit code is 0, nothing was stopped, no test failed and, where tests can be
            counted, one at least passed.
        outcomes: test by test, where they can be told apart.
        output: the end of what it printed.
        reason: why it could not be run at all; then it says nothing about the code.
    """

    command: str
    ok: bool
    outcomes: list[Outcome] = []
    output: str = ""
    reason: str = ""

    @property
    def passed(self) -> int:
        """How many tests passed; of a bare command 1 or 0."""
        return sum(o.passed for o in self.outcomes) if self.outcomes else int(self.ok)

    @property
    def failed(self) -> int:
        """How many tests failed; of a bare command 1 or 0."""
        return sum(not o.passed and not o.skipped for o in self.outcomes) if self.outcomes else int(not self.ok)

    @property
    def problem(self) -> str:
        """What went wrong, for the model: the errors of three tests, else the output."""
        return shorten(self.output) or self.errors

    @property
    def errors(self) -> str:
        """What went wrong in three tests, a line each, where tests can be told apart."""
        errors = [f"{o.name}: {o.error}" if o.name not in o.error else o.error for o in self.outcomes if o.error]
        return "\n".join(errors[:3])


class Step(BaseModel):
    """A line of the transcript: what was run, and what came of it."""

    attempt: str
    command: str
    passed: int
    failed: int
    output: str = ""


class CodeResult(Result):
    """What the verbs of `colosse code` hand back.

    Attributes:
        language: fence name of the answer's language.
        tests_from: who says what is right: `given` (tests or a command of yours), `examples` (stated in the task),
            `model` (its own tests: agreement, not proof), or nothing.
        tests: what was run, as a file.
        transcript: every run, in order.
    """

    language: str = ""
    tests_from: Literal["", "given", "examples", "model"] = ""
    tests: str = ""
    transcript: list[Step] = []


def step(attempt: str, trial: Trial) -> Step:
    """The line of the transcript for `trial`."""
    output = "" if trial.ok else shorten(trial.reason or trial.errors or trial.problem, 200)
    return Step(attempt=attempt, command=trial.command, passed=trial.passed, failed=trial.failed, output=output)


def shorten(text: str, tokens: int = OUTPUT_TOKENS) -> str:
    """The end of a log, in whole lines where it can be."""
    lines = text[-16 * tokens :].strip().splitlines()  # counting the tokens of a long log takes long
    while len(lines) > 1 and count_tokens("\n".join(lines)) > tokens:
        lines = lines[max(1, len(lines) // 8) :]
    return "\n".join(lines)[-4 * tokens :]


async def run_cases(code: str, cases: Sequence[str]) -> Trial:
    """Load Python `code` once and run each case in a copy of its names.

    Args:
        code: the module.
        cases: source each; what raises has failed. Of one that ends in an expression, or in an assert of an equality,
            the outcome has the value's representation. The code runs without knowing what a literal result should be.
    """
    key = secrets.token_hex(8)
    apart = [asked(case) for case in cases]
    order = {"path": "solution.py", "cases": [one.source for one in apart], "seconds": CASE_SECONDS, "key": key}
    harness = (Path(__file__).parent / "harness.py").read_text("utf-8")
    limit = min(20.0 + CASE_SECONDS * len(cases) / 2, 60.0)
    ran = await run(
        [PYTHON, "harness.py"],
        files={"solution.py": code, "harness.py": harness},
        stdin=json.dumps(order).encode(),
        limits=Limits(cpu_s=limit, wall_s=limit * 1.5),
        env={"PYTHONHASHSEED": "0"},  # values are compared between runs: sets print in one order
    )
    names = [case.splitlines()[-1] for case in cases]
    _, found, said = ran.stdout.rpartition("\n" + key)
    if not found:
        error = shorten(ran.stderr) or _ending(ran)
        outcomes = [Outcome(name=name, passed=False, error=error) for name in names]
        return Trial(command="the tests", ok=False, outcomes=outcomes, output=error)
    outcomes = [_outcome(one, name, entry) for one, name, entry in zip(apart, names, json.loads(said), strict=True)]
    ok = bool(outcomes) and all(o.passed for o in outcomes)
    return Trial(command="the tests", ok=ok, outcomes=outcomes)


def _outcome(one: Asked, name: str, entry: dict[str, Any]) -> Outcome:
    """What the harness says of a case, compared with what it asks."""
    plain = entry.pop("plain")
    outcome = Outcome(name=name, **entry)
    if one.rule and outcome.passed and (error := one.wrong(outcome.value, plain)):
        return outcome.model_copy(update={"passed": False, "error": error})
    return outcome


async def run_command(command: str, files: Mapping[str, bytes | str], limits: Limits | None = None) -> Trial:
    """Run a command over files; of pytest each test is read from its report.

    Args:
        command: as typed, such as `pytest -q`; with pipes and the like it goes through `sh`.
        files: path in the working folder to content.
        limits: what it may use.

    Returns:
        The trial; `reason` is set when the command could not be run at all, or when pytest found no test.
    """
    argv = argv_of(command)
    pytest = argv[:3] == [PYTHON, "-m", "pytest"]
    if pytest:
        argv = [*argv, f"--junitxml={_REPORT}", "-p", "no:cacheprovider", "--color=no", "--tb=short"]
    ran = await run(argv, files=files, keep=[_REPORT] if pytest else [], limits=limits or Limits())
    output = shorten(f"{ran.stdout}\n{ran.stderr}")
    if ran.exit_code in (126, 127):
        return Trial(command=command, ok=False, output=output, reason=f"it cannot be run: {output or argv[0]}")
    if not pytest:
        ok = ran.exit_code == 0 and not ran.stopped
        return Trial(command=command, ok=ok, output="" if ok else f"{output}\n{_ending(ran)}".strip())
    outcomes = _report(ran.files.get(_REPORT, b""))
    # Beside a report, standard error has but warnings of plugins, which would hide the error.
    output = shorten(ran.stdout) if outcomes else f"{output}\n{_ending(ran)}".strip()
    unusable = ran.exit_code == _USAGE and re.search(r"unrecognized arg|not found:|usage:", output)
    reason = {_NO_TESTS: f"pytest found no test: {output}"}.get(ran.exit_code, output if unusable else "")
    ok = ran.exit_code == 0 and not ran.stopped and any(o.passed for o in outcomes)
    ok = ok and all(o.passed or o.skipped for o in outcomes)
    return Trial(command=command, ok=ok, outcomes=outcomes, output="" if ok else output, reason=reason)


def argv_of(command: str) -> list[str]:
    """The arguments of a command line; `python` and `pytest` are those of the sandbox.

    Raises:
        ValueError: quotes that do not close.
    """
    if _SHELL & set(command):
        return ["/bin/sh", "-c", command]
    argv = shlex.split(command)
    match argv:
        case [program, *rest] if PurePath(program).name in ("pytest", "py.test"):
            return [PYTHON, "-m", "pytest", *rest]
        case [program, *rest] if PurePath(program).name in ("python", "python3"):
            return [PYTHON, *rest]
    return argv


def _report(xml: bytes) -> list[Outcome]:
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 (expat refuses entity bombs; the size is the sandbox's limit)
    except ElementTree.ParseError:
        return []
    outcomes = []
    for case in root.iter("testcase"):
        bad = [child for child in case if child.tag in ("failure", "error")]
        skipped = any(child.tag == "skipped" for child in case)
        name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        error = " ".join((bad[0].get("message") or "").split())[:300] if bad else ""
        outcomes.append(Outcome(name=name, passed=not bad and not skipped, skipped=skipped and not bad, error=error))
    return outcomes


def _ending(ran: Ran) -> str:
    if ran.stopped:
        return f"stopped: over its limit of {ran.stopped}"
    return (
        f"exit code {ran.exit_code}, before the tests were done" if ran.exit_code == 0 else f"exit code {ran.exit_code}"
    )
