"""The one door to the web: a page by its address, within limits, and never from a place that is not everybody's.

Each hop of a chain of redirects is checked by itself: the URL (`addresses.parse`), its port, every address that its
name resolves to; the connection goes to one of the addresses that were checked, so that a name which changes its mind
between check and use changes nothing. No proxy, no cookie and no credential is ever used.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
import socket
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

import colosse
from colosse.assistant.search.addresses import PORTS, Address, globally_routable, parse
from colosse.assistant.search.cache import keep, kept
from colosse.assistant.search.hosts import host_of
from colosse.core.errors import TooLargeError, UnavailableError, UserError
from colosse.store.tables import now

if TYPE_CHECKING:
    from colosse.store import Store

AGENT = "Colosse"
USER_AGENT = f"{AGENT}/{colosse.__version__} (reads a page to answer a person's question)"
REDIRECTS = (301, 302, 303, 307, 308)
TYPES = (
    "text/html",
    "application/xhtml+xml",
    "text/plain",
    "text/markdown",
    "application/pdf",
    "application/json",
    "application/xml",
    "text/xml",
)
_META = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?\s*([a-zA-Z0-9_.:-]{1,40})", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_KIND = "page"
_ROBOTS_BYTES = 500_000

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(name, port) to all its IP addresses."""


@dataclass(frozen=True)
class Policy:
    """The limits of a fetch.

    Attributes:
        allow: `host` or `host:port` that may be fetched wherever it is, also in a private network. Comes from settings
            or from the person, never from a page.
        max_bytes: of the page, decompressed.
        timeout_s: of the whole fetch, redirects and waiting for the host included.
        max_redirects: hops after the first.
        delay_s: between two requests to one host.
        cache_s: how long a page may be used again; 0 for not at all.
        types: media types that are taken.
    """

    allow: tuple[str, ...] = ()
    max_bytes: int = 2_000_000
    timeout_s: float = 15.0
    max_redirects: int = 5
    delay_s: float = 0.5
    cache_s: float = 3600.0
    types: tuple[str, ...] = TYPES

    def allows(self, address: Address) -> bool:
        """Whether a host was allowed by name."""
        host = f"[{address.host}]" if ":" in address.host else address.host
        usual = address.port == PORTS[address.scheme]
        return f"{host}:{address.port}" in self.allow or (usual and host in self.allow)


@dataclass(frozen=True)
class Fetched:
    """A page as it came: `url` is where it was in the end, `media_type` without parameters."""

    url: str
    media_type: str
    charset: str
    data: bytes
    fetched_at: datetime

    @property
    def text(self) -> str:
        """The text, by the charset that a byte order mark, the server or the page declares, else UTF-8, else Latin.

        Control characters are left out: they would command a terminal.
        """
        return _CONTROL.sub("", self._decoded())

    def _decoded(self) -> str:
        marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
        marked = next((name for mark, name in marks.items() if self.data.startswith(mark)), "")
        declared = _META.search(self.data[:2048])
        for charset in (marked, self.charset, declared[1].decode() if declared else "", "utf-8"):
            try:
                if charset:
                    return self.data.decode(charset)
            except (LookupError, UnicodeError):
                continue
        return self.data.decode("cp1252", errors="replace")


async def resolve(name: str, port: int) -> list[str]:
    """All addresses of a name, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def fetch(
    url: str, *, policy: Policy = Policy(), store: Store | None = None, resolve: Resolve = resolve
) -> Fetched:
    """The page at `url`, following its redirects.

    Args:
        url: http or https.
        policy: the limits.
        store: where pages are kept for a while; None: nowhere.
        resolve: name to addresses.

    Raises:
        UserError: an address that is not fetched, a page that is not for robots, a type that is not read.
        TooLargeError: over `policy.max_bytes`.
        UnavailableError: no answer, an error for an answer, not in time.
    """
    address = parse(url)
    key = (address.url, *sorted(policy.allow))
    if store is not None and policy.cache_s and (value := await kept(store, _KIND, key)):
        data = zlib.decompress(base64.b64decode(value["data"]))
        moment = datetime.fromisoformat(value["fetched_at"])
        return Fetched(value["url"], value["media_type"], value["charset"], data, moment)
    try:
        async with asyncio.timeout(policy.timeout_s):
            page, may_be_kept = await _follow(address, policy, resolve)
    except TimeoutError:
        raise UnavailableError(f"{address.url} did not answer within {policy.timeout_s:g} s", code="timeout") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UnavailableError(f"cannot fetch {address.url}: {str(error)[:200] or type(error).__name__}") from None
    if store is not None and policy.cache_s and may_be_kept:
        value = {
            "url": page.url,
            "media_type": page.media_type,
            "charset": page.charset,
            "data": base64.b64encode(zlib.compress(page.data)).decode(),
            "fetched_at": page.fetched_at.isoformat(),
        }
        await keep(store, _KIND, key, value, policy.cache_s)
    return page


async def _follow(address: Address, policy: Policy, resolve: Resolve) -> tuple[Fetched, bool]:
    for _ in range(policy.max_redirects + 1):
        host = host_of(address.origin)
        rules = await host.rules(AGENT, partial(_robots, address, policy, resolve))
        if not rules(address.url):
            raise UserError(f"{address.url} is not for robots to read, says its site's robots.txt", code="robots")
        async with host.turn(policy.delay_s):
            answer = await _get(address, policy, resolve)
        if isinstance(answer, tuple):
            return answer
        if address.scheme == "https" and answer.scheme == "http":
            raise _refused(answer, f"{address.url} leads from https to http")
        address = answer
    raise UnavailableError(f"{address.url} leads on more than {policy.max_redirects} times", code="too_many_redirects")


async def _robots(page: Address, policy: Policy, resolve: Resolve) -> str | None:
    """A site's robots.txt: empty when it has none (any 4xx), None when unreadable (RFC 9309: read nothing then)."""
    address = Address(page.scheme, page.host, page.port, "/robots.txt")
    limits = Policy(allow=policy.allow, max_bytes=_ROBOTS_BYTES, types=())
    for _ in range(policy.max_redirects + 1):
        try:
            answer = await _get(address, limits, resolve)
        except _StatusError as error:
            return "" if 400 <= error.http_status < 500 else None
        except TooLargeError:
            return None
        if isinstance(answer, tuple):
            return answer[0].text
        address = answer
    return ""


