"""Making each sentence rest on passages: checked, mended once, else dropped, marked, or replaced by a quotation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from colosse.assistant.chat import count_tokens
from colosse.assistant.ground import Source, Support, nearest, sentences, support
from colosse.assistant.languages import is_in, name_of
from colosse.assistant.outside import gives_orders, neutral
from colosse.assistant.skill import Work, in_parallel
from colosse.assistant.summarize.form import Said, SummarizePrompts, SummarySentence, taken_apart
from colosse.engines.schema import ChatMessage

_NEAREST = 3
"""Passages that a sentence is mended against."""
_MAX_TOKENS = 120
_PROMPT_TOKENS = 160
"""Of what is asked beside passages and sentence."""
_QUOTES = 2


class Rested(NamedTuple):
    """What became of the sentences, each with whether a paragraph ends after it; and those that nothing supports.

    `orders` are the sentences of the passages that speak to a model, on which nothing may rest.
    """

    sentences: list[tuple[SummarySentence, bool]]
    dropped: list[str]
    orders: list[str]


async def rest_on(
    work: Work[SummarizePrompts],
    said: Sequence[Said],
    sources: Sequence[Source],
    language: str,
    *,
    keep_unsupported: bool = False,
    mend: bool = True,
) -> Rested:
    """Check each sentence against the passages.

    Args:
        work: the call of the skill.
        said: the sentences.
        sources: the passages.
        language: code of the summary's language.
        keep_unsupported: keep what stays unsupported, told apart by `supported`.
        mend: ask the model once to correct an unsupported sentence.
    """
    sources, orders = _without_orders(sources)
    found = await asyncio.to_thread(lambda: [support(sentence.text, sources) for sentence in said])
    made = [_made(sentence.text, judged) for sentence, judged in zip(said, found, strict=True)]
    wrong = [index for index, sentence in enumerate(made) if not sentence.supported]
    if mend and wrong:
        work.listener.step(f"correcting {len(wrong)} of {len(said)} sentences")

        async def mended(index: int) -> SummarySentence:
            return await _mended(work, said[index].text, found[index], sources, language)

        async for at, better in in_parallel(wrong, mended):
            if better.supported and all(better.text != other.text for other in made):
                made[wrong[at]] = better
    kept = [
        (sentence, one.ends) for sentence, one in zip(made, said, strict=True) if sentence.supported or keep_unsupported
    ]
    dropped = [] if keep_unsupported else [sentence.text for sentence in made if not sentence.supported]
    if not kept:
        kept = [(quote, False) for quote in await asyncio.to_thread(quotations, [s.text for s in said], sources)]
    return Rested(kept, dropped, orders)


def _without_orders(sources: Sequence[Source]) -> tuple[list[Source], list[str]]:
    """The passages without the sentences that give orders, and these: who obeys one says what it says."""
    orders: list[str] = []
    kept: list[Source] = []
    for source in sources:
        told = [sentence for sentence in sentences(source.text) if gives_orders(sentence)]
        orders += [sentence.strip() for sentence in told]
        text = "".join(sentence for sentence in sentences(source.text) if sentence not in told)
        kept += [source.model_copy(update={"text": text}) if told else source] if text.strip() else []
    return kept, orders


def quotations(said: Sequence[str], sources: Sequence[Source]) -> list[SummarySentence]:
    """Sentences of the passages that come nearest to what was said, or their first one, word for word."""
    found: dict[str, int] = {}
    for text in said:
        for near in nearest(text, sources, 1):
            found.setdefault(near.sentence, near.source.id)
    if not found and sources:
        found = {near.sentence: near.source.id for near in nearest(sources[0].text, sources[:1], 1)}
    return [
        SummarySentence(text=text, sources=[source], supported=True, score=1.0, quote=True)
        for text, source in list(found.items())[:_QUOTES]
    ]


async def _mended(
    work: Work[SummarizePrompts], sentence: str, judged: Support, sources: Sequence[Source], language: str
) -> SummarySentence:
    """The model's correction of a sentence by the nearest passages; not supported either when it is no better."""
    near = [found.source for found in await asyncio.to_thread(nearest, sentence, sources, _NEAREST)]
    room = work.max_model_len - 2 * _MAX_TOKENS - 2 * count_tokens(sentence) - _PROMPT_TOKENS
    while len(near) > 1 and sum(count_tokens(source.text) for source in near) > room:
        near.pop()
    texts = work.texts
    problem = texts.missing.format(missing=", ".join(judged.missing)) if judged.missing else texts.unsupported
    name = name_of(language, work.language)
    messages = [
        ChatMessage(role="system", content=texts.system.format(language=name)),
        ChatMessage(
            role="user",
            content=texts.mend.format(
                text=quoted("\n\n".join(source.text for source in near)),
                sentence=sentence,
                problem=problem,
                language=name,
            ),
        ),
    ]
    done = await work.ask(messages, _MAX_TOKENS)
    written = taken_apart(done.text, "tldr")
    if not written or done.finish_reason == "length" or not is_in(written[0].text, language):
        return SummarySentence(text=sentence)
    return _made(written[0].text, await asyncio.to_thread(support, written[0].text, sources))


def _made(text: str, judged: Support) -> SummarySentence:
    return SummarySentence(text=text, sources=judged.sources, supported=judged.supported, score=judged.score)


def quoted(text: str) -> str:
    """A text between marks that it can not close itself: it is data, whatever it asks for."""
    return f"<text>\n{neutral(text).replace('<text>', '< text>').replace('</text>', '< /text>')}\n</text>"
