"""Code translated from one programming language to another, held to do the same: both are run, and print the same.

A program that reads standard input is run on inputs; of other Python code, calls are appended that print their results,
and the whole is translated. The expected lines are never shown to the model, so it cannot write them down.
"""

from __future__ import annotations

import ast
import math
import re
from typing import NamedTuple

from colosse.assistant.chat import count_tokens
from colosse.assistant.code import cases, programs
from colosse.assistant.code.form import BLOCK, check_syntax, code_in
from colosse.assistant.code.judge import CodeResult, Step, run_cases
from colosse.assistant.code.languages import title_of
from colosse.assistant.code.texts import CodePrompts
from colosse.assistant.prompts import Language
from colosse.assistant.sandbox import Ran, require
from colosse.assistant.skill import Check, Listener, Work
from colosse.core.errors import TooLargeError, UserError
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage

TEMPERATURE = 0.6
_READS = {
    "python": r"\binput\(|\bstdin\b",
    "javascript": r"\bstdin\b|readline|/dev/stdin|readFileSync\(0",
    "typescript": r"\bstdin\b|readline|/dev/stdin|readFileSync\(0",
    "c": r"\bscanf\b|\bgetchar\b|\bstdin\b|\bfgets\b",
    "cpp": r"\bcin\b|\bscanf\b|\bgetline\b|\bgetchar\b",
    "java": r"System\.in\b",
    "go": r"os\.Stdin\b|fmt\.Scan",
    "rust": r"\bstdin\b",
}


class _Attempt(NamedTuple):
    code: str
    note: str
    same: int
    problem: str


