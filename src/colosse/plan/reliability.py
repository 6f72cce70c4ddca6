"""What failures cost a training run, in closed form: effective training time, how often to save, how many spares.

The job is all or nothing: one failure anywhere stops it. Failures are a Poisson process of rate λ while the job runs or
starts. A run is periods of `τ` of training and `s` of stall, after which a checkpoint is written in the background for
`w`; only a complete one counts. A failure costs what was computed since the last complete one, then `A` until it is
noticed and the node found, then a start `U`, which may fail too. Counting the checkpoints that complete between two
failures (renewal-reward theorem) gives exactly

    ETTR = λ τ exp(-λ (w + U)) / ((1 + λ A) (exp(λ (τ + s)) - 1)),

whose maximum over τ solves `λτ = 1 - exp(-λ (τ + s))`: for small λ Young's √(2s/λ) (1974), and Daly's complete model
(2006). To first order it is the formula of arXiv:2410.21680. Nodes in repair are an Erlang loss system with spares + 1
places: in the last one the job waits. `simulate.py` plays the same events one by one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from colosse.core.errors import UserError
from colosse.core.numbers import duration, share
from colosse.plan.estimate import Band
from colosse.plan.faults import Faults, faults_for
from colosse.plan.hardware import Cluster
from colosse.spec.counts import params as count_params
from colosse.spec.model import ModelSpec

BYTES_PER_PARAM = 12
"""Of our checkpoints: float32 master weight and AdamW's two moments. Others also store bfloat16 weights (14)."""
MOMENT_BYTES = 4
HOPELESS = 0.05
"""Effective training time below which a run is refused: its days would mean nothing."""
MOST_SPARES = 0.25
"""Share of the nodes beyond which no spares are proposed."""

LOSSES = {
    "checkpoint_stall": "stall of checkpoints",
    "lost_work": "work lost since the last checkpoint",
    "detection": "until the failure is noticed",
    "diagnosis": "finding and swapping the node",
    "waiting": "waiting for a node",
    "restart": "starting again",
    "planned": "planned stops",
    "short_handed": "running with fewer nodes",
}
"""Where time goes that is not training, in words."""


@dataclass(frozen=True)
class Hazard:
    """A cause on this cluster."""

    name: str
    rate: float
    """Per second, over all GPUs."""
    detection_s: float
    replaces: float
    repair_s: float


@dataclass(frozen=True)
class Regime:
    """Everything that closed form and simulation need to know of a run. Seconds."""

    hazards: tuple[Hazard, ...]
    nodes: int
    spares: int
    replica_nodes: int
    """Nodes that the job can do without when one is missing and no spare is left; 0: it waits."""
    interval_s: float
    stall_s: float
    write_s: float
    """In the background after the stall."""
    restart_s: float
    diagnosis_s: float
    swap_s: float
    manual_share: float
    manual_s: float
    planned_rate: float
    planned_s: float
    """With the last checkpoint before it; without the start after it."""

    @cached_property
    def rate(self) -> float:
        """λ."""
        return sum(hazard.rate for hazard in self.hazards)

    def outage_s(self, hazard: Hazard) -> float:
        """From a failure to the start after it, where a spare is at hand."""
        return hazard.detection_s + self.diagnosis_s + hazard.replaces * self.swap_s + self.manual_share * self.manual_s

    @cached_property
    def detection_s(self) -> float:
        """Mean of a failure."""
        return sum(hazard.rate * hazard.detection_s for hazard in self.hazards) / self.rate if self.rate else 0.0

    @cached_property
    def mean_outage_s(self) -> float:
        """A."""
        return sum(hazard.rate * self.outage_s(hazard) for hazard in self.hazards) / self.rate if self.rate else 0.0

    @cached_property
    def repair_load(self) -> float:
        """Nodes in repair on average, were there always a spare."""
        return sum(h.rate * h.replaces * h.repair_s for h in self.hazards) / (1 + self.rate * self.mean_outage_s)

    def scaled(self, factor: float) -> Regime:
        """The same with every rate of failure times `factor`."""
        return replace(self, hazards=tuple(replace(h, rate=factor * h.rate) for h in self.hazards))


