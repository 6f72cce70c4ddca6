"""The fit finds what made the data; the numbers shipped are those that the shipped table gives."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from colosse.plan import published
from colosse.plan.calibrate import Rows, calibrate, fit, leave_one_out, write
from colosse.plan.calibration import Calibration, calibration
from colosse.plan.cost import step_times
from colosse.plan.parameters import Parameters
from colosse.plan.points import Points


@pytest.fixture(scope="module")
def rows() -> list[published.Measured]:
    used, _ = published.read()
    return [row for row in used if row.step_s]


def test_the_fit_finds_the_parameters_that_made_the_data(rows: list[published.Measured]) -> None:
    truth = replace(Parameters(), product_rate=0.8, memory_rate=0.9, attention_1=0.6, launch_s=12e-6)
    some = rows[::3]
    seconds = step_times(Points.of([row.job for row in some]), truth).total
    made = Rows.of([replace(row, step_s=float(s)) for row, s in zip(some, seconds, strict=True)])
    found = fit(made)
    assert np.quantile(np.abs(made.errors(found)), 0.95) < 0.03
    assert np.quantile(np.abs(made.errors(Parameters())), 0.95) > 0.1
    # the prior pulls a little, and one parameter can stand in for another
    assert found.product_rate == pytest.approx(0.8, rel=0.05)
    assert found.attention_1 == pytest.approx(0.6, rel=0.1)
    assert found.launch_s == pytest.approx(12e-6, rel=0.2)


def test_what_is_shipped_is_what_the_table_gives(rows: list[published.Measured]) -> None:
    fitted, shipped = asdict(fit(Rows.of(rows))), calibration().values
    assert fitted.keys() == shipped.keys()
    for name, value in fitted.items():
        assert value == pytest.approx(shipped[name], rel=0.02), name


def test_left_out_rows_do_not_teach(rows: list[published.Measured]) -> None:
    """A source whose times are doubled is off by a factor of two when it is left out, and not otherwise hidden."""
    some = [row for row in rows if row.group in ("NVIDIA/NeMo", "NVIDIA/Megatron-LM", "arXiv:2104.04473")]
    doubled = [replace(row, step_s=2 * row.step_s) if row.group == "arXiv:2104.04473" else row for row in some]
    errors = leave_one_out(Rows.of(doubled))
    groups = np.array([row.group for row in doubled])
    assert np.median(errors[groups == "arXiv:2104.04473"]) < -0.5


def test_a_calibration_is_written_and_read(rows: list[published.Measured], tmp_path: Path) -> None:
    import tomllib

    some = [row for row in published.read()[0] if row.group in ("bigscience-workshop/bigscience", "NVIDIA/NeMo")]
    found = calibrate(some)
    write(found, tmp_path / "c.toml")
    again = Calibration.model_validate(tomllib.loads((tmp_path / "c.toml").read_text()))
    assert again.values == pytest.approx(found.values, rel=1e-3)
    assert again.tested == found.tested
    assert again.dense[0] < 1 < again.dense[1]
