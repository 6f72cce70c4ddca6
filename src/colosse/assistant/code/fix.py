"""Code mended: the failure is seen first; a change is believed when the failing command passes and nothing else broke.

The tests are never changed: only the files that may be are taken from an answer, every other one is put back before
each run. A change that newly knows of the test tools, leaves the program, catches every error or answers the values of
the tests one by one is refused; one that passes must fail when the tests ask for the opposite.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from colosse.assistant.chat import count_tokens
from colosse.assistant.code import repository
from colosse.assistant.code.control import run_tests, shortcuts
from colosse.assistant.code.form import check_syntax, extract, same_names
from colosse.assistant.code.judge import CodeResult, Step, Trial, argv_of, run_command, shorten, step
from colosse.assistant.code.languages import LANGUAGES, language_of_file, title_of
from colosse.assistant.code.patch import PatchError, apply_edits, parse_edits
from colosse.assistant.code.texts import CodePrompts
from colosse.assistant.prompts import Language
from colosse.assistant.sandbox import require
from colosse.assistant.skill import Check, Listener, Work, in_parallel
from colosse.core.errors import TooLargeError, UserError
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage

WHOLE_TOKENS = 900
"""A longer file is changed by search and replace: models write short files again with fewer mistakes."""
EDIT_TOKENS = 900
TEMPERATURES = (0.6, 0.8, 1.0)
"""Of the answers after the first, in turn: alike answers are worth one."""
ROUNDS = 2
_EVASIVE = re.compile(
    r"\b(?:pytest|unittest|conftest|PYTEST_CURRENT_TEST|sys\.exit|os\._exit|_exit|SystemExit|sys\.modules|process\.exit"
    r"|os\.exec\w+|os\.kill|os\.abort|atexit|builtins|__builtins__|ctypes|_getframe|currentframe|inspect\.stack"
    r"|gc\.get_\w+|settrace|setprofile)\b|\b(?:exit|quit)\("
)


class FixResult(CodeResult):
    """A fix.

    Attributes:
        files: path to new text of each file that is changed; nothing when no change was found that holds.
        diff: the same as a unified diff.
    """

    files: dict[str, str] = {}
    diff: str = ""


class Proposal(NamedTuple):
    """One answer: what it changes, what its run showed, and the conversation to go on with."""

    changed: dict[str, str]
    note: str
    trial: Trial
    accepted: bool
    problem: str
    messages: list[ChatMessage]


async def fix(
    client: Client,
    code: str | Mapping[str, str | bytes],
    *,
    language: str = "python",
    command: str = "",
    error: str = "",
    writable: Iterable[str] | None = None,
    candidates: int = 4,
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> FixResult:
    """Find and mend what makes a command fail.

    Args:
        client: whom to ask.
        code: the text of a file, or path to content of all files that the command needs.
        language: fence name of the language of a single text; of files their names tell it.
        command: what fails, such as `pytest -q`; run in the sandbox, in the folder of the files.
        error: a traceback or log, in place of a command: then nothing is run, and nothing verified.
        writable: paths that may be changed; by default every file of code that is no test.
        candidates: answers that are tried before they are repaired.
        model: its name; empty: the default.
        prompt_language: language to ask in, and of the remark beside the code.
        listener: hears how it gets on.

    Returns:
        `verified` when the command failed before and passes now, with every test that passed before. `answer` is the
        file, or for several the diff.

    Raises:
        UserError: nothing to change, or a command whose quotes do not close.
        TooLargeError: files that the model cannot read.
        ColosseError: there is no isolation here to run the command in.
    """
    if isinstance(code, str):
        suffix = next(
            (s for s in (language, *LANGUAGES.get(language, ("", ()))[1]) if language_of_file(f"a.{s}")), "txt"
        )
        code = {f"code.{'py' if language == 'python' else suffix}": code}
    texts = {path: _text(data) for path, data in code.items()}
    allowed = (
        [p for p in texts if language_of_file(p) and not repository.protected(p)] if writable is None else [*writable]
    )
    if unknown := [path for path in allowed if path not in texts]:
        raise UserError(f"{unknown[0]} may be changed and is not among the files", param="writable")
    if not any(texts[path].strip() for path in allowed):
        raise UserError("there is no code to fix: nothing but tests, or the file is empty", code="empty_input")
    if command:
        try:
            argv_of(command)
        except ValueError as wrong:
            raise UserError(f"the command cannot be read: {wrong}", param="command") from None
        require()
    work = await Work.start(client, model, CodePrompts, "code", prompt_language, listener)
    return await _Fixing(work, {**code}, texts, allowed, command, error).result(candidates)


class _Fixing:
    """One call of `fix`."""

    def __init__(
        self,
        work: Work[CodePrompts],
        files: dict[str, str | bytes],
        texts: dict[str, str],
        writable: list[str],
        command: str,
        error: str,
    ) -> None:
        self.work, self.files, self.texts, self.writable = work, files, texts, writable
        self.command, self.log = command, shorten(error)
        self.before = Trial(command=command, ok=False)
        self.transcript: list[Step] = []
        self.tests = {path: text for path, text in texts.items() if repository.protected(path) and path.endswith(".py")}

    async def result(self, count: int) -> FixResult:
        if not self.command:
            return await self._unverified()
        self.work.listener.step("reproducing the failure")
        self.before = await run_command(self.command, self.files)
        self.transcript.append(step("before", self.before))
        if self.before.ok or self.before.reason:
            why = self.before.reason or "the command passes already: there is nothing to fix"
            return self._told(None, [Check(name="reproduced", passed=False, detail=why)])
        self.log = f"{self.log}\n{self.before.problem}".strip()
        asked = [(seed, self._messages(seed)) for seed in range(count)]
        # The first answer alone is enough surprisingly often; the others are not paid for then.
        tried = [await self._proposal(asked[0])]
        if not tried[0].accepted:
            tried += await self._more(asked[1:])
        for _ in range(ROUNDS):
            if any(p.accepted for p in tried):
                break
            best = sorted(tried, key=lambda p: (-p.trial.passed, not p.changed))[:2]
            tried += await self._more([(len(tried) + n, p.messages) for n, p in enumerate(best)])
        good = next((p for p in tried if p.accepted), None)
        reproduced = Check(name="reproduced", passed=True)
        if good is None:
            best_try = max(tried, key=lambda p: p.trial.passed)
            said = best_try.problem or best_try.trial.errors or best_try.trial.problem
            detail = f"none of {len(tried)} attempts; the best one: {' '.join(said.split())[-300:]}"
            return self._told(None, [reproduced, Check(name="command", passed=False, detail=detail)])
        self.work.listener.step("seeing it fail once more without the change")
        again = await run_command(self.command, self.files)
        if again.ok:
            self.transcript.append(step("before, once more", again))
        sometimes = "it fails only sometimes: without any change it passed the second time"
        reproduced = Check(name="reproduced", passed=not again.ok, detail=sometimes if again.ok else "")
        passing = sum(o.passed for o in self.before.outcomes)
        kept = Check(name="kept_passing", passed=True, detail=f"{passing} tests that passed before")
        return self._told(good, [reproduced, Check(name="command", passed=True), kept])

    async def _unverified(self) -> FixResult:
        """One change whose form alone is looked at."""
        first = await self._proposal((0, self._messages(0)))
        proposal = first if first.accepted else await self._proposal((0, first.messages))
        if not proposal.accepted:
            name = "fits" if proposal.changed else "changed"
            return self._told(None, [Check(name=name, passed=False, detail=proposal.problem)])
        checks = [Check(name="changed", passed=True)]
        for path, text in proposal.changed.items():
            language = language_of_file(path)
            checks += [*check_syntax(text, language), *same_names(self.texts[path], text, language)]
        return self._told(proposal, checks)

    async def _more(self, asked: Sequence[tuple[int, list[ChatMessage]]]) -> list[Proposal]:
        found: list[Proposal] = []
        async for _, proposal in in_parallel(asked, self._proposal):
            found.append(proposal)
            self.work.listener.parts(len(found), len(asked))
            if proposal.accepted:
                break
        return found

    def _messages(self, seed: int) -> list[ChatMessage]:
        """The files by how likely the bug is in them; later answers look at one file each, the likeliest first."""
        order = repository.relevant(self.texts, self.writable, self.log)
        budget = self.work.max_model_len // 2 - count_tokens(self.log)
        shown, used = [], 0
        for path in order if seed == 0 else [order[(seed - 1) % min(len(order), 3)]]:
            cost = count_tokens(self.texts[path])
            if used + cost <= budget:
                shown.append(path)
                used += cost
        if not shown:
            raise TooLargeError(
                f"{order[0]} is too long for the {self.work.max_model_len} tokens of {self.work.model.id}",
                hint="name a shorter file, or take a model with a longer context",
                code="context_length_exceeded",
            )
        failing = [name for name in self.texts if repository.protected(name) and name in self.log]
        for path in failing:
            used += count_tokens(self.texts[path])
            if used <= budget:
                shown.append(path)
        texts = self.work.texts
        quoted = [f"{path}\n```{language_of_file(path)}\n{self.texts[path].rstrip()}\n```" for path in shown]
        if self.command:
            request = texts.fix_files.format(
                command=self.command, files="\n\n".join(quoted), log=self.log, form=self._form(self._open(shown))
            )
        else:
            path = order[0]
            language = language_of_file(path)
            error = texts.error.format(log=self.log) if self.log else ""
            request = texts.fix.format(
                language=title_of(language), fence=language, code=self.texts[path].rstrip("\n"), error=error
            )
        system = ChatMessage(role="system", content=texts.system)
        return [system, ChatMessage(role="user", content=request)]

    def _open(self, shown: Iterable[str]) -> list[str]:
        return [path for path in shown if path in self.writable]

    def _form(self, paths: list[str]) -> str:
        whole = len(paths) == 1 and count_tokens(self.texts[paths[0]]) <= WHOLE_TOKENS
        return self.work.texts.whole if whole else self.work.texts.blocks

    async def _proposal(self, asked: tuple[int, list[ChatMessage]]) -> Proposal:
        seed, messages = asked
        label = f"attempt {seed + 1}{' (repair)' if len(messages) > 2 else ''}"
        self.work.listener.step(f"{label}: writing")
        paths = self._open(path for path in self.texts if f"{path}\n```" in str(messages[1].content))
        paths = paths or repository.relevant(self.texts, self.writable, self.log)[:1]
        files = {path: self.texts[path] for path in paths}
        form = self._form(paths) if self.command else self.work.texts.whole
        whole = form == self.work.texts.whole
        limit = int(count_tokens(files[paths[0]]) * 1.3) + 200 if whole else EDIT_TOKENS
        room = self.work.max_model_len - sum(count_tokens(str(m.content)) for m in messages) - 50
        if room < min(limit, 300):
            messages, room = self._messages(seed), limit  # a repair that no longer fits begins anew
        done = await self.work.ask(
            messages,
            min(limit, room),
            temperature=TEMPERATURES[(seed - 1) % len(TEMPERATURES)] if seed else 0.0,
            seed=seed or None,
        )
        said = ChatMessage(role="assistant", content=done.text.strip())
        texts = self.work.texts
        empty = Trial(command=self.command, ok=False)
        try:
            changed = apply_edits(files, parse_edits(done.text.strip(), files))
            problem = self._refusal(changed)
        except PatchError as misfit:
            changed, problem = {}, str(misfit)
        if problem:
            self.transcript.append(Step(attempt=label, command="none", passed=0, failed=0, output=problem))
            again = ChatMessage(role="user", content=texts.misfit.format(problem=problem, form=form))
            return Proposal(changed, "", empty, False, problem, [*messages[:2], said, again])
        note = extract(done.text.strip())[1] if whole else ""
        if not self.command:
            return Proposal(changed, note, empty, True, "", messages)
        self.work.listener.step(f"{label}: running {self.command}")
        trial = await run_tests(self.command, {**self.files, **self._as_stored(changed)}, self.tests)
        problem = "" if not trial.ok else _broken(self.before, trial)
        self.transcript.append(
            step(
                label,
                trial.model_copy(update={"ok": not problem and trial.ok, "output": problem}) if problem else trial,
            )
        )
        log = problem or trial.reason or trial.problem
        again = ChatMessage(role="user", content=texts.again.format(command=self.command, log=log, form=form))
        return Proposal(changed, note, trial, trial.ok and not problem, problem, [*messages[:2], said, again])

    def _refusal(self, changed: Mapping[str, str]) -> str:
        """Why a change is not even run."""
        if not changed:
            return "nothing was changed"
        for path, text in changed.items():
            if wrong := [c for c in check_syntax(text, language_of_file(path)) if not c.passed]:
                return f"{path} does not parse: {wrong[0].detail}"
            if new := sorted(set(_EVASIVE.findall(text)) - set(_EVASIVE.findall(self.texts[path]))):
                return f"{path} must not begin to use {', '.join(new)}"
            if path.endswith(".py") and (said := shortcuts(self.texts[path], text, self.tests.values())):
                return f"{path}: {said}"
        return ""

    def _as_stored(self, changed: Mapping[str, str]) -> dict[str, str]:
        """Changed files with the line ends and the mark at the beginning that they had."""
        stored = {}
        for path, text in changed.items():
            data = self.files[path]
            before = data if isinstance(data, str) else data.decode(errors="replace")
            ends = text.replace("\n", "\r\n") if "\r\n" in before else text
            stored[path] = f"\ufeff{ends}" if before.startswith("\ufeff") else ends
        return stored

    def _told(self, proposal: Proposal | None, checks: list[Check]) -> FixResult:
        changed = proposal.changed if proposal else {}
        diff = "".join(changes(self.texts[path], text, path) for path, text in changed.items())
        only = self.writable[0] if len(self.writable) == 1 else ""
        return FixResult(
            answer=(changed.get(only) or self.texts[only]) if only else diff,
            verified=bool(proposal and self.command) and all(check.passed for check in checks),
            checks=checks,
            note=proposal.note if proposal else "",
            language=language_of_file(only or next(iter(changed), "")),
            tests_from="given" if self.command else "",
            tests=self.command,
            transcript=self.transcript,
            files=self._as_stored(changed),
            diff=diff,
            **self.work.cost(),
        )


def _text(data: str | bytes) -> str:
    """A file as the model is shown it: lines that end in a line feed, no mark at the beginning."""
    text = data if isinstance(data, str) else data.decode(errors="replace")
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def changes(before: str, after: str, name: str) -> str:
    """The unified diff of one file."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _broken(before: Trial, after: Trial) -> str:
    """What a passing run lost of the one before: a test that passed and no longer does, or one that is gone."""
    now = {o.name: o.passed for o in after.outcomes}
    lost = [o.name for o in before.outcomes if o.passed and not now.get(o.name)]
    # A test without a class or module is pytest's word for a file that could not be loaded.
    lost += [
        o.name for o in before.outcomes if not o.passed and not o.skipped and "::" in o.name and not now.get(o.name)
    ]
    return f"these tests no longer pass or are gone: {', '.join(lost[:3])}" if lost else ""
