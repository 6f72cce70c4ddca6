"""The bill: what a training run costs on rented machines, or on a machine that is built, line by line.

Every line is quantity x unit price with a low, a central and a high end and a source. A built machine is billed three
ways: the outlay (`capital`), a year of operation (`year`: straight-line depreciation, interest on half the outlay,
electricity, maintenance, staff) and the run's share of it (`run`), in proportion to the days that it holds the machine.
A run of `days` productive days holds it days / goodput; a machine that has work for a share `occupancy` of the time
charges the rest to its runs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from colosse.core.errors import UserError
from colosse.plan.charges import DAYS_A_YEAR, Charges, Line, total
from colosse.plan.costs import Amount, Costs, Overrides
from colosse.plan.hardware import Catalogue, Cluster, Kind, catalogue
from colosse.plan.topology import Topology, topology
from colosse.plan.words import Words

Mode = Literal["rent", "build"]


@dataclass(frozen=True)
class Bill:
    """A bill in US dollars, before tax."""

    mode: Mode
    cluster: Cluster
    model: str
    region: str
    year: int | None
    """Of the prices; None: the newest."""
    days: float
    """Productive ones, of the run."""
    goodput: float
    tokens: float
    lines: list[Line]
    kwh: Amount
    """Electricity of the run, at the meter of the building."""
    co2e_kg: Amount
    """Of it, by where it is generated (location-based); what making the machine emitted is not in it."""
    it_kw: float
    """Limits of all servers, switches and storage."""
    hardware_years: Amount = field(default_factory=Amount)
    """Life of a built machine; 0: rented."""
    life: Amount = field(default_factory=Amount)
    """Outlay and operation of a built machine until the end of its life."""
    network: Topology | None = None

    @property
    def elapsed_days(self) -> float:
        """From first to last step."""
        return self.days / self.goodput

    @property
    def gpu_hours(self) -> float:
        """That the run holds."""
        return self.cluster.gpus * 24 * self.elapsed_days

    @property
    def sections(self) -> dict[str, Amount]:
        """Totals: `capital` and `year` of a built machine, `year` of rent at this rate, `run`."""
        totals: dict[str, Amount] = {}
        for line in self.lines:
            totals[line.section] = totals.get(line.section, Amount()) + line.amount
        return totals

    @property
    def run(self) -> Amount:
        """What the run costs."""
        return self.sections["run"]

    @property
    def per_million_tokens(self) -> Amount | None:
        """Of the run; None where no tokens were given."""
        return self.run / (self.tokens / 1e6) if self.tokens else None

    @property
    def life_share(self) -> float:
        """Of the machine's life that the run holds it; 0: rented."""
        years = self.hardware_years.central
        return self.elapsed_days / (DAYS_A_YEAR * years) if years else 0.0

    def to_json(self, language: str = "en") -> dict[str, Any]:
        """As JSON types, with the lines' texts in a language."""
        words = Words(language)
        sections = self.sections
        return {
            "mode": self.mode,
            "model": self.model,
            "gpu": self.cluster.gpu.name,
            "node": self.cluster.node.name,
            "gpus": self.cluster.gpus,
            "region": self.region,
            "year": self.year,
            "days": self.days,
            "elapsed_days": self.elapsed_days,
            "goodput": self.goodput,
            "gpu_hours": self.gpu_hours,
            "tokens": self.tokens,
            "currency": "USD",
            "totals": {name: asdict(amount) for name, amount in sections.items()},
            "life": asdict(self.life) if self.mode == "build" else None,
            "life_share": self.life_share if self.mode == "build" else None,
            "per_million_tokens": asdict(self.per_million_tokens) if self.per_million_tokens else None,
            "it_kw": self.it_kw,
            "kwh": asdict(self.kwh),
            "co2e_kg": asdict(self.co2e_kg),
            "lines": [row(line, words) for line in self.lines],
        }


