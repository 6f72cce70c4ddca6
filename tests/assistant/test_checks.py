"""Checks of texts made from texts: each with what it lets through and what it catches."""

from __future__ import annotations

import pytest

from colosse.assistant.checks import (
    in_language,
    merged,
    names_kept,
    no_new_numbers,
    not_copied,
    not_empty,
    of_length,
    same_kept,
    same_lines,
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


def test_no_new_numbers() -> None:
    assert no_new_numbers("In 1974, 12 came.", "12 came in 1974, 12.").passed
    assert no_new_numbers("In 1974", "In 1975, 1974").detail == "1975"


@pytest.mark.parametrize(
    "item",
    ["https://example.org/a?b=c", "{user_name}", "{{ name }}", "${HOME}", "%d", "%(count)s", "<b>", "</b>", "`Ctrl+S`",
     "me@example.org", "{}"],
)  # fmt: skip
def test_kept_items(item: str) -> None:
    source = f"See {item}, please."
    assert same_kept(source, f"Voir {item}, merci.").passed
    check = same_kept(source, "Voir ça, merci.")
    assert (check.passed, check.detail) == (False, item)


def test_kept_counts_and_abbreviates() -> None:
    assert not same_kept("%s and %s", "%s et").passed
    many = " ".join(f"{{a{i}}}" for i in range(8))
    assert same_kept(many, "").detail.endswith("{a4} and 3 more")
    assert same_kept("100% sure; a < b", "sûr à 100 % ; a < b").passed


def test_lines_emptiness_language() -> None:
    assert same_lines("a\n\nb", "x\n\ny").passed
    assert same_lines("a\nb", "x").detail == "1 != 2"
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
