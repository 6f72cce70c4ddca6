"""Pictures of a train run's report, with Chromium: `python docs/images/report.py RUN_FOLDER [OUT_FOLDER]`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from colosse.train.report import write_report

SHOTS = (
    ("report-light", 1280, 900, "light"),
    ("report-dark", 1280, 900, "dark"),
    ("report-phone-light", 390, 844, "light"),
    ("report-phone-dark", 390, 844, "dark"),
)
"""Name, width and height in CSS pixels, colour scheme."""


def main(run: Path, out: Path) -> None:
    """Write the report of `run` and take its pictures, with the values at one place of the first curve."""
    page_file = write_report(run)
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for name, width, height, scheme in SHOTS:
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=2
            )
            page.goto(page_file.resolve().as_uri())
            area = page.locator(".area").first
            box = area.bounding_box()
            assert box is not None  # noqa: S101 - it is on the page
            page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.3 * box["height"])
            page.screenshot(path=out / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
