"""Code explained: what is said of its behaviour is run, what names something that is not there is left out."""

from __future__ import annotations

import builtins
import keyword
import re
import sys

from pydantic import BaseModel

from colosse.assistant.chat import count_tokens
from colosse.assistant.code import cases
from colosse.assistant.code.form import defined
from colosse.assistant.code.judge import CodeResult, run_cases, step
from colosse.assistant.code.languages import title_of
from colosse.assistant.code.texts import CodePrompts
from colosse.assistant.ground import sentences
from colosse.assistant.prompts import Language
from colosse.assistant.sandbox import require
from colosse.assistant.skill import Check, Listener, Work
from colosse.core.errors import TooLargeError, UserError
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage

EXPLAIN_TOKENS = 700
CALL_TOKENS = 300
_CODE = re.compile(r"`([^`\n]+)`")
_RETURNS = re.compile(
    r"`([A-Za-z_]\w*\([^`]*\))`[^`.]{0,40}?(?:returns?|gives?|is|yields?|=|→|->|renvoie|retourne|donne|vaut)[^`.]{0,20}`([^`]+)`"
)


class Example(BaseModel):
    """A call that was run: what it gave, and what the model had thought it gives."""

    call: str
    value: str
    expected: str = ""
    right: bool


class Explanation(CodeResult):
    """An explanation.

    Attributes:
        examples: calls with their real results.
        dropped: sentences that were left out, each with why.
    """

    examples: list[Example] = []
    dropped: list[str] = []


async def explain(
    client: Client,
    code: str,
    *,
    language: str = "python",
    question: str = "",
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> Explanation:
    """Explain code, with examples that were run.

    Args:
        client: whom to ask.
        code: what is explained.
        language: fence name of its language; only Python is run.
        question: what one wants to know of it.
        model: its name; empty: the default.
        prompt_language: language of the explanation.
        listener: hears how it gets on.

    Returns:
        The explanation without sentences that name what the code does not have or state a result that is not so.
        `verified` when examples were run and nothing had to be left out: prose beyond that is the model's word.

    Raises:
        UserError: no code.
        TooLargeError: more than the model can read.
        ColosseError: there is no isolation here to run code in.
    """
    if not code.strip():
        raise UserError("there is no code: the file is empty", code="empty_input")
    work = await Work.start(client, model, CodePrompts, "code", prompt_language, listener)
    if count_tokens(code) > work.max_model_len - EXPLAIN_TOKENS - 500:
        raise TooLargeError(
            f"the code does not fit into the {work.max_model_len} tokens of {work.model.id}",
            hint="explain a part of it, or take a model with a longer context",
            code="context_length_exceeded",
        )
    result = Explanation(answer="", language=language)
    if language == "python":
        require()
        await _run_examples(work, code, result)
    facts = "\n".join(f"{e.call} -> {e.value}" for e in result.examples)
    request = work.texts.explain.format(
        language=title_of(language),
        fence=language,
        code=code.rstrip("\n"),
        question=work.texts.question.format(question=question.strip()) if question.strip() else "",
        facts=work.texts.facts.format(examples=facts) if facts else "",
    )
    done = await work.ask([ChatMessage(role="user", content=request)], EXPLAIN_TOKENS)
    work.listener.step("checking the explanation")
    answer = await _checked(code, done.text.strip(), language, result)
    ran = Check(name="examples", passed=bool(result.examples), detail=f"{len(result.examples)} calls were run")
    kept = Check(name="statements", passed=not result.dropped, detail="; ".join(result.dropped[:3]))
    checks = [Check(name="not_empty", passed=bool(answer)), kept, ran]
    shown = "\n".join(f">>> {e.call}\n{e.value}" for e in result.examples)
    block = f"\n\n```pycon\n{shown}\n```" if shown else ""
    update = {
        "answer": f"{answer}{block}\n",
        "checks": checks,
        "verified": all(check.passed for check in checks),
        "tests_from": "model" if result.examples else "",
        **work.cost(),
    }
    return result.model_copy(update=update)


async def _run_examples(work: Work[CodePrompts], code: str, result: Explanation) -> None:
    """Calls that the model proposes, with what they really give; those that fail to run are left out."""
    try:
        if not defined(code):
            return
    except (SyntaxError, ValueError):
        return
    work.listener.step("trying examples")
    request = work.texts.make_calls.format(code=code.rstrip("\n"))
    done = await work.ask([ChatMessage(role="user", content=request)], CALL_TOKENS)
    stated = [case for case in cases.asserts_in(done.text) if cases.call_of(case)]
    calls = [cases.call_of(case) for case in stated]
    trial = await run_cases(code, [*calls, *stated])
    result.transcript.append(step("examples", trial))
    half = len(calls)
    for call, case, value, truth in zip(calls, stated, trial.outcomes[:half], trial.outcomes[half:], strict=True):
        # A representation with an address is no result that anybody could check.
        if value.passed and value.value and " at 0x" not in value.value:
            expected = case.split("\n")[-1].removeprefix(f"assert {call} == ")
            result.examples.append(Example(call=call, value=value.value, expected=expected, right=truth.passed))


async def _checked(code: str, text: str, language: str, result: Explanation) -> str:
    """The explanation without the sentences that are wrong."""
    wrong = await _wrong_results(code, text) if language == "python" else set()
    known = _names(code, language)
    kept = []
    for sentence in sentences(text):
        unknown = [name for name in map(_name, _CODE.findall(sentence)) if name and name not in known]
        stated = [match[0] for match in _RETURNS.finditer(sentence) if match[0] in wrong]
        if unknown:
            result.dropped.append(f"no `{unknown[0]}` in the code: {' '.join(sentence.split())}")
        elif stated:
            result.dropped.append(f"not so when run: {' '.join(sentence.split())}")
        else:
            kept.append(sentence)
    return "".join(kept).strip()


async def _wrong_results(code: str, text: str) -> set[str]:
    """Those statements of the form "`f(1)` returns `2`" that are not so."""
    found = [(m[0], f"assert {m[1]} == {m[2]}") for m in _RETURNS.finditer(text)]
    found = [(said, case) for said, case in found if cases.asserts_in(case)]
    if not found:
        return set()
    trial = await run_cases(code, [case for _, case in found])
    return {said for (said, _), outcome in zip(found, trial.outcomes, strict=True) if not outcome.passed}


def _name(quoted: str) -> str:
    """The name that a piece of code in a sentence is about; nothing when it is about no name."""
    match = re.match(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)\s*(?:\(|$|\[)", quoted.strip())
    return match[1] if match else ""


def _names(code: str, language: str) -> set[str]:
    names = set(re.findall(r"[A-Za-z_]\w*", code))
    if language == "python":
        names |= set(dir(builtins)) | set(keyword.kwlist) | sys.stdlib_module_names
        for kind in (str, list, dict, set, tuple, int, float, bytes):
            names |= set(dir(kind))
    return names
