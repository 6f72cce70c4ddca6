"""Answers from numbered passages, each sentence held against what it cites.

The passages are data: they stand between marks that no page can guess, the request carries no tools, and an answer has
no links or images that would do something when shown.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from colosse.assistant import facts, ground
from colosse.assistant.chat import MESSAGE_OVERHEAD, count_tokens
from colosse.assistant.ground import Source
from colosse.assistant.outside import neutral
from colosse.assistant.prompts import SkillPrompts, prompts
from colosse.assistant.skill import SMALL_PARAMETERS, Check, Work, parameters_of
from colosse.engines.schema import ChatMessage

MAX_TOKENS = 400
"""Limit of an answer."""
MIN_WORDS = 2
"""A shorter piece (a heading, `Yes.`) states nothing that could be held against a passage."""
_CITED = re.compile(r"[ \t]*\[(\d{1,3}(?:\s*[,;]\s*\[?\d{1,3}\]?)*)\]")
_LATE = re.compile(r"([.!?…])((?:[ \t]*\[\d{1,3}(?:\s*[,;]\s*\d{1,3})*\])+)")
_MARKS = re.compile(r"<{3,}(?:[0-9a-f]{8})?|(?:\b[0-9a-f]{8})?>{3,}")
"""What stands around passages."""
_HEADING = re.compile(r"\s*#{1,6} |\s*\*\*[^*]+\*\*:?\s*$")
_BULLET = re.compile(r"^\s*(?:[-*•–]|\d{1,2}[.)])\s+|\*\*")
_IMAGE = re.compile(r"!\[([^\]\n]{0,300})\](?:\([^)\n]{0,2000}\)|\[[^\]\n]{0,300}\])?")
_LINK = re.compile(r"\[([^\]\n]{1,300})\]\([^)\n]{0,2000}\)")
_TAG = re.compile(r"</?[a-zA-Z!][^<>]{0,2000}>")
_URL = re.compile(
    r"(?:[a-z][a-z0-9+.-]{1,20}://|\bwww\.)([^\s/?#<>()\"'\[\]]+)(/[^\s?#<>()\"'\[\]]*)?[^\s<>()\"'\[\]]*", re.I
)


class CitePrompts(SkillPrompts):
    """`passage` frames one, `unknown` is what the model writes, and `not_found` what is said, when none answers."""

    system: str
    user: str
    passage: str
    retry: str
    unknown: str
    not_found: str


class CitedSentence(BaseModel):
    """A sentence that the model wrote.

    Attributes:
        text: without its citations.
        citations: ids of the sources that it rests on; those it named itself first. Empty when it rests on none.
        supported: whether it rests on them; if not, it is not in the answer.
        score: how well, from 0 to 1.
    """

    text: str
    citations: list[int] = []
    supported: bool = False
    score: float = 0.0


class CitedAnswer(BaseModel):
    """An answer of supported sentences alone.

    Attributes:
        answer: with citations `[1]`; a sentence that says so when the sources do not answer.
        sentences: all that was written, with what was left out of the answer.
        checks: `complete`, `answered`, `supported`; the last names what was left out.
        verified: whether there is an answer, whole, of sentences that all rest on what they cite.
        sources: those that the answer cites.
    """

    answer: str
    sentences: list[CitedSentence] = []
    checks: list[Check] = []
    verified: bool = False
    sources: list[Source] = []


async def cited_answer(
    work: Work[Any], question: str, sources: Sequence[Source], *, max_tokens: int = MAX_TOKENS
) -> CitedAnswer:
    """Answer a question from sources, and keep only what they support.

    When nothing that was written rests on a source, the model is told and asked once more.

    Args:
        work: of the skill that asks; its model, language and listener are used.
        question: as the person asked it.
        sources: best first; as many as fit into the context are given to the model.
        max_tokens: the answer's limit.
    """
    small = 0 < parameters_of(work.model.id) < SMALL_PARAMETERS
    texts = prompts(CitePrompts, "cite", work.language, small=small)
    given = _fitting(texts, question, sources, work.max_model_len - 2 * max_tokens)
    if not given:
        return _finished(texts, [], given, whole=True)
    messages = _messages(texts, question, given)
    done = await work.ask(messages, max_tokens)
    found = await asyncio.to_thread(_held, texts, done.text, given, question)
    if found and not any(sentence.supported for sentence in found):
        problems = texts.problems["supported"].format(detail=found[0].text)
        messages += [
            ChatMessage(role="assistant", content=done.text),
            ChatMessage(role="user", content=texts.retry.format(problems=problems)),
        ]
        done = await work.ask(messages, max_tokens)
        found += await asyncio.to_thread(_held, texts, done.text, given, question)
    return _finished(texts, found, given, whole=done.finish_reason != "length")


def inert(text: str) -> str:
    """A text in which nothing can be followed or fetched: links keep their words, addresses host and path alone."""
    for pattern in (_IMAGE, _LINK):
        text = pattern.sub(r"\1", text)
    return _URL.sub(lambda found: found[1] + (found[2] or ""), _TAG.sub("", text))


def held_against(text: str, sources: Sequence[Source], question: str = "") -> list[CitedSentence]:
    """The sentences of a text with citations, each checked against what it cites, else against all sources. Blocks.

    A citation that does not support its sentence is dropped, and one that was forgotten is added. What states nothing,
    such as the question or a heading written again, is no sentence.
    """
    known = {source.id: source for source in sources}
    headings = {part for source in sources for part in (source.title, *source.section.split(" › "))}
    repeated = {tuple(facts.words(part)) for part in (question, *headings)}
    found = []
    for piece in ground.sentences(_LATE.sub(r"\2\1", inert(_MARKS.sub("", text)))):
        said = " ".join(_BULLET.sub("", _CITED.sub("", piece)).split())
        words = tuple(facts.words(said))
        if not words or words in repeated or said.endswith("?") or _HEADING.match(piece):
            continue
        numbers = [int(n) for group in _CITED.findall(piece) for n in re.findall(r"\d+", group)]
        cited = [known[number] for number in dict.fromkeys(numbers) if number in known]
        support = ground.support(said, cited)
        if not support.supported:
            support = ground.support(said, sources)
        supported = support.supported and len(said.split()) >= MIN_WORDS
        citations = support.sources[:3] if supported else []
        found.append(CitedSentence(text=said, citations=citations, supported=supported, score=round(support.score, 3)))
    return found


def _held(texts: CitePrompts, written: str, sources: Sequence[Source], question: str) -> list[CitedSentence]:
    if texts.unknown.lower().strip(". ") in written.lower()[: len(texts.unknown) + 20]:
        return []
    return held_against(written, sources, question)


def _finished(
    texts: CitePrompts, sentences: list[CitedSentence], sources: Sequence[Source], *, whole: bool
) -> CitedAnswer:
    if not whole and sentences and sentences[-1].text[-1:] not in '.!?…»"':  # what was cut off may have said more
        sentences = [*sentences[:-1], CitedSentence(text=sentences[-1].text)]
    kept = [sentence for sentence in sentences if sentence.supported]
    dropped = [sentence.text for sentence in sentences if not sentence.supported]
    cited = {number for sentence in kept for number in sentence.citations}
    checks = [
        Check(name="complete", passed=whole),
        Check(name="answered", passed=bool(kept)),
        Check(name="supported", passed=bool(kept) or not dropped, detail="; ".join(dropped)),
    ]
    return CitedAnswer(
        answer=" ".join(_with_citations(sentence) for sentence in kept) or texts.not_found,
        sentences=sentences,
        checks=checks,
        verified=all(check.passed for check in checks),
        sources=[source for source in sources if source.id in cited],
    )


def _with_citations(sentence: CitedSentence) -> str:
    marks = "".join(f"[{number}]" for number in sentence.citations)
    found = re.search(r"[.!?…]+$", sentence.text)
    return f"{sentence.text[: found.start()]} {marks}{found[0]}" if found else f"{sentence.text} {marks}."


def _fitting(texts: CitePrompts, question: str, sources: Sequence[Source], room: int) -> list[Source]:
    """The first sources that fit into `room` tokens with the question, and at least the first."""
    used = count_tokens(texts.system + texts.user + question) + 2 * MESSAGE_OVERHEAD
    given: list[Source] = []
    for source in sources:
        used += count_tokens(_passage(texts, source, "0" * 8))
        if given and used * 1.1 > room:  # the count is an estimate
            break
        given.append(source)
    return given


def _passage(texts: CitePrompts, source: Source, nonce: str) -> str:
    where = " · ".join(part for part in (source.title, source.section, str(source.page or "")) if part)
    where = " ".join(neutral(where).split())[:200]
    return texts.passage.format(id=source.id, where=where, text=neutral(source.text), nonce=nonce)


def _messages(texts: CitePrompts, question: str, sources: Sequence[Source]) -> list[ChatMessage]:
    nonce = secrets.token_hex(4)
    passages = "\n".join(_passage(texts, source, nonce) for source in sources)
    return [
        ChatMessage(role="system", content=texts.system.format(nonce=nonce, unknown=texts.unknown)),
        ChatMessage(
            role="user", content=texts.user.format(passages=passages, question=question, unknown=texts.unknown)
        ),
    ]
