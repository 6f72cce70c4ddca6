from __future__ import annotations

import gzip
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from colosse.server.pages import Pages


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """A build as the web part makes it, beside something secret."""
    root = tmp_path / "static"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html>the app")
    (root / "assets" / "app-1a2b.js").write_text("let a = 1;")
    (root / "assets" / "app-1a2b.js.gz").write_bytes(gzip.compress(b"let a = 1;"))
    (root / "assets" / "app-1a2b.js.br").write_bytes(b"brotli")
    (tmp_path / "secret.txt").write_text("treasure")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    return root


async def test_every_address_of_the_app_is_the_page(http: httpx2.AsyncClient, app: FastAPI, static: Path) -> None:
    app.router.default = Pages(static)
    for path in ("/", "/t/thread_1", "/settings", "/apix", "/v1x/y"):
        response = await http.get(path)
        assert (response.status_code, response.text) == (200, "<!doctype html>the app"), path
        assert response.headers["content-type"].startswith("text/html")
        assert response.headers["cache-control"] == "no-cache"
    assert (await http.head("/")).status_code == 200
    for path in ("/api", "/api/x", "/v1/x", "/missing.js", "/assets/gone-0.css"):
        assert (await http.get(path)).status_code == 404, path
    assert (await http.post("/settings")).status_code == 404


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [("gzip, br", "br"), ("gzip;q=1.0", "gzip"), ("identity", None), ("", None), ("brx", None)],
)
async def test_files_are_kept_for_good_and_sent_compressed(
    http: httpx2.AsyncClient, app: FastAPI, static: Path, accept: str, encoding: str | None
) -> None:
    app.router.default = Pages(static)
    async with http.stream("GET", "/assets/app-1a2b.js", headers={"accept-encoding": accept}) as response:
        raw = b"".join([part async for part in response.aiter_raw()])
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["content-type"].startswith("text/javascript")
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["vary"] == "accept-encoding"
    assert {"br": b"brotli", "gzip": gzip.compress(b"let a = 1;"), None: b"let a = 1;"}[encoding][-6:] == raw[-6:]


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/link.txt",
        "//etc/passwd",
        "/%00",
        "/" + "a" * 5000,
    ],
)
async def test_nothing_outside_the_build_is_sent(
    http: httpx2.AsyncClient, app: FastAPI, static: Path, path: str
) -> None:
    app.router.default = Pages(static)
    response = await http.get(httpx2.URL(str(http.base_url)).copy_with(raw_path=path.encode()))
    assert "treasure" not in response.text
    assert "root:" not in response.text
    assert response.status_code in (200, 404)


async def test_without_a_build_the_page_says_how_and_the_api_works(
    http: httpx2.AsyncClient, app: FastAPI, tmp_path: Path
) -> None:
    app.router.default = Pages(tmp_path / "none")
    response = await http.get("/")
    assert response.status_code == 503
    assert "make web" in response.text
    assert 'lang="fr"' in response.text
    assert (await http.get("/api/state")).status_code == 200