async def translate_code(
    client: Client,
    code: str,
    *,
    source: str,
    target: str,
    attempts: int = 4,
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> CodeResult:
    """Translate code and compare what both versions print.

    Args:
        client: whom to ask.
        code: a program, or a Python module of functions.
        source: fence name of its language.
        target: fence name of the wanted one.
        attempts: answers before it gives up; each sees how the one before differed.
        model: its name; empty: the default.
        prompt_language: language to ask in, and of the remark beside the code.
        listener: hears how it gets on.

    Returns:
        The program whose output equals on most inputs; `verified` when it does on all, and there were some.

    Raises:
        UserError: no code, or twice the same language.
        TooLargeError: more than the model can read and write again.
        ColosseError: there is no isolation here to run code in.
    """
    if not code.strip():
        raise UserError("there is no code: the file is empty", code="empty_input")
    if source == target:
        raise UserError(f"this is {title_of(source)} already", hint="name another language with --to", param="target")
    require()
    work = await Work.start(client, model, CodePrompts, "code", prompt_language, listener)
    limit = int(count_tokens(code) * 2) + 300
    if count_tokens(code) + limit > work.max_model_len - 300:
        raise TooLargeError(
            f"the code does not fit twice into the {work.max_model_len} tokens of {work.model.id}",
            hint="translate a part of it, or take a model with a longer context",
            code="context_length_exceeded",
        )
    program, inputs = await _program(work, code, source)
    wanted = await programs.outputs(source, program, inputs) if programs.present(source) else []
    pairs = [
        (given, ran) for given, ran in zip(inputs, wanted, strict=False) if ran.exit_code == 0 and ran.stdout.strip()
    ]
    can = programs.present(target)
    request = work.texts.translate.format(
        source=title_of(source), target=title_of(target), fence=source, code=program.rstrip("\n")
    )
    messages = [ChatMessage(role="system", content=work.texts.system), ChatMessage(role="user", content=request)]
    transcript: list[Step] = []
    tried: list[_Attempt] = []
    for number in range(attempts):
        work.listener.step(f"attempt {number + 1}: writing")
        done = await work.ask(
            messages, limit, temperature=TEMPERATURE if number else 0.0, seed=number if number else None
        )
        made, note = code_in(done.text.strip(), target)
        made = programs.named(target, made)
        work.listener.step(f"attempt {number + 1}: running")
        attempt = await _compared(target, made, note, pairs) if can and pairs else _Attempt(made, note, 0, "")
        tried.append(attempt)
        if not can or not pairs:
            break
        transcript.append(
            Step(
                attempt=f"attempt {number + 1}",
                command=programs.command(target, programs.LAYOUTS[target].file),
                passed=attempt.same,
                failed=len(pairs) - attempt.same,
                output=attempt.problem,
            )
        )
        if attempt.same == len(pairs):
            break
        shown = ChatMessage(role="assistant", content=f"```{target}\n{made.rstrip()}\n```")
        again = work.texts.differs.format(output=attempt.problem, target=title_of(target))
        messages = [*messages[:2], shown, ChatMessage(role="user", content=again)]
    best = max(tried, key=lambda attempt: attempt.same)
    if not can:
        detail = programs.missing(target)
    elif not programs.present(source):
        detail = programs.missing(source)
    elif not pairs:
        said = next((error for ran in wanted if (error := ran.stderr.strip())), "it prints nothing to compare")
        detail = f"the original could not be run: {said.splitlines()[-1]}"
    else:
        detail = f"{best.same} of {len(pairs)} outputs are equal{best.problem and f': {best.problem}'}"
    same = bool(pairs) and best.same == len(pairs)
    checks = [
        Check(name="code_block", passed=bool(best.code.strip())),
        *check_syntax(best.code, target),
        Check(name="same_output", passed=same, detail=detail),
    ]
    return CodeResult(
        answer=best.code,
        verified=all(check.passed for check in checks),
        checks=checks,
        note=best.note,
        language=target,
        tests_from="model" if pairs else "",
        tests="\n".join(given.decode(errors="replace") for given, _ in pairs if given) or (program if pairs else ""),
        transcript=transcript,
        **work.cost(),
    )


async def _program(work: Work[CodePrompts], code: str, source: str) -> tuple[str, list[bytes]]:
    """(what is translated, the inputs it is run on)."""
    if re.search(_READS.get(source, r"$^"), code):
        work.listener.step("writing inputs")
        request = work.texts.make_inputs.format(fence=source, code=code.rstrip("\n"))
        done = await work.ask([ChatMessage(role="user", content=request)], 400)
        return code, [block[3].encode() for block in BLOCK.finditer(done.text)][:6]
    if source != "python" or _prints(code):
        return code, [b""]
    work.listener.step("trying examples")
    request = work.texts.make_calls.format(code=code.rstrip("\n"))
    done = await work.ask([ChatMessage(role="user", content=request)], 300)
    calls = [call for case in cases.asserts_in(done.text) if "\n" not in case and (call := cases.call_of(case))]
    trial = await run_cases(code, calls)
    good = [c for c, o in zip(calls, trial.outcomes, strict=True) if o.passed and o.value and " at 0x" not in o.value]
    return code.rstrip("\n") + "\n\n\n" + "".join(f"print({call})\n" for call in good), [b""]


def _prints(code: str) -> bool:
    """Whether a Python file does something when it is run, beyond defining names."""
    quiet = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return True
    return any(
        not isinstance(node, quiet) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in body
    )


async def _compared(target: str, code: str, note: str, pairs: list[tuple[bytes, Ran]]) -> _Attempt:
    """How many outputs are equal, and the first difference."""
    if not code.strip():
        return _Attempt(code, note, 0, "there was no code in the answer")
    same, problem = 0, ""
    for (given, wanted), ran in zip(pairs, await programs.outputs(target, code, [g for g, _ in pairs]), strict=True):
        if ran.exit_code == 0 and not ran.stopped and alike(wanted.stdout, ran.stdout):
            same += 1
        elif not problem:
            problem = _difference(given, wanted, ran)
    return _Attempt(code, note, same, problem)


def _difference(given: bytes, wanted: Ran, ran: Ran) -> str:
    if ran.exit_code or ran.stopped:
        return "\n".join(ran.stderr.strip().splitlines()[:12]) or f"exit code {ran.exit_code} {ran.stopped}".strip()
    here, there = wanted.stdout.strip().splitlines(), ran.stdout.strip().splitlines()
    shown = f" for the input {given.decode(errors='replace')!r:.200}" if given else ""
    for number, (one, other) in enumerate(zip(here, there, strict=False), 1):
        if not alike(one, other):
            # The right line is not told: a model that knows it would print it.
            return f"line {number} of the output is wrong{shown}: {other:.200}"
    return f"{len(there)} lines were printed and not {len(here)}{shown}"


def alike(one: str, other: str) -> bool:
    """Whether two outputs say the same, but for how languages print: `True` is `true`, `[1, 2]` is `[1,2]`."""
    mine, yours = _tokens(one), _tokens(other)
    return len(mine) == len(yours) and all(map(_same, mine, yours))


def _tokens(text: str) -> list[str]:
    words = {"true": "true", "false": "false", "none": "null", "null": "null", "nil": "null", "undefined": "null"}
    found = re.findall(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\w+|\n|[^\s\w]", text.strip().replace("\r\n", "\n"))
    return [words.get(word.lower(), word) for word in found if word not in ("'", '"')]


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-9, abs_tol=1e-12)
    except ValueError:
        return False
