"""A file, what it is timed on, and how another version of it is judged: does it do the same, and in less time."""

from __future__ import annotations

import ast
import asyncio
import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from colosse.assistant.code import interface
from colosse.assistant.code.differential import Recorded, Replayed, difference, replay, shown, steady
from colosse.assistant.code.judge import run_command
from colosse.assistant.code.measure import Speedup, Unmeasured, measure, started, to_speedup
from colosse.assistant.sandbox import PYTHON
from colosse.assistant.skill import Check
from colosse.core.errors import UserError

FASTER = 1.05
"""The lower end of the interval must be above this: less is not worth other code."""
NAMES_OF_TESTS = "test_given.py"


class ModuleVersions:
    """A Python file that is timed on a statement and compared call by call; made by `prepare`.

    Attributes:
        source: the original.
        name: of the module.
        tests: of the user, may be empty.
        benches: the statement that is timed; then, of one that was given, the same with other numbers.
        recorded: the inputs that were found.
        wanted: what the original makes of them.
        kept: indexes of the calls and benches that can be compared.
        changing: calls that do not give the same twice.
    """

    def __init__(self, source: str, name: str, tests: str, benches: list[str], recorded: Recorded) -> None:
        self.source, self.name, self.tests, self.recorded = source, name, tests, recorded
        self.benches = benches
        self.wanted = Replayed()
        self.kept: list[int] = []
        self.changing: list[str] = []

    @classmethod
    async def prepare(
        cls, source: str, name: str, tests: str, bench: str, recorded: Recorded, *, given: bool
    ) -> ModuleVersions:
        """Run the original twice on what was found.

        Args:
            source: the file.
            name: of the module.
            tests: of the user.
            bench: a statement; empty when a command is timed.
            recorded: inputs for it.
            given: the bench is the user's, whose numbers may be known to who writes the other version.

        Raises:
            UserError: the tests or the bench fail on the file as it is.
        """
        self = cls(source, name, tests, [bench] if bench else [], recorded)
        if given and (other := varied(bench)):
            self.benches.append(other)
        if tests and (failed := await self._tests(source)):
            raise UserError(f"the tests fail on the file as it is: {failed}", hint="mend it first: colosse code fix")
        first, second = await asyncio.gather(
            *(replay(source, name, recorded.cases, self.benches, seed) for seed in ("0", "1"))
        )
        at = len(recorded.cases)
        if bench and len(first.outcomes) > at and "error" in first.outcomes[at][0] and given:
            raise UserError(
                f"the bench {bench!r} fails on the file as it is: {shown(first.outcomes[at][0])}", param="bench"
            )
        if len(self.benches) > 1 and len(first.outcomes) > at + 1 and "error" in first.outcomes[at + 1][0]:
            self.benches.pop()
            first.outcomes.pop(), second.outcomes.pop()
        self.wanted = first
        self.kept, self.changing = steady(recorded.cases, first, second)
        return self

    @property
    def num_cases(self) -> int:
        """Calls that are compared."""
        return len(self.kept)

    @property
    def comparable(self) -> bool:
        """Whether there is anything to hold another version to."""
        return bool(self.kept or self.tests)

    async def equal(self, code: str) -> list[Check]:
        """Whether another version does the same: its tests, its calls."""
        checks = []
        if self.tests:
            failed = await self._tests(code)
            checks.append(Check(name="tests", passed=not failed, detail=failed))
            if failed:
                return checks
        got = await replay(code, self.name, self.recorded.cases, self.benches, "2")
        found = difference(self.recorded.cases, self.benches, self.wanted, got, self.kept)
        detail = str(found) if found else got.broken or f"{self.num_cases} calls"
        checks.append(Check(name="equal", passed=not (found or got.broken), detail=detail))
        if got.tampered:
            checks.append(Check(name="patches", passed=False, detail=", ".join(got.tampered)))
        return checks

    async def timed(self, code: str, pairs: int, budget_s: float) -> tuple[Speedup | None, list[Check]]:
        """How much faster another version is; with other numbers in the bench it must gain at least the square root."""
        found, replaced = await measure(self.source, code, self.name, self.benches, pairs, budget_s)
        checks = [Check(name="patches", passed=False, detail=", ".join(replaced))] if replaced else []
        first = found[0]
        if isinstance(first, Speedup) and len(found) > 1 and first.low > FASTER:
            other = found[1]
            held = isinstance(other, Speedup) and other.speedup > math.sqrt(first.speedup)
            said = f"{other.speedup:.2f} times" if isinstance(other, Speedup) else other.error
            checks.append(Check(name="other_inputs", passed=held, detail=f"{self.benches[1]}: {said}"))
        return _judged(first, checks)

    async def _tests(self, code: str) -> str:
        """What the tests say against a version; empty when they pass."""
        tests = self.tests
        if not re.search(rf"\b{re.escape(self.name)}\b", tests):
            tests = f"from {self.name} import *\n{tests}"
        files = {f"{self.name}.py": code, NAMES_OF_TESTS: tests}
        trial = await run_command(f"pytest -q {NAMES_OF_TESTS}", files)
        if trial.reason:  # a file of plain asserts
            trial = await run_command(f"python {NAMES_OF_TESTS}", files)
        return "" if trial.ok else " ".join((trial.problem or trial.output).split())[-400:] or "they do not end well"


