"""What a summary looks like: how long, in which style, and what the model wrote taken apart into its sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel

from colosse.assistant.facts import fold
from colosse.assistant.ground import Source, sentences
from colosse.assistant.prompts import SkillPrompts
from colosse.assistant.skill import Result
from colosse.core.errors import UserError

Named = Literal["short", "medium", "long"]
Length = Named | int
"""By name, or as a number of words."""
Style = Literal["abstract", "bullets", "tldr"]
STYLES: tuple[Style, ...] = ("abstract", "bullets", "tldr")
MAX_WORDS: dict[Style, dict[Named, int]] = {
    "abstract": {"short": 65, "medium": 180, "long": 600},
    "bullets": {"short": 75, "medium": 160, "long": 400},
    "tldr": {"short": 30, "medium": 40, "long": 60},
}
"""What still counts as the length asked for."""
MOST_WORDS = 5000
UNVERIFIED = "[unverified]"
_BULLET = re.compile(r"^\s*(?:[-*•–‣▪]|\d{1,2}[.)])\s+")
_DECORATION = re.compile(r"\*\*|__|^#+\s*|^>\s*", re.MULTILINE)
_ONLY_A_LABEL = re.compile(
    r"(?:[^\n:]{0,60}(?:summary|tl;?dr|résumé|main points|points principaux)[^\n:.]{0,60}):", re.I
)


class SummarizePrompts(SkillPrompts):
    """What is asked: `part` for a piece of a long text, `merge` of its notes, `merge_documents` of several texts'.

    `abstract`, `bullets` and `tldr` say what the summary looks like for each length, `words` for a number of words;
    `mend` asks for a sentence that rests on passages.
    """

    system: str
    user: str
    part: str
    merge: str
    merge_documents: str
    retry: str
    mend: str
    unsupported: str
    missing: str
    abstract: dict[str, str]
    bullets: dict[str, str]
    tldr: dict[str, str]


class SummarySentence(BaseModel):
    """A sentence, or a bullet, of a summary.

    Attributes:
        text: the sentence without citations.
        sources: ids of the passages it rests on, best first.
        supported: whether it rests on them.
        score: how well, from 0 to 1.
        quote: it is a sentence of the source itself, since none of the model's could be supported.
    """

    text: str
    sources: list[int] = []
    supported: bool = False
    score: float = 0.0
    quote: bool = False


class Summary(Result):
    """A summary: `answer` has citations (`[1]`) after each sentence.

    Attributes:
        language: code of the language it was asked in.
        sentences: what it says, each with its passages.
        sources: the passages that are cited, numbered as in `answer`.
        dropped: sentences that the model wrote and that nothing supports.
    """

    language: str = ""
    sentences: list[SummarySentence] = []
    sources: list[Source] = []
    dropped: list[str] = []


class Said(NamedTuple):
    """A sentence that the model wrote, and whether a paragraph ends after it."""

    text: str
    ends: bool = False


def parse_length(text: str) -> Length:
    """`short`, `medium`, `long`, `120` or `120 words`.

    Raises:
        UserError: anything else.
    """
    for name in ("short", "medium", "long"):
        if text.strip().lower() == name:
            return name
    number = re.fullmatch(r"\s*(\d{1,6})\s*(?:words?|mots?)?\s*", text, re.IGNORECASE)
    if number is None or not 5 <= int(number[1]) <= MOST_WORDS:
        hint = f"short, medium, long, or a number of words from 5 to {MOST_WORDS}"
        raise UserError(f"no such length: {text!r}", hint=hint, code="bad_length")
    return int(number[1])


def max_words(style: Style, length: Length) -> int:
    """How many words the summary may have: of a number asked for, a third more."""
    return length * 4 // 3 + 5 if isinstance(length, int) else MAX_WORDS[style][length]


def how(texts: SummarizePrompts, style: Style, length: Length) -> str:
    """The words of the prompt that say what the summary looks like."""
    wanted: dict[str, str] = {"abstract": texts.abstract, "bullets": texts.bullets, "tldr": texts.tldr}[style]
    if isinstance(length, int):
        return wanted["words"].format(words=length, bullets=min(20, max(2, length // 18)))
    return wanted[length]


def taken_apart(written: str, style: Style) -> list[Said]:
    """The sentences (or bullets) of what the model wrote, without marks, labels such as `Summary:` and repetitions."""
    plain = _DECORATION.sub("", written).strip()
    plain = _ONLY_A_LABEL.sub("", plain, count=1).strip() if _ONLY_A_LABEL.match(plain) else plain
    found: list[Said] = []
    for paragraph in re.split(r"\n\s*\n", plain):
        start = len(found)
        lines = paragraph.splitlines()
        bulleted = sum(bool(_BULLET.match(line)) for line in lines) > len(lines) / 2
        whole = style == "bullets" and bulleted
        for part in lines if bulleted else [" ".join(lines)]:
            text = _BULLET.sub("", part).strip()
            found += [Said(text)] if whole else [Said(sentence.strip()) for sentence in sentences(text)]
        if len(found) > start:
            found[-1] = found[-1]._replace(ends=True)
    seen: set[str] = set()
    kept = []
    for said in found:
        key = " ".join(fold(said.text).split())
        if re.search(r"\w", key) and key not in seen:
            seen.add(key)
            kept.append(said)
    return kept[:1] if style == "tldr" else kept


def laid_out(said: Sequence[tuple[SummarySentence, bool]], style: Style) -> str:
    """The summary as text, with citations; the flag says where a paragraph ends."""
    if style == "bullets":
        return "\n".join(f"- {_cited(sentence)}" for sentence, _ in said)
    text = "".join(_cited(sentence) + ("\n\n" if ends else " ") for sentence, ends in said)
    return text.strip()


def _cited(sentence: SummarySentence) -> str:
    mark = "[" + ", ".join(map(str, sentence.sources)) + "]" if sentence.sources and sentence.supported else UNVERIFIED
    text = f"“{' '.join(sentence.text.split())}”" if sentence.quote else sentence.text
    body = text.rstrip(".!?…。")
    return f"{body} {mark}{text[len(body) :]}"
