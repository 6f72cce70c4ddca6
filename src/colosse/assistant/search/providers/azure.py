"""Grounding with Bing through Azure: the tool `web_search` of the Responses API of a deployed model.

Bing's own search API was closed in 2025; what is left hands out a model's answer with links. Only the links are used:
the pages are fetched and read here like any others.
https://learn.microsoft.com/azure/foundry/openai/how-to/web-search.
"""

from __future__ import annotations

from typing import Any

from colosse.assistant.search.providers.hit import Hit, ProviderError, asked

_TIMEOUT_S = 60.0


class Azure:
    """Asks a deployment to search.

    Args:
        endpoint: `https://NAME.openai.azure.com`.
        key: of the resource.
        model: name of the deployment.
    """

    name = "azure"

    def __init__(self, endpoint: str, key: str, model: str) -> None:
        self._url = endpoint.rstrip("/").removesuffix("/openai/v1") + "/openai/v1/responses"
        self._key, self._model = key, model

    async def search(self, query: str, language: str, limit: int) -> list[Hit]:
        """The pages that its answer cites."""
        body = {
            "model": self._model,
            "input": f"Search the web and list the most useful pages, each with its link: {query}",
            "tools": [{"type": "web_search"}],
            "store": False,
        }
        answer = await asked("POST", self._url, body=body, headers={"api-key": self._key}, timeout_s=_TIMEOUT_S)
        if not isinstance(answer, dict) or not isinstance(answer.get("output"), list):
            raise ProviderError("the answer is not a response")
        hits = [hit for item in answer["output"] if isinstance(item, dict) for hit in _cited(item)]
        return list({hit.url: hit for hit in hits}.values())[:limit]


def _cited(item: dict[str, Any]) -> list[Hit]:
    notes = [note for part in item.get("content") or [] for note in part.get("annotations") or []]
    return [
        Hit(title=str(note.get("title") or ""), url=str(note["url"]))
        for note in notes
        if note.get("type") == "url_citation" and note.get("url")
    ]
