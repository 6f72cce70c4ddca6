"""The provider against a real searx server over a local site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from colosse.assistant.search.providers.hit import Hit, ProviderError
from colosse.assistant.search.providers.searxng import SearXng
from tests.assistant.search.conftest import Site
from tests.assistant.search.searx import searx


async def test_pages_of_a_real_server(site: Site, tmp_path: Path) -> None:
    found = {"results": [{"url": f"{site.url}/phare", "title": "Le phare", "content": "Un phare de granite"}]}
    site.pages["/find"] = web.Response(text=json.dumps(found), content_type="application/json")
    async with searx(tmp_path, site.url) as url:
        hits = await SearXng(url).search("phare de granite", "fr", 5)
        assert hits == [Hit(title="Le phare", url=f"{site.url}/phare", snippet="Un phare de granite")]
        assert site.seen == ["/find?q=phare+de+granite"]
        site.pages["/find"] = web.Response(status=500)
        with pytest.raises(ProviderError, match="did not answer: local"):
            await SearXng(url).search("autre chose", "fr", 5)
