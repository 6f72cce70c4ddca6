"""The prompts: the same in both languages, every placeholder filled, every failed check with its words."""

from __future__ import annotations

import ast
import string
from pathlib import Path
from typing import Any

import pytest

import colosse.assistant
from colosse.assistant.prompts import LANGUAGES, prompts
from colosse.cli.skill import _SAID

FILLED = {
    "chat.system": set(),
    "translate.system": set(),
    "translate.user": {"language", "text"},
    "translate.retry": {"language", "problems"},
    "summarize.system": {"language"},
    "summarize.short": set(),
    "summarize.medium": set(),
    "summarize.long": set(),
    "summarize.user": {"language", "length", "text"},
    "summarize.part": {"index", "count", "language", "text"},
    "summarize.merge": {"language", "length", "text"},
    "summarize.retry": {"language", "problems"},
    "code.system": set(),
    "code.write": {"language", "task"},
    "code.fix": {"language", "fence", "code", "error"},
    "code.error": {"log"},
    "code.optimize": {"language", "fence", "code"},
    "code.retry": {"problems"},
}
"""What the skills put into each text."""


def texts(language: Any) -> dict[str, str]:
    dumped = prompts(language).model_dump()
    return {
        f"{skill}.{key}": dumped[skill][key]
        for skill in ("chat", "translate", "summarize", "code")
        for key in dumped[skill]
    }


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_are_the_ones_that_are_filled(language: Any) -> None:
    assert {key: fields(text) for key, text in texts(language).items()} == FILLED
    assert all(text.strip() for text in texts(language).values())


def test_languages_have_the_same_keys() -> None:
    english, french = prompts("en"), prompts("fr")
    assert english.version == french.version >= 1
    assert english.languages.keys() == french.languages.keys()
    assert english.problems.keys() == french.problems.keys()
    assert {k: fields(v) for k, v in english.problems.items()} == {k: fields(v) for k, v in french.problems.items()}
    differing = [key for key, text in texts("en").items() if text == texts("fr")[key]]
    assert differing == []


def test_every_check_has_words_for_the_model_and_for_the_person() -> None:
    """The names that checks are made with, read from the source."""
    names = set()
    for path in Path(colosse.assistant.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id == "Check":
                    names |= {
                        k.value.value for k in node.keywords if k.arg == "name" and isinstance(k.value, ast.Constant)
                    }
                elif node.func.id == "_check" and isinstance(node.args[0], ast.Constant):
                    names.add(node.args[0].value)
    assert names == prompts("en").problems.keys() == _SAID.keys()
