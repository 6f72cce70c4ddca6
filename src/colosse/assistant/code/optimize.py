"""Code made faster, measured: a version is taken only when it does the same and the clock says so beyond doubt."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from colosse.assistant.chat import count_tokens
from colosse.assistant.checks import not_empty
from colosse.assistant.code.differential import Tested, record
from colosse.assistant.code.form import BLOCK, check_syntax, extract
from colosse.assistant.code.interface import check_interface, public_names
from colosse.assistant.code.judge import CodeResult, Step
from colosse.assistant.code.languages import LANGUAGES, title_of
from colosse.assistant.code.measure import BUDGET_S, PAIRS, Speedup
from colosse.assistant.code.versions import (
    CommandVersions,
    ModuleVersions,
    is_statement,
    module_name,
    unseen_changes,
)
from colosse.assistant.prompts import Language, SkillPrompts
from colosse.assistant.sandbox import require
from colosse.assistant.skill import Check, Listener, Work, in_parallel
from colosse.core.errors import TooLargeError, UserError
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage

TOGETHER = 2
"""Versions whose results are compared at a time."""
SHORT_S = 0.001
"""A call that is shorter says little: the model is asked for a larger one."""
TRIED = 2
"""Versions that are measured at full length when several are right: the fastest by a short measurement first."""


class OptimizePrompts(SkillPrompts):
    """`approaches` are put into the request one after the other, a candidate each."""

    system: str
    optimize: str
    bench: str
    retry: str
    original: str
    approaches: dict[str, str]


class OptimizeResult(CodeResult):
    """A faster file, or the original when none is faster.

    Attributes:
        speedup: time before / time after on the bench; 1 for the original.
        interval: its 95 % interval.
        before_s: median seconds of the bench with the original.
        after_s: with the answer.
        before_mb: peak of the memory that the bench takes with the original; 0 when it was not measured.
        after_mb: with the answer.
        num_cases: calls and outputs that were compared.
        bench: what was timed.
        functions: what was compared, with the types of the arguments.
        skipped: what could not be called, with the reason.
    """

    speedup: float = 1.0
    interval: tuple[float, float] = (1.0, 1.0)
    before_s: float = 0.0
    after_s: float = 0.0
    before_mb: float = 0.0
    after_mb: float = 0.0
    num_cases: int = 0
    bench: str = ""
    functions: list[Tested] = []
    skipped: dict[str, str] = {}


class Candidate(NamedTuple):
    """A version, what was said of it, and what its checks found."""

    label: str
    code: str
    note: str
    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        """What speaks against measuring it."""
        return [check for check in self.checks if not check.passed]


async def optimize(
    client: Client,
    code: str,
    *,
    language: str = "python",
    bench: str = "",
    tests: str = "",
    candidates: int = 4,
    name: str = "",
    files: Mapping[str, bytes | str] | None = None,
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> OptimizeResult:
    """Make a file faster.

    Args:
        client: whom to ask.
        code: the whole file.
        language: fence name of its language.
        bench: what is timed: a Python statement in the file's names (`f(range(1000))`; what comes before its last line,
            and the arguments of a last call, are not timed), or a command (what is before its last `&&` is not timed).
            Empty, for Python only: a call is searched for; a script is timed whole.
        tests: a Python test file, which every version must pass.
        candidates: how many versions to ask for.
        name: of the file, for a command or tests that name it.
        files: further files that the command needs.
        model: its name; empty: the default.
        prompt_language: language to ask in, and of the remark beside the code.
        listener: hears how it gets on.

    Raises:
        UserError: an empty file, one that does not parse, tests or a bench that fail on it, nothing to be timed.
        TooLargeError: a file that the model cannot read and write again whole.
        ColosseError: there is no sandbox here.
    """
    if not code.strip():
        raise UserError("there is no code: the file is empty", code="empty_input")
    if language == "python" and (broken := [c.detail for c in check_syntax(code, language) if not c.passed]):
        raise UserError(f"the file does not parse: {broken[0]}", hint="mend it first: colosse code fix")
    if language != "python" and not bench:
        raise UserError(
            f"{title_of(language)} is timed by a command",
            hint='--bench "BUILD && RUN", such as "cc -O2 f.c -o f && ./f"',
        )
    require()
    work = await Work.start(client, model, OptimizePrompts, "code_optimize", prompt_language, listener)
    path = name or f"solution.{(*LANGUAGES[language][1], language)[0]}"
    run = _Run(work, code, language, _room(work, code, language))
    work.listener.step("looking for inputs, running the original")
    versions = await run.prepare(path, bench, tests, files or {})
    if not versions.comparable:
        return run.original(
            versions, [_steady(versions), Check(name="equal", passed=False, detail="no result to compare")]
        )
    found = [
        candidate
        for _, candidate in [
            item
            async for item in in_parallel(
                list(enumerate(run.approaches(candidates))), lambda item: run.candidate(versions, *item)
            )
        ]
    ]
    return await run.best(versions, found)


class _Run:
    """One call: the work, the original, and the transcript."""

    def __init__(self, work: Work[OptimizePrompts], code: str, language: str, limit: int) -> None:
        self.work, self.code, self.language, self.limit = work, code, language, limit
        self.steps: list[Step] = []
        self._seen: set[str] = set()
        self._places = asyncio.Semaphore(TOGETHER)

    async def prepare(
        self, path: str, bench: str, tests: str, files: Mapping[str, bytes | str]
    ) -> ModuleVersions | CommandVersions:
        """Find out what to time and what to compare."""
        if self.language != "python":
            command = CommandVersions(self.code, path, bench, files, None)
            await command.prepare()
            return command
        module = module_name(path)
        statement = bench if is_statement(bench) else ""
        recorded = await record(self.code, module, tests, statement, search=not bench)
        if recorded.functions and not bench:
            statement = recorded.bench
            if recorded.bench_s < SHORT_S:
                statement = await self._asked_bench(module, tests) or statement
        if statement:
            if recorded.error:
                raise UserError(
                    f"the file cannot be loaded: {recorded.error}", hint="--bench with a command runs it whole"
                )
            return await ModuleVersions.prepare(self.code, module, tests, statement, recorded, given=bool(bench))
        if not bench and public_names(self.code) and not recorded.error:
            raise UserError("no call was found that could be timed", hint='give one: --bench "f(1000)"', param="bench")
        whole = None
        if not recorded.error and (recorded.functions or tests):
            whole = await ModuleVersions.prepare(self.code, module, tests, "", recorded, given=False)
        elif tests:
            raise UserError(f"the file cannot be loaded: {recorded.error}", hint="leave the tests out")
        command = CommandVersions(self.code, path, bench or f"python {path}", files, whole)
        await command.prepare()
        return command

    async def _asked_bench(self, module: str, tests: str) -> str:
        """A statement of the model that works and takes long enough, or nothing."""
        names = ", ".join(public_names(self.code)[:3])
        request = self.work.texts.bench.format(names=names, code=self.code.rstrip("\n"))
        done = await self.work.ask(self._messages(request), 200)
        statement = extract(done.text)[0].strip()
        if not is_statement(statement):
            return ""
        ran = await record(self.code, module, tests, statement, num_cases=0)
        return statement if ran.bench_s >= SHORT_S else ""

    def approaches(self, count: int) -> list[tuple[str, str]]:
        """(name, sentence) of each candidate's approach."""
        known = list(self.work.texts.approaches.items())
        return [known[index % len(known)] for index in range(max(1, count))]

    def _messages(self, request: str) -> list[ChatMessage]:
        system = ChatMessage(role="system", content=self.work.texts.system)
        return [system, ChatMessage(role="user", content=request)]

    async def candidate(
        self, versions: ModuleVersions | CommandVersions, index: int, approach: tuple[str, str]
    ) -> Candidate:
        """One version; when it is not right, what was wrong is said and it is asked for once more."""
        label = f"candidate {index + 1} ({approach[0]})"
        messages = self._messages(
            self.work.texts.optimize.format(
                language=title_of(self.language), fence=self.language, code=self.code.rstrip("\n"), approach=approach[1]
            )
        )
        warmth: dict[str, Any] = {"temperature": 0.8, "seed": index} if index >= 1 else {}
        first = await self._judged(versions, label, messages, warmth)
        problems = [
            self.work.texts.problems[check.name].format(detail=check.detail)
            for check in first.failed
            if check.name in self.work.texts.problems
        ]
        if not problems:
            return first
        shown = f"```{self.language}\n{first.code}```"
        messages += [
            ChatMessage(role="assistant", content=shown),
            ChatMessage(role="user", content=self.work.texts.retry.format(problems="; ".join(problems))),
        ]
        used = sum(count_tokens(message.content) for message in messages if isinstance(message.content, str))
        if used + self.limit > self.work.max_model_len:
            return first
        second = await self._judged(versions, f"{label}, again", messages, {})
        return first if any(check.name == "new" for check in second.failed) else second

    async def _judged(
        self,
        versions: ModuleVersions | CommandVersions,
        label: str,
        messages: list[ChatMessage],
        warmth: dict[str, Any],
    ) -> Candidate:
        self.work.listener.step(f"asking for {label}")
        done = await self.work.ask(messages, self.limit, **warmth)
        code, note = extract(done.text.strip())
        code = code.rstrip("\n") + "\n"
        whole = done.finish_reason != "length"
        checks = [
            Check(name="complete", passed=whole, detail="" if whole else f"{self.limit} tokens"),
            not_empty(code.strip()),
            Check(name="code_block", passed=bool(BLOCK.search(done.text))),
            *check_syntax(code, self.language),
        ]
        if all(check.passed for check in checks):
            if self.language == "python":
                checks += check_interface(self.code, code)
            else:
                checks.append(Check(name="changed", passed=code.strip() != self.code.strip()))
        key = self._key(code)
        if all(check.passed for check in checks):
            if key in self._seen:
                checks.append(Check(name="new", passed=False, detail="the same as another candidate"))
            else:
                self._seen.add(key)
                async with self._places:
                    self.work.listener.step(f"comparing the results of {label}")
                    checks += await versions.equal(code)
        candidate = Candidate(label, code, note, checks)
        wrong = "; ".join(f"{check.name}: {check.detail}".rstrip(": ") for check in candidate.failed)
        self._step(label, "the results", versions.num_cases, wrong)
        return candidate

    def _key(self, code: str) -> str:
        try:
            return ast.dump(ast.parse(code)) if self.language == "python" else code.strip()
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return code

    def _step(self, label: str, command: str, passed: int, wrong: str = "", output: str = "") -> None:
        """Add to the transcript; with `wrong`, one failed."""
        counts = {"passed": 0, "failed": 1} if wrong else {"passed": passed, "failed": 0}
        self.steps.append(Step(attempt=label, command=command, output=wrong or output, **counts))

    async def best(self, versions: ModuleVersions | CommandVersions, found: list[Candidate]) -> OptimizeResult:
        """The fastest of those that are right, if it is really faster than the original; else the original."""
        right = [candidate for candidate in found if not candidate.failed]
        if not right:
            wrong = [check for candidate in found for check in candidate.failed]
            detail = f"none of {len(found)} candidates does the same"
            named = {check.name: check for check in reversed(wrong)}
            return self.original(
                versions, [_steady(versions), *named.values(), Check(name="faster", passed=False, detail=detail)]
            )
        if len(right) > 1:
            ranks = {}
            for candidate in right:
                self.work.listener.step(f"a first look at the time of {candidate.label}")
                speedup, _ = await versions.timed(candidate.code, 1, 0.0)
                ranks[candidate.label] = speedup.speedup if speedup else 0.0
            right.sort(key=lambda candidate: -ranks[candidate.label])
        tried: list[tuple[Speedup | None, list[Check]]] = []
        for candidate in right[:TRIED]:
            self.work.listener.step(f"timing {candidate.label} against the original")
            speedup, checks = await versions.timed(candidate.code, PAIRS, BUDGET_S)
            tried.append((speedup, checks))
            said = "; ".join(check.detail for check in checks)
            faster = all(check.passed for check in checks)
            self._step(candidate.label, f"the time of {versions.benches[0]}", 1, "" if faster else said, said)
            if faster and speedup is not None:
                return self._accepted(versions, candidate, speedup, checks)
        speedup, checks = tried[0]
        return self.original(versions, [_steady(versions), *checks], speedup)

    def _accepted(
        self, versions: ModuleVersions | CommandVersions, candidate: Candidate, speedup: Speedup, checks: list[Check]
    ) -> OptimizeResult:
        unseen = unseen_changes(versions, candidate.code) if self.language == "python" else []
        every = [
            *candidate.checks,
            *checks,
            _steady(versions),
            Check(name="compared", passed=not unseen, detail=", ".join(unseen)),
        ]
        return OptimizeResult(
            answer=candidate.code,
            verified=all(check.passed for check in every),
            checks=every,
            note=candidate.note,
            speedup=round(speedup.speedup, 3),
            interval=(round(speedup.low, 3), round(speedup.high, 3)),
            **speedup.model_dump(include={"before_s", "after_s", "before_mb", "after_mb"}),
            **self._common(versions),
        )

    def original(
        self, versions: ModuleVersions | CommandVersions, checks: list[Check], speedup: Speedup | None = None
    ) -> OptimizeResult:
        """The file as it was, with what speaks against the others."""
        known = {"before_s": speedup.before_s, "after_s": speedup.before_s} if speedup else {}
        known |= {"before_mb": speedup.before_mb, "after_mb": speedup.before_mb} if speedup else {}
        note = self.work.texts.original
        return OptimizeResult(answer=self.code, checks=checks, note=note, **known, **self._common(versions))

    def _common(self, versions: ModuleVersions | CommandVersions) -> dict[str, Any]:
        module = versions if isinstance(versions, ModuleVersions) else versions.module
        tests = module.tests if module else ""
        return {
            "language": self.language,
            "tests": tests,
            "tests_from": "given" if tests else "",
            "transcript": self.steps,
            "num_cases": versions.num_cases,
            "bench": versions.benches[0],
            "functions": module.recorded.functions if module else [],
            "skipped": module.recorded.skipped if module else {},
            **self.work.cost(),
        }


def _steady(versions: ModuleVersions | CommandVersions) -> Check:
    detail = "; ".join(versions.changing[:3])
    return Check(name="deterministic", passed=not versions.changing, detail=detail)


def _room(work: Work[OptimizePrompts], code: str, language: str) -> int:
    """Tokens for a version of `code`.

    Raises:
        TooLargeError: the model cannot read and write it.
    """
    longest = max(work.texts.approaches.values(), key=len)
    texts = work.texts.optimize.format(language=title_of(language), fence=language, code=code, approach=longest)
    wanted = int(count_tokens(code) * 1.3) + 400
    room = work.max_model_len - count_tokens(texts) - count_tokens(work.texts.system) - 50
    if room < int(count_tokens(code) * 1.2):
        raise TooLargeError(
            f"about {count_tokens(texts)} tokens to read and {wanted} to write do not fit into the "
            f"{work.max_model_len} of {work.model.id}",
            hint="give it a smaller file, or a model with a longer context",
            code="context_length_exceeded",
        )
    return min(wanted, room)
