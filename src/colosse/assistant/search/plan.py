"""Which queries to ask for a question, in its own language. Nothing that a page said is known here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from colosse.assistant.documents.rank import query_terms
from colosse.assistant.languages import name_of
from colosse.assistant.prompts import SkillPrompts
from colosse.assistant.skill import Work
from colosse.engines.schema import ChatMessage

MAX_QUERIES = 3
_MAX_CHARS = 150
_MAX_QUESTION = 400
_MAX_TURN = 600
"""Characters of each earlier turn that help to understand a question."""
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*")
_OPERATOR = re.compile(r"\b\w+:\S|https?:|[<>{}|]")


class SearchPrompts(SkillPrompts):
    """Texts of the search skill.

    Attributes:
        plan_system: who writes queries.
        plan: asks for queries.
        rewrite_system: who writes questions again.
        rewrite: asks for the question without what it leans on.
        unrelated: told to the person when what was found is about something else.
    """

    plan_system: str
    plan: str
    rewrite_system: str
    rewrite: str
    unrelated: str


async def standalone(work: Work[SearchPrompts], question: str, history: Sequence[ChatMessage]) -> str:
    """`question` so that it is understood without the conversation before it; itself when that fails."""
    turns = [f"{turn.role}: {str(turn.content)[:_MAX_TURN]}" for turn in history[-4:] if isinstance(turn.content, str)]
    if not turns:
        return question
    asked = work.texts.rewrite.format(conversation="\n".join(turns), question=question)
    messages = [
        ChatMessage(role="system", content=work.texts.rewrite_system),
        ChatMessage(role="user", content=asked),
    ]
    said = " ".join((await work.ask(messages, 80)).text.split()).strip('"“”«» ')
    # A question that says something else than what was talked about is the model's own.
    known = set(query_terms(" ".join([question, *turns])))
    terms = query_terms(said)
    sound = 0 < len(said) <= _MAX_QUESTION and terms and sum(term in known for term in terms) >= len(terms) / 2
    return said if sound else question


async def plan(work: Work[SearchPrompts], question: str, language: str) -> list[str]:
    """At most `MAX_QUERIES` queries; the question itself is the first."""
    name = name_of(language or work.language, work.language)
    asked = work.texts.plan.format(question=question, count=MAX_QUERIES - 1, language=name)
    messages = [ChatMessage(role="system", content=work.texts.plan_system), ChatMessage(role="user", content=asked)]
    return queries_of((await work.ask(messages, 80)).text, question)


def queries_of(said: str, question: str) -> list[str]:
    """The queries in what a model said: short lines that share a word with the question, each once."""
    first = " ".join(question.split())[:_MAX_QUESTION]
    known = set(query_terms(first))
    found = {frozenset(known): first}
    for line in said.splitlines():
        query = " ".join(_BULLET.sub("", line).strip("\"'“”«»` ").split())
        terms = frozenset(query_terms(query))
        if 3 <= len(query) <= _MAX_CHARS and terms & known and not _OPERATOR.search(query):
            found.setdefault(terms, query)
    return list(found.values())[:MAX_QUERIES]
