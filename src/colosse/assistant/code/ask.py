"""One request for code, its form checked; nothing is run here."""

from __future__ import annotations

from colosse.assistant.chat import count_tokens
from colosse.assistant.checks import not_empty
from colosse.assistant.code.form import BLOCK, check_syntax, extract, same_names
from colosse.assistant.prompts import SkillPrompts
from colosse.assistant.skill import Check, Judged, Result, Work
from colosse.core.errors import TooLargeError, UserError


class CodePrompts(SkillPrompts):
    """The requests of every verb, and what is told of a run that failed."""

    system: str
    write: str
    given: str
    make_tests: str
    make_program: str
    repair: str
    fix: str
    error: str
    fix_files: str
    whole: str
    blocks: str
    again: str
    misfit: str
    explain: str
    question: str
    facts: str
    make_calls: str
    translate: str
    make_inputs: str
    differs: str
    optimize: str
    retry: str


async def code_result(work: Work[CodePrompts], request: str, language: str, source: str, limit: int) -> Result:
    """One request for code; `source` is the file that it is made from, whose names must stay."""
    if not limit:
        if not source.strip():
            raise UserError("there is no code: the file is empty", code="empty_input")
        limit = int(count_tokens(source) * 1.2) + 300
    room = work.max_model_len - count_tokens(request) - count_tokens(work.texts.system) - 50
    if room < min(limit, 256) or (source and room < limit):
        fits = (work.max_model_len - 700) // 2
        raise TooLargeError(
            f"about {count_tokens(request)} tokens to read and {limit} to write do not fit into the "
            f"{work.max_model_len} of {work.model.id}",
            hint=f"give it at most about {max(fits, 0)} tokens of code, or a model with a longer context",
            code="context_length_exceeded",
        )
    notes: dict[str, str] = {}

    def judge(written: str) -> Judged:
        code, notes[written] = extract(written)
        found = bool(BLOCK.search(written)) or all(c.passed for c in check_syntax(code, language))
        checks = [not_empty(code), Check(name="code_block", passed=found), *check_syntax(code, language)]
        if source:
            checks += [
                Check(name="changed", passed=code.strip() != source.strip()),
                *same_names(source, code, language),
            ]
        return Judged(written, checks)

    judged = await work.attempt(work.texts.system, request, work.texts.retry, judge, max_tokens=min(limit, room))
    return work.result(extract(judged.answer)[0], judged.checks, notes[judged.answer])
