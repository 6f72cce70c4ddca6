"""The guarded fetcher: what it refuses, what it bears, what it brings."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import zlib
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.assistant.search.addresses import globally_routable, parse
from colosse.assistant.search.fetch import USER_AGENT, Policy, checked_addresses, fetch
from colosse.core.errors import ColosseError, TooLargeError, UnavailableError, UserError
from colosse.store import open_store
from tests.assistant.search.conftest import Site, start

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.170",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2001:0:7f00:1::1",
    "2001:0:808:808:0:0:80ff:fffe",
    "2001:db8::1",
    "2001:20::1",
    "2001:2::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2606:4700::5efe:7f00:1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "2606:4700:4700::1111",
    "2a00:1450:4007::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_everybodys_are_refused(address: str) -> None:
    assert not globally_routable(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_fetched(address: str) -> None:
    assert globally_routable(ipaddress.ip_address(address))


def within(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """What an address stands for: itself, or the addresses wrapped in it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.sixtofour:
        return [address.sixtofour]
    return list(address.teredo) if address.teredo else [address]


WRAPPED = st.one_of(
    st.ip_addresses(),
    st.builds(
        lambda prefix, inner, shift: ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(inner) << shift),
        st.sampled_from(["::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "2002::", "2001::", "fe80::", "2600::"]),
        st.ip_addresses(v=4),
        st.sampled_from([0, 64, 80]),
    ),
)


@settings(max_examples=1000, deadline=None)
@given(WRAPPED)
def test_nothing_that_is_not_global_is_routable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if globally_routable(address):
        assert all(one.is_global and not one.is_multicast and not one.is_reserved for one in within(address))


@settings(max_examples=300, deadline=None)
@given(st.ip_addresses(v=4))
def test_wrapping_an_address_changes_nothing(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    for wrapped in (
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1),
        ipaddress.IPv6Address((0x26064700 << 96) | (0x5EFE << 32) | number),
    ):
        assert globally_routable(wrapped) == globally_routable(inner)
    if not inner.is_global:
        assert not globally_routable(inner)


REFUSED = [
    "file:///etc/passwd",
    "ftp://example.org/",
    "gopher://example.org/",
    "javascript:alert(1)",
    "data:text/html,hello",
    "//example.org/",
    "example.org",
    "http://",
    "http://user@example.org/",
    "http://user:password@example.org/",
    "http://example.org@127.0.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://127.0.0.1.2/",
    "http://[::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://%31%32%37.0.0.1/",
    "http://exam%70le.org/",
    "http://[::ffff:127.0.0.1/",
    "http://example.org:99999/",
    "http://example.org:0/",
    "http://example.org:80a/",
    "http://exa mple.org/",
    "http://example.org/\r\nHost: elsewhere",
    "http://example.org\\@127.0.0.1/",
    "http://example..org/",
    "http://-example.org/",
    "http://" + "a" * 300 + ".org/",
    "http://example.org/" + "a" * 5000,
]


@pytest.mark.parametrize("url", REFUSED)
def test_what_two_parsers_could_read_differently_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="cannot fetch"):
        parse(url)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.ORG", "http://example.org/"),
        ("https://example.org.:443/a?b=c#d", "https://example.org/a?b=c"),
        ("http://example.org:8080/é", "http://example.org:8080/%C3%A9"),
        ("http://EXAMPLE.org/%7Euser", "http://example.org/%7Euser"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://аpple.com/", "http://xn--pple-43d.com/"),  # a Cyrillic a
        ("http://127。0。0。1/", "http://127.0.0.1/"),
        ("http://①②⑦.0.0.1/", "http://127.0.0.1/"),
        ("http://[0:0:0:0:0:ffff:7f00:1]/", "http://[::ffff:7f00:1]/"),
        ("http://[::FFFF:127.0.0.1]:8000/", "http://[::ffff:7f00:1]:8000/"),
    ],
)
def test_an_address_has_one_form(url: str, canonical: str) -> None:
    address = parse(url)
    literal = address.literal
    expected = parse(canonical)
    assert (address.origin, address.target) == (expected.origin, expected.target)
    assert address.url == canonical or (literal is not None and not globally_routable(literal))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:7f00:1]", "169.254.169.254", "127。0。0。1", "[fe80::1]"]
)
async def test_literal_private_addresses_are_refused(host: str) -> None:
    with pytest.raises(UserError, match="not an address of the public Internet"):
        await fetch(f"http://{host}/")


