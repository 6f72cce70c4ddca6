"""Translation, piece by piece, with the layout of the source."""

from __future__ import annotations

import re

from colosse.assistant.chat import count_tokens
from colosse.assistant.checks import (
    in_language,
    merged,
    not_empty,
    same_kept,
    same_lines,
    same_numbers,
    with_numbers_mended,
)
from colosse.assistant.languages import guess_language, name_of, prompt_language
from colosse.assistant.pieces import split
from colosse.assistant.prompts import SkillPrompts
from colosse.assistant.skill import Check, Judged, Listener, Result, Work
from colosse.core.errors import UserError
from colosse.engines.client import Client

PIECE_TOKENS = 500
"""Tokens of a piece: small models lose lines and numbers in longer ones."""

_FENCED = re.compile(r"^(```|~~~)[^\n]*\n.*?^\1[^\n]*$\n?", re.MULTILINE | re.DOTALL)
_LETTER = re.compile(r"[^\W\d_]")
_INDENT = re.compile(r"\s*")


class TranslatePrompts(SkillPrompts):
    """`user` asks for one piece; `retry` follows an answer whose checks failed."""

    system: str
    user: str
    retry: str


async def translate(
    client: Client,
    text: str,
    to: str,
    *,
    source: str = "",
    model: str = "",
    listener: Listener | None = None,
) -> Result:
    """Translate `text` into the language of code `to`, keeping blank lines, lines and code blocks.

    Every piece is checked (numbers, links, placeholders, lines, language) and asked for once more when a check fails;
    what still fails is in `checks`.

    Args:
        client: whom to ask.
        text: plain text or Markdown.
        to: code of the wanted language.
        source: code of the text's language; empty: guessed, or left to the model.
        model: its name; empty: the default.
        listener: hears how it gets on.

    Raises:
        UserError: nothing to translate.
    """
    if not text.strip():
        raise UserError("there is nothing to translate: the text is empty", code="empty_input")
    work = await Work.start(client, model, TranslatePrompts, "translate", prompt_language(to), listener)
    source = source or guess_language(text)
    pieces = _pieces(text, min(PIECE_TOKENS, work.max_model_len // 4))
    done: list[str] = []
    checks: list[Check] = []
    for index, (piece, translated) in enumerate(pieces):
        work.listener.parts(index, len(pieces))
        if translated and source != to:
            piece, found = await _translate_piece(work, piece, to)
            checks += found
        done.append(piece)
    work.listener.parts(len(pieces), len(pieces))
    return work.result("".join(done), merged(checks))


def _pieces(text: str, limit: int) -> list[tuple[str, bool]]:
    """(piece, whether it is to be translated); code blocks and pieces without a letter are not."""
    found: list[tuple[str, bool]] = []
    position = 0
    for fence in [*_FENCED.finditer(text), None]:
        end = fence.start() if fence else len(text)
        found += [(piece, bool(_LETTER.search(piece))) for piece in split(text[position:end], limit)]
        if fence:
            found.append((fence[0], False))
            position = fence.end()
    return found


async def _translate_piece(work: Work[TranslatePrompts], piece: str, to: str) -> tuple[str, list[Check]]:
    body = piece.strip()
    start = piece.index(body)
    texts = work.texts
    language = name_of(to, work.language)

    def judge(written: str) -> Judged:
        answer = with_numbers_mended(body, _laid_out(body, written))
        checks = [
            not_empty(answer),
            same_numbers(body, answer),
            same_kept(body, answer),
            same_lines(body, answer),
            in_language(answer, to, name_of(to, prompt_language(to))),
        ]
        return Judged(answer, checks)

    room = work.max_model_len - count_tokens(body) - count_tokens(texts.user) - 100
    judged = await work.attempt(
        texts.system,
        texts.user.format(language=language, text=body),
        texts.retry.format(language=language, problems="{problems}"),
        judge,
        max_tokens=max(64, min(3 * count_tokens(body) + 64, room)),
    )
    return piece[:start] + judged.answer + piece[start + len(body) :], judged.checks


def _laid_out(source: str, answer: str) -> str:
    """The answer's lines with the source's blank lines and indents, where as many lines carry text in both."""
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    before = source.splitlines()
    if len(lines) != sum(bool(line.strip()) for line in before):
        return answer
    rest = iter(lines)
    return "\n".join(f"{_INDENT.match(line)[0]}{next(rest)}" if line.strip() else line for line in before)  # type: ignore[index]