def row(line: Line, words: Words) -> dict[str, Any]:
    """A line as JSON types."""
    return {
        "section": line.section,
        "key": line.key,
        "item": line.item(words),
        "quantity": line.quantity,
        "unit": words.unit(line.unit, line.quantity),
        "price": asdict(line.price),
        "amount": asdict(line.amount),
        "note": line.remark(words),
        "source": line.source,
    }


def bill(
    cluster: Cluster,
    *,
    mode: Mode = "rent",
    days: float,
    tokens: float = 0,
    goodput: float = 1,
    region: str = "us",
    kind: Kind = "on_demand",
    year: int | None = None,
    model: str = "",
    prices: Overrides | None = None,
    storage_tb: float | None = None,
    egress_tb: float = 0,
    cpu_cores: int = 0,
    watts_per_gpu: float = 0,
    link_gbps: float = 0,
    hardware: Catalogue | None = None,
) -> Bill:
    """The bill of a run.

    Args:
        cluster: the machine.
        mode: whether it is rented or built.
        days: of productive training, failures not counted.
        tokens: trained on; 0: no price per token.
        goodput: productive time over elapsed time.
        region: of the electricity, a key of `costs.toml`.
        kind: of rental.
        year: of the prices; None: the newest.
        model: what is trained, as the bill calls it.
        prices: what the caller knows better, by key of `costs.toml`.
        storage_tb: capacity; None: `storage_tb_per_gpu`.
        egress_tb: leaving a rented cloud.
        cpu_cores: of the whole built machine, where it has servers with processors alone; 0: it has none.
        watts_per_gpu: average draw of all IT at work, for each GPU; 0: from power limits and `load`.
        link_gbps: of a network port; 0: as the GPU's share of the server's network asks.
        hardware: the catalogue with the rental prices; None: the built-in one.

    Raises:
        UserError: a value that cannot be, an unknown region, or a price that nobody knows.
    """
    for name, value in {"days": days, "tokens": tokens, "egress_tb": egress_tb, "watts_per_gpu": watts_per_gpu}.items():
        if not 0 <= value < float("inf") or (name == "days" and not value):
            raise UserError(f"{name}: {value:g} is not possible", hint="a number above 0", param=name)
    if not 0 < goodput <= 1:
        raise UserError(f"goodput: {goodput:g} is not possible", hint="a fraction above 0, at most 1", param="goodput")
    if storage_tb is not None and storage_tb < 0:
        raise UserError(f"storage_tb: {storage_tb:g} is not possible", hint="at least 0", param="storage_tb")
    costs = Costs(year, prices)
    costs.check_region(region)
    per_gpu = costs.get("storage_tb_per_gpu").amount.central
    charges = Charges(
        cluster=cluster,
        costs=costs,
        days=days,
        goodput=goodput,
        region=region,
        kind=kind,
        storage_tb=per_gpu * cluster.gpus if storage_tb is None else storage_tb,
        egress_tb=egress_tb,
        cpu_cores=cpu_cores,
        watts_per_gpu=watts_per_gpu,
        network=topology(cluster, link_gbps),
        hardware=hardware or catalogue(),
    )
    capital = list(charges.capital()) if mode == "build" else []
    yearly = list(charges.yearly(capital)) if mode == "build" else []
    run = list(charges.share(yearly)) if mode == "build" else list(charges.rented())
    life = Amount()
    if mode == "build":
        spent = [line.amount for line in yearly if line.key not in ("hardware", "building")]
        life = total(line.amount for line in capital) + total(spent) * charges.get("hardware_years")
    kwh = charges.kwh(24 * charges.elapsed)
    return Bill(
        mode=mode,
        cluster=cluster,
        model=model,
        region=region,
        year=year,
        days=days,
        goodput=goodput,
        tokens=tokens,
        lines=[*capital, *yearly, *run] if mode == "build" else [*charges.rented(year=True), *run],
        kwh=kwh,
        co2e_kg=kwh * charges.get("co2", region) / 1000,
        it_kw=charges.limit_kw,
        hardware_years=charges.get("hardware_years") if mode == "build" else Amount(),
        life=life,
        network=charges.network if mode == "build" else None,
    )
