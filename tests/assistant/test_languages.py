"""Names of languages, and guessing them."""

from __future__ import annotations

import pytest

from colosse.assistant.languages import guess_language, is_in, name_of, parse_language, prompt_language
from colosse.assistant.prompts import LANGUAGES, language_names
from colosse.core.errors import UserError

SAMPLES = {
    "en": "The ship that was lost in the storm has been found, and all of its crew are safe with us.",
    "fr": "Le bateau qui s'était perdu dans la tempête est retrouvé, et tout l'équipage est avec nous dans le port.",
    "es": "El barco que se perdió en la tormenta ha sido encontrado, y los marineros están con nosotros en el puerto.",
    "de": "Das Schiff, das im Sturm verloren ging, ist gefunden, und die ganze Mannschaft ist mit uns in der Stadt.",
    "it": "La nave che si era persa nella tempesta è stata ritrovata e i marinai sono con noi nel porto della città.",
    "pt": "O navio que se perdeu na tempestade foi encontrado, e todos os marinheiros estão com uma família do porto.",
    "nl": "Het schip dat in de storm verloren was is gevonden en de hele bemanning is met ons in een haven.",
    "ru": "Корабль, пропавший во время шторма, найден.",
    "ar": "تم العثور على السفينة التي فقدت في العاصفة",
    "he": "הספינה שאבדה בסערה נמצאה",
    "el": "Το πλοίο που χάθηκε στην καταιγίδα βρέθηκε",
    "hi": "तूफान में खोया जहाज मिल गया",
    "zh": "在暴风雨中失踪的船已经找到了",
    "ja": "嵐で行方不明になった船が見つかりました",
    "ko": "폭풍 속에서 실종된 배가 발견되었습니다",
    "th": "พบเรือที่สูญหายในพายุแล้ว",
}


@pytest.mark.parametrize("code", SAMPLES)
def test_guess(code: str) -> None:
    assert guess_language(SAMPLES[code]) == code
    assert is_in(SAMPLES[code], code)
    assert not is_in(SAMPLES[code], "en" if code != "en" else "fr")


@pytest.mark.parametrize("text", ["", "42", "x", "Bonjour", "def f(x): return x + 1", "Lorem ipsum dolor sit amet"])
def test_no_guess_rather_than_a_wrong_one(text: str) -> None:
    assert guess_language(text) == ""
    assert is_in(text, "fr")


def test_neighbours_are_not_refused() -> None:
    assert is_in("Корабель, що зник під час шторму, знайдено.", "uk")
    assert not is_in(SAMPLES["en"], "uk")
    assert is_in(SAMPLES["es"], "ca")
    assert not is_in(SAMPLES["zh"], "ca")


@pytest.mark.parametrize(
    ("name", "code"),
    [("fr", "fr"), ("FR", "fr"), ("French", "fr"), ("français", "fr"), ("Francais", "fr"), ("anglais", "en"),
     ("pt-BR", "pt"), ("zh_CN", "zh"), ("Deutsch", "de"), (" español ", "es")],
)  # fmt: skip
def test_parse(name: str, code: str) -> None:
    assert parse_language(name) == code


def test_every_name_leads_back_to_its_code() -> None:
    for language in LANGUAGES:
        for code in language_names(language):
            assert parse_language(name_of(code, language)) == code


def test_unknown_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'french'"):
        parse_language("frnech")
    with pytest.raises(UserError, match="codes: ar, bg"):
        parse_language("qqqqqq")


def test_prompt_language() -> None:
    assert [prompt_language(code) for code in ("fr", "en", "de")] == ["fr", "en", "en"]
