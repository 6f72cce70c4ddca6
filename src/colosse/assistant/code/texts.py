"""What the verbs of code ask a model."""

from __future__ import annotations

from colosse.assistant.prompts import SkillPrompts


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
