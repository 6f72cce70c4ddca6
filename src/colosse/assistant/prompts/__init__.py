"""The prompts of every skill: one data file a language, the same keys in each.

Texts in braces are filled by the skill. A change of wording raises `version`, which results carry, so that a measured
answer can be traced to the prompt that asked for it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from colosse.core.config import Config, load

Language = Literal["en", "fr"]
LANGUAGES: tuple[Language, ...] = ("en", "fr")


class ChatPrompts(Config):
    """`system`: who the assistant is."""

    system: str


class TranslatePrompts(Config):
    """`user` asks for one piece; `retry` follows an answer whose checks failed."""

    system: str
    user: str
    retry: str


class SummarizePrompts(Config):
    """`short`, `medium`, `long` say how long; `part` asks for one piece of a long text, `merge` joins the pieces."""

    system: str
    short: str
    medium: str
    long: str
    user: str
    part: str
    merge: str
    retry: str


class CodePrompts(Config):
    """One request a verb; `error` shows what went wrong when it is known."""

    system: str
    write: str
    fix: str
    error: str
    optimize: str
    retry: str


class Prompts(Config):
    """Every prompt in one language, what is said of each failed check, and the names of the languages in it."""

    version: int
    chat: ChatPrompts
    translate: TranslatePrompts
    summarize: SummarizePrompts
    code: CodePrompts
    problems: dict[str, str]
    languages: dict[str, str]


@cache
def prompts(language: Language) -> Prompts:
    """The prompts in `language`."""
    return load(Prompts, files=[Path(__file__).with_name(f"{language}.toml")]).value
