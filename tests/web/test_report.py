"""The report of a train run in a browser, opened from disk."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage

from colosse.train.report import write_comparison, write_report
from tests.train.folders import make_run


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_values_are_said_where_somebody_points(browser: Browser, tmp_path: Path, width: int, kind: str) -> None:
    folders = [make_run(tmp_path, "a-with-a-rather-long-name-1"), make_run(tmp_path, "b-1", lr=0.01)]
    path = write_report(folders[0]) if kind == "report" else write_comparison(folders, tmp_path / "both.html")
    context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=width < 600)
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        complaints.append(message.text)

    context.on("console", complain)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width

    area = page.locator(".area").first
    box = area.bounding_box()
    assert box is not None
    for share in (0.0, 0.5, 0.99):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 20)
        tip = page.locator(".tip").bounding_box()
        assert tip is not None
        assert box["x"] <= tip["x"]
        assert tip["x"] + tip["width"] <= width
    assert page.locator(".tip p").first.inner_text() == "step 59"
    assert page.locator(".tip b").first.inner_text().startswith("2.2")
    page.mouse.move(0, 0)
    assert page.locator(".tip").count() == 0
    area.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".tip p").first.inner_text() == "step 59"
    page.keyboard.press("Escape")
    assert page.locator(".tip").count() == 0
    assert complaints == []
    context.close()
