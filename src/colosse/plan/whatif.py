"""What if: the same training on more or fewer GPUs, and with hardware, failures and prices other than assumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from colosse.plan.cost import estimate
from colosse.plan.costs import Amount
from colosse.plan.estimate import Estimate
from colosse.plan.job import Job
from colosse.plan.reliability import Reliability, fractions
from colosse.plan.search import quickest

FACTORS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
"""Sizes of the scaling curve, times the cluster's."""

KNEE = 0.8
"""Up to the knee each GPU does at least this share of what it does at best."""


@dataclass(frozen=True)
class Effect:
    """What something costs when it is not as assumed."""

    name: str
    cases: tuple[tuple[str, float], ...]
    """What it is then, and by which share the training's cost changes."""


def scaling(job: Job, known: Estimate | None = None) -> list[Estimate]:
    """The best layout of the same batch on smaller and larger clusters, where one fits, smallest first.

    Args:
        job: as for `search`.
        known: the estimate at the job's own size, so that it need not be found again.
    """
    found = []
    for factor in FACTORS:
        gpus = round(job.cluster.gpus * factor)
        if factor == 1 and known is not None:
            found.append(known)
        elif _is_whole(job, gpus):
            best = quickest(job.model_copy(update={"cluster": job.cluster.model_copy(update={"gpus": gpus})}))
            if best is not None:
                found.append(best)
    return found


def knee(curve: Sequence[Estimate]) -> Estimate:
    """The largest cluster of a scaling curve on which GPUs still do `KNEE` of what they do at best."""
    best = max(one.tokens_per_s_per_gpu.value for one in curve)
    good = [one for one in curve if one.tokens_per_s_per_gpu.value >= KNEE * best]
    return max(good, key=lambda one: one.job.cluster.gpus)


def sensitivity(one: Estimate, price: Amount | None = None, failures: Reliability | None = None) -> list[Effect]:
    """How the cost of a training with this layout changes when something is not as assumed.

    The layout stays; a new search would win a part of a loss back.

    Args:
        one: the step.
        price: dollars per GPU and hour.
        failures: what they make of the training.
    """
    effects = [Effect(name, tuple((word, _change(one, edit)) for word, edit in cases)) for name, cases in EDITS]
    if failures is not None:
        at = failures.ettr.value
        cases = [(word, at / fractions(failures.regime.scaled(by))["training"] - 1) for word, by in FAILURES]
        effects.append(Effect("failures", tuple(cases)))
    if price is not None and price.central:
        ends = [(f"${edge:.2f} per GPU-hour", edge / price.central - 1) for edge in (price.high, price.low)]
        effects.append(Effect("price", tuple(ends)))
    return [effect for effect in effects if any(abs(change) > 5e-4 for _, change in effect.cases)]


FAILURES = (("twice as many", 2.0), ("half as many", 0.5))

Edit = Callable[[Job], Job]


def _scaled(part: str, field: str, factor: float) -> Edit:
    def edit(job: Job) -> Job:
        old = getattr(job.cluster, part)
        new = old.model_copy(update={field: _times(getattr(old, field), factor)})
        return job.model_copy(update={"cluster": job.cluster.model_copy(update={part: new})})

    return edit


def _times(value: Any, factor: float) -> Any:
    return {key: item * factor for key, item in value.items()} if isinstance(value, dict) else value * factor


def _rates(factor: float) -> Edit:
    peak, best = _scaled("gpu", "tflops", factor), _scaled("gpu", "achievable_tflops", factor)
    return lambda job: best(peak(job))


EDITS: tuple[tuple[str, tuple[tuple[str, Edit], ...]], ...] = (
    (
        "network between nodes",
        (("halves", _scaled("node", "nic_gb_per_s", 0.5)), ("doubles", _scaled("node", "nic_gb_per_s", 2))),
    ),
    (
        "links inside a node",
        (("halve", _scaled("gpu", "link_gb_per_s", 0.5)), ("double", _scaled("gpu", "link_gb_per_s", 2))),
    ),
    (
        "network latency",
        (("doubles", _scaled("fabric", "latency_us", 2)), ("halves", _scaled("fabric", "latency_us", 0.5))),
    ),
    (
        "memory bandwidth",
        (
            ("a fifth less", _scaled("gpu", "memory_gb_per_s", 0.8)),
            ("a fifth more", _scaled("gpu", "memory_gb_per_s", 1.2)),
        ),
    ),
    ("matrix products", (("a tenth slower", _rates(0.9)), ("a tenth faster", _rates(1.1)))),
)


def _change(one: Estimate, edit: Edit) -> float:
    return estimate(edit(one.job)).step_s.value / one.step_s.value - 1


def _is_whole(job: Job, gpus: int) -> bool:
    node = job.cluster.node.gpus
    return gpus >= 1 and (gpus % node == 0 or (gpus < node and node % gpus == 0))