async def never(name: str, port: int) -> list[str]:
    raise AssertionError("asked for a name")


@pytest.mark.parametrize("port", [1, 22, 25, 6379, 8080, 65535])
async def test_other_ports_are_refused_before_anything_is_asked(port: int) -> None:
    with pytest.raises(UserError, match="only 80 and 443"):
        await fetch(f"http://example.org:{port}/", resolve=never)


@pytest.mark.parametrize("answers", [["93.184.216.34", "127.0.0.1"], ["::1"], ["fe80::1%2"], ["10.0.0.1"]])
async def test_every_answer_of_the_resolver_must_be_public(answers: list[str]) -> None:
    async def resolve(name: str, port: int) -> list[str]:
        return answers

    with pytest.raises(UserError, match="public Internet"):
        await fetch("http://example.org/", resolve=resolve)


async def test_a_name_that_changes_its_mind_is_checked_each_time(site: Site) -> None:
    """Rebinding: the first answer is good, the next is this machine; nothing is asked of it."""
    turns = iter([["93.184.216.34"], ["127.0.0.1"]])

    async def resolve(name: str, port: int) -> list[str]:
        return next(turns)

    address, policy = parse("http://example.org/"), Policy()
    assert await checked_addresses(address, policy, resolve) == ["93.184.216.34"]
    with pytest.raises(UserError, match="public Internet"):
        await checked_addresses(address, policy, resolve)
    assert site.seen == []


async def test_the_connection_goes_to_the_address_that_was_checked(site: Site) -> None:
    """The name is asked once a request, and the host's name is kept in the request."""
    asked = []

    async def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"]

    site.pages["/"] = "<p>here</p>"
    policy = Policy(allow=(f"name.example:{site.port}",), delay_s=0)
    page = await fetch(f"http://name.example:{site.port}/", policy=policy, resolve=resolve)
    assert page.text == "<p>here</p>"
    assert asked == ["name.example"] * 2  # robots.txt and the page
    assert site.headers[-1]["Host"] == f"name.example:{site.port}"


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://example.org/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://localhost/",
        "http://2130706433/",
        "//127.0.0.1:1/",
        "http://user@example.org/",
        "https://127.0.0.1/",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_each_redirect_is_checked_again(site: Site, target: str, status: int) -> None:
    site.pages["/"] = web.Response(status=status, headers={"Location": target})
    with pytest.raises(UserError, match="cannot fetch"):
        await fetch(site.url, policy=site.policy())


async def test_redirects_are_followed_and_end(site: Site) -> None:
    site.pages["/a"] = web.Response(status=302, headers={"Location": "/b#part"})
    site.pages["/b"] = web.Response(status=301, headers={"Location": f"{site.url}/c?d=e"})
    site.pages["/c"] = "<p>there</p>"
    page = await fetch(f"{site.url}/a", policy=site.policy())
    assert (page.url, page.text) == (f"{site.url}/c?d=e", "<p>there</p>")
    site.pages["/loop"] = web.Response(status=302, headers={"Location": "/loop"})
    site.seen.clear()
    with pytest.raises(UnavailableError, match="more than 5 times"):
        await fetch(f"{site.url}/loop", policy=site.policy())
    assert site.seen == ["/loop"] * 6


