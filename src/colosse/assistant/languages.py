"""Languages: their names as people write them, and a cheap guess of which one a text is in."""

from __future__ import annotations

import re
import unicodedata
from difflib import get_close_matches
from functools import cache
from typing import Any

from colosse.assistant.prompts import LANGUAGES, Language, language_names
from colosse.core.errors import UserError

_SCRIPTS = {
    "ru": "CYRILLIC",
    "ar": "ARABIC",
    "he": "HEBREW",
    "el": "GREEK",
    "hi": "DEVANAGARI",
    "bn": "BENGALI",
    "th": "THAI",
    "ko": "HANGUL",
    "ja": "HIRAGANA",
    "zh": "CJK",
}
"""The script that speaks for a language; `ru` and `ar` stand for every language of theirs."""
_SAME_SCRIPT = {"uk": "ru", "bg": "ru", "fa": "ar", "ur": "ar"}
_NEIGHBOURS = [
    {"es", "ca", "pt"},
    {"no", "da", "sv"},
    {"id", "ms"},
    {"cs", "sk", "hr"},
]
"""Languages that the identifier mixes up in short texts."""
_SURE = 0.9
"""Confidence from which py3langid is believed: of 3,000 sentences of Tatoeba in four languages, 20 letters and longer,
one was named wrongly at this confidence, and 92 % (Spanish: 66 to 97 %) reached it."""
_LEAST_LETTERS = 20

_WORDS = {
    "en": "the and of to is in that it was for with as his her they be this have from not are were which",
    "fr": "le la les des et est une dans pour que qui sur pas plus avec par ce cette il elle sont nous vous aux été",
    "es": "el los las una que por con para del se es como más pero su sus está fue son y lo al",
    "de": "der die das und ist nicht ein eine zu den mit von auf für im dem sich auch es wird war sie",
    "it": "il che di non una per con sono è della del gli le si come più nel alla anche ha",
    "pt": "o os as que não uma com para do da em por mais foi dos das ao seu sua é são",
    "nl": "de het een en van is niet dat op te zijn met voor die ook er aan werd heeft hij",
}
_OWN_NAMES = {
    "deutsch": "de",
    "espanol": "es",
    "italiano": "it",
    "nederlands": "nl",
    "polski": "pl",
    "portugues": "pt",
    "svenska": "sv",
    "turkce": "tr",
}
_STOP_WORDS = {code: frozenset(words.split()) for code, words in _WORDS.items()}


def parse_language(name: str) -> str:
    """The code of a language given by code or by its English or French name, accents or not.

    Raises:
        UserError: unknown; names the nearest.
    """
    known = dict(_OWN_NAMES)
    for language in LANGUAGES:
        for code, word in language_names(language).items():
            known |= {code: code, _plain(word): code}
    wanted = _plain(name.strip())
    found = known.get(wanted) or known.get(re.split(r"[-_]", wanted)[0] if len(wanted) <= 6 else "")
    if found is None:
        close = get_close_matches(wanted, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "codes: " + ", ".join(language_names("en"))
        raise UserError(f"unknown language {name!r}", hint=hint, code="unknown_language")
    return found


def name_of(code: str, language: Language = "en") -> str:
    """What a language is called in English or French."""
    return language_names(language)[code]


def prompt_language(code: str) -> Language:
    """The language to ask in for an answer in language `code`."""
    return "fr" if code == "fr" else "en"


def guess_language(text: str) -> str:
    """The code of the language of `text`, or an empty string when it is too short or mixed to tell.

    Scripts tell some languages; for others, the share of their commonest words must stand out from the next best, or
    else py3langid, where it is installed, must be sure.
    """
    letters = [c for c in text[:20_000] if c.isalpha()]
    if len(letters) < 2:
        return ""
    other = [unicodedata.name(c, "") for c in letters if ord(c) > 0x24F]
    if len(other) > len(letters) / 2:
        counts = {code: sum(script in name for name in other) for code, script in _SCRIPTS.items()}
        if counts["ja"] > len(other) / 20:
            return "ja"
        best = max(counts, key=lambda code: counts[code])
        return best if counts[best] > len(other) / 2 else ""
    words = re.findall(r"[^\W\d_]+", text[:20_000].lower())
    scores = sorted(((sum(w in stop for w in words), code) for code, stop in _STOP_WORDS.items()), reverse=True)
    (best_score, best), (second, _) = scores[:2]
    if best_score >= 3 and best_score >= 0.12 * len(words) and best_score >= 1.5 * second:
        return best
    return _identified(text) if len(letters) >= _LEAST_LETTERS else ""


def _identified(text: str) -> str:
    if (identifier := _identifier()) is None:
        return ""
    code, confidence = identifier.classify(text[:2_000].lower())
    return str(code) if confidence >= _SURE else ""


@cache
def _identifier() -> Any:
    """py3langid (Lui and Baldwin, "langid.py", ACL 2012) for the languages that have a name here; None without it."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ModuleNotFoundError:
        return None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(language_names("en")))
    return identifier


def is_in(text: str, code: str) -> bool:
    """Whether `text` may be in language `code`: false only when it is clearly in another."""
    guess = guess_language(text)
    if not guess:
        return True
    family = _SAME_SCRIPT.get(code, code)
    if guess == family or any({guess, family} <= near for near in _NEIGHBOURS):
        return True
    told_apart = {*_STOP_WORDS, *_SCRIPTS} if _identifier() is None else {*language_names("en")}
    return family not in told_apart and guess not in _SCRIPTS


def _plain(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", name.lower()) if not unicodedata.combining(c))
