import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from colosse.core.errors import NotFoundError
from colosse.train.chart import Chart, Series, render, round_values, write
from colosse.train.report import write_comparison, write_report
from tests.train.folders import make_run

VOID = {"meta", "link", "br", "path"}


class Outline(HTMLParser):
    """Checks that what is opened is closed, and collects headings, text and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def numbers(page: str) -> list[dict[str, object]]:
    return [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)]


def test_a_report_stands_alone_and_shows_the_run(tmp_path: Path) -> None:
    path = write_report(make_run(tmp_path, "laptop-1"))
    page = path.read_text(encoding="utf-8")
    outline = Outline(page)
    assert path.name == "report.html"
    assert outline.addresses == ["data:,"]
    assert "://" not in page
    for words in ("laptop-1", "finished", "Loss", "Held-out text", "MFU", "Memory", "a run for tests", "depth 2"):
        assert words in outline.text
    assert "def f(<x>):" in outline.text
    assert "return 60 & x" in outline.text
    assert "training <here> & there" in outline.text
    assert "[optimizer]" in outline.text
    held_out = numbers(page)[1]["series"]
    assert [series["name"] for series in held_out] == ["code", "books", "all"]  # type: ignore[attr-defined]
    assert len(numbers(page)) == 8


def test_a_report_of_a_run_that_has_only_begun(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "laptop-1", done=0, state="running")
    (folder / "events.jsonl").unlink()
    (folder / "status.json").unlink()
    page = write_report(folder).read_text(encoding="utf-8")
    assert "it has not said anything yet" in Outline(page).text
    assert numbers(page) == []


def test_a_report_of_a_recipe_that_is_no_longer_valid(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "laptop-1")
    (folder / "recipe.toml").write_text('name = "<b>"')
    assert "&lt;b&gt;" in write_report(folder).read_text(encoding="utf-8")


def test_no_report_of_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no train run"):
        write_report(tmp_path)


def test_a_comparison(tmp_path: Path) -> None:
    folders = [make_run(tmp_path, f"{name}-1", lr=lr) for name, lr in (("a", 0.003), ("b", 0.01))]
    folders.append(make_run(tmp_path, "c-1", done=10))
    page = write_comparison(folders, tmp_path / "out.html").read_text(encoding="utf-8")
    outline = Outline(page)
    for words in ("3 train runs", "a-1", "b-1", "c-1", "optimizer.lr", "0.01"):
        assert words in outline.text
    assert [series["name"] for series in numbers(page)[0]["series"]] == ["a-1", "b-1", "c-1"]  # type: ignore[attr-defined]
    assert [series["name"] for series in numbers(page)[1]["series"]] == ["a-1", "b-1"]  # type: ignore[attr-defined]


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
    assert (write(0.5, "percent"), write(0.0025, "seconds"), write(2e9, "bytes")) == (
        "50\u202f%",
        "2.5\u202fms",
        "2\u202fGB",
    )
