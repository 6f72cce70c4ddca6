"""A bill's words and numbers in English and French."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from colosse.core.errors import UserError, nearest
from colosse.plan.costs import Amount

LANGUAGES = ("en", "fr")
WITH_CENTS = 1000
"""US dollars below which cents are written."""


class Words:
    """The words of a language, and its way to write numbers, money and dates.

    Args:
        language: `en` or `fr`.

    Raises:
        UserError: another language.
    """

    def __init__(self, language: str = "en") -> None:
        if language not in LANGUAGES:
            raise UserError(f"no bill is written in {language!r}", hint=nearest(language, LANGUAGES), param="language")
        self.language = language
        self._table = _table()[language]

    def text(self, group: str, key: str, values: Mapping[str, object] | None = None) -> str:
        """A text of a group (labels, items, notes, sections, kinds, regions) with its values filled in."""
        written = {name: self._value(name, value) for name, value in (values or {}).items()}
        template: str = self._table[group][key]
        return template.format(**written)

    def label(self, key: str, **values: object) -> str:
        """A text of the group `labels`."""
        return self.text("labels", key, values)

    def unit(self, key: str, quantity: float) -> str:
        """`server`, or `servers` of more; what is below two is one thing in French."""
        one, more = self._table["units"][key]
        single = abs(quantity) < 2 if self.language == "fr" else quantity == 1
        return str(one if single else more)

    def number(self, value: float, decimals: int | None = None) -> str:
        """`1,234.5`; without `decimals` as many as three figures need."""
        if decimals is None:
            whole = value == round(value) or abs(value) >= 1000
            text = f"{value:,.0f}" if whole else f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
            text = text.rstrip("0").rstrip(".") if "." in text else text
        else:
            text = f"{value:,.{decimals}f}"
        return text.replace(",", "\0").replace(".", self._table["decimal"]).replace("\0", self._table["thousands"])

    def money(self, value: float) -> str:
        """`$1,234.50`; cents where they say something, more below ten cents."""
        decimals = 0 if abs(value) >= WITH_CENTS else 2
        if 0 < abs(value) < 0.1:
            decimals = 1 - math.floor(math.log10(abs(value)))
        return str(self._table["money"]).format(self.number(value, decimals))

    def money_range(self, amount: Amount) -> str:
        """`$1.00 to $2.00`, or the one value."""
        if amount.low == amount.high:
            return self.money(amount.low)
        return self.label("from_to", low=self.money(amount.low), high=self.money(amount.high))

    def share(self, value: float) -> str:
        """`3.2 %` of a fraction."""
        space = "" if self.language == "en" else "\u00a0"
        return f"{self.number(100 * value)}{space}%"

    def day(self, when: date) -> str:
        """`6 November 2026`."""
        return str(self._table["date"]).format(
            day=when.day, month=self._table["months"][when.month - 1], year=when.year
        )

    def _value(self, name: str, value: object) -> str:
        """Numbers in the language's way; shares as per cent, ranges with both ends."""
        if isinstance(value, Amount):
            low, high = (self._value(name, end) for end in (value.low, value.high))
            return low if low == high else self.label("from_to", low=low, high=high)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return str(value)
        if name in ("share", "goodput"):
            return self.share(value)
        if name == "year":
            return self.money(value)
        return self.number(value)


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("words.toml").read_text(encoding="utf-8"))