class CommandVersions:
    """A file that is timed as whole processes of a command, and compared by what those print.

    Args:
        source: the original.
        path: its name in the folder that the command is run in.
        bench: the command; what stands before its last `&&` is done once and not timed.
        files: further files of the folder.
        module: how its functions are compared, of Python.
    """

    def __init__(
        self, source: str, path: str, bench: str, files: Mapping[str, bytes | str], module: ModuleVersions | None
    ) -> None:
        self.source, self.path, self.files, self.module = source, path, files, module
        build, _, command = bench.rpartition("&&")
        self.build, self.command = (re.sub(r"\bpython3?(?=\s)", PYTHON, part.strip()) for part in (build, command))
        self.benches = [bench]
        self.changing: list[str] = []
        self._prints = True

    async def prepare(self) -> None:
        """Run the original twice.

        Raises:
            UserError: it fails.
        """
        found = await self._run(self.source, 0)
        if "error" in found:
            raise UserError(f"the bench fails on the file as it is: {found['error']}", param="bench")
        self._prints = bool(found["outputs"][0].strip())
        self.changing = [*(self.module.changing if self.module else [])]
        if found["outputs"][0] != found["again"]:
            self.changing.append(self.benches[0])

    @property
    def num_cases(self) -> int:
        """Calls and outputs that are compared."""
        return (self.module.num_cases if self.module else 0) + (self._prints and self.benches[0] not in self.changing)

    @property
    def comparable(self) -> bool:
        """Whether there is anything to hold another version to."""
        return self.num_cases > 0 or bool(self.module and self.module.comparable)

    async def equal(self, code: str) -> list[Check]:
        """Whether another version prints the same, and its functions do the same."""
        found = await self._run(code, 0)
        if "error" in found:
            return [Check(name="equal", passed=False, detail=found["error"])]
        wanted, got = found["outputs"]
        if self.benches[0] not in self.changing and wanted != got:
            return [Check(name="equal", passed=False, detail=_first_difference(wanted, got))]
        if self.module is not None:
            return await self.module.equal(code)
        return [Check(name="equal", passed=True, detail=f"the output of {self.benches[0]}")]

    async def timed(self, code: str, pairs: int, budget_s: float) -> tuple[Speedup | None, list[Check]]:
        """How much faster the command is with another version."""
        return _judged(to_speedup(await self._run(code, pairs, budget_s)), [])

    async def _run(self, code: str, pairs: int, budget_s: float = 0.0) -> dict[str, Any]:
        job = {"build": self.build, "command": self.command, "pairs": pairs, "budget_s": budget_s}
        both = {f"{side}/{path}": data for side in "ab" for path, data in self.files.items()}
        both |= {f"a/{self.path}": self.source, f"b/{self.path}": code}
        found: dict[str, Any] = await started("commands", job, both)
        return found


def _judged(found: Speedup | Unmeasured, checks: list[Check]) -> tuple[Speedup | None, list[Check]]:
    if isinstance(found, Unmeasured):
        return None, [*checks, Check(name="faster", passed=False, detail=found.error)]
    said = f"{found.speedup:.2f} times as fast ({found.low:.2f} to {found.high:.2f})"
    return found, [*checks, Check(name="faster", passed=found.low > FASTER, detail=said)]


def varied(bench: str) -> str:
    """The same statement with each whole number from 10 on made a little smaller; empty when it has none."""

    class Smaller(ast.NodeTransformer):
        found = False

        def visit_Constant(self, node: ast.Constant) -> ast.Constant:
            if type(node.value) is not int or node.value < 10:
                return node
            self.found = True
            return ast.Constant(node.value - node.value // 7 - 1)

    smaller = Smaller()
    tree = smaller.visit(ast.parse(bench))
    return ast.unparse(ast.fix_missing_locations(tree)) if smaller.found else ""


def is_statement(bench: str) -> bool:
    """Whether a bench is Python that calls something, rather than a command."""
    try:
        return any(isinstance(node, ast.Call) for node in ast.walk(ast.parse(bench)))
    except (SyntaxError, ValueError):
        return False


def module_name(path: str) -> str:
    """What a file is imported as."""
    stem = PurePath(path).stem
    return stem if stem.isidentifier() and not stem.startswith("test_") else "solution"


def unseen_changes(versions: ModuleVersions | CommandVersions, code: str) -> list[str]:
    """Functions that were never called and differ in `code`; tests, when given, are taken to call them."""
    module = versions if isinstance(versions, ModuleVersions) else versions.module
    if module is None or module.tests:
        return []
    never = [*module.recorded.skipped, *(tested.name for tested in module.recorded.functions if not tested.cases)]
    return interface.changed_definitions(module.source, code, never)


def _first_difference(wanted: str, got: str) -> str:
    before, after = wanted.splitlines(), got.splitlines()
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    said = [repr(lines[at][:200]) if at < len(lines) else "nothing" for lines in (after, before)]
    return f"line {at + 1} of the output is {said[0]}, not {said[1]}"
