"""Subtitles (SubRip, WebVTT): the lines of a cue, as many as before; timings, numbers and settings untouched."""

from __future__ import annotations

import re

from colosse.assistant.translate.document import Format, Kept, Part, Role, Slot, Source
from colosse.assistant.translate.formats.text import has_letter
from colosse.core.errors import UserError

_TIMING = re.compile(
    r"^[ \t]*(?:\d+:)?\d+:\d+[.,]\d+[ \t]+-->[ \t]+(?:\d+:)?\d+:\d+[.,]\d+[^\r\n]*(?:\r\n|\n|\r|$)", re.MULTILINE
)
_CUE_END = re.compile(r"(?:\r\n|\n|\r)[ \t]*(?:\r\n|\n|\r|$)")
_BREAK = re.compile(r"([ \t]*(?:\r\n|\n|\r)[ \t]*)")
_MARK = re.compile(r"(\{\\[^{}]*\}|\\[Nnh]|&(?:#\w+|\w+);)")
_SPEAKER = re.compile(r"(?:[ \t]*<[^>]*>)*[ \t]*[-–—‐•]")


def read(text: str) -> Source:
    """A slot for every cue; the lines of a dialogue stay with their speakers.

    Raises:
        UserError: there is no timing in it.
    """
    slots: list[Slot] = []
    timings = list(_TIMING.finditer(text))
    if not timings:
        raise UserError(
            "there are no subtitles in it: no line like 00:00:01,000 --> 00:00:02,000",
            hint="choose another --format",
            code="bad_subtitles",
        )
    for number, timing in enumerate(timings):
        start = timing.end()
        limit = timings[number + 1].start() if number + 1 < len(timings) else len(text)
        blank = re.compile(r"[ \t]*(?:\r\n|\n|\r|$)").match(text, start)
        ending = _CUE_END.search(text, start, limit)
        end = start if blank else ending.start() if ending else limit
        body = text[start:end]
        end -= len(body) - len(body.rstrip())
        start += len(body) - len(body.lstrip())
        if start < end and has_letter(re.sub(r"<[^>]*>", "", text[start:end])):
            slots.append(Slot(start, end, tuple(_parts(text[start:end])), _encode))
    return Source(text, tuple(slots))


def _parts(cue: str) -> list[Part]:
    pieces = _BREAK.split(cue)
    role: Role = "hard" if any(_SPEAKER.match(line) for line in pieces[2::2]) else "soft"
    parts: list[Part] = []
    for index, piece in enumerate(pieces):
        if index % 2:
            parts.append(Kept(piece, role))
        else:
            parts += [Kept(part, "mark") if _MARK.fullmatch(part) else part for part in _MARK.split(piece) if part]
    return parts


def _encode(text: str) -> str:
    return re.sub(r"-{2,}>", "->", re.sub(r"\s*[\r\n]+\s*", " ", text))


FORMATS = (Format("srt", (".srt",), read), Format("vtt", (".vtt",), read))
