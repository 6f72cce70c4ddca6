import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from colosse.core.errors import NotFoundError
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
