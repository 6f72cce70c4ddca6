"""`colosse search` as a command."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.fixtures.scripted import Scripted

pytestmark = pytest.mark.usefixtures("scripted_settings")
PAGE = (
    "<html><head><title>Mean Ruz</title></head><body><article><p>The lighthouse of Mean Ruz was built in 1860, "
    "of pink granite, at the entrance of the port of Ploumanac'h.</p></article></body></html>"
)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A page, and a search that knows it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {"results": [{"url": f"{url}/page", "title": "Mean Ruz", "content": "A lighthouse"}]}
            known = {"/page": ("text/html", PAGE), "/search": ("application/json", json.dumps(found))}
            media_type, body = known.get(self.path.split("?")[0], ("", ""))
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host = f"127.0.0.1:{server.server_port}"
    url = f"http://{host}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("COLOSSE_SEARCH__SEARXNG_URL", url)
    monkeypatch.setenv("COLOSSE_SEARCH__PROVIDERS", '["documents", "searxng"]')
    monkeypatch.setenv("COLOSSE_SEARCH__ALLOW_PRIVATE", json.dumps([host]))
    monkeypatch.setenv("COLOSSE_SEARCH__DELAY_S", "0")
    yield url
    server.shutdown()
    server.server_close()


def test_an_answer_with_its_sources(scripted: Scripted, colosse: Any, site: str) -> None:
    scripted.reply = "The lighthouse of Mean Ruz was built in 1860 [1]. It was built by Vauban in 1700 [1]."
    done = colosse("search", "When was the lighthouse of Mean Ruz built?")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (f"The lighthouse of Mean Ruz was built in 1860 [1].\n\n[1] Mean Ruz\n    {site}/page\n")
    assert "left out, because no passage says it: It was built by Vauban in 1700." in done.stderr
    assert f"searching: reading {site}/page" in done.stderr
    done = colosse(
        "search", "When was the lighthouse of Mean Ruz built?", "--json", "--provider", "searxng", "--pages", 1
    )
    found = json.loads(done.stdout)
    assert found["verified"] is True
    assert found["sources"][0]["url"] == f"{site}/page"
    assert found["removed"] == ["It was built by Vauban in 1700."]


def test_no_answer_is_said(scripted: Scripted, colosse: Any, site: str) -> None:
    scripted.reply = "It was built by Vauban in 1700 [1]."
    done = colosse("search", "When was the lighthouse of Mean Ruz built?")
    assert done.returncode == 1
    assert "1700" not in done.stdout
    done = colosse("search", " ")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    done = colosse("search", "Why?", "--provider", "brave")
    assert done.returncode == 2
    assert "no provider to search with" in done.stderr