async def test_an_open_redirect_reaches_no_other_local_server(site: Site) -> None:
    other = Site()
    runner = await start(other)
    other.pages["/"] = "secret"
    site.pages["/"] = web.Response(status=302, headers={"Location": other.url})
    with pytest.raises(UserError, match="cannot fetch"):
        await fetch(site.url, policy=site.policy())
    assert other.seen == []
    await runner.cleanup()


def packed(body: bytes, encoding: str) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": "text/html", "Content-Encoding": encoding})


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_stopped_at_the_limit(site: Site, encoding: str) -> None:
    zeros = b"\0" * 50_000_000
    site.pages["/"] = packed(gzip.compress(zeros) if encoding == "gzip" else zlib.compress(zeros), encoding)
    with pytest.raises(TooLargeError, match="longer than 2 MB"):
        await fetch(site.url, policy=site.policy())


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "gzip, br"])
async def test_what_was_not_asked_for_is_not_unpacked(site: Site, encoding: str) -> None:
    site.pages["/"] = packed(gzip.compress(b"x"), encoding)
    with pytest.raises(UnavailableError, match="not asked for"):
        await fetch(site.url, policy=site.policy())


async def test_packed_pages_are_read(site: Site) -> None:
    text = b"<p>" + b"word " * 10_000 + b"</p>"
    raw = zlib.compressobj(wbits=-15)
    bodies = {"gzip": gzip.compress(text), "deflate": zlib.compress(text), "x-gzip": gzip.compress(text)}
    for encoding, body in [*bodies.items(), ("deflate", raw.compress(text) + raw.flush())]:
        site.pages["/"] = packed(body, encoding)
        assert (await fetch(site.url, policy=site.policy())).data == text
    for broken in (bodies["gzip"][:-20], b"not gzip at all"):
        site.pages["/"] = packed(broken, "gzip")
        with pytest.raises(UnavailableError):
            await fetch(site.url, policy=site.policy())


async def test_a_long_page_is_not_read_to_its_end(site: Site) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except ConnectionError:
            return response

    site.pages["/"] = endless
    with pytest.raises(TooLargeError):
        await fetch(site.url, policy=site.policy(max_bytes=100_000))


async def test_a_slow_drip_is_cut_off(site: Site) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                await asyncio.sleep(0.02)
        except ConnectionError:
            return response

    site.pages["/"] = drip
    with pytest.raises(UnavailableError, match=r"within 0\.3 s"):
        await fetch(site.url, policy=site.policy(timeout_s=0.3))


