"""Who is asked for pages: one file each, one protocol, and the order in which they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from colosse.assistant.search.providers.azure import Azure
from colosse.assistant.search.providers.brave import Brave
from colosse.assistant.search.providers.duck import Ddgs
from colosse.assistant.search.providers.hit import Hit, ProviderError
from colosse.assistant.search.providers.searxng import SearXng
from colosse.assistant.search.providers.tavily import Tavily
from colosse.core.settings import SearchSettings, reveal

__all__ = ["Asked", "Hit", "Provider", "ProviderError", "ask", "configured"]


class Provider(Protocol):
    """Somebody who knows pages for a query."""

    name: str

    async def search(self, query: str, language: str, limit: int) -> list[Hit]:
        """Pages for `query`, best first.

        Args:
            query: words.
            language: code of the language that is preferred.
            limit: how many are wanted.

        Raises:
            ProviderError: no answer, a limit was reached, an answer of another form.
        """


class Asked(NamedTuple):
    """What the providers said: pages, who knew them (empty: nobody), and what went wrong."""

    hits: list[Hit]
    provider: str
    notes: list[str]


def configured(settings: SearchSettings) -> list[Provider]:
    """The web's providers that have all they need, in the order of the settings."""
    brave, tavily, azure = (reveal(key) for key in (settings.brave_key, settings.tavily_key, settings.azure_key))
    known: dict[str, Provider | None] = {
        "searxng": SearXng(settings.searxng_url) if settings.searxng_url else None,
        "brave": Brave(brave) if brave else None,
        "tavily": Tavily(tavily) if tavily else None,
        "azure": Azure(settings.azure_endpoint, azure, settings.azure_model)
        if settings.azure_endpoint and azure and settings.azure_model
        else None,
        "ddgs": Ddgs(),
    }
    return [found for name in dict.fromkeys(settings.providers) if (found := known.get(name)) is not None]


async def ask(providers: Sequence[Provider], query: str, language: str, limit: int) -> Asked:
    """Ask one after the other until one knows pages; whoever fails is noted and passed over."""
    notes: list[str] = []
    for provider in providers:
        try:
            hits = await provider.search(query, language, limit)
        except ProviderError as error:
            notes.append(f"{provider.name}: {error.message}")
            continue
        hits = [hit for hit in hits if hit.url.startswith(("http://", "https://")) and hit.url.isprintable()]
        if hits:
            return Asked(hits[:limit], provider.name, notes)
        notes.append(f"{provider.name}: nothing found")
    return Asked([], "", notes)
