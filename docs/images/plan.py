"""Pictures of a plan's page, with Chromium: `python docs/images/plan.py PLAN.html [OUT_FOLDER]`.

The page is what `colosse plan search --model llama3-405b --gpus 16384 --gpu h100 --tokens 15.6T --batch 16M --report
PLAN.html` writes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SHOTS = (("plan-light", 1280, 1000, "light", 430), ("plan-dark", 1280, 1000, "dark", 1010))
"""Name, width and height in CSS pixels, colour scheme, how far down the page."""


def main(page_file: Path, out: Path) -> None:
    """Take the pictures."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for name, width, height, scheme, down in SHOTS:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(page_file.resolve().as_uri())
            page.evaluate(f"window.scrollTo(0, {down})")
            page.screenshot(path=out / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
