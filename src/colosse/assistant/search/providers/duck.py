"""DuckDuckGo, Brave, Mojeek and others without a key, through the package ddgs, which reads their result pages."""

from __future__ import annotations

import asyncio
from typing import Any

from colosse.assistant.search.providers.hit import Hit, ProviderError, hits_of
from colosse.core.errors import ColosseError

_REGIONS = {"fr": "fr-fr", "en": "us-en", "de": "de-de", "es": "es-es", "it": "it-it", "pt": "pt-pt", "nl": "nl-nl"}
_LIMITED = ("202", "429", "ratelimit", "rate limit")
_TIMEOUT_S = 10


class Ddgs:
    """Asks in a thread: the package blocks."""

    name = "ddgs"

    async def search(self, query: str, language: str, limit: int) -> list[Hit]:
        """Pages of whichever engines answer."""
        entries = await asyncio.to_thread(self._text, query, _REGIONS.get(language, "us-en"), limit)
        return hits_of(entries, "title", "href", "body", "date")

    def _text(self, query: str, region: str, limit: int) -> list[dict[str, Any]]:
        try:
            from ddgs import DDGS
            from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException
        except ModuleNotFoundError:
            raise ColosseError("ddgs is not installed", hint="pip install 'colosse[skills]'") from None
        try:
            found: list[dict[str, Any]] = DDGS(timeout=_TIMEOUT_S).text(query, region=region, max_results=limit)
        except TimeoutException:
            raise ProviderError(f"no answer within {_TIMEOUT_S} s") from None
        except RatelimitException as error:
            raise ProviderError(f"its limit of requests was reached: {error}", code="provider_limit") from None
        except DDGSException as error:
            said = str(error)[:200]
            if "No results" in said:
                return []
            if any(word in said.lower() for word in _LIMITED):
                raise ProviderError(f"its limit of requests was reached: {said}", code="provider_limit") from None
            raise ProviderError(f"cannot be reached: {said}") from None
        return found
