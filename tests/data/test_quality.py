"""Published quality rules, each on a text that it is meant for and on good prose in two languages."""

from __future__ import annotations

import pytest

from colosse.data.document import Dropped
from colosse.data.quality import RULES, c4, duplicate_shares, fineweb, gopher
from tests.data.conftest import FRENCH, prose

GOOD_EN = """Lighthouses were once the only warning that a coast could give. A keeper lived in the tower or beside it,
trimmed the wick, wound the clockwork that turned the lens, and kept a journal of the weather and of every ship.

The first towers burned wood or coal in open grates. Oil lamps with polished reflectors followed in the eighteenth
century, and then the lens that Augustin Fresnel proposed in 1822, which gathered nearly all of the light into a beam.

Electricity made the work easier and, in the end, unnecessary. Most stations have been automatic since the 1990s,
and satellites tell a captain where he is. Yet the towers are still lit, because a light that can be seen does not fail
when a receiver does."""
GOOD_FR = """Les phares furent longtemps le seul avertissement qu'une côte pouvait donner. Un gardien vivait dans la
tour ou tout à côté, taillait la mèche, remontait l'horloge de la lentille et tenait le journal du temps.

Les premières tours brûlaient du bois ou du charbon. Les lampes à huile et leurs réflecteurs polis vinrent au
dix-huitième siècle, puis la lentille qu'Augustin Fresnel proposa en 1822 et qui rassemblait presque toute la lumière.

L'électricité rendit le travail plus facile et, à la fin, inutile. La plupart des stations sont automatiques depuis
les années 1990, et les satellites disent au capitaine où il se trouve. Pourtant les tours restent allumées, parce
qu'une lumière que l'on voit ne tombe pas en panne avec le récepteur."""


@pytest.mark.parametrize("rules", sorted(RULES))
@pytest.mark.parametrize(("text", "language"), [(GOOD_EN, "en"), (GOOD_FR, "fr")])
def test_good_prose_passes(rules: str, text: str, language: str) -> None:
    text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in text.split("\n\n"))  # no line ends in sentences
    found = RULES[rules](text, language)
    assert isinstance(found, str), found
    assert found.split() == text.split()


@pytest.mark.parametrize(
    ("rule", "text", "language"),
    [
        ("words", "Trop court pour enseigner quoi que ce soit.", "fr"),
        ("word_length", "antidisestablishmentarianism " * 60, "en"),
        ("word_length", "a b c d e " * 20, "en"),
        ("symbols", "#lighthouse #keeper of the northern #harbour " * 12, "en"),
        ("symbols", "and afterwards silence … " * 20, "en"),
        ("alphabetic", "12.50 2024 -- | the price " * 20, "en"),
        ("bullets", "\n".join(f"- item number {n} of the list that we have" for n in range(12)), "en"),
        ("ellipses", "\n".join(f"{line[:60]} and so on..." for line in prose(1, 8).split("\n")), "en"),
        ("stop_words", "Prix maison jardin cuisine chambre garage terrasse piscine balcon cave " * 6, "fr"),
        ("duplicate_lines", prose(1, 4) + "\nSubscribe to the letter of the week." * 3, "en"),
        ("duplicate_paragraphs", "\n\n".join([prose(1, 2), prose(2, 2)] * 2), "en"),
        ("top_2gram", " ".join(f"of the {word}" for word in (prose(1, 4)).split()[:40]), "en"),
        ("duplicate_5grams", f"{prose(1, 1)} {prose(2, 2)} {prose(1, 1)} {prose(3, 1)} {prose(4, 1)}", "en"),
    ],
)
def test_gopher(rule: str, text: str, language: str) -> None:
    found = gopher(text, language)
    assert isinstance(found, Dropped)
    assert found.rule == rule or {found.rule, rule} <= {"duplicate_lines", "duplicate_paragraphs"}, found
    assert found.detail


def test_gopher_asks_for_stop_words_of_the_language() -> None:
    text = "der die das und ist von zu mit " + " ".join(f"Wort{n} ist{n} nicht{n} wie{n}" for n in range(12))
    assert gopher(text, "de") == text
    assert gopher(prose(1, 8, FRENCH), "") == prose(1, 8, FRENCH)
    assert isinstance(gopher(prose(1, 8), "pt"), Dropped)


def test_c4_keeps_lines_that_are_sentences() -> None:
    page = "\n".join(
        [
            "Menu",
            "Home | About | Contact",
            *prose(4, 6).split("\n"),
            "Please enable JavaScript to see this page.",
            "By going on you accept our use of cookies.",
            "Read more...",
            "He said [12] that it was late[citation needed] and « il partit ».",
            "Too short.",
        ]
    )
    kept = c4(page, "en")
    assert kept == prose(4, 6) + "\nHe said  that it was late and « il partit »."
    assert c4(prose(4, 6), "en") == prose(4, 6)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("lorem_ipsum", prose(1, 6) + "\nLorem ipsum dolor sit amet."),
        ("curly_bracket", prose(1, 6) + "\nif (x) { return y; }"),
        ("sentences", prose(1, 4)),
    ],
)
def test_c4_drops(rule: str, text: str) -> None:
    found = c4(text, "en")
    assert isinstance(found, Dropped) and found.rule == rule


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("line_punctuation", "\n".join(line.rstrip(".") for line in prose(1, 20).split("\n"))),
        ("duplicate_lines", prose(1, 5) + "\n" + prose(1, 5)),
        ("short_lines", "\n".join(f"Line {n} is short." for n in range(20))),
        ("line_punctuation", "  \n "),
    ],
)
def test_fineweb_drops(rule: str, text: str) -> None:
    found = fineweb(text, "en")
    assert isinstance(found, Dropped) and found.rule == rule
    assert fineweb(prose(1, 12), "en") == prose(1, 12)


def test_duplicate_shares() -> None:
    assert duplicate_shares(["ab", "ab", "cdef"]) == (pytest.approx(1 / 3), 0.25)
    assert duplicate_shares([]) == (0.0, 0.0)
