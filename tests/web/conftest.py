"""A browser, and a real server as a process of its own in front of the scripted engine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from colosse.server.pages import STATIC
from tests.fixtures.scripted import Scripted

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 30_000
expect.set_options(timeout=WAIT_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses the browser is marked so."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Headless Chromium. Ended with this folder: while it runs, no other event loop can in this thread."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed")
    if not (STATIC / "index.html").is_file():
        pytest.skip("the web page is not built (make web)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


class Server:
    """`colosse serve` on a port of its own, which it keeps when it is started again."""

    def __init__(self, home: Path, engine: Scripted) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        self.host = "127.0.0.1"
        self.process: subprocess.Popen[bytes] | None = None
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("COLOSSE_")}
        self.env["COLOSSE_HOME"] = str(home)
        self.env["COLOSSE_ENDPOINTS"] = f'[{{name = "scripted", url = "{engine.url}"}}]'
        self.env["COLOSSE_MODEL"] = engine.model

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Nothing to do when it runs."""
        if self.process is not None:
            return
        command = ["serve", "--no-open", "--host", self.host, "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "colosse.cli.main", *command],
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx2.TransportError), self.http() as http:
                if http.get("/health").status_code == 200:
                    return
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Nothing to do when it has ended."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def http(self) -> httpx2.Client:
        """A client of its API."""
        return httpx2.Client(base_url=self.url, trust_env=False, timeout=30)


@pytest.fixture(scope="package")
def engine() -> Iterator[Scripted]:
    """One scripted engine for all of these tests."""
    running = Scripted()
    running.start()
    yield running
    running.stop()


@pytest.fixture
def scripted(engine: Scripted) -> Scripted:
    """The engine with nothing in its script."""
    fresh = Scripted()
    for name in ("reply", "reasoning", "tokens_per_second", "first_token_s", "max_model_len"):
        setattr(engine, name, getattr(fresh, name))
    engine.mend()
    engine.requests.clear()
    return engine


@pytest.fixture(scope="package")
def one_server(engine: Scripted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all of these tests: each start takes seconds."""
    running = Server(tmp_path_factory.mktemp("web") / "home", engine)
    yield running
    running.end()


@pytest.fixture
def server(one_server: Server, scripted: Scripted) -> Server:
    """A server in front of `scripted` that runs, without any thread."""
    one_server.start()
    with one_server.http() as http:
        while items := http.get("/api/threads", params={"limit": 200}).json()["items"]:
            for thread in items:
                http.delete(f"/api/threads/{thread['id']}").raise_for_status()
    return one_server


class Watch:
    """What no page may do: complain, break the policy, ask for a dialog, talk to somebody else."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.complaints: list[str] = []
        self.expected: list[str] = []
        """Patterns of complaints that a test provokes."""

    def add(self, context: BrowserContext) -> None:
        context.on("console", self._console)
        context.on("weberror", lambda error: self.complaints.append(f"error: {error.error}"))
        context.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        context.on("request", self._request)
        context.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) =>"
            " console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI))"
        )

    def check(self) -> None:
        assert [text for text in self.complaints if not any(re.search(p, text) for p in self.expected)] == []

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.origin + "/", "data:", "blob:")):
            self.complaints.append(f"request to {request.url}")


@pytest.fixture
def watch(server: Server) -> Watch:
    """Lets a test say which complaints it provokes."""
    return Watch(server.url)


@pytest.fixture
def open_page(browser: Browser, server: Server, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Opens pages: `open_page(path="/", context=None, **options)`; afterwards none of them may have complained."""
    contexts: list[BrowserContext] = []

    def open_one(path: str = "/", context: BrowserContext | None = None, **options: Any) -> Page:
        if context is None:
            context = browser.new_context(**{"locale": "en-US", "viewport": {"width": 1280, "height": 800}, **options})
            context.set_default_timeout(WAIT_MS)
            watch.add(context)
            contexts.append(context)
        page = context.new_page()
        page.goto(server.url + path)
        return page

    yield open_one
    for context in contexts:
        context.close()
    watch.check()


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """The page of a new conversation, in English, 1280 by 800."""
    return open_page()


def ask(page: Page, text: str) -> None:
    """Write `text` and press Enter."""
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def answers(page: Page) -> list[str]:
    """The text of each answer that is shown."""
    return page.locator("article.assistant > .prose").all_inner_texts()


def finished(page: Page, count: int = 1) -> None:
    """Wait until `count` answers are shown and whole."""
    page.wait_for_function(
        "count => document.querySelectorAll('article.assistant[aria-busy=false] > .prose').length === count", arg=count
    )
