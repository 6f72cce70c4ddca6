"""A local site whose every answer a test chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from colosse.assistant.search.fetch import Policy
from colosse.core.settings import SearchSettings

Page = str | bytes | web.Response | Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Paths to what is answered there, and every request that came."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def policy(self, **limits: object) -> Policy:
        """Limits under which this site may be fetched, without waiting."""
        return Policy(**{"allow": (self.host,), "delay_s": 0.0, **limits})  # type: ignore[arg-type]

    def settings(self, **more: object) -> SearchSettings:
        """This site is where to search, and what may be fetched."""
        base = {"providers": ["searxng"], "searxng_url": self.url, "allow_private": [self.host], "delay_s": 0}
        return SearchSettings.model_validate({**base, **more})

    def found(self, *paths: str, snippet: str = "") -> None:
        """Its search, in the form of SearXNG's, knows these pages."""
        hits = [
            {"url": path if "://" in path else self.url + path, "title": path, "content": snippet} for path in paths
        ]
        self.pages["/search"] = web.json_response({"results": hits})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request.path_qs)
        self.headers.append(dict(request.headers))
        page = self.pages.get(request.path)
        if page is None:
            return web.Response(status=404, text="no such page")
        if callable(page):
            return await page(request)
        if isinstance(page, web.Response):
            # A response is sent once; a test may ask twice.
            return web.Response(status=page.status, headers=page.headers, body=page.body)
        body = page.encode() if isinstance(page, str) else page
        return web.Response(body=body, content_type="text/html", charset="utf-8")


async def start(site: Site) -> web.AppRunner:
    runner = web.AppRunner(_app(site), shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    place = web.TCPSite(runner, "127.0.0.1", 0)
    await place.start()
    site.port = runner.addresses[0][1]
    return runner


def _app(site: Site) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    return app


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    runner = await start(site)
    yield site
    await runner.cleanup()
