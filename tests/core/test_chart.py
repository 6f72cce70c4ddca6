import json
import re

import pytest

from colosse.core.chart import Chart, Series, render, round_values, write


def numbers(page: str) -> list[dict[str, object]]:
    return [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)]


def test_a_long_series_is_thinned_and_keeps_its_spikes() -> None:
    ys = [1.0] * 100_000
    ys[777] = 50.0
    drawn = render(Chart("t", "u", [Series("s", range(1, 100_001), ys)]))
    assert len(drawn) < 60_000
    assert 'class="band c0"' in drawn
    assert max(map(len, [series["ys"] for series in numbers(drawn)[0]["series"]])) <= 480  # type: ignore[attr-defined]


@pytest.mark.parametrize("ys", [[0.0], [0.0, 0.0], [5.0, 5.0], [-1.0, 1e9], [1e-9, 2e-9]])
@pytest.mark.parametrize("log", [False, True])
def test_any_values_can_be_drawn(ys: list[float], log: bool) -> None:
    drawn = render(Chart("t", "u", [Series("s", range(len(ys)), ys, smooth=True, dots=log)], log=log, zero=not log))
    assert "nan" not in drawn
    assert "inf" not in drawn
    assert all(0 <= float(place) <= 1000 for place in re.findall(r"[ML](-?[\d.]+) ", drawn))


def test_nothing_is_drawn_of_nothing() -> None:
    assert render(Chart("t", "u", [Series("s", [], [])])) == ""


def test_round_values_and_how_they_are_written() -> None:
    assert round_values(0, 10) == [0, 2, 4, 6, 8, 10]
    assert round_values(1.8, 9, log=True) == [2, 3, 5, 7]
    assert round_values(0.5, 2000, log=True) == [1, 10, 100, 1000]
    assert [write(value, "number") for value in (0, 0.00025, 12.5, 12345)] == ["0", "2.5e-4", "12.5", "12\u202f345"]
    assert (write(0.5, "percent"), write(0.0025, "seconds"), write(2e9, "bytes"), write(4.2e6, "dollars")) == (
        "50\u202f%",
        "2.5\u202fms",
        "2\u202fGB",
        "$4.2\u202fM",
    )


def test_a_logarithmic_axis_of_steps_names_the_values_that_there_are() -> None:
    drawn = render(Chart("t", "u", [Series("s", [8, 64, 512], [1.0, 2.0, 3.0])], x="GPUs", log_x=True))
    assert re.findall(r'left:([\d.]+)%">(\d+)<', drawn) == [("0.00", "8"), ("50.00", "64"), ("100.00", "512")]
    assert numbers(drawn)[0]["step"] == "GPUs"
