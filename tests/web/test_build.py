"""The built page: small, of our own, and in step with the server."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from colosse.server.pages import STATIC

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
MAX_FIRST_LOAD = 200_000
"""Bytes of JavaScript, compressed, before the page can be used."""


@pytest.fixture
def index() -> str:
    if not (STATIC / "index.html").is_file():
        pytest.skip("the web page is not built (make web)")
    return (STATIC / "index.html").read_text()


def test_first_load_is_small(index: str) -> None:
    """Entry scripts, and whatever they import at once."""
    waiting = re.findall(r'(?:src|href)="/([^"]+\.js)"', index)
    assert waiting
    seen: dict[str, int] = {}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        text = (STATIC / name).read_text()
        seen[name] = len(gzip.compress(text.encode()))
        waiting += [f"assets/{other}" for other in re.findall(r'(?:from|import)\s*"\./([^"]+\.js)"', text)]
    assert sum(seen.values()) < MAX_FIRST_LOAD, seen


def test_nothing_inline_and_nothing_from_elsewhere(index: str) -> None:
    assert re.findall(r"<script(?![^>]*\ssrc=)", index) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", index) == []
    assert re.findall(r'(?:src|href)="(?!/)', index) == []
    for sheet in STATIC.glob("assets/*.css"):
        assert re.findall(r"url\((?!/assets/)[^)]*\)|@import", sheet.read_text()) == []


def test_sources_know_no_way_to_raw_html() -> None:
    ways = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|\beval\(|new Function"
    )
    assert [str(p) for p in (WEB / "src").rglob("*.ts*") if ways.search(p.read_text())] == []


def test_the_lock_names_no_host_but_the_registry() -> None:
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    hosts = {entry["resolved"].split("/")[2] for entry in packages.values() if "resolved" in entry}
    assert hosts <= {"registry.npmjs.org"}
    assert all("integrity" in entry for name, entry in packages.items() if name)


def test_the_lock_is_whole_on_every_platform() -> None:
    """Where a registry lacks one platform's package, npm leaves it out of the lock and `npm ci` fails everywhere."""
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    locked = {name.rpartition("node_modules/")[2] for name in packages}
    wanted = {name for entry in packages.values() for name in entry.get("optionalDependencies", {})}
    assert wanted - locked == set()


def test_types_are_those_of_the_server(tmp_path: Path) -> None:
    """`npm run api` would change nothing."""
    tools = f"{ROOT / '.cache/node/bin'}{os.pathsep}{os.environ['PATH']}"
    program = WEB / "node_modules/.bin/openapi-typescript"
    if shutil.which("node", path=tools) is None or not program.exists():
        pytest.skip("the web page's tools are not installed (make web)")
    document = subprocess.run([sys.executable, str(WEB / "openapi.py")], capture_output=True, text=True, check=True)
    source = tmp_path / "openapi.json"
    source.write_text(document.stdout)
    made = tmp_path / "schema.d.ts"
    subprocess.run(
        [str(program), str(source), "--output", str(made)],
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": tools},
    )
    assert made.read_text() == (WEB / "src/api/schema.d.ts").read_text(), "run `npm run api` in web/"
