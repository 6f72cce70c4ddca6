"""Finds `Parameters` from published step times, and says how well they do on sources that were left out.

Robust least squares of the logarithm of predicted over measured time, each source counted by the square root of its rows,
with a prior on every parameter: what the data cannot tell stays where physics put it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from colosse.plan.cost import step_times
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
    everything = fit(rows, start)
    for group in np.unique(rows.groups):
        out = rows.groups == group
        errors[out] = rows.take(out).errors(fit(rows.take(~out), start))
    del everything
    return errors


def as_table(par: Parameters) -> dict[str, float]:
    """By name."""
    return asdict(par)