@dataclass(frozen=True)
class CauseLoss:
    """What one cause does to the run."""

    failures: float
    """Expected."""
    days: float
    """Lost to them, without waiting for nodes."""


@dataclass(frozen=True)
class Reliability:
    """What failures make of a run."""

    gpus: int
    nodes: int
    ideal_days: float
    """Were there neither failures nor checkpoints."""
    mtbf_s: float
    """Between failures that nobody planned; infinite if there are none."""
    checkpoint_bytes: float
    checkpoint_write_s: float
    checkpoint_stall_s: float
    """For which a save stops training."""
    interval_s: float
    """Of training between two saves."""
    optimal_interval_s: float
    restart_s: float
    spares: int
    """Nodes in reserve, besides those that train."""
    ettr: Band
    """Effective training time ratio: training that is kept / elapsed. The band is that of the rates of failure: which
    site this will be, not which luck it has (that is in the simulation)."""
    days: Band
    losses: dict[str, float]
    """Shares of the elapsed time by key of `LOSSES`; with `ettr.value` they add up to 1."""
    by_cause: dict[str, CauseLoss]
    sensitivity: dict[str, float]
    """Effective training time with one thing changed."""
    advice: list[str]
    cautions: list[str]
    regime: Regime = field(repr=False)

    @property
    def failures(self) -> float:
        """Expected in the whole run."""
        return sum(cause.failures for cause in self.by_cause.values())


def checkpoint_bytes(spec: ModelSpec, optimizer: str = "adamw") -> float:
    """Bytes of one of our checkpoints: Muon keeps one moment of a matrix instead of two."""
    counted = count_params(spec)
    saved = counted.non_embedding - counted.norms if optimizer == "muon" else 0
    return BYTES_PER_PARAM * counted.total - MOMENT_BYTES * saved


def reliability(
    cluster: Cluster,
    *,
    params: float,
    ideal_days: float,
    checkpoint_bytes: float = 0.0,
    faults: Faults | None = None,
    interval_s: float = 0.0,
    spares: int | None = None,
    asynchronous: bool = True,
    replicas: int = 1,
    replica_nodes: int = 0,
) -> Reliability:
    """What failures make of a run of `ideal_days` on `cluster`.

    Args:
        cluster: where; its storage takes the checkpoints.
        params: of the model.
        ideal_days: the run's days were there neither failures nor checkpoints.
        checkpoint_bytes: of one checkpoint; 0: `BYTES_PER_PARAM` for each parameter.
        faults: what fails how often; None: what is published about such GPUs.
        interval_s: training between two saves; 0: the best.
        spares: nodes in reserve, besides those of the cluster; None: as many as pay.
        asynchronous: whether checkpoints are written in the background.
        replicas: copies of the state that the layout keeps (`dp_replicate`): each is copied to hosts and read back.
        replica_nodes: nodes that can be left out when one is missing and no spare is left (those of one data rank); 0:
            the job waits.

    Raises:
        UserError: a number out of range, an interval shorter than the write, a run that would hardly ever advance.
    """
    for name, value in (("params", params), ("ideal_days", ideal_days), ("replicas", replicas)):
        if not 0 < value < math.inf:
            raise UserError(f"{name} = {value:g} is not a number above 0", param=name)
    for name, value in (("interval_s", interval_s), ("spares", spares or 0), ("checkpoint_bytes", checkpoint_bytes)):
        if not 0 <= value < math.inf:
            raise UserError(f"{name} = {value:g} is below 0", param=name)
    faults = faults or faults_for(cluster.gpu)
    size = checkpoint_bytes or BYTES_PER_PARAM * params
    regime, best = _regime(
        cluster, faults, size, 86_400 * ideal_days, interval_s, replicas, replica_nodes, asynchronous=asynchronous
    )
    blocking, _ = _regime(
        cluster, faults, size, 86_400 * ideal_days, interval_s, replicas, replica_nodes, asynchronous=False
    )
    if not 0 <= replica_nodes < regime.nodes:
        raise UserError(f"{replica_nodes} of {regime.nodes} nodes cannot be left out", param="replica_nodes")
    if regime.interval_s < regime.write_s:
        raise UserError(
            f"a checkpoint takes {duration(regime.write_s)} to write: saves every {duration(interval_s)} would wait "
            "for each other",
            hint=f"an interval of at least {math.ceil(regime.write_s)} s, or faster storage",
            param="interval",
        )
    if spares is None:
        spares = _spares_that_pay(regime, faults.spread)
    regime, blocking = replace(regime, spares=spares), replace(blocking, spares=spares)
    parts = fractions(regime)
    if parts["training"] < HOPELESS:
        raise UserError(
            f"this run would hardly ever advance: {share(parts['training'])} of its time would be training that is "
            f"kept, most goes to {LOSSES[_worst(parts)]}",
            hint="fewer GPUs, more spares, another interval or faster storage",
        )
    low, high = (fractions(regime.scaled(factor))["training"] for factor in (faults.spread, 1 / faults.spread))
    variations = _sensitivity(regime, best, blocking if asynchronous else None)
    days = ideal_days / parts["training"]
    return Reliability(
        gpus=cluster.gpus,
        nodes=regime.nodes,
        ideal_days=ideal_days,
        mtbf_s=1 / regime.rate if regime.rate else math.inf,
        checkpoint_bytes=size,
        checkpoint_write_s=size / _rate_to_storage(cluster, cluster.storage.write_gb_per_s),
        checkpoint_stall_s=regime.stall_s,
        interval_s=regime.interval_s,
        optimal_interval_s=best,
        restart_s=regime.restart_s,
        spares=spares,
        ettr=Band(parts["training"], low, high),
        days=Band(days, ideal_days / high, ideal_days / max(low, 1e-9)),
        losses={key: parts[key] for key in LOSSES},
        by_cause=_by_cause(regime, parts, days),
        sensitivity=variations,
        advice=_advice(regime, best, parts, variations, blocking.stall_s),
        cautions=_cautions(cluster, faults),
        regime=regime,
    )


