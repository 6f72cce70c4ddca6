"""A whole run with its failures, event by event, many times: the distribution of days, and where every second goes.

All runs advance together, one failure, planned stop or end at a time, as columns of numpy. The n-th draws of a run are
the same whatever the rates are, so that two plans simulated with one seed meet the same luck.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from colosse.core.errors import UserError
from colosse.plan.reliability import LOSSES, Reliability

Column = NDArray[np.float64]

MOST_RUNS = 100_000
MOST_STOPS = 1e8
"""Failures and planned stops of all runs together."""
LEAST_COLUMNS = 1000
"""Fewer runs than that do not go faster."""
SHORT_HANDED_PLACES = 64
"""Nodes in repair beyond the spares that are remembered where the job goes on without them."""


@dataclass(frozen=True)
class Span:
    """A stretch of one run."""

    kind: str
    """`training` (with its stalls), or a key of `LOSSES`."""
    start: float
    """Seconds from the run's begin."""
    end: float
    cause: str = ""
    """Of the failure that began it."""


@dataclass(frozen=True)
class Simulated:
    """Many runs of one plan."""

    seed: int
    ideal_days: float
    days: list[float]
    """Of each run."""
    seconds: dict[str, float]
    """Mean by `training` and the keys of `LOSSES`; they add up to the mean of `days`."""
    failures: dict[str, float]
    """Mean by cause."""
    timeline: list[Span] = field(repr=False)
    """Of the first run; it has no gaps."""

    @property
    def goodput(self) -> list[float]:
        """Effective training time of each run."""
        return [self.ideal_days / days for days in self.days]

    @property
    def mean_ettr(self) -> float:
        """Training that is kept / elapsed, over all runs together."""
        return self.seconds["training"] / sum(self.seconds.values())

    def days_at(self, percent: float) -> float:
        """Days within which `percent` of the runs are done."""
        return float(np.percentile(self.days, percent))

    def goodput_at(self, percent: float) -> float:
        """Effective training time below which `percent` of the runs stay."""
        return float(np.percentile(self.goodput, percent))


def simulate(plan: Reliability, *, runs: int = 200, seed: int = 1) -> Simulated:
    """Play `plan` `runs` times.

    Raises:
        UserError: a number of runs or a seed that is none, or more than can be played.
    """
    if not 1 <= runs <= MOST_RUNS:
        raise UserError(f"{runs} runs cannot be simulated", hint=f"1 to {MOST_RUNS}", param="runs")
    if seed < 0:
        raise UserError(f"{seed} is no seed", hint="0 or more", param="seed")
    stops = plan.failures + plan.days.value * 86_400 * plan.regime.planned_rate
    if stops * max(runs, LEAST_COLUMNS) > MOST_STOPS:
        raise UserError(
            f"about {stops:,.0f} stops in each of {runs} runs are too many to play",
            hint="fewer days, GPUs or --runs",
            param="days",
        )
    state = _Runs(plan, runs, seed)
    while not state.finished.all():
        state.advance()
    return Simulated(
        seed=seed,
        ideal_days=plan.ideal_days,
        days=[float(value) / 86_400 for value in state.clock],
        seconds={kind: float(column.mean()) for kind, column in state.seconds.items()},
        failures={hazard.name: float(n) for hazard, n in zip(plan.regime.hazards, state.failures / runs, strict=True)},
        timeline=state.timeline,
    )


