"""The prompts: the same in both languages, with the same places to fill."""

from __future__ import annotations

import string
import tomllib
from pathlib import Path
from typing import Any

import pytest

import colosse.assistant.prompts
from colosse.assistant.prompts import LANGUAGES, language_names

FOLDER = Path(colosse.assistant.prompts.__file__).parent
SKILLS = sorted(path.stem for path in (FOLDER / "en").glob("*.toml") if path.stem != "languages")


def texts(language: str, skill: str) -> dict[str, str]:
    """Dotted key to text, of every text of a file."""
    data = tomllib.loads((FOLDER / language / f"{skill}.toml").read_text())
    flat: dict[str, str] = {}

    def walk(table: dict[str, Any], before: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{before}{key}.")
            elif isinstance(value, str):
                flat[before + key] = value

    walk(data, "")
    return flat


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_language_has_the_same_files() -> None:
    assert SKILLS
    for language in LANGUAGES:
        assert sorted(path.stem for path in (FOLDER / language).glob("*.toml")) == sorted([*SKILLS, "languages"])


@pytest.mark.parametrize("skill", SKILLS)
def test_languages_have_the_same_texts_with_the_same_places(skill: str) -> None:
    english, french = texts("en", skill), texts("fr", skill)
    assert english.keys() == french.keys()
    assert {key: fields(text) for key, text in english.items()} == {key: fields(text) for key, text in french.items()}
    assert all(text.strip() for text in (*english.values(), *french.values()))
    assert [key for key in english if english[key] == french[key]] == []
    versions = {tomllib.loads((FOLDER / language / f"{skill}.toml").read_text())["version"] for language in LANGUAGES}
    assert len(versions) == 1


@pytest.mark.parametrize("skill", SKILLS)
def test_short_texts_stand_for_longer_ones_with_the_same_places(skill: str) -> None:
    for language in LANGUAGES:
        every = texts(language, skill)
        for key in [key for key in every if key.startswith("small.")]:
            longer = every[key.removeprefix("small.")]
            assert len(every[key]) < len(longer)
            assert fields(every[key]) <= fields(longer)


def test_languages_are_named_in_both() -> None:
    assert language_names("en").keys() == language_names("fr").keys()
