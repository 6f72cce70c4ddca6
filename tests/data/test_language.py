"""Languages are told apart, from short texts and from samples of long ones."""

from __future__ import annotations

import pytest

from colosse.data.language import LEAST, identify
from tests.data.test_quality import GOOD_EN, GOOD_FR


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GOOD_EN, "en"),
        (GOOD_FR, "fr"),
        (GOOD_FR * 50, "fr"),
        ("Der alte Leuchtturm stand am Ende der Bucht, und jeden Abend stieg der Wärter hinauf.", "de"),
        ("El viejo faro estaba al final de la bahía y cada noche el guardián subía la escalera.", "es"),
    ],
)
def test_identify(text: str, language: str) -> None:
    found, confidence = identify(text)
    assert found == language
    assert LEAST < confidence <= 1


def test_what_is_no_language_is_uncertain() -> None:
    assert identify("0x1F 22 ++ -- 33;")[1] < LEAST
    assert identify("")[1] < LEAST
