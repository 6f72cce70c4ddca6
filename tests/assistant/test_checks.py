"""Checks of texts made from texts: each with what it lets through and what it catches."""

from __future__ import annotations

import pytest

from colosse.assistant.checks import (
    in_language,
    merged,
    names_kept,
    not_copied,
    not_empty,
    of_length,
    same_numbers,
    with_numbers_mended,
)
from colosse.assistant.skill import Check


@pytest.mark.parametrize(
    ("source", "answer", "detail"),
    [
        ("3.5 km in 1,200 s", "3,5 km en 1 200 s", ""),
        ("1’000 francs, 12 May 2024", "1000 francs, le 12 mai 2024", ""),
        ("2 cats and 2 dogs", "2 chats et 3 chiens", "2, 3"),
        ("version 2.3", "version", "2.3"),
        ("none", "12 of them", "12"),
    ],
)
def test_same_numbers(source: str, answer: str, detail: str) -> None:
    check = same_numbers(source, answer)
    assert (check.passed, check.detail) == (not detail, detail)


def test_many_are_abbreviated() -> None:
    assert same_numbers("1 2 3 4 5 6 7 8", "").detail == "1, 2, 3, 4, 5 and 3 more"


def test_emptiness_and_language() -> None:
    assert not not_empty(" \n").passed
    english = "The ship that was lost in the storm has been found."
    assert in_language(english, "en", "English").passed
    assert in_language(english, "fr", "French").detail == "French"


def test_merged() -> None:
    checks = [
        Check(name="a", passed=True),
        Check(name="b", passed=False, detail="x"),
        Check(name="a", passed=False, detail="y"),
        Check(name="b", passed=True),
        Check(name="b", passed=False, detail="z"),
    ]
    assert merged(checks) == [Check(name="a", passed=False, detail="y"), Check(name="b", passed=False, detail="x; z")]


def test_decimals_broken_by_a_space() -> None:
    assert with_numbers_mended("3,4 and 2. 5", "3. 4 and 2. 5") == "3.4 and 2. 5"


def test_length_between_languages() -> None:
    source = "The doctor gave the child a new medicine yesterday."
    assert of_length(source, "Le médecin a donné hier un nouveau médicament à l'enfant.", "en", "fr").passed
    assert of_length(source, "医生昨天给了孩子一种新药。", "en", "zh").passed
    assert not of_length(source, "Le médecin a donné.", "en", "fr").passed
    assert of_length(source, source * 3, "en", "fr").detail == "153 / 60"
    assert of_length("Yes", "Absolument", "en", "fr").passed


def test_copies() -> None:
    source = "The doctor gave the child a new medicine."
    assert not not_copied(source, source.upper()).passed
    assert not not_copied(source, f"Voici : {source}").passed
    assert not_copied("Python Menu", "Python Menu").passed
    assert not_copied(source, "Le médecin a donné un médicament.").passed


@pytest.mark.parametrize(
    ("source", "answer", "missing"),
    [
        ("Call read_file now", "Appelez read_file", ""),
        ("Call read_file now", "Appelez lire_fichier", "read_file"),
        ("the useState hook", "le crochet", "useState"),
        ("with Vladimir Putin there", "avec Vladimir Poutine", ""),
        ("with Vladimir Putin there", "avec lui", "Vladimir Putin"),
        ("with Vladimir Putin there", "с Владимиром Путиным", ""),
        ("in the United States now", "aux États-Unis", ""),
    ],
)
def test_names(source: str, answer: str, missing: str) -> None:
    check = names_kept(source, answer)
    assert (check.passed, check.detail) == (not missing, missing)
