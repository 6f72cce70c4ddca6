"""The lines of a bill: what is bought, what a year of operation takes, what a run takes, what is rented."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil

from colosse.core.errors import UserError
from colosse.plan.costs import Amount, Costs, Found
from colosse.plan.hardware import Catalogue, Cluster, Kind, Storage
from colosse.plan.topology import Topology
from colosse.plan.words import Words

DAYS_A_YEAR = 365.25
HOURS_A_YEAR = 24 * DAYS_A_YEAR
MONTHS_A_DAY = 12 / DAYS_A_YEAR
SERVER_WATTS = 0.5
"""Of everything in a server but the GPUs, as a share of theirs, where the catalogue does not say: DGX-1V 3.5 kW with
2.4 of GPUs, DGX H100 10.2 with 5.6."""
CORE_WATTS = 8.0
"""Of a server with processors alone, for each core: 48 cores at about 400 W."""
STORAGE_WATTS = 10.0
"""Of flash storage, for each TB: about 1 kW for a server with 100 TB."""
GPU_SERVER_CORES = 40
"""Processor cores in a server with GPUs (Azure NDv2: 40; DGX-1: 40)."""
IDLE_DRAW = 0.3
"""Of a machine without work, as a share of its draw at work."""


@dataclass(frozen=True)
class Line:
    """One line of the bill."""

    section: str
    """`capital`, `year` or `run`."""
    key: str
    """What it is, as `words.toml` names it."""
    quantity: float
    unit: str
    price: Amount
    """US dollars for one unit."""
    amount: Amount
    """US dollars; where the quantity too is a range, its ends are in here."""
    source: str = ""
    note: str = ""
    """Key of a note in `words.toml`."""
    values: Mapping[str, object] = field(default_factory=dict)
    """What its text and its note say."""

    def item(self, words: Words) -> str:
        """What it is, in a language."""
        values = {**self.values}
        if "kind" in values:
            values["kind"] = words.text("kinds", str(values["kind"]))
        return words.text("items", self.key, values)

    def remark(self, words: Words) -> str:
        """How its quantity comes about, in a language; empty: nothing to say."""
        values = {**self.values}
        if "region" in values:
            values["region"] = words.text("regions", str(values["region"]))
        return words.text("notes", self.note, values) if self.note else ""


@dataclass(frozen=True)
class Charges:
    """What is billed, and its lines. The fields are those of `bill.bill`."""

    cluster: Cluster
    costs: Costs
    days: float
    goodput: float
    region: str
    kind: Kind
    storage_tb: float
    egress_tb: float
    cpu_cores: int
    watts_per_gpu: float
    network: Topology
    hardware: Catalogue

    @property
    def nodes(self) -> int:
        """Servers."""
        return ceil(self.cluster.gpus / self.cluster.node.gpus)

    @property
    def elapsed(self) -> float:
        """Days from first to last step."""
        return self.days / self.goodput

    @property
    def extra_cores(self) -> int:
        """In servers with processors alone."""
        return max(0, self.cpu_cores - self.nodes * GPU_SERVER_CORES)

    @property
    def limit_kw(self) -> float:
        """Of all IT, at its limits."""
        gpu, node = self.cluster.gpu, self.cluster.node
        rest = node.cpu_watts * self.nodes or SERVER_WATTS * gpu.watts * self.cluster.gpus
        watts = gpu.watts * self.cluster.gpus + rest + self.network.watts
        return (watts + CORE_WATTS * self.extra_cores + STORAGE_WATTS * self.storage_tb) / 1000

    def get(self, key: str, of: str = "any") -> Amount:
        """A price or rate."""
        return self.costs.get(key, of).amount

    def work_kw(self) -> Amount:
        """Of IT at work."""
        if self.watts_per_gpu:
            return Amount.of(self.watts_per_gpu * self.cluster.gpus / 1000)
        return self.get("load") * self.limit_kw

    def kwh(self, hours: float) -> Amount:
        """At the building's meter, of some hours at work."""
        return self.work_kw() * self.get("pue") * hours

    # The outlay.

    def capital(self) -> Iterator[Line]:
        """What is bought."""
        lines = [*self.servers(), *self.fabric()]
        nodes, costs = self.nodes, self.costs
        lines.append(_line("capital", "ethernet", nodes, "server", costs.get("ethernet")))
        if self.storage_tb:
            lines.append(_line("capital", "storage", self.storage_tb, "tb", costs.get("storage")))
        yield from lines
        equipment = total(line.amount for line in lines)
        share = costs.get("integration")
        amount = equipment * share.amount
        yield Line(
            "capital", "integration", 1, "lot", amount, amount, share.source, "integration", {"share": share.amount}
        )
        found = costs.get("construction")
        kw = round(self.limit_kw, 1)
        yield _line("capital", "construction", kw, "kw", found, "construction", {"kw": kw})

    def servers(self) -> Iterator[Line]:
        """GPUs and what they sit in, in one line or two; servers with processors alone."""
        gpu, node, costs = self.cluster.gpu, self.cluster.node, self.costs
        chip = costs.find("gpu", gpu.name) or _listed(gpu.price_usd, gpu.source)
        rest = costs.find("server_per_gpu", gpu.name)
        whole = _listed(node.price_usd, node.source)
        domain: dict[str, object] = {"domain": node.domain} if node.domain > node.gpus else {}
        apart = costs.dated("gpu", gpu.name) or costs.given("gpu") or costs.given("server_per_gpu")
        if whole and not apart:
            yield _line(
                "capital",
                "complete",
                self.nodes,
                "server",
                whole,
                "domain" if domain else "",
                {"name": node.name, "gpus": node.gpus} | domain,
            )
        else:
            if chip is None or rest is None:
                raise UserError(
                    f"no price is known to buy {gpu.name}", hint="give one: --price gpu=LOW-HIGH", param="prices.gpu"
                )
            yield _line("capital", "gpu", self.cluster.gpus, "gpu", chip, "", {"name": gpu.name})
            network = self.network
            ports: dict[str, object] = {
                "ports": network.ports_per_server,
                "gbps": network.generation.gbps if network.generation else 0,
            }
            yield _line(
                "capital",
                "server",
                self.nodes,
                "server",
                Found(rest.amount * node.gpus, rest.source),
                "domain" if domain else "server" if ports["ports"] else "",
                {"gpus": node.gpus} | ports | domain,
            )
        if self.extra_cores:
            found = costs.get("cpu_core")
            cores = {"cores": self.nodes * GPU_SERVER_CORES}
            yield _line("capital", "cpu_core", self.extra_cores, "core", found, "cpu_core", cores)

    def fabric(self) -> Iterator[Line]:
        """The network between servers."""
        net, kind, costs = self.network, self.network.generation, self.costs
        taper = {"levels": net.levels, "taper": self.cluster.fabric.oversubscription}
        counts: list[tuple[str, float, str, str, str, dict[str, object]]]
        if kind is None:
            counts = [
                ("optical_switch", net.optical_switches, "switch", "optical_switch", "", {}),
                ("torus_optic", net.torus_optics, "module", "torus_optic", "", {}),
                ("torus_cable", net.server_links, "cable", "torus_cable", "", {}),
                ("torus_fibre", net.switch_links, "cable", "torus_cable", "", {}),
            ]
        else:
            shape: dict[str, object] = {"radix": kind.radix, "gbps": kind.gbps, **taper}
            per: dict[str, object] = {"ports": kind.ports_per_optic}
            active = "" if kind.ports_per_optic else "active"
            counts = [
                ("leaf", net.leaf_switches, "switch", "switch", "levels" if taper["taper"] == 1 else "tapered", shape),
                ("spine", net.spine_switches, "switch", "switch", "", shape),
                ("core", net.core_switches, "switch", "switch", "", shape),
                ("switch_optic", net.switch_optics, "module", "switch_optic", "optics", per),
                ("server_optic", net.server_optics, "module", "server_optic", "", {}),
                ("server_cable", net.server_links, "cable", "server_cable", active, {}),
                ("switch_cable", net.switch_links, "cable", "switch_cable", "", {}),
            ]
        speed = str(kind.gbps) if kind else "any"
        for key, count, unit, price, note, values in counts:
            if count:
                yield _line("capital", key, count, unit, costs.get(price, speed), note, values)

    # A year, and the run's share of it.

    def yearly(self, capital: list[Line]) -> Iterator[Line]:
        """What the machine costs a year."""
        costs = self.costs
        building = total(line.amount for line in capital if line.key == "construction")
        equipment = total(line.amount for line in capital if line.key != "construction")
        for key, outlay in (("hardware", equipment), ("building", building)):
            life = costs.get(f"{key}_years")
            if not life.amount.low:
                raise UserError(f"{key}_years: a life of 0 years is not possible", param=f"prices.{key}_years")
            yield _year(key, outlay / life.amount, life.source, key, {"years": life.amount})
        rate = costs.get("interest")
        yield _year(
            "interest", (equipment + building) * 0.5 * rate.amount, rate.source, "interest", {"share": rate.amount}
        )
        busy = self.get("occupancy").central
        yield self.power("year", HOURS_A_YEAR * (busy + IDLE_DRAW * (1 - busy)))
        keep = costs.get("maintenance")
        yield _year("maintenance", equipment * keep.amount, keep.source, "maintenance", {"share": keep.amount})
        heads = costs.get("technicians_per_mw")
        pay = costs.get("technician")
        people = heads.amount * (self.limit_kw / 1000)
        values = {"people": heads.amount, "year": pay.amount}
        yield Line(
            "year",
            "technician",
            people.central,
            "person",
            pay.amount,
            people * pay.amount,
            pay.source,
            "technician",
            values,
        )
        yield self.engineers("year", 1)

    def power(self, section: str, hours: float) -> Line:
        """Electricity of the machine at work for some hours."""
        found = self.costs.get("electricity", self.region)
        kwh = self.kwh(hours)
        values = {"kw": round(self.work_kw().central), "pue": self.get("pue"), "region": self.region}
        return Line(
            section,
            "electricity",
            kwh.central,
            "kwh",
            found.amount,
            kwh * found.amount,
            found.source,
            "electricity",
            values,
        )

    def engineers(self, section: str, years: float) -> Line:
        """Who keep cluster and run alive, for some years."""
        heads = self.get("engineers_per_1000") * (self.cluster.gpus / 1000) * years
        pay = self.costs.get("engineer")
        values = {"year": pay.amount}
        return Line(
            section, "engineer", heads.central, "person", pay.amount, heads * pay.amount, pay.source, "share", values
        )

    def share(self, yearly: list[Line]) -> Iterator[Line]:
        """What the run takes of a machine's year."""
        fixed = [line for line in yearly if line.key != "electricity"]
        for line in fixed:
            day = line.amount / DAYS_A_YEAR
            yield Line("run", line.key, self.days, "day", day, day * self.days, line.source)
        yield self.power("run", 24 * self.elapsed)
        day = total(line.amount for line in fixed) / DAYS_A_YEAR
        if self.goodput < 1:
            lost = self.elapsed - self.days
            yield Line("run", "lost", lost, "day", day, day * lost, "", "lost", {"goodput": self.goodput})
        busy = self.costs.get("occupancy")
        if not busy.amount.low:
            raise UserError("occupancy: a machine without any work is not possible", param="prices.occupancy")
        idle = Amount(*(1 / end - 1 for end in (busy.amount.high, busy.amount.central, busy.amount.low))) * self.elapsed
        if idle.central > 0:
            values = {"share": busy.amount}
            yield Line("run", "idle", idle.central, "day", day, day * idle, busy.source, "idle", values)

    # Rent.

    def rented(self, *, year: bool = False) -> Iterator[Line]:
        """What the run costs on rented machines, or a year at its rate."""
        section = "year" if year else "run"
        days = DAYS_A_YEAR * self.goodput if year else self.days
        elapsed = days / self.goodput
        found = self.costs.gpu_hour(self.cluster, self.kind, self.hardware)
        price, hours = found.amount, self.cluster.gpus * 24 * days
        values: dict[str, object] = {"name": self.cluster.gpu.name, "kind": self.kind}
        yield _line(section, "gpu_hour", hours, "gpu_hour", found, "", values)
        lost = self.cluster.gpus * 24 * (elapsed - days)
        if lost > 0:
            yield Line(
                section, "hours_lost", lost, "gpu_hour", price, price * lost, "", "lost", {"goodput": self.goodput}
            )
        held = self.cluster.gpus * 24 * elapsed
        if self.kind == "spot":
            loss = self.costs.get("spot_loss")
            _below_one("spot_loss", loss.amount.high)
            more = Amount(*(held * end / (1 - end) for end in (loss.amount.low, loss.amount.central, loss.amount.high)))
            values = {"share": loss.amount}
            yield Line(
                section, "hours_interrupted", more.central, "gpu_hour", price, price * more, loss.source, "spot", values
            )
        if self.kind == "reserved" and not year:
            busy = self.costs.get("occupancy")
            ends = (busy.amount.high, busy.amount.central, busy.amount.low)
            if not ends[-1]:
                raise UserError("occupancy: a machine without any work is not possible", param="prices.occupancy")
            more = Amount(*(held * (1 / end - 1) for end in ends))
            values = {"share": busy.amount}
            if more.central > 0:
                yield Line(
                    section,
                    "hours_idle",
                    more.central,
                    "gpu_hour",
                    price,
                    price * more,
                    busy.source,
                    "reserved",
                    values,
                )
        if self.storage_tb:
            months = self.storage_tb * elapsed * MONTHS_A_DAY
            yield _line(section, "storage_month", months, "tb_month", self.storage_month())
        if self.egress_tb and not year:
            yield _line(section, "egress", self.egress_tb, "tb", self.costs.get("egress"), "egress")
        engineers = self.engineers(section, elapsed / DAYS_A_YEAR)
        if engineers.amount.high:
            yield engineers

    def storage_month(self) -> Found:
        """The catalogue's price of the cluster's storage where it is set, else the list's range."""
        set_price = self.cluster.storage.usd_per_tb_month
        if self.costs.given("storage_month") or set_price == Storage().usd_per_tb_month:
            return self.costs.get("storage_month")
        return Found(Amount.of(set_price), "hardware catalogue")


def _line(
    section: str,
    key: str,
    quantity: float,
    unit: str,
    found: Found,
    note: str = "",
    values: Mapping[str, object] | None = None,
) -> Line:
    amount = found.amount * quantity
    return Line(section, key, quantity, unit, found.amount, amount, found.source, note, values or {})


def _year(key: str, amount: Amount, source: str, note: str, values: Mapping[str, object]) -> Line:
    return Line("year", key, 1, "year", amount, amount, source, note, values)


def total(amounts: Iterable[Amount]) -> Amount:
    """Of all of them."""
    return sum(amounts, Amount())


def _listed(price: tuple[float, float], source: str) -> Found | None:
    """A price of the hardware catalogue; None: not known there."""
    return Found(Amount.of(*price), source) if price[1] else None


def _below_one(key: str, value: float) -> None:
    if value >= 1:
        raise UserError(f"{key}: {value:g} is not possible", hint="a fraction below 1", param=f"prices.{key}")
