"""Which addresses may be fetched: a URL in one canonical form, and an IP address that is everybody's.

A page may name any address it likes: the fetcher's machine, its network's printers, its cloud's metadata service. So a
URL is taken apart strictly (what two parsers could read differently is refused, never guessed), and an address is good
only when it is globally routable after everything that may be wrapped in it is unwrapped.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import quote, urlsplit

from colosse.core.errors import UserError

PORTS = {"http": 80, "https": 443}
_LABELS = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\\]|[\u2028\u2029\ufeff]")
_SAFE = "/:?#[]@!$&'()*+,;=-._~%"
_MAX_URL = 4096

# Global by `is_global` of some Python versions, and not for us: IANA's special-purpose registries.
_NOT_IPV4 = [IPv4Network(net) for net in ("192.0.0.0/24", "192.88.99.0/24", "192.31.196.0/24", "192.52.193.0/24")]
_NOT_IPV6 = [IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "3fff::/20", "2620:4f:8000::/48")]
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


@dataclass(frozen=True)
class Address:
    """A URL that was taken apart and checked; `host` is in lower case, in punycode, without brackets or a last dot."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query, percent-encoded."""

    @property
    def authority(self) -> str:
        """Host and port as a URL has them; the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """The whole URL in its one form."""
        return self.origin + self.target

    @property
    def literal(self) -> IPv4Address | IPv6Address | None:
        """The IP address that the URL names itself."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def parse(url: str) -> Address:
    """Take a URL apart.

    Raises:
        UserError: not http(s), with a user name, or with a host that is not in its plain form.
    """

    def refused(why: str) -> UserError:
        return UserError(f"cannot fetch {url[:200]!r}: {why}", code="address_refused")

    if len(url) > _MAX_URL:
        raise refused(f"longer than {_MAX_URL} characters")
    if _CONTROL.search(url):
        raise refused("spaces, backslashes and control characters do not belong in an address")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refused(str(error)) from None
    scheme = parts.scheme.lower()
    if scheme not in PORTS:
        raise refused("only http and https are fetched")
    if "@" in parts.netloc:
        raise refused("an address with a user name")
    host = _host(parts.hostname or "")
    if not host:
        raise refused("the host is not a plain name or address")
    if port == 0:
        raise refused("port 0")
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return Address(scheme, host, port or PORTS[scheme], target)


def _host(host: str) -> str:
    """The canonical host; empty when it is not a plain one: a zone, an escape, a number such as `0x7f.1`."""
    if "%" in host:
        return ""
    if ":" in host:
        try:
            return str(IPv6Address(host))
        except ValueError:
            return ""
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return ""
    host = host.lower().removesuffix(".")
    if len(host) > 253 or not _LABELS.fullmatch(host):
        return ""
    if _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
        # WHATWG: a host that ends in a number is an IPv4 address; only its usual form is taken.
        try:
            return str(IPv4Address(host))
        except ValueError:
            return ""
    return host


def globally_routable(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address, and every address wrapped in it, belongs to the public Internet."""
    if isinstance(address, IPv6Address):
        inner = list(_wrapped(address))
        if inner:
            return all(globally_routable(one) for one in inner)
        if address not in _UNICAST or any(address in net for net in _NOT_IPV6):
            return False
    elif any(address in net for net in _NOT_IPV4):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _wrapped(address: IPv6Address) -> Iterator[IPv4Address]:
    """IPv4 addresses that packets to an IPv6 address may end up at."""
    number = int(address)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield IPv4Address(number & 0xFFFFFFFF)
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
