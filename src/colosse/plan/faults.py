"""How often clusters fail, by cause, and how long they take to be back: published rates, in `faults.toml`."""

from __future__ import annotations

import math
import statistics
import tomllib
from functools import cache
from importlib import resources
from typing import Annotated, Any

from pydantic import Field

from colosse.core.config import Config
from colosse.core.errors import UserError
from colosse.plan.hardware import Gpu

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

PREEMPTION = "preemption"
NINE_OF_TEN = 1.645
"""Standard deviations on either side of the mean between which nine tenths of a normal distribution lie."""


class Cause(Config):
    """One kind of failure. Each stops the whole job."""

    per_million_gpu_hours: NotNegative
    detection_s: NotNegative
    """Until it is noticed; what is computed meanwhile is worth nothing."""
    replaces: Share = 0.0
    """Share of the failures after which the node leaves for repair."""
    repair_h: NotNegative = 0.0
    """Hours until such a node is back, on average."""


class Site(Config):
    """What some cluster was seen to do."""

    name: str
    gpu: str
    gpus: Annotated[int, Field(ge=1)]
    per_million_gpu_hours: Positive
    source: str


class Faults(Config):
    """What goes wrong and how long it lasts. Every number can be set; `faults_for` has what is published."""

    causes: dict[str, Cause]
    spread: Annotated[float, Field(ge=1)]
    """Factor by which the rates of nine sites of ten differ at most from these, up or down."""
    diagnosis_s: NotNegative
    """From noticing a failure to knowing which node has it."""
    swap_s: NotNegative
    """For a standby node to take the place of one that is to be repaired."""
    manual_share: Share
    """Of failures that wait for a person."""
    manual_s: NotNegative
    schedule_s: NotNegative
    """Until processes run on every node."""
    init_s: NotNegative
    """Process groups, at any size."""
    init_s_per_gpu: NotNegative
    """And with size."""
    warmup_s: NotNegative
    """From the loaded checkpoint to the speed of before: kernels compiled or fetched, first steps."""
    save_s: Positive
    """For which every save stops training, whatever its size: ranks wait for each other and plan."""
    copy_gb_per_s: Positive
    """Of a GPU's memory to its host."""
    planned_per_day: NotNegative
    """Stops on purpose, after a last checkpoint."""
    planned_s: NotNegative
    """How long one lasts."""
    caution: str = ""
    """Why these numbers may not be this cluster's."""

    @property
    def per_million_gpu_hours(self) -> float:
        """All causes together."""
        return sum(cause.per_million_gpu_hours for cause in self.causes.values())

    def scaled(self, factor: float) -> Faults:
        """The same with every rate of failure times `factor`; planned stops and preemptions stay."""
        causes = {
            name: cause
            if name == PREEMPTION
            else cause.model_copy(update={"per_million_gpu_hours": factor * cause.per_million_gpu_hours})
            for name, cause in self.causes.items()
        }
        return self.model_copy(update={"causes": causes})

    def with_preemptions(self, per_node_day: float, gpus_per_node: int, *, wait_h: float = 1.0) -> Faults:
        """The same on spot machines.

        Args:
            per_node_day: how often the provider takes a node back; no provider publishes it.
            gpus_per_node: GPUs that leave with it.
            wait_h: hours until there is another one at that price.

        Raises:
            UserError: not a number of preemptions.
        """
        if not 0 <= per_node_day < math.inf:
            raise UserError(f"{per_node_day:g} preemptions of a node a day cannot be", param="preemptions")
        rate = per_node_day / (24 * gpus_per_node) * 1e6
        cause = Cause(per_million_gpu_hours=rate, detection_s=0, replaces=1, repair_h=wait_h)
        return self.model_copy(update={"causes": self.causes | {PREEMPTION: cause}})


def sites() -> list[Site]:
    """The clusters whose rates are published."""
    return [Site.model_validate(row) for row in _table()["sites"]]


def spread() -> float:
    """Factor around the geometric mean of the sites' rates within which nine tenths of such sites lie."""
    return math.exp(NINE_OF_TEN * statistics.stdev(math.log(site.per_million_gpu_hours) for site in sites()))


def faults_for(gpu: Gpu) -> Faults:
    """What is published about clusters of GPUs of this generation; where nothing is, it says so in `caution`."""
    table = _table()
    family = next(family for family in table["families"].values() if gpu.year <= family["until"])
    total = sum(cause["count"] for cause in table["causes"].values())
    causes = {
        name: Cause(
            per_million_gpu_hours=family["per_million_gpu_hours"] * cause["count"] / total,
            **{key: value for key, value in cause.items() if key != "count"},
        )
        for name, cause in table["causes"].items()
    }
    known = any(name.lower() in gpu.name.lower() for name in family["measured"])
    caution = f"no failure rates of {gpu.name} are published: these are the {family['measured'][0]}'s"
    return Faults(causes=causes, spread=spread(), caution="" if known else caution, **table["recovery"])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("faults.toml").read_text(encoding="utf-8"))
