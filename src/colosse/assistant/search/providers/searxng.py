"""SearXNG (or searx): a metasearch server that anybody can run. https://docs.searxng.org/dev/search_api.html."""

from __future__ import annotations

from colosse.assistant.search.providers.hit import Hit, ProviderError, asked, hits_of


class SearXng:
    """Asks the JSON API of a server.

    Args:
        url: its base address.
    """

    name = "searxng"

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/search"

    async def search(self, query: str, language: str, limit: int) -> list[Hit]:
        """Pages of all its engines."""
        params = {"q": query, "format": "json", **({"language": language} if language else {})}
        try:
            answer = await asked("GET", self._url, params=params)
        except ProviderError as error:
            if error.code == "provider_refused":
                raise ProviderError("refuses JSON: add `json` to `search.formats` in its settings.yml") from None
            raise
        if not isinstance(answer, dict):
            raise ProviderError("the answer is not a list of results")
        hits = hits_of(answer.get("results"), "title", "url", "content", "publishedDate")
        silent = answer.get("unresponsive_engines")
        if not hits and silent:
            raise ProviderError(f"its engines did not answer: {', '.join(str(e[0]) for e in silent)[:200]}")
        return hits[:limit]
