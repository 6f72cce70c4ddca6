"""The accuracy that the documentation claims, on the table that comes along."""

from __future__ import annotations

from pathlib import Path

import pytest

from colosse.plan import published
from colosse.plan.validate import Validation, validate
from colosse.plan.validate_page import write_page


@pytest.fixture(scope="module")
def found() -> Validation:
    return validate(*published.read())


def test_step_times_are_as_close_as_claimed(found: Validation) -> None:
    assert found.overall.rows > 850
    assert found.overall.median < 0.075
    assert found.overall.p90 < 0.20
    assert abs(found.overall.bias) < 0.03
    assert 0.85 < found.overall.inside < 0.97


def test_memory_is_as_close_as_claimed(found: Validation) -> None:
    assert found.memory.rows >= 80
    assert found.memory.median < 0.04
    assert found.memory.fitting_found >= found.memory.fitting - 2


def test_the_layout_chosen_is_close_to_the_best(found: Validation) -> None:
    assert found.ranking.groups >= 8
    assert found.ranking.loss < 0.04


def test_summaries_count_every_row_once(found: Validation) -> None:
    for name, groups in found.by.items():
        assert sum(group.rows for group in groups) == found.overall.rows, name


def test_every_row_has_a_band_around_its_prediction(found: Validation) -> None:
    assert all(row.band_s[0] < row.predicted_s < row.band_s[1] for row in found.rows)


def test_nothing_to_compare_is_no_error() -> None:
    assert validate([], []).overall.rows == 0


def test_the_page_shows_it(found: Validation, tmp_path: Path) -> None:
    text = write_page(found, tmp_path / "v.html", "Published results").read_text()
    assert text.count("<circle") == found.overall.rows
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
