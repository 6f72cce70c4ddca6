"""Summaries: in one go when the text fits, else notes of its parts and a summary of the notes."""

from __future__ import annotations

from typing import Literal

from colosse.assistant.chat import count_tokens
from colosse.assistant.checks import in_language, no_new_numbers, not_empty, with_numbers_mended
from colosse.assistant.languages import guess_language, name_of, prompt_language
from colosse.assistant.pieces import split
from colosse.assistant.prompts import SkillPrompts
from colosse.assistant.skill import Check, Judged, Listener, Result, Work
from colosse.core.errors import UserError
from colosse.engines.client import Client

Length = Literal["short", "medium", "long"]
MAX_TOKENS: dict[Length, int] = {"short": 160, "medium": 400, "long": 1000}
MAX_WORDS: dict[Length, int] = {"short": 65, "medium": 180, "long": 600}
"""What still counts as the length asked for."""
NOTE_TOKENS = 300
"""Limit of the notes of one part."""
MARGIN = 200
"""Tokens kept for the prompt around a text and for the estimate's error on short texts."""


class SummarizePrompts(SkillPrompts):
    """`short`, `medium`, `long` say how long; `part` asks for one piece of a long text, `merge` joins the pieces."""

    system: str
    short: str
    medium: str
    long: str
    user: str
    part: str
    merge: str
    retry: str


async def summarize(
    client: Client,
    text: str,
    *,
    length: Length = "medium",
    language: str = "",
    model: str = "",
    listener: Listener | None = None,
) -> Result:
    """Summarise `text`.

    The summary is checked (language, length, no number that the text does not have) and asked for once
    more when a check fails.

    Args:
        client: whom to ask.
        text: plain text or Markdown.
        length: one or two sentences, a paragraph, or a few.
        language: code of the summary's language; empty: the text's own.
        model: its name; empty: the default.
        listener: hears how it gets on.

    Raises:
        UserError: nothing to summarise.
    """
    if not text.strip():
        raise UserError("there is nothing to summarise: the text is empty", code="empty_input")
    language = language or guess_language(text) or "en"
    work = await Work.start(client, model, SummarizePrompts, "summarize", prompt_language(language), listener)
    texts = work.texts
    name = name_of(language, work.language)
    answer_tokens = min(MAX_TOKENS[length], work.max_model_len // 4)
    # A retry carries the first answer too.
    room = max(int((work.max_model_len - 2 * answer_tokens - MARGIN) * 0.9), work.max_model_len // 4)

    def judge(written: str) -> Judged:
        summary = with_numbers_mended(text, written)
        words, most = len(summary.split()), min(MAX_WORDS[length], max(len(text.split()), 30))
        checks = [
            not_empty(summary),
            in_language(summary, language, name),
            no_new_numbers(text, summary),
            Check(name="short_enough", passed=words <= most, detail=f"{words} > {most}" if words > most else ""),
        ]
        return Judged(summary, checks)

    body, template, parts_done = text.strip(), texts.user, 0
    while count_tokens(body) > room:
        parts = split(body, room)
        notes = []
        for index, part in enumerate(parts):
            work.listener.parts(parts_done + index, parts_done + len(parts) + 1)
            notes.append(await _notes(work, part.strip(), index + 1, len(parts), name, room))
        parts_done += len(parts)
        body, template = "\n\n".join(notes), texts.merge
    work.listener.parts(parts_done, parts_done + 1)
    how_long = {"short": texts.short, "medium": texts.medium, "long": texts.long}[length]
    judged = await work.attempt(
        texts.system.format(language=name),
        template.format(language=name, length=how_long, text=body),
        texts.retry.format(language=name, problems="{problems}"),
        judge,
        answer_tokens,
    )
    work.listener.parts(parts_done + 1, parts_done + 1)
    return work.result(judged.answer, judged.checks)


async def _notes(work: Work[SummarizePrompts], part: str, index: int, count: int, language: str, room: int) -> str:
    """The main points of one part, in less than half its length, so that notes of notes come to an end."""
    texts = work.texts
    limit = min(NOTE_TOKENS, room // 4)
    judged = await work.attempt(
        texts.system.format(language=language),
        texts.part.format(index=index, count=count, language=language, text=part),
        texts.retry.format(language=language, problems="{problems}"),
        lambda written: Judged(written, [not_empty(written)]),
        limit,
    )
    return judged.answer