class _StatusError(UnavailableError):
    def __init__(self, url: str, http_status: int) -> None:
        super().__init__(f"{url} answered {http_status}", code="http_error")
        self.http_status = http_status


def _refused(address: Address, why: str) -> UserError:
    return UserError(f"cannot fetch {address.url}: {why}", code="address_refused")


async def checked_addresses(address: Address, policy: Policy, resolve: Resolve) -> list[str]:
    """The IP addresses that may be connected to for `address`.

    Raises:
        UserError: the port is not the scheme's, or one of the addresses is not globally routable.
    """
    allowed = policy.allows(address)
    if not allowed and address.port not in PORTS.values():
        raise _refused(address, f"port {address.port}; only 80 and 443 are fetched")
    found = [address.host] if address.literal else await resolve(address.host, address.port)
    if not found:
        raise OSError("the name has no address")
    if not allowed:
        for one in found:
            if "%" in one or not globally_routable(ipaddress.ip_address(one)):
                raise _refused(address, f"{one} is not an address of the public Internet")
    return list(found)


class _Pinned(AbstractResolver):
    """Answers with the addresses that were checked, whatever the name resolves to by now."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=port,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for one in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def _get(address: Address, policy: Policy, resolve: Resolve) -> tuple[Fetched, bool] | Address:
    """One request: a page and whether it may be kept, or where it leads on to."""
    pinned = _Pinned(await checked_addresses(address, policy, resolve))
    connector = aiohttp.TCPConnector(resolver=pinned, use_dns_cache=False, force_close=True, limit=1)
    headers = {
        "User-Agent": USER_AGENT,
        "Accept": ", ".join(policy.types) or "*/*",
        "Accept-Encoding": "gzip, deflate",  # what can be decompressed in bounded steps by the standard library
    }
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session,
        session.get(URL(address.url, encoded=True), headers=headers, allow_redirects=False) as response,
    ):
        if response.status in REDIRECTS and "Location" in response.headers:
            return parse(urldefrag(urljoin(address.url, response.headers["Location"].strip())).url)
        if response.status != 200:
            raise _StatusError(address.url, response.status)
        media_type = response.content_type.lower() if "Content-Type" in response.headers else "text/plain"
        if policy.types and media_type not in policy.types:
            raise UserError(f"{address.url} is {media_type[:100]}, which is not read", code="content_type")
        data = await _body(response, address.url, policy.max_bytes)
        control = response.headers.get("Cache-Control", "").lower()
        may_be_kept = "no-store" not in control and "private" not in control
        return Fetched(address.url, media_type, (response.charset or "")[:40], data, now()), may_be_kept


async def _body(response: aiohttp.ClientResponse, url: str, max_bytes: int) -> bytes:
    """The decompressed body; stops reading at the limit."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise UnavailableError(f"{url} is packed as {encoding[:40]!r}, which was not asked for")
    inflate: Any = None
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 14):
        if encoding in ("identity", ""):
            data += chunk
        else:
            if inflate is None:
                # 47: gzip or zlib by its header; some servers send deflate without one.
                raw = encoding == "deflate" and chunk[0] & 0x0F != 8
                inflate = zlib.decompressobj(-zlib.MAX_WBITS if raw else 47)
            try:
                data += inflate.decompress(chunk, max_bytes + 1 - len(data))
            except zlib.error as error:
                raise UnavailableError(f"{url} is packed wrongly: {error}") from None
        if len(data) > max_bytes:
            raise TooLargeError(f"{url} is longer than {max_bytes / 1e6:g} MB")
    if inflate is not None and not inflate.eof:
        raise UnavailableError(f"{url} ended before its end")
    return bytes(data)
