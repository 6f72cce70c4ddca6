"""Providers: their answers, their limits, and who is asked next."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from colosse.assistant.search.providers import Provider, ask, configured
from colosse.assistant.search.providers.azure import Azure
from colosse.assistant.search.providers.brave import Brave
from colosse.assistant.search.providers.duck import Ddgs
from colosse.assistant.search.providers.hit import Hit, ProviderError
from colosse.assistant.search.providers.searxng import SearXng
from colosse.assistant.search.providers.tavily import Tavily
from colosse.core.settings import SearchSettings
from tests.assistant.search.conftest import Site

PAGE = "https://example.org/page"


def made(name: str, site: Site) -> Provider:
    return {
        "searxng": lambda: SearXng(site.url + "/"),
        "brave": lambda: Brave("secret", f"{site.url}/brave"),
        "tavily": lambda: Tavily("secret", f"{site.url}/tavily"),
        "azure": lambda: Azure(site.url, "secret", "gpt"),
    }[name]()


PATHS = {"searxng": "/search", "brave": "/brave", "tavily": "/tavily", "azure": "/openai/v1/responses"}
ANSWERS: dict[str, Any] = {
    "searxng": {
        "results": [
            {"title": "A page", "url": PAGE, "content": "about it", "publishedDate": "2025-01-02"},
            {"title": "no address"},
        ]
    },
    "brave": {"web": {"results": [{"title": "A page", "url": PAGE, "description": "about it", "age": "2025-01-02"}]}},
    "tavily": {
        "results": [{"title": "A page", "url": PAGE, "content": "about it", "published_date": "2025-01-02", "score": 1}]
    },
    "azure": {
        "output": [
            {"type": "web_search_call", "status": "completed"},
            {
                "type": "message",
                "content": [
                    {
                        "type": "output_text",
                        "text": "See the page.",
                        "annotations": [
                            {"type": "url_citation", "url": PAGE, "title": "A page"},
                            {"type": "url_citation", "url": PAGE, "title": "A page"},
                            {"type": "file_citation"},
                        ],
                    }
                ],
            },
        ]
    },
}


def answering(value: Any, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(value), status=status, content_type="application/json")


@pytest.mark.parametrize("name", ANSWERS)
async def test_pages_are_read_from_each_answer(site: Site, name: str) -> None:
    site.pages[PATHS[name]] = answering(ANSWERS[name])
    hits = await made(name, site).search("pink granite", "fr", 5)
    expected = Hit(title="A page", url=PAGE, snippet="about it", date="2025-01-02")
    assert hits == [expected if name != "azure" else Hit(title="A page", url=PAGE)]
    headers = {key.lower(): value for key, value in site.headers[-1].items()}
    where = {"brave": "x-subscription-token", "tavily": "authorization", "azure": "api-key"}
    assert name == "searxng" or headers[where[name]].endswith("secret")
    if name in ("searxng", "brave"):
        assert "q=pink+granite" in site.seen[-1]


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (answering({}, 429), "limit of requests"),
        (answering({}, 500), "answered 500"),
        (web.Response(text="<html>", content_type="text/html"), "not JSON"),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302"),
    ],
)
async def test_failures_are_said(site: Site, name: str, answer: web.Response, said: str) -> None:
    site.pages[PATHS[name]] = answer
    with pytest.raises(ProviderError, match=said):
        await made(name, site).search("granite", "en", 5)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("answer", [[], "text", 3, None, {"results": 3, "web": 3, "output": [3]}, {"results": [3, []]}])
async def test_answers_of_another_form_have_no_pages(site: Site, name: str, answer: Any) -> None:
    site.pages[PATHS[name]] = answering(answer)
    try:
        assert await made(name, site).search("granite", "en", 5) == []
    except ProviderError as error:
        assert "is not" in error.message


async def test_refusals_say_what_to_mend(site: Site) -> None:
    for name in ANSWERS:
        site.pages[PATHS[name]] = answering({}, 403)
        mend = "search.formats" if name == "searxng" else "check its key"
        with pytest.raises(ProviderError, match=mend):
            await made(name, site).search("granite", "en", 5)
    site.pages["/search"] = answering({"results": [], "unresponsive_engines": [["wiki", "timeout"]]})
    with pytest.raises(ProviderError, match="did not answer: wiki"):
        await made("searxng", site).search("granite", "en", 5)


async def test_nobody_at_the_address() -> None:
    with pytest.raises(ProviderError, match="cannot be reached"):
        await SearXng("http://127.0.0.1:1").search("granite", "en", 5)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("RatelimitException('202 Ratelimit')", "limit of requests"),
        ("DDGSException('https://x 202 Ratelimit')", "limit of requests"),
        ("DDGSException('dns error')", "cannot be reached: dns error"),
        ("TimeoutException('slow')", "no answer"),
    ],
)
async def test_ddgs_failures_are_told_apart(monkeypatch: pytest.MonkeyPatch, raised: str, said: str) -> None:
    import ddgs
    import ddgs.exceptions

    failure = eval(raised, vars(ddgs.exceptions))

    class Failing:
        def __init__(self, timeout: int) -> None: ...

        def text(self, query: str, **options: Any) -> list[dict[str, Any]]:
            raise failure

    monkeypatch.setattr(ddgs, "DDGS", Failing)
    with pytest.raises(ProviderError, match=said):
        await Ddgs().search("granite", "fr", 5)


async def test_ddgs_results_are_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    import ddgs
    import ddgs.exceptions

    asked: dict[str, Any] = {}

    class Answering:
        def __init__(self, timeout: int) -> None: ...

        def text(self, query: str, **options: Any) -> list[dict[str, Any]]:
            asked.update(options, query=query)
            if query == "nothing":
                raise ddgs.exceptions.DDGSException("No results found.")
            return [{"title": "A page", "href": PAGE, "body": "about it"}]

    monkeypatch.setattr(ddgs, "DDGS", Answering)
    assert await Ddgs().search("granite", "fr", 5) == [Hit(title="A page", url=PAGE, snippet="about it")]
    assert asked == {"query": "granite", "region": "fr-fr", "max_results": 5}
    assert await Ddgs().search("nothing", "xx", 5) == []


async def test_who_fails_is_passed_over_and_said(site: Site) -> None:
    site.pages["/brave"] = answering({}, 429)
    site.pages["/search"] = answering({"results": []})
    site.pages["/tavily"] = answering(
        {"results": [{"title": "x", "url": "javascript:alert(1)"}, {"title": "A page", "url": PAGE, "content": ""}]}
    )
    asked = await ask([made(name, site) for name in ("brave", "searxng", "tavily", "azure")], "granite", "en", 5)
    assert [hit.url for hit in asked.hits] == [PAGE]
    assert asked.provider == "tavily"
    assert asked.notes == ["brave: its limit of requests was reached (429)", "searxng: nothing found"]
    assert not any("responses" in path for path in site.seen)
    nobody = await ask([made("brave", site)], "granite", "en", 5)
    assert (nobody.hits, nobody.provider, len(nobody.notes)) == ([], "", 1)


def test_only_providers_that_have_all_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAVILY", "secret")
    names = [provider.name for provider in configured(SearchSettings())]
    assert names == ["ddgs"]
    full = SearchSettings.model_validate(
        {
            "providers": ["tavily", "searxng", "azure", "brave", "tavily"],
            "searxng_url": "http://localhost:8080",
            "tavily_key": "env:TAVILY",
            "brave_key": "env:NOT_SET",
            "azure_endpoint": "https://x.openai.azure.com",
            "azure_key": "k",
            "azure_model": "m",
        }
    )
    assert [provider.name for provider in configured(full)] == ["tavily", "searxng", "azure"]
    assert "secret" not in repr(full)