def _regime(
    cluster: Cluster,
    faults: Faults,
    size: float,
    ideal_s: float,
    interval_s: float,
    replicas: int,
    replica_nodes: int,
    *,
    asynchronous: bool,
) -> tuple[Regime, float]:
    """The run without spares, and the best interval, which it has unless another is given."""
    write_s = size / _rate_to_storage(cluster, cluster.storage.write_gb_per_s)
    read_s = size * replicas / _rate_to_storage(cluster, cluster.storage.read_gb_per_s)
    copy_s = size * replicas / cluster.gpus / (1e9 * faults.copy_gb_per_s)
    stall_s, background_s = (copy_s, write_s) if asynchronous else (write_s, 0.0)
    stall_s += faults.save_s
    per_second = cluster.gpus / 3.6e9
    hazards = tuple(
        Hazard(name, cause.per_million_gpu_hours * per_second, cause.detection_s, cause.replaces, 3600 * cause.repair_h)
        for name, cause in faults.causes.items()
    )
    rate = sum(hazard.rate for hazard in hazards)
    best = optimal_interval(rate, stall_s, at_least=background_s, at_most=ideal_s)
    regime = Regime(
        hazards=hazards,
        nodes=-(-cluster.gpus // cluster.node.gpus),
        spares=0,
        replica_nodes=replica_nodes,
        interval_s=interval_s or best,
        stall_s=stall_s,
        write_s=background_s,
        restart_s=(faults.schedule_s + faults.init_s + cluster.gpus * faults.init_s_per_gpu + read_s + faults.warmup_s),
        diagnosis_s=faults.diagnosis_s,
        swap_s=faults.swap_s,
        manual_share=faults.manual_share,
        manual_s=faults.manual_s,
        planned_rate=faults.planned_per_day / 86_400,
        planned_s=faults.planned_s + stall_s + background_s,
    )
    return regime, best


def optimal_interval(rate: float, stall_s: float, *, at_least: float = 0.0, at_most: float = math.inf) -> float:
    """Seconds of training between two saves at which most training is kept: the root of `λτ = 1 - exp(-λ (τ + s))`.

    Args:
        rate: λ, per second.
        stall_s: for which a save stops training.
        at_least: the write in the background, which the next save would wait for.
        at_most: the run.
    """
    if rate * at_most <= 1e-12:
        return max(at_least, at_most)
    y = min(math.sqrt(2 * rate * stall_s), 1.0)
    for _ in range(50):  # Newton; the function is concave and the start lies to the right of its root
        rest = math.exp(-rate * stall_s - y)
        change = (1 - rest - y) / (rest - 1)
        y -= change
        if abs(change) < 1e-12:
            break
    return max(at_least, min(y / rate, at_most))


def fractions(regime: Regime) -> dict[str, float]:
    """Shares of the elapsed time: `training` that is kept, and the keys of `LOSSES`. They add up to 1."""
    rate, start = regime.rate, regime.restart_s
    period = regime.interval_s + regime.stall_s
    # Of one second of running: checkpoints that count. Both factors are 1 / period for a rate of 0.
    kept = math.exp(-rate * regime.write_s) * (rate / math.expm1(min(rate * period, 700.0)) if rate else 1 / period)
    restarts = math.exp(min(rate * start, 700.0))  # starts that it takes until one succeeds
    elapsed = restarts * (1 + rate * regime.mean_outage_s)
    detection = restarts * rate * regime.detection_s
    cycle = {
        "training": kept * regime.interval_s,
        "checkpoint_stall": kept * regime.stall_s,
        "lost_work": 1 - kept * period,
        "detection": detection,
        "diagnosis": restarts * rate * regime.mean_outage_s - detection,
        "restart": restarts - 1,
    }
    planned = min(regime.planned_rate * (regime.planned_s + start), 1.0)
    away = next(itertools.islice(_capacity_away(regime), regime.spares, None))
    waiting, short = (0.0, away) if regime.replica_nodes else (away, 0.0)
    running = (1 - waiting) * (1 - planned)
    parts = {key: running * value / elapsed for key, value in cycle.items()}
    parts["restart"] += (1 - waiting) * planned * start / (regime.planned_s + start)
    parts["planned"] = (1 - waiting) * planned * regime.planned_s / (regime.planned_s + start)
    parts["waiting"] = waiting
    parts["short_handed"] = parts["training"] * short
    parts["training"] *= 1 - short
    return parts


def _rate_to_storage(cluster: Cluster, together_gb_per_s: float) -> float:
    """Bytes per second between all hosts and storage: the slower of the two sides."""
    hosts = cluster.gpus * cluster.node.nic_gb_per_s or math.inf
    return 1e9 * min(together_gb_per_s, hosts)


def _capacity_away(regime: Regime) -> Iterator[float]:
    """Share of the cluster's work that nodes in repair cost with 0, 1, 2, ... spares.

    Where the job waits: Erlang's B of spares + 1 places, the time in which one of its own nodes is missing. Where it
    leaves nodes out: `E[max(n - spares, 0)]` of a Poisson number in repair, times what has to be left out with each.
    """
    load = regime.repair_load
    if not regime.replica_nodes:
        blocked = 1.0
        for places in itertools.count(1):
            blocked = load * blocked / (places + load * blocked)
            yield blocked
    missing, at_most = load, 0.0
    for spares in itertools.count():
        yield min(max(missing, 0.0) * regime.replica_nodes / regime.nodes, 1.0)
        at_most += math.exp(spares * math.log(load) - load - math.lgamma(spares + 1)) if load else float(spares == 0)
        missing -= 1 - at_most


def _spares_that_pay(regime: Regime, spread: float) -> int:
    """Spares with which most training is kept for each node paid, over sites that fail less, as expected and more."""
    sites = [regime.scaled(factor) for factor in (1 / spread, 1.0, spread)]
    away = [_capacity_away(site) for site in sites]
    first = [next(shares) for shares in away]
    whole = [fractions(site)["training"] / max(1 - share, 1e-12) for site, share in zip(sites, first, strict=True)]
    best, best_value = 0, -1.0
    for spares, shares in enumerate(itertools.chain([first], zip(*away, strict=True))):
        if spares > MOST_SPARES * regime.nodes:
            break
        kept = sum(work * (1 - share) for work, share in zip(whole, shares, strict=True))
        value = kept * regime.nodes / (regime.nodes + spares)
        if value > best_value:
            best, best_value = spares, value
    return best


def _by_cause(regime: Regime, parts: dict[str, float], days: float) -> dict[str, CauseLoss]:
    """Failures of each cause and the days they take."""
    if not regime.rate:
        return {}
    running = sum(parts[key] for key in ("training", "short_handed", "checkpoint_stall", "lost_work"))
    starts = math.exp(regime.rate * regime.restart_s)
    failures = 86_400 * days * regime.rate * running * starts
    each = days * (parts["lost_work"] + running * (starts - 1)) / failures
    return {
        hazard.name: CauseLoss(
            failures=failures * hazard.rate / regime.rate,
            days=failures * hazard.rate / regime.rate * (each + regime.outage_s(hazard) / 86_400),
        )
        for hazard in regime.hazards
    }


def _sensitivity(regime: Regime, best_s: float, synchronous: Regime | None) -> dict[str, float]:
    """Effective training time with one thing changed."""
    changed = {
        "best interval": replace(regime, interval_s=best_s),
        "interval halved": replace(regime, interval_s=max(regime.interval_s / 2, regime.write_s)),
        "interval doubled": replace(regime, interval_s=2 * regime.interval_s),
    }
    for percent in (0, 1, 2, 4):
        changed[f"spares {percent} %"] = replace(regime, spares=round(percent / 100 * regime.nodes))
    if synchronous:
        changed["synchronous writes"] = synchronous
    changed |= {
        "failures halved": regime.scaled(0.5),
        "failures doubled": regime.scaled(2.0),
        "recovery in half the time": replace(
            regime,
            restart_s=regime.restart_s / 2,
            diagnosis_s=regime.diagnosis_s / 2,
            swap_s=regime.swap_s / 2,
            manual_s=regime.manual_s / 2,
            hazards=tuple(replace(h, detection_s=h.detection_s / 2) for h in regime.hazards),
        ),
    }
    return {name: fractions(other)["training"] for name, other in changed.items()}


def _advice(
    regime: Regime, best_s: float, parts: dict[str, float], variations: dict[str, float], sync_stall_s: float
) -> list[str]:
    """What to do, with the number that says why."""
    ettr = parts["training"]
    if regime.interval_s == best_s:
        said = [
            f"checkpoint every {duration(best_s)}: {share(ettr)} of the time is training that is kept; half as long "
            f"gives {share(variations['interval halved'])}, twice as long {share(variations['interval doubled'])}"
        ]
    else:
        said = [
            f"checkpoint every {duration(best_s)}: {share(variations['best interval'])} of the time would be training "
            f"that is kept, every {duration(regime.interval_s)} it is {share(ettr)}"
        ]
    if not regime.replica_nodes and regime.repair_load:
        at = [f"{share(variations[f'spares {percent} %'])} with {percent} %" for percent in (0, 1, 2, 4)]
        said.append(
            f"keep {regime.spares} spare nodes ({share(regime.spares / regime.nodes)} of {regime.nodes}), "
            f"{regime.repair_load:.2g} are in repair on average; effective time {', '.join(at)}"
        )
    if "synchronous writes" in variations:
        saved = 100 * (ettr - variations["synchronous writes"])
        said.append(
            f"write in the background: it saves {saved:.1f} points, a write that training waits for stalls it "
            f"{duration(sync_stall_s)} instead of {duration(regime.stall_s)}"
        )
    worst = _worst(parts)
    gain = 100 * (variations["recovery in half the time"] - ettr)
    said.append(
        f"most is lost to {LOSSES[worst]} ({share(parts[worst])}); noticing, diagnosing and starting in half the time "
        f"gains {gain:.1f} points"
    )
    return said


def _worst(parts: dict[str, float]) -> str:
    return max(LOSSES, key=lambda key: parts[key])


def _cautions(cluster: Cluster, faults: Faults) -> list[str]:
    said = [faults.caution] if faults.caution else []
    if cluster.node.domain > cluster.node.gpus:
        said.append(
            f"a node is replaced by any spare here; a group that fills a scale-up domain of {cluster.node.domain} GPUs "
            "needs one inside of it"
        )
    return said
