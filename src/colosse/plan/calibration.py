"""The calibrated parameters, how far the model was off where it was tested, and what it was tested on."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Annotated, Any

from pydantic import Field

from colosse.core.config import Config
from colosse.plan.job import Job
from colosse.plan.parameters import Parameters

FILE = "calibration.toml"

Range = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class Tested(Config):
    """What the published results cover."""

    gpus: dict[str, int]
    """GPU models, and how many rows each has."""
    most_gpus: int
    seq_len: tuple[int, int]
    precisions: list[str]
    schedules: list[str]


class Calibration(Config):
    """What `calibration.toml` holds; `colosse plan validate --fit` writes it."""

    values: dict[str, float]
    """Of `Parameters`."""
    dense: Range
    """Measured over predicted, 5th and 95th percentile of rows whose source was left out; models without experts."""
    experts: Range
    """The same with experts."""
    memory: Range
    """The same of memory."""
    tested: Tested

    @property
    def parameters(self) -> Parameters:
        """As the cost model takes them."""
        return Parameters(**self.values)

    def band(self, job: Job) -> Range:
        """Factors on a predicted step time between which nine of ten lie; wider where nothing was tested."""
        low, high = self.experts if job.model.moe else self.dense
        beyond = 1.5 if self.cautions(job) else 1.0
        return 1 - (1 - low) * beyond, 1 + (high - 1) * beyond

    def cautions(self, job: Job) -> list[str]:
        """Where a job lies outside of what was tested, a sentence each."""
        tested, gpu, layout = self.tested, job.cluster.gpu, job.layout
        precision = job.software.precision or layout.precision
        said = []
        if gpu.name not in tested.gpus:
            said.append(f"no published result of {gpu.name} was at hand: its speed follows from data sheets alone")
        if layout.world_size > tested.most_gpus:
            said.append(f"{layout.world_size:,} GPUs: the largest published step time was of {tested.most_gpus:,}")
        if not tested.seq_len[0] <= job.seq_len <= tested.seq_len[1]:
            low, high = tested.seq_len
            said.append(f"sequences of {job.seq_len:,} tokens: published results have {low:,} to {high:,}")
        if precision not in tested.precisions:
            said.append(f"{precision} was not among the published results")
        if layout.pp > 1 and layout.schedule not in tested.schedules:
            said.append(f"schedule {layout.schedule} was not among the published results: it is simulated only")
        return said


@cache
def calibration() -> Calibration:
    """The one that comes with Colosse."""
    table: dict[str, Any] = tomllib.loads(resources.files(__package__).joinpath(FILE).read_text("utf-8"))
    return Calibration.model_validate(table)
