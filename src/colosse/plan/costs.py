"""What things cost: ranges of prices by GPU, region, link speed and year, each with its date and source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import median
from typing import Annotated

from pydantic import Field, TypeAdapter

from colosse.core.config import Config
from colosse.core.errors import NotFoundError, UserError, nearest
from colosse.plan.hardware import Catalogue, Cluster, Kind

NotNegative = Annotated[float, Field(ge=0)]
Range = tuple[NotNegative, NotNegative]
Overrides = Mapping[str, float | tuple[float, float]]

ANY = "any"
GIVEN = "given"
"""Source of what the caller sets."""

HIGHEST = 1e12
"""Of anything that has a price: more is a mistake."""


@dataclass(frozen=True)
class Amount:
    """A sum of money or a quantity known as a range; `central` is what to expect."""

    low: float = 0.0
    central: float = 0.0
    high: float = 0.0

    @classmethod
    def of(cls, low: float, high: float | None = None) -> Amount:
        """From a range, with its middle; or exactly one value."""
        high = low if high is None else high
        return cls(low, (low + high) / 2, high)

    def __add__(self, other: Amount) -> Amount:
        """Ends add to ends, as if everything came cheap, or everything dear, at once."""
        return Amount(self.low + other.low, self.central + other.central, self.high + other.high)

    def __mul__(self, other: Amount | float) -> Amount:
        """By a range, or by a number not below 0."""
        by = other if isinstance(other, Amount) else Amount.of(other)
        return Amount(self.low * by.low, self.central * by.central, self.high * by.high)

    def __truediv__(self, other: Amount | float) -> Amount:
        """By a range or a number above 0; what is divided by more is less."""
        by = other if isinstance(other, Amount) else Amount.of(other)
        return Amount(self.low / by.high, self.central / by.central, self.high / by.low)


class Entry(Config):
    """One price: low and high, when, and who says so."""

    date: str
    """YYYY, YYYY-MM or YYYY-MM-DD."""
    value: Range
    source: str

    @property
    def year(self) -> float:
        """With the month as its fraction."""
        return _year(self.date)


@dataclass(frozen=True)
class Found:
    """A price as it enters a bill."""

    amount: Amount
    source: str


Tables = dict[str, dict[str, list[Entry]]]


class Costs:
    """The price list of one bill: a year and what the caller sets differently.

    Args:
        year: of the prices; None: the newest.
        overrides: key to one value or (low, high), in the units of `costs.toml`.

    Raises:
        UserError: an unknown key, a price below 0, or a range that is upside down.
    """

    def __init__(self, year: int | None = None, overrides: Overrides | None = None) -> None:
        self._tables = _tables()
        self._year = 9999.0 if year is None else year + 0.5
        self._given: dict[str, Amount] = {}
        for key, value in (overrides or {}).items():
            if key not in self._tables:
                raise UserError(f"unknown price {key!r}", hint=nearest(key, self._tables), param=f"prices.{key}")
            low, high = value if isinstance(value, tuple) else (value, value)
            if not 0 <= low <= high <= HIGHEST:
                raise UserError(
                    f"price {key!r}: {low:g} to {high:g} is no range of prices",
                    hint="low and high, both at least 0 and the low one first",
                    param=f"prices.{key}",
                )
            self._given[key] = Amount.of(low, high)

    @property
    def regions(self) -> list[str]:
        """Where electricity has a price."""
        return list(self._tables["electricity"])

    def check_region(self, region: str) -> None:
        """Refuse a region without prices.

        Raises:
            NotFoundError: with the nearest one.
        """
        if region not in self._tables["electricity"]:
            raise NotFoundError(
                f"unknown region {region!r}", hint=nearest(region, self._tables["electricity"]), param="region"
            )

    def given(self, key: str) -> bool:
        """Whether the caller has set it."""
        return key in self._given

    def find(self, key: str, of: str = ANY) -> Found | None:
        """The price of `key` of a GPU, region or speed: set by the caller, else of `of`, else of any; None: unknown."""
        if key in self._given:
            return Found(self._given[key], GIVEN)
        entries = self._tables[key].get(of) or self._tables[key].get(ANY)
        if not entries:
            return None
        entry = min(entries, key=lambda e: (abs(e.year - self._year), -e.year))
        return Found(Amount.of(*entry.value), f"{entry.date}: {entry.source}")

    def get(self, key: str, of: str = ANY) -> Found:
        """As `find`, where there must be one.

        Raises:
            UserError: there is none.
        """
        found = self.find(key, of)
        if found is None:
            raise UserError(
                f"no price is known for {key!r} of {of}",
                hint=f"give one: --price {key}=LOW-HIGH",
                param=f"prices.{key}",
            )
        return found

    def dated(self, key: str, of: str) -> bool:
        """Whether the list has a price of just that GPU, region or speed."""
        return of in self._tables[key]

    def gpu_hour(self, cluster: Cluster, kind: Kind, hardware: Catalogue) -> Found:
        """What an hour of the cluster's GPU costs to rent: the range over all offers known near the year.

        Raises:
            UserError: nobody is known to rent it so.
        """
        if self.given("gpu_hour"):
            return self.get("gpu_hour")
        name = cluster.gpu.name
        today = [
            (p.usd_per_gpu_hour, _year(p.date), f"{p.date}: {p.source}") for p in hardware.prices_of(cluster, kind)
        ]
        once = self._tables["gpu_hour"].get(f"{name}/{kind}", [])
        offers = [*today, *((e.value, e.year, f"{e.date}: {e.source}") for e in once)]
        if not offers:
            known = dict.fromkeys(price.kind for price in hardware.prices_of(cluster))
            raise UserError(
                f"no {kind} price is known for {name}",
                hint=f"{'known: ' + ', '.join(known) + '; or ' if known else ''}give one: --price gpu_hour=LOW-HIGH",
                param="prices.gpu_hour",
            )
        nearest_one = min(abs(year - self._year) for _, year, _ in offers)
        near = [offer for offer in offers if abs(offer[1] - self._year) <= nearest_one + 1]
        low, high = min(value[0] for value, _, _ in near), max(value[1] for value, _, _ in near)
        middle = median((value[0] + value[1]) / 2 for value, _, _ in near)
        return Found(Amount(low, middle, high), "; ".join(dict.fromkeys(source for _, _, source in near)))


def _year(date: str) -> float:
    year, _, rest = date.partition("-")
    return int(year) + (int(rest[:2]) - 0.5) / 12 if rest else int(year) + 0.5


@cache
def _tables() -> Tables:
    text = resources.files(__package__).joinpath("costs.toml").read_text(encoding="utf-8")
    return TypeAdapter(Tables).validate_python(tomllib.loads(text))
