"""Finds `Parameters` from published step times, and says how well they do on sources that were left out.

Robust least squares of the logarithm of predicted over measured time, each source counted by the root of its rows,
with a prior on every parameter: what the data cannot tell stays where physics put it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import tomli_w
from numpy.typing import NDArray

from colosse.core.errors import UserError
from colosse.core.files import write_atomic
from colosse.plan.calibration import Calibration, Tested
from colosse.plan.cost import step_times
from colosse.plan.memory import outside, peak_memory
from colosse.plan.parameters import Parameters
from colosse.plan.points import Column, Points
from colosse.plan.published import Measured

PRIOR = 0.3
"""Standard deviation of the logarithm of a parameter around its default."""

KNOWN = {"memory_rate": 0.08, "link_rate": 0.08, "nic_rate": 0.1, "product_rate": 0.08, "low_product_rate": 0.08}
"""Tighter ones, of what benchmarks of single operations measure."""

ROBUST = 0.10
"""Error beyond which a row counts linearly: the spread of one job between releases of one program is 6 %."""


@dataclass(frozen=True)
class Rows:
    """Measured rows as columns."""

    points: Points
    measured: Column
    groups: NDArray[np.str_]

    @classmethod
    def of(cls, measured: Sequence[Measured]) -> Rows:
        """Those with a step time."""
        timed = [row for row in measured if row.step_s]
        return cls(
            Points.of([row.job for row in timed]),
            np.array([row.step_s for row in timed]),
            np.array([row.group for row in timed]),
        )

    def take(self, mask: NDArray[np.bool_]) -> Rows:
        """Some of them."""
        return Rows(self.points.take(mask), self.measured[mask], self.groups[mask])

    def errors(self, par: Parameters) -> Column:
        """Logarithm of predicted over measured."""
        return np.log(step_times(self.points, par).total / self.measured)


def fit(rows: Rows, start: Parameters | None = None, *, steps: int = 25) -> Parameters:
    """The parameters of least error: Levenberg-Marquardt on their logarithms, derivatives by differences."""
    start = start or Parameters()
    names = [field.name for field in fields(Parameters)]
    prior = np.log([getattr(start, name) for name in names])
    spread = np.array([KNOWN.get(name, PRIOR) for name in names])
    _, inverse, counts = np.unique(rows.groups, return_inverse=True, return_counts=True)
    balance = 1 / counts[inverse] ** 0.25

    def residuals(x: Column) -> Column:
        errors = rows.errors(_parameters(names, x))
        robust = ROBUST * np.sign(errors) * np.sqrt(2 * (np.sqrt(1 + (errors / ROBUST) ** 2) - 1))  # pseudo-Huber
        return np.concatenate([balance * robust / ROBUST, (x - prior) / spread])

    x, damping = prior.copy(), 1e-2
    current = residuals(x)
    for _ in range(steps):
        step = 1e-4
        jacobian = np.stack([(residuals(x + step * unit) - current) / step for unit in np.eye(len(x))], axis=1)
        normal = jacobian.T @ jacobian
        while damping < 1e8:
            change = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), -jacobian.T @ current)
            tried = residuals(x + change)
            if tried @ tried < current @ current:
                gain = 1 - (tried @ tried) / (current @ current)
                x, current, damping = x + change, tried, max(damping / 5, 1e-6)
                break
            damping *= 4
        else:
            break
        if gain < 1e-5:
            break
    return _parameters(names, x)


def _parameters(names: Sequence[str], x: Column) -> Parameters:
    return Parameters(**{name: float(value) for name, value in zip(names, np.exp(x), strict=True)})


def leave_one_out(rows: Rows, start: Parameters | None = None) -> Column:
    """Each row's error with parameters from all other sources."""
    errors = np.zeros(len(rows.measured))
    for group in np.unique(rows.groups):
        out = rows.groups == group
        errors[out] = rows.take(out).errors(fit(rows.take(~out), start))
    return errors


def calibrate(measured: Sequence[Measured]) -> Calibration:
    """Fit to these rows, with bands from the errors of rows whose source was left out.

    Raises:
        UserError: no row has a step time.
    """
    timed = [row for row in measured if row.step_s]
    if not timed:
        raise UserError("the table has no row with a step time to fit to", hint="--json says why rows are left out")
    rows = Rows.of(timed)
    off = np.exp(-leave_one_out(rows))  # measured over predicted
    experts = np.array([row.job.model.moe is not None for row in timed])
    jobs = [row.job for row in timed]
    return Calibration(
        values=asdict(fit(rows)),
        dense=_band(off[~experts]),
        experts=_band(off[experts]),
        memory=_memory_band(measured),
        tested=Tested(
            gpus=dict(sorted(Counter(job.cluster.gpu.name for job in jobs).items())),
            most_gpus=max(job.layout.world_size for job in jobs),
            seq_len=(min(job.seq_len for job in jobs), max(job.seq_len for job in jobs)),
            precisions=sorted({job.software.precision or job.layout.precision for job in jobs}),
            schedules=sorted({job.layout.schedule for job in jobs if job.layout.pp > 1}),
        ),
    )


def _band(off: Column) -> tuple[float, float]:
    if not off.size:  # nothing to say: as wide as twofold
        return 0.5, 2.0
    low, high = np.quantile(off, (0.05, 0.95))
    return float(low), float(high)


def _memory_band(measured: Sequence[Measured]) -> tuple[float, float]:
    known = [row for row in measured if row.memory_gb and not row.out_of_memory]
    points = Points.of([row.job for row in known])
    predicted = peak_memory(points) - outside(points) * np.array([row.allocator for row in known])
    return _band(np.array([row.memory_gb * 1e9 for row in known]) / predicted)


def write(found: Calibration, path: Path) -> None:
    """As `calibration.toml`."""
    rounded = {name: float(f"{value:.4g}") for name, value in found.values.items()}
    ranges = {name: [round(end, 3) for end in getattr(found, name)] for name in ("dense", "experts", "memory")}
    text = tomli_w.dumps({"values": rounded} | found.model_dump(mode="json", include={"tested"}))
    head = "# Written by `colosse plan validate --fit`: docs/plan/cost.md.\n"
    lines = "".join(f"{name} = {value}\n" for name, value in ranges.items())
    write_atomic(path, f"{head}\n{lines}\n{text}".encode())
