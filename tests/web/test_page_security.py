"""What a model, a title or an address may not do to the page, and who may see it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect

from tests.fixtures.scripted import Scripted
from tests.web.conftest import Server, Watch, ask, finished

ROOT = Path(__file__).resolve().parents[2]
CORPUS: list[str] = json.loads((ROOT / "web/tests/xss.json").read_text())
Open = Callable[..., Page]


def harmless(page: Page, server: Server) -> None:
    """Nothing of the corpus ran, loaded or became a link to somewhere it should not lead."""
    assert page.evaluate("window.pwned") is None
    made = ".conversation :is(script, style, iframe, img, form:not(.composer), base, meta)"
    assert page.locator(made).count() == 0
    links: list[str] = page.locator(".prose a").evaluate_all("all => all.map(a => a.href)")
    assert links
    assert [link for link in links if not link.startswith(("https://", "http://", "mailto:"))] == []
    assert page.url.startswith(server.url)


def test_model_output(page: Page, scripted: Scripted, server: Server) -> None:
    scripted.reply = "\n\n".join(CORPUS)
    scripted.tokens_per_second = 200  # also every half-written beginning of it
    ask(page, "Attack")
    finished(page)
    harmless(page, server)
    page.reload()
    finished(page)
    harmless(page, server)


def test_questions_and_titles(page: Page, server: Server) -> None:
    payload = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>"
    ask(page, payload)
    finished(page)
    assert page.locator(".bubble").inner_text() == payload
    expect(page.locator("nav .thread a")).to_contain_text("<img src=x")
    with server.http() as http:
        for text in CORPUS:
            http.post("/api/threads", json={"title": text[:200].replace("\0", "")}).raise_for_status()
    page.reload()
    expect(page.locator("nav .thread")).to_have_count(len(CORPUS) + 1)
    page.locator("nav .thread").nth(3).hover()
    assert page.evaluate("window.pwned") is None


def test_the_policy_is_there_and_watched(page: Page, server: Server, watch: Watch) -> None:
    """The check of the other tests would see a script, and the browser stops it."""
    watch.expected = ["^error: policy: require-trusted-types-for", "requires? .?Trusted"]
    for attempt in ("script.text = 'window.pwned = 1'", "script.src = 'data:text/javascript,window.pwned=1'"):
        with pytest.raises(PlaywrightError, match="Trusted"):
            page.evaluate(f"() => {{ const script = document.createElement('script'); {attempt} }}")
    with pytest.raises(PlaywrightError, match="Trusted"):
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.pwned=1>')")
    assert page.evaluate("window.pwned") is None
    assert watch.complaints


def test_a_key_is_asked_for_and_kept_in_a_cookie(
    open_page: Open, server: Server, watch: Watch, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.expected = ["401"]
    server.end()
    request.addfinalizer(server.end)
    made = subprocess.run(
        [sys.executable, "-m", "colosse.cli.main", "keys", "create", "browser", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env=server.env,
    )
    key = json.loads(made.stdout)["key"]
    monkeypatch.setattr(server, "host", "0.0.0.0")
    server.start()
    # From this machine too, as through a proxy, which says so by a header.
    page = open_page(extra_http_headers={"x-forwarded-for": "192.0.2.1"})
    field = page.get_by_label("API key")
    expect(field).to_be_focused()
    field.fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This key is wrong, or has been revoked.")
    field.fill(key)
    page.keyboard.press("Enter")
    expect(page.locator(".greeting")).to_be_visible()
    assert page.evaluate("document.cookie") == ""
    assert key not in page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    ask(page, "Hello")
    finished(page)
    page.reload()
    finished(page)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("menuitem", name="Log out").click()
    expect(page.get_by_label("API key")).to_be_visible()
