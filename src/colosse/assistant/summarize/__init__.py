"""Summaries of any length of text, each sentence of which rests on passages that it names.

What does not fit into one request is read leaf by leaf, a leaf being a part of the document's own structure; the
leaves' notes are joined bottom-up. Nothing is cut off. Notes and the summary are checked sentence by sentence against
the passages (`colosse.assistant.ground`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from colosse.assistant.checks import in_language, not_empty
from colosse.assistant.documents.blocks import Block, Read
from colosse.assistant.documents.read import read_document
from colosse.assistant.ground import Source
from colosse.assistant.languages import guess_language, name_of, prompt_language
from colosse.assistant.skill import Check, Judged, Listener, Work, in_parallel
from colosse.assistant.summarize.form import (
    STYLES,
    Length,
    Style,
    SummarizePrompts,
    Summary,
    SummarySentence,
    how,
    laid_out,
    max_words,
    parse_length,
    taken_apart,
)
from colosse.assistant.summarize.rest import Rested, quoted, rest_on
from colosse.assistant.summarize.tree import Piece, leaves, pieces_of, size
from colosse.core.errors import UserError
from colosse.engines.client import Client

__all__ = ["STYLES", "Length", "Style", "Summary", "SummarySentence", "parse_length", "summarize"]

LEAF_TOKENS = 2000
"""What is read in one go at most: small models lose the thread of more."""
NOTE_TOKENS = 240
"""Limit of the notes of one leaf."""
MARGIN = 250
"""Tokens kept for the prompt around a text."""
_MARKDOWN = re.compile(r"^(?:#{1,6} |```)", re.MULTILINE)


async def summarize(
    client: Client,
    text: str | Sequence[Read],
    *,
    length: Length = "medium",
    style: Style = "abstract",
    language: str = "",
    keep_unsupported: bool = False,
    model: str = "",
    listener: Listener | None = None,
) -> Summary:
    """Summarise a text, or one or more documents together.

    Args:
        client: whom to ask.
        text: plain text or Markdown, or documents that were read.
        length: by name, or about so many words.
        style: paragraphs, bullet points, or one sentence.
        language: code of the summary's language; empty: the text's own.
        keep_unsupported: mark sentences that nothing supports instead of dropping them.
        model: its name; empty: the default.
        listener: hears how it gets on; each finished sentence is a `partial`.

    Raises:
        UserError: nothing to summarise.
    """
    reads = [await _read(text)] if isinstance(text, str) else list(text)
    pieces = pieces_of(reads)
    sources = [source for piece in pieces for source in piece.sources]
    if not sources:  # headings alone are what the text says
        pieces = pieces_of([read.model_copy(update={"blocks": [_as_text(b) for b in read.blocks]}) for read in reads])
        sources = [source for piece in pieces for source in piece.sources]
    if not sources:
        raise UserError("there is nothing to summarise: the text is empty", code="empty_input")
    language = language or reads[0].language or guess_language(" ".join(s.text for s in sources[:50])) or "en"
    work = await Work.start(client, model, SummarizePrompts, "summarize", prompt_language(language), listener)
    call = _Call(work, language, style, length)
    body, template = await call.gathered(pieces, reads)
    judged = await call.written(body, template)
    said = taken_apart(judged.answer, style)
    rested = await rest_on(work, said, sources, language, keep_unsupported=keep_unsupported)
    return call.result(judged, rested, sources)


async def _read(text: str) -> Read:
    if not text.strip():
        raise UserError("there is nothing to summarise: the text is empty", code="empty_input")
    read = await read_document("text.md" if _MARKDOWN.search(text) else "text.txt", text.encode())
    return read.model_copy(update={"title": "" if read.title == "text" else read.title})


class _Call:
    """One call of the skill: its settings, and its steps in order."""

    def __init__(self, work: Work[SummarizePrompts], language: str, style: Style, length: Length) -> None:
        self.work = work
        self.language = language
        self.name = name_of(language, work.language)
        self.style = style
        self.length = length
        self.most = max_words(style, length)
        self.answer_tokens = min(2 * self.most + 60, work.max_model_len // 4)
        # A retry carries the first answer too.
        free = int((work.max_model_len - 2 * self.answer_tokens - MARGIN) * 0.9)
        self.room = min(LEAF_TOKENS, max(free, work.max_model_len // 4))
        self.done = 0

    async def gathered(self, pieces: list[Piece], reads: Sequence[Read]) -> tuple[str, str]:
        """What the summary is made from, short enough for one request, and the prompt that fits it."""
        texts = self.work.texts
        if len(reads) == 1 and size(pieces) <= self.room:
            return _shown(pieces), texts.user
        notes = await self._noted(leaves(pieces, self.room))
        while size(notes) > self.room and len(groups := leaves(notes, self.room)) < len(notes):
            notes = await self._noted(groups)
        if len(reads) == 1:
            return _shown(notes), texts.merge
        titled = [
            f"## {read.title}\n" + "\n".join(note.text for note in notes if note.path[0] == str(number))
            for number, read in enumerate(reads)
        ]
        return "\n\n".join(titled), texts.merge_documents

    async def _noted(self, groups: Sequence[Sequence[Piece]]) -> list[Piece]:
        """Notes of each group; groups never mix documents, since these are the outermost sections."""
        split = [part for group in groups for part in _by_document(group)]
        total = self.done + len(split) + 1
        notes: dict[int, Piece] = {}
        self.work.listener.parts(self.done, total)
        async for index, note in in_parallel(split, self._note):
            notes[index] = note
            self.done += 1
            self.work.listener.parts(self.done, total)
        return [notes[index] for index in range(len(split)) if notes[index].text]

    async def _note(self, group: Sequence[Piece]) -> Piece:
        """The main points of a group that its passages support; less than a quarter of what fits into a request."""
        sources = tuple(dict.fromkeys(source for piece in group for source in piece.sources))
        path = _common([piece.path for piece in group])
        if not sources:  # headings alone
            return Piece("", path)
        texts = self.work.texts
        limit = min(NOTE_TOKENS, self.room // 4)
        judged = await self.work.attempt(
            texts.system.format(language=self.name),
            texts.part.format(language=self.name, text=quoted(_shown(group))),
            texts.retry.format(language=self.name, problems="{problems}"),
            lambda written: Judged(written, [not_empty(written), in_language(written, self.language, self.name)]),
            limit,
        )
        said = taken_apart(judged.answer, "abstract")
        if not judged.checks[0].passed and len(said) > 1:
            said = said[:-1]  # cut off in the middle
        rested = await rest_on(self.work, said, sources, self.language, mend=False)
        return Piece("\n".join(sentence.text for sentence, _ in rested.sentences), path, sources)

    async def written(self, body: str, template: str) -> Judged:
        """What the model makes of it, asked for once more when a check fails."""
        texts = self.work.texts
        self.work.listener.parts(self.done, self.done + 1)

        def judge(written: str) -> Judged:
            words = len(written.split())
            detail = f"{words} > {self.most}" if words > self.most else ""
            return Judged(
                written,
                [
                    not_empty(written),
                    in_language(written, self.language, self.name),
                    Check(name="short_enough", passed=not detail, detail=detail),
                ],
            )

        return await self.work.attempt(
            texts.system.format(language=self.name),
            template.format(language=self.name, how=how(texts, self.style, self.length), text=quoted(body)),
            texts.retry.format(language=self.name, problems="{problems}"),
            judge,
            self.answer_tokens,
        )

    def result(self, judged: Judged, rested: Rested, sources: Sequence[Source]) -> Summary:
        """The summary, its citations numbered in the order of their appearance."""
        said = list(rested.sentences)
        complete = judged.checks[0]
        if not complete.passed and len(said) > 1:
            said.pop()  # cut off in the middle
            complete = Check(name="complete", passed=True)
        while len(said) > 1 and sum(len(sentence.text.split()) for sentence, _ in said) > self.most:
            said.pop()
        numbers: dict[int, int] = {}
        cited: list[tuple[SummarySentence, bool]] = []
        for sentence, ends in said:
            own = [numbers.setdefault(i, len(numbers) + 1) for i in sentence.sources]
            cited.append((sentence.model_copy(update={"sources": own}), ends))
            self.work.listener.partial(cited[-1][0])
        by_id = {source.id: source for source in sources}
        plain = " ".join(sentence.text for sentence, _ in cited)
        words = len(plain.split())
        unsupported = [sentence.text for sentence, _ in cited if not sentence.supported]
        checks = [
            complete,
            not_empty(plain),
            in_language(plain, self.language, self.name),
            Check(name="short_enough", passed=words <= self.most, detail=f"{words} > {self.most}"),
            Check(name="supported", passed=not unsupported, detail="; ".join(unsupported)),
        ]
        checks = [check.model_copy(update={"detail": ""}) if check.passed else check for check in checks]
        self.work.listener.parts(self.done + 1, self.done + 1)
        return Summary(
            answer=laid_out(cited, self.style),
            verified=all(check.passed for check in checks),
            checks=checks,
            language=self.language,
            sentences=[sentence for sentence, _ in cited],
            sources=[by_id[i].model_copy(update={"id": number}) for i, number in numbers.items()],
            dropped=rested.dropped,
            note=f"not taken as support, since it gives orders: {'; '.join(rested.orders)}" if rested.orders else "",
            **self.work.cost(),
        )


def _as_text(block: Block) -> Block:
    return block.model_copy(update={"kind": "text", "section": ""})


def _shown(pieces: Sequence[Piece]) -> str:
    return "\n\n".join(piece.shown for piece in pieces)


def _by_document(group: Sequence[Piece]) -> list[list[Piece]]:
    found: dict[str, list[Piece]] = {}
    for piece in group:
        found.setdefault(piece.path[0], []).append(piece)
    return list(found.values())


def _common(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The beginning that all paths share."""
    shortest = min(paths, key=len)
    for index, step in enumerate(shortest):
        if any(path[index] != step for path in paths):
            return shortest[:index]
    return shortest