class _Runs:
    """Columns with one row a run."""

    def __init__(self, plan: Reliability, runs: int, seed: int) -> None:
        regime = self.regime = plan.regime
        self.work = np.full(runs, 86_400.0 * plan.ideal_days)
        """Seconds of training still to do after the newest complete checkpoint."""
        self.clock = np.zeros(runs)
        self.finished = np.zeros(runs, dtype=bool)
        self.seconds = {kind: np.zeros(runs) for kind in ("training", *LOSSES)}
        self.failures = np.zeros(len(regime.hazards))
        self.timeline: list[Span] = []
        self.planned_every = 1 / regime.planned_rate if regime.planned_rate else np.inf
        self.next_planned = np.full(runs, self.planned_every)
        places = regime.spares + (SHORT_HANDED_PLACES if regime.replica_nodes else 1)
        self.back = np.zeros((runs, places))
        """When the nodes that left last are back."""
        self.random = np.random.default_rng(seed)
        rates = np.array([hazard.rate for hazard in regime.hazards])
        self.cumulative = np.cumsum(rates) / regime.rate if regime.rate else np.ones(len(rates))
        self.detection_s = np.array([hazard.detection_s for hazard in regime.hazards])
        self.replaces = np.array([hazard.replaces for hazard in regime.hazards])
        self.repair_s = np.array([hazard.repair_s for hazard in regime.hazards])

    def advance(self) -> None:
        """To the next failure, planned stop or end of every run that goes on: a start, then training."""
        regime, runs = self.regime, len(self.clock)
        luck = self.random.random((4, runs))
        on = ~self.finished
        with np.errstate(over="ignore"):  # of a rate next to 0
            left = -np.log1p(-luck[0]) / regime.rate if regime.rate else np.full(runs, np.inf)
        """Until the next failure."""
        broken = on & (left < regime.restart_s)
        self._spend("restart", np.minimum(left, regime.restart_s), on)
        self._fail(broken, luck)

        on &= ~broken
        left = np.where(on, left - regime.restart_s, 0)
        share = 1 - self._left_out() if regime.replica_nodes else np.ones(runs)
        period = regime.interval_s + regime.stall_s
        todo = self.work / share
        # The last stretch ends with the run, not with a checkpoint.
        whole = todo + regime.stall_s * np.maximum(np.ceil(todo / regime.interval_s) - 1, 0)
        planned = np.maximum(self.next_planned - self.clock, 0)
        ends = on & (whole <= np.minimum(left, planned))
        stops = on & ~ends & (planned <= left)
        broken = on & ~ends & ~stops

        ran = np.where(ends, whole, np.where(stops, planned, left))
        unwritten = np.where(broken, regime.write_s, 0)
        periods = np.floor((ran - unwritten) / period).clip(0)
        rest = ran - periods * period
        trained = periods * regime.interval_s + np.where(stops, np.minimum(rest, regime.interval_s), 0)
        trained = np.where(ends, todo, trained)
        lost = np.where(broken, rest, 0)
        kept = np.where(on, trained * share, 0)
        parts = {"training": kept, "short_handed": trained - kept, "checkpoint_stall": ran - lost - trained}
        self._spend("training", ran - lost, on, parts)
        self._spend("lost_work", lost, broken)
        self.work -= kept
        self.finished |= ends
        self._spend("planned", np.full(runs, regime.planned_s), stops)
        self.next_planned[stops] = self.clock[stops] + self.planned_every
        self._fail(broken, luck)

    def _fail(self, rows: NDArray[np.bool_], luck: Column) -> None:
        """Notice, diagnose, replace the node; in `rows` only."""
        if not rows.any():
            return
        regime = self.regime
        cause = np.minimum(np.searchsorted(self.cumulative, luck[1], side="right"), len(self.cumulative) - 1)
        self.failures += np.bincount(cause[rows], minlength=len(self.failures))
        share = self.replaces[cause]
        replaced = rows & (luck[2] < share)
        name = regime.hazards[cause[0]].name
        self._spend("detection", self.detection_s[cause], rows, cause=name)
        diagnosis = regime.diagnosis_s + regime.swap_s * replaced + regime.manual_s * (luck[3] < regime.manual_share)
        self._spend("diagnosis", diagnosis, rows, cause=name)
        # Given that the node is replaced, its draw is uniform below its share: repairs last an exponential time.
        repair = -np.log1p(-luck[2] / np.where(replaced, share, 1)) * self.repair_s[cause]
        row = np.flatnonzero(replaced)
        self.back[row, self.back[row].argmin(axis=1)] = (self.clock + repair)[row]
        if not regime.replica_nodes:
            self._spend("waiting", np.maximum(self.back.min(axis=1) - self.clock, 0), replaced, cause=name)

    def _left_out(self) -> Column:
        """Share of the cluster that stands idle because nodes are missing."""
        away = np.maximum((self.back > self.clock[:, None]).sum(axis=1) - self.regime.spares, 0)
        share: Column = np.minimum(away * self.regime.replica_nodes, self.regime.nodes - 1) / self.regime.nodes
        return share

    def _spend(
        self,
        kind: str,
        seconds: Column,
        rows: NDArray[np.bool_],
        parts: dict[str, Column] | None = None,
        cause: str = "",
    ) -> None:
        """Let time pass in `rows`, on the account of `kind` or of its `parts`."""
        for account, value in (parts or {kind: seconds}).items():
            self.seconds[account] += np.where(rows, value, 0)
        began = float(self.clock[0])
        self.clock += np.where(rows, seconds, 0)
        if rows[0] and self.clock[0] > began:
            self.timeline.append(Span(kind, began, float(self.clock[0]), cause))
