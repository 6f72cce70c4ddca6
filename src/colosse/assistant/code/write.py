"""Code written for a task, and run: several candidates, repaired from their real errors, judged by tests.

Whose tests they are is said: `given` ones and `examples` stated in the task prove something; the model's own do not.
With those alone, candidates are run against each other: the one that most others agree with is taken (the idea of
CodeT, Chen et al. 2022, arXiv:2207.10397), tests that most candidates fail are dropped, and the result is unverified.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple

from colosse.assistant.chat import count_tokens
from colosse.assistant.code import cases, programs
from colosse.assistant.code.control import run_tests
from colosse.assistant.code.form import check_syntax, code_in, extract
from colosse.assistant.code.judge import CodeResult, Step, Trial, run_cases, step
from colosse.assistant.code.languages import title_of
from colosse.assistant.code.texts import CodePrompts
from colosse.assistant.prompts import Language
from colosse.assistant.sandbox import require
from colosse.assistant.skill import Check, Listener, Work, in_parallel
from colosse.core.errors import TooLargeError, UserError
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage

WRITE_TOKENS = 1200
TEST_TOKENS = 400
ENOUGH_EXAMPLES = 3
"""Stated examples that, all passed by the first candidate, end the work; with fewer, candidates are compared too."""
TEMPERATURES = (0.6, 0.8, 1.0)
"""Of the candidates after the first, in turn: alike candidates are worth one."""
ROUNDS = 2
"""Times that candidates are repaired from their errors."""

From = Literal["given", "examples", "model"]
Judge = Callable[[str], Awaitable[Trial]]


class Candidate(NamedTuple):
    """One answer and what its run showed."""

    code: str
    note: str
    trial: Trial


async def write(
    client: Client,
    task: str,
    *,
    language: str = "python",
    tests: str = "",
    candidates: int = 4,
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> CodeResult:
    """Write code for `task` and run it.

    Args:
        client: whom to ask.
        task: what it should do; examples in it are tests.
        language: fence name of the programming language.
        tests: a test file that must pass; for Python for pytest or of plain asserts, else a program that exits with 0.
        candidates: how many answers are compared, from 1 up.
        model: its name; empty: the default.
        prompt_language: language to ask in, and of the remark beside the code.
        listener: hears how it gets on.

    Returns:
        The code that passes, or else the best, with every run in `transcript`. `verified` is true only when all given
        tests, or all examples of the task, pass.

    Raises:
        UserError: no task, tests that do not parse, or a language whose programs cannot be run though tests are given.
        TooLargeError: a task that leaves the model no room.
        ColosseError: there is no isolation here to run code in.
    """
    if not task.strip():
        raise UserError("there is nothing to write: the task is empty", code="empty_input")
    if candidates < 1:
        raise UserError(f"{candidates} candidates are none", hint="ask for 1 or more", param="candidates")
    if tests and check_syntax(tests, language) and not check_syntax(tests, language)[0].passed:
        raise UserError(f"the tests do not parse: {check_syntax(tests, language)[0].detail}", param="tests")
    require()
    if tests:
        programs.need(language)
    work = await Work.start(client, model, CodePrompts, "code", prompt_language, listener)
    return await _Writing(work, task.strip(), language, tests).result(candidates)


class _Writing:
    """One call of `write`."""

    def __init__(self, work: Work[CodePrompts], task: str, language: str, tests: str) -> None:
        self.work, self.task, self.language = work, task, language
        self.examples = [] if tests or language != "python" else cases.examples_of(task)
        self.given = tests
        self.tests_from: From = "given" if tests else "examples" if self.examples else "model"
        self.transcript: list[Step] = []
        self.limit = WRITE_TOKENS
        self.request = work.texts.write.format(language=title_of(language), task=task)
        if tests:
            module = cases.module_of(tests) if language == "python" else programs.stem(language)
            self.request += work.texts.given.format(module=module, fence=language, tests=tests.strip())

    async def result(self, count: int) -> CodeResult:
        first = await self._candidate((0, self._messages()))
        tried = [first]
        done = first.trial.ok and (self.given or len(self.examples) >= ENOUGH_EXAMPLES)
        if not done and count > 1:
            tried += await self._more([(seed, self._messages()) for seed in range(1, count)])
        for _ in range(ROUNDS):
            if any(c.trial.ok for c in tried):
                break
            # A small model repairs seldom: a fresh answer beside the repair of the best finds as much.
            again = [None, max(tried, key=lambda c: c.trial.passed)][count == 1 :]
            tried += await self._more([(len(tried) + n, self._messages(c)) for n, c in enumerate(again)])
        passing = [c for c in tried if c.trial.ok]
        if self.given:
            return self._told(max(tried, key=lambda c: (c.trial.ok, c.trial.passed)), [])
        if self.language != "python":
            return await self._with_program(passing or tried)
        if done or (self.examples and (not passing or len(tried) == 1)):
            return self._told(max(tried, key=lambda c: (c.trial.ok, c.trial.passed)), [])
        return await self._with_agreement(passing or tried)

    async def _more(self, asked: Sequence[tuple[int, list[ChatMessage]]]) -> list[Candidate]:
        """Further candidates; given tests that pass end it at once."""
        found: dict[int, Candidate] = {}
        async for index, candidate in in_parallel(asked, self._candidate):
            found[index] = candidate
            self.work.listener.parts(len(found), len(asked))
            if self.given and candidate.trial.ok:
                break
        return [found[index] for index in sorted(found)]

    def _messages(self, failed: Candidate | None = None) -> list[ChatMessage]:
        texts = self.work.texts
        messages = [
            ChatMessage(role="system", content=texts.system),
            ChatMessage(role="user", content=self.request),
        ]
        if failed is not None:
            shown = f"```{self.language}\n{failed.code.rstrip()}\n```"
            repair = texts.repair.format(output=failed.trial.problem)
            messages += [ChatMessage(role="assistant", content=shown), ChatMessage(role="user", content=repair)]
        return messages

    async def _candidate(self, asked: tuple[int, list[ChatMessage]]) -> Candidate:
        seed, messages = asked
        room = self.work.max_model_len - sum(count_tokens(str(m.content)) for m in messages) - 50
        if room < 200:
            raise TooLargeError(
                f"the task leaves no room in the {self.work.max_model_len} tokens of {self.work.model.id}",
                hint="make it shorter, or take a model with a longer context",
                code="context_length_exceeded",
            )
        self.work.listener.step(f"candidate {seed + 1}: writing")
        temperature = TEMPERATURES[(seed - 1) % len(TEMPERATURES)] if seed else 0.0
        limit = min(self.limit, room)
        done = await self.work.ask(messages, limit, temperature=temperature, seed=seed if seed else None)
        if not seed:  # a sampled answer that is much longer than the greedy one has lost its way
            self.limit = min(WRITE_TOKENS, 2 * done.usage.completion_tokens + 200)
        code, note = code_in(done.text.strip(), self.language)
        self.work.listener.step(f"candidate {seed + 1}: running")
        if not code.strip():
            trial = Trial(command="none", ok=False, output="there was no code in the answer")
        else:
            trial = await self._judge(code)
        repaired = len(messages) > 2
        self.transcript.append(step(f"candidate {seed + 1}{' (repair)' if repaired else ''}", trial))
        return Candidate(code, note, trial)

    async def _judge(self, code: str) -> Trial:
        """Given tests, else examples, else whether it loads or compiles."""
        if self.language != "python":
            return await programs.judge(self.language, code, self.given)
        wrong = [check for check in check_syntax(code, "python") if not check.passed]
        if wrong:
            return Trial(command="parse", ok=False, output=f"SyntaxError: {wrong[0].detail}")
        if not self.given:
            return await run_cases(code, self.examples or ["pass"])
        plain = cases.cases_of(self.given)
        module = cases.module_of(self.given)
        if plain is not None and module == "solution":
            return await run_cases(code, plain)
        # A test file that imports nothing of it means the names themselves.
        bare = module == "solution" and "solution" not in self.given
        text = f"from solution import *\n{self.given}" if bare else self.given
        files: dict[str, bytes | str] = {module.replace(".", "/") + ".py": code, "test_given.py": text}
        if plain is not None:  # asserts at the top level: pytest would collect none of them
            files["test_given.py"] = "\n\n".join(
                f"def test_{n}():\n" + "\n".join(f"    {line}" for line in case.splitlines())
                for n, case in enumerate(plain, 1)
            )
        return await run_tests("pytest -q test_given.py", files, {"test_given.py": str(files["test_given.py"])})

    async def _with_agreement(self, candidates: list[Candidate]) -> CodeResult:
        """The candidate that most agree with, on calls that the model made up."""
        made = await self._made_tests(candidates[0])
        if not made:
            best = max(candidates, key=lambda c: c.trial.ok)
            why = Check(name="tests", passed=False, detail="the model made no test that could be run")
            return self._told(best, [] if self.examples else [why])
        distinct = list({c.code: c for c in candidates}.values())
        trials = [await run_cases(c.code, made) for c in distinct]
        values = [[o.value for o in trial.outcomes] for trial in trials]
        votes = [sum(c.code == d.code for c in candidates) for d in distinct]
        holds = [[o.passed for o in trial.outcomes] for trial in trials]

        def score(index: int) -> tuple[int, int]:
            alike = sum(
                votes[other]
                for other in range(len(distinct))
                for mine, theirs in zip(values[index], values[other], strict=True)
                if mine and mine == theirs
            )
            return alike * sum(holds[index]), alike

        chosen = max(range(len(distinct)), key=score)
        most = [sum(v for v, h in zip(votes, holds, strict=True) if h[n]) * 2 > sum(votes) for n in range(len(made))]
        kept = [test for test, keep in zip(made, most, strict=True) if keep]
        passed = sum(h for h, keep in zip(holds[chosen], most, strict=True) if keep)
        agree = sum(v for v, value in zip(votes, values, strict=True) if value == values[chosen])
        trial = Trial(
            command="the model's own tests",
            ok=bool(kept) and passed == len(kept),
            outcomes=[o for o, keep in zip(trials[chosen].outcomes, most, strict=True) if keep],
        )
        self.transcript.append(step("agreement", trial))
        detail = (
            f"{passed} of {len(kept)}, {len(made) - len(kept)} dropped; {agree} of {len(candidates)} candidates agree"
        )
        check = Check(name="tests", passed=trial.ok, detail=detail)
        if self.examples:
            # What was made to fit a few examples passes those, and nothing that anybody else expects of it.
            sums = f"{sum(holds[chosen])} of {len(made)} of the model's own tests"
            check = Check(name="beyond_examples", passed=any(holds[chosen]), detail=sums)
        checks = [check]
        return self._told(distinct[chosen], checks, [*self.examples, *kept])

    async def _made_tests(self, candidate: Candidate) -> list[str]:
        self.work.listener.step("writing tests")
        names = _signatures(candidate.code)
        ask = self.work.texts.make_tests.format(task=self.task, names=names)
        messages = [ChatMessage(role="user", content=ask)]
        done = await self.work.ask(messages, TEST_TOKENS)
        return [case for case in cases.asserts_in(done.text) if cases.call_of(case) and case not in self.examples]

    async def _with_program(self, candidates: list[Candidate]) -> CodeResult:
        """Other languages: one test program by the model, which every candidate is run with."""
        best = max(candidates, key=lambda c: c.trial.ok)
        if not programs.present(self.language):
            return self._told(best, [Check(name="run", passed=False, detail=programs.missing(self.language))])
        self.work.listener.step("writing tests")
        link = programs.link(self.language)
        ask = self.work.texts.make_program.format(
            language=title_of(self.language), link=link, task=self.task, fence=self.language, code=best.code.rstrip()
        )
        done = await self.work.ask([ChatMessage(role="user", content=ask)], WRITE_TOKENS)
        tests, _ = extract(done.text.strip())
        trials = [await programs.judge(self.language, c.code, tests) for c in candidates]
        for number, trial in enumerate(trials, 1):
            self.transcript.append(step(f"the model's tests, candidate {number}", trial))
        agree = sum(trial.ok for trial in trials)
        if not agree:
            detail = "the model's own tests were dropped: no candidate passes them"
            return self._told(best, [Check(name="tests", passed=False, detail=detail)])
        best = next(c for c, trial in zip(candidates, trials, strict=True) if trial.ok)
        check = Check(name="tests", passed=True, detail=f"{agree} of {len(candidates)} candidates pass the model's own")
        return self._told(best, [check], [tests])

    def _told(self, best: Candidate, checks: list[Check], tests: Sequence[str] = ()) -> CodeResult:
        form = [Check(name="code_block", passed=bool(best.code.strip())), *check_syntax(best.code, self.language)]
        if self.tests_from != "model":
            name = "tests" if self.given else "examples"
            detail = f"{best.trial.passed} of {best.trial.passed + best.trial.failed} pass"
            problem = "" if best.trial.ok else f": {best.trial.problem}"
            checks = [Check(name=name, passed=best.trial.ok, detail=detail + problem), *checks]
        elif not best.trial.ok:
            checks = [Check(name="run", passed=False, detail=best.trial.reason or best.trial.problem), *checks]
        every = [*form, *checks]
        return CodeResult(
            answer=best.code,
            verified=self.tests_from != "model" and all(check.passed for check in every),
            checks=every,
            note=best.note,
            language=self.language,
            tests_from=self.tests_from,
            tests=self.given or "".join(f"{test}\n" for test in (tests or self.examples)),
            transcript=self.transcript,
            **self.work.cost(),
        )


def _signatures(code: str) -> str:
    """The heads of the functions and classes of a module, with their first line of documentation left out."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    try:
        nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, kinds)]
    except SyntaxError:
        return ""
    lines = "\n".join(ast.unparse(node) for node in nodes).split("\n")
    return "\n".join(dict.fromkeys(line for line in lines if re.match(r"\s*(async )?(def|class)\b", line)))
