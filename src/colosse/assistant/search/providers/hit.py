"""What a provider answers, and how one is asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from pydantic import BaseModel

from colosse.core.errors import UnavailableError

_MAX_BYTES = 4_000_000
_TIMEOUT_S = 15.0


class Hit(BaseModel):
    """A page that a provider knows.

    Attributes:
        title: of the page.
        url: its address.
        snippet: what the provider shows of it; helps to choose pages, is never cited.
        date: as the provider says it; may be empty.
    """

    title: str
    url: str
    snippet: str = ""
    date: str = ""


class ProviderError(UnavailableError):
    """A provider did not answer as it should."""

    code = "provider_unavailable"


async def asked(
    method: str,
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Any:
    """The JSON that an address of the settings answers; no redirect is followed, so that a key goes nowhere else.

    Raises:
        ProviderError: with the status in words.
    """
    try:
        async with (
            aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=timeout_s), trust_env=False
            ) as session,
            session.request(method, url, params=params, headers=headers, json=body, allow_redirects=False) as response,
        ):
            data = await response.content.read(_MAX_BYTES)
            while len(data) < _MAX_BYTES and (more := await response.content.read(_MAX_BYTES)):
                data += more
            if response.status == 200:
                return json.loads(data)
            status = response.status
    except TimeoutError:
        raise ProviderError(f"no answer within {timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise ProviderError(f"cannot be reached: {str(error)[:200]}") from None
    except ValueError:
        raise ProviderError("the answer is not JSON") from None
    if status in (429, 432, 433):
        raise ProviderError(f"its limit of requests was reached ({status})", code="provider_limit")
    if status in (401, 403):
        raise ProviderError(f"refuses the request ({status}): check its key", code="provider_refused")
    raise ProviderError(f"answered {status}")


def hits_of(entries: Any, title: str, url: str, snippet: str, date: str) -> list[Hit]:
    """Hits from a list of JSON objects, by the names of their fields; what has no address is left out."""
    if not isinstance(entries, list):
        return []
    return [
        Hit(
            title=str(entry.get(title) or ""),
            url=str(entry[url]),
            snippet=str(entry.get(snippet) or ""),
            date=str(entry.get(date) or ""),
        )
        for entry in entries
        if isinstance(entry, dict) and entry.get(url)
    ]
