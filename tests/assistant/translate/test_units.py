"""Units: what the model is shown, and what becomes of its answers."""

from __future__ import annotations

import pytest

from colosse.assistant.translate.document import plain
from colosse.assistant.translate.formats import FORMATS
from colosse.assistant.translate.judge import cleaned
from colosse.assistant.translate.units import Unit, restored, units_of, with_numbers, without_numbers, wrong_tokens


def unit(text: str, name: str = "markdown") -> Unit:
    slot = FORMATS[name].read(text).slots[0]
    return next(piece for piece in units_of(0, slot) if isinstance(piece, Unit))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**All bold** 😀\n", "All bold"),
        ("**All bold**\n", "All bold"),
        ("**Note:** this `x`\n", "<1>Note:<2> this <3>"),
        ("`x` returns {y}\n", "<1> returns <2>"),
        ("one\ntwo\n", "one two"),
        ("日本\n語の\n", "日本語の"),
    ],
)
def test_shown(text: str, shown: str) -> None:
    assert unit(text).text == shown


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ("Voir <1>le guide<2> et <3>.", []),
        ("<3> : voir <1>le guide<2>.", []),
        ("Voir < 1 >le guide<2> et <3>.", []),
        ("Voir <2>le guide<1> et <3>.", ["<1>", "<2>"]),
        ("Voir le guide<2> et <3>.", ["<1>"]),
        ("Voir <1>le guide<2> et <3> <3>.", ["<3>"]),
        ("Voir <1>le guide<2> et <3> <4>.", ["<4>"]),
        ("Voir <1>le guide<2> et <3> 😈 %s.", ["😈", "%s"]),
    ],
)
def test_wrong_tokens(answer: str, wrong: list[str]) -> None:
    assert wrong_tokens(unit("See **the guide** and `x`.\n"), answer) == wrong


def test_spaces_are_as_in_the_source() -> None:
    made = restored(unit("See **the guide** and `x`.\n"), "Voir<1> le guide <2>et<3>.")
    assert plain(made or []) == "Voir **le guide** et `x`."


def test_lines_are_as_many() -> None:
    three = unit("a longer line here\nshort\nand the last line\n")
    assert plain(restored(three, "un deux trois quatre cinq six sept") or []).count("\n") == 2
    assert restored(three, "un deux") is None
    wide = unit("a longer line here\nshort\n")
    assert plain(restored(wide, "日本語の文章です。") or []).count("\n") == 1


def test_numbers_as_tokens() -> None:
    whole = unit("You have 1,250 new `x` since 2024.\n")
    bare = without_numbers(whole)
    assert bare.text == "You have <1> new <2> since <3>."
    assert with_numbers("Depuis <3>, <1> nouveaux <2>", bare, whole) == "Depuis 2024, 1,250 nouveaux <1>"


@pytest.mark.parametrize(
    ("written", "clean"),
    [
        ("Here is the translation:\n\nBonjour", "Bonjour"),
        ('"Bonjour"', "Bonjour"),
        ("```\nBonjour\n```", "Bonjour"),
        ("Bonjour à tous\n\nNote: this is informal.", "Bonjour à tous"),
        ("Bonjour\nà tous", "Bonjour à tous"),
    ],
)
def test_cleaned(written: str, clean: str) -> None:
    assert cleaned(written, "Hello to everyone") == clean
