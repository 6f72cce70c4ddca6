"""Amounts as people type them: `15.6T` tokens, `100k$`, `30d`, `50ms`."""

from __future__ import annotations

import re

from colosse.core.errors import UserError

SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "p": 1e15}
"""Letters after a number; upper or lower case."""

SECONDS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86_400.0,
    "day": 86_400.0,
    "w": 604_800.0,
    "week": 604_800.0,
    "month": 2_629_800.0,
    "y": 31_557_600.0,
    "year": 31_557_600.0,
}
"""Units of time, words also in the plural; months and years are those of 365.25 days."""

MOST = 1e18
"""Beyond which no number of anything here can be meant."""

LONGEST_S = 1000 * SECONDS["y"]
"""The same of durations."""

_NUMBER = r"(?:\d+(?:[ _,]\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_COUNT = re.compile(rf"({_NUMBER})\s*([a-z]?)", re.IGNORECASE)
_PART = re.compile(rf"({_NUMBER})\s*([a-zµ]+)", re.IGNORECASE)
_DOLLARS = re.compile(r"us\$|usd|\$|dollars?", re.IGNORECASE)


def parse_count(text: str, *, name: str = "the number") -> float:
    """`15.6T`, `8b`, `50k`, `1e12`, `16,384`: a number above 0, with k, M, B or G, T, P as letters.

    Args:
        text: what was typed.
        name: the option or field that it was typed for, as the error says.

    Raises:
        UserError: it is no such number.
    """
    match = _COUNT.fullmatch(text.strip())
    if match is None or match[2].lower() not in SCALES:
        raise UserError(f"{name}: {text!r} is not a number", hint="write it as 16384, 50k, 1.5M, 8B or 15.6T")
    return _possible(_number(match[1]) * SCALES[match[2].lower()], MOST, text, name)


def parse_money(text: str, *, name: str = "the amount") -> float:
    """`100k$`, `$1.5M`, `2 M USD`, `750000`: US dollars above 0.

    Raises:
        UserError: it is no such amount, or of another currency.
    """
    if re.search(r"[€£¥]|eur|gbp|chf|jpy", text, re.IGNORECASE):
        raise UserError(f"{name}: {text!r} is not in US dollars", hint="all prices here are: convert it first")
    try:
        return parse_count(_DOLLARS.sub("", text), name=name)
    except UserError:
        raise UserError(
            f"{name}: {text!r} is not an amount of money above 0", hint="write it as 750000, 100k$, $1.5M or 2B$"
        ) from None


def parse_duration(text: str, *, name: str = "the duration", unit: str = "") -> float:
    """`50ms`, `1s`, `30d`, `1d 12h`, `2 weeks`: seconds, above 0. A number needs its unit; `m` is minutes.

    Args:
        text: what was typed.
        name: the option or field that it was typed for, as the error says.
        unit: of a number alone.

    Raises:
        UserError: it is no such duration.
    """
    said = f"{text}{unit}" if re.fullmatch(_NUMBER, text.strip(), re.IGNORECASE) else text
    parts = [(match[1], _unit(match[2])) for match in _PART.finditer(said)]
    if not parts or _PART.sub("", said).strip() or any(unit not in SECONDS for _, unit in parts):
        raise UserError(f"{name}: {text!r} is not a duration", hint="write it as 50ms, 1.5s, 90min, 12h, 30d or 2y")
    return _possible(sum(_number(number) * SECONDS[unit] for number, unit in parts), LONGEST_S, text, name)


def _unit(word: str) -> str:
    word = word.lower().replace("µ", "u")
    return word if word in SECONDS else word.removesuffix("s")


def _number(text: str) -> float:
    return float(re.sub(r"[ _,]", "", text))


def _possible(value: float, most: float, text: str, name: str) -> float:
    if not value > 0:
        raise UserError(f"{name}: {text!r} is not above 0")
    if value > most:
        raise UserError(f"{name}: {text!r} is more than can be meant")
    return value
