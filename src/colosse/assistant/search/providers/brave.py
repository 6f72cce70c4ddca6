"""Brave Search. https://api-dashboard.search.brave.com/app/documentation/web-search."""

from __future__ import annotations

from colosse.assistant.search.providers.hit import Hit, asked, hits_of


class Brave:
    """Asks Brave's own index.

    Args:
        key: a subscription token.
        url: of the API.
    """

    name = "brave"

    def __init__(self, key: str, url: str = "https://api.search.brave.com/res/v1/web/search") -> None:
        self._key, self._url = key, url

    async def search(self, query: str, language: str, limit: int) -> list[Hit]:
        """Pages of its index."""
        # Longer queries are refused: 400 characters, 50 words.
        short = " ".join(query[:400].split()[:50])
        params = {"q": short, "count": str(min(limit, 20)), **({"search_lang": language} if language else {})}
        answer = await asked("GET", self._url, params=params, headers={"X-Subscription-Token": self._key})
        found = answer.get("web") if isinstance(answer, dict) else None
        return hits_of(found.get("results") if isinstance(found, dict) else None, "title", "url", "description", "age")
