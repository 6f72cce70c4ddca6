"""Tavily. https://docs.tavily.com/documentation/api-reference/endpoint/search."""

from __future__ import annotations

from colosse.assistant.search.providers.hit import Hit, asked, hits_of


class Tavily:
    """Asks Tavily's search.

    Args:
        key: of the API.
        url: of the API.
    """

    name = "tavily"

    def __init__(self, key: str, url: str = "https://api.tavily.com/search") -> None:
        self._key, self._url = key, url

    async def search(self, query: str, language: str, limit: int) -> list[Hit]:
        """Pages; the language is the query's own."""
        body = {"query": query[:400], "max_results": min(limit, 20), "search_depth": "basic"}
        answer = await asked("POST", self._url, body=body, headers={"Authorization": f"Bearer {self._key}"})
        entries = answer.get("results") if isinstance(answer, dict) else None
        return hits_of(entries, "title", "url", "content", "published_date")