async def test_huge_headers_are_an_error_and_no_more() -> None:
    async def huge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"robots" in asked:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * 1_000_000 + b"\r\n\r\nbody")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(huge, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(UnavailableError, match="cannot fetch"):
        await fetch(f"http://{host}/", policy=Policy(allow=(host,), delay_s=0))
    server.close()


@pytest.mark.parametrize("media_type", ["image/png", "application/octet-stream", "video/mp4", "text/css", "x/y"])
async def test_other_types_are_not_read(site: Site, media_type: str) -> None:
    site.pages["/"] = web.Response(body=b"...", headers={"Content-Type": media_type})
    with pytest.raises(UserError, match="which is not read"):
        await fetch(site.url, policy=site.policy())


@pytest.mark.parametrize("status", [204, 304, 400, 403, 404, 429, 500, 503])
async def test_errors_are_said(site: Site, status: int) -> None:
    site.pages["/"] = web.Response(status=status)
    with pytest.raises(UnavailableError, match=f"answered {status}"):
        await fetch(site.url, policy=site.policy())


async def test_no_one_there(site: Site) -> None:
    async def nobody(name: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(UnavailableError, match="no such name"):
        await fetch("http://example.org/", resolve=nobody)
    with pytest.raises(UnavailableError, match="cannot fetch"):
        await fetch("http://127.0.0.1:1/", policy=Policy(allow=("127.0.0.1:1",)))


async def test_robots_are_honoured(site: Site) -> None:
    site.pages["/robots.txt"] = "User-agent: *\nDisallow: /private\n\nUser-agent: colosse\nDisallow: /ours\n"
    for path in ("/ours", "/private", "/open"):
        site.pages[path] = "<p>text</p>"
    with pytest.raises(UserError, match=r"robots\.txt"):
        await fetch(f"{site.url}/ours", policy=site.policy())
    assert (await fetch(f"{site.url}/private", policy=site.policy())).text == "<p>text</p>"
    assert site.seen == ["/robots.txt", "/private"]


async def test_unreadable_robots_forbid(site: Site) -> None:
    site.pages["/robots.txt"] = web.Response(status=503)
    site.pages["/"] = "<p>text</p>"
    with pytest.raises(UserError, match=r"robots\.txt"):
        await fetch(site.url, policy=site.policy())


async def test_the_fetcher_names_itself_keeps_no_cookies_and_uses_no_proxy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.pages["/"] = web.Response(text="x", headers={"Set-Cookie": "id=1; Path=/", "Content-Type": "text/html"})
    for _ in range(2):
        await fetch(site.url, policy=site.policy())
    assert all(headers["User-Agent"] == USER_AGENT and "Cookie" not in headers for headers in site.headers)


async def test_one_request_a_host_at_a_time(site: Site) -> None:
    running = most = 0

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return web.Response(text="x")

    site.pages["/a"] = site.pages["/b"] = site.pages["/c"] = slow
    await asyncio.gather(*(fetch(f"{site.url}/{name}", policy=site.policy()) for name in "abc"))
    assert most == 1


@pytest.mark.parametrize(
    ("body", "header", "text"),
    [
        ("café".encode(), "text/plain; charset=utf-8", "café"),
        ("café".encode("latin-1"), "text/plain; charset=iso-8859-1", "café"),
        ("café".encode("latin-1"), "text/plain", "café"),
        ("café".encode("latin-1"), "text/plain; charset=nonsense", "café"),
        ("café".encode("utf-16"), "text/plain", "café"),
        (b'<meta charset="iso-8859-1">caf\xe9', "text/html", '<meta charset="iso-8859-1">café'),
        (b"a\x1b]0;title\x07\x00b\tc\n", "text/plain", "a]0;titleb\tc\n"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "text/html; charset=latin-1", "café"),
        (b"\xff\xff\x81", "text/plain", "ÿÿ\ufffd"),
    ],
)
async def test_text_by_its_charset(site: Site, body: bytes, header: str, text: str) -> None:
    site.pages["/"] = web.Response(body=body, headers={"Content-Type": header})
    assert (await fetch(site.url, policy=site.policy())).text == text


async def test_pages_are_kept_for_a_while(site: Site, tmp_path: Path) -> None:
    site.pages["/"] = "<p>first</p>"
    site.pages["/private"] = web.Response(text="p", headers={"Cache-Control": "private"})
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'c.db'}") as store:
        first = await fetch(site.url, policy=site.policy(), store=store)
        site.pages["/"] = "<p>second</p>"
        assert await fetch(site.url, policy=site.policy(), store=store) == first
        with pytest.raises(ColosseError):  # what one may fetch is not handed to whom it is not allowed
            await fetch(site.url, store=store)
        assert (await fetch(site.url, policy=site.policy(cache_s=0), store=store)).text == "<p>second</p>"
        for _ in range(2):
            await fetch(f"{site.url}/private", policy=site.policy(), store=store)
        assert site.seen.count("/private") == 2
        await fetch(f"{site.url}/", policy=site.policy(cache_s=1e-6, allow=(site.host, "x")), store=store)
        page = await fetch(f"{site.url}/", policy=site.policy(cache_s=1e-6, allow=(site.host, "x")), store=store)
        assert page.text == "<p>second</p>"
        assert site.seen.count("/") == 4
