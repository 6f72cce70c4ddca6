"""Downloads over HTTP that resume, verify and become visible only when whole.

While a file comes it is `NAME.partial`, with the server's validator (ETag) beside it in `NAME.partial.etag`. A later
call goes on from there with `Range` and `If-Range`, so a file that changed on the server starts again instead of
being mixed. Proxies (`HTTPS_PROXY`, ...), `SSL_CERT_FILE` and the system's certificates are honoured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from colosse import __version__
from colosse.core.errors import ColosseError, NotFoundError, PermissionDeniedError, UnavailableError
from colosse.core.files import disk_full_is_clear, ensure_free, sha256_file, size_of, sync_folder, write_all

REACH_S = 8.0
"""Seconds within which a server must answer a small question, name lookup included, or it counts as out of reach: more
than the five after which a resolver asks again when its packet was lost."""
RETRIES = 5
"""Failures in a row, with no byte between them, after which a download gives up."""
BACKOFF_S = 0.5
"""Pause after the first failure; doubles with each further one."""


class IntegrityError(ColosseError):
    """Bytes that are not the ones promised; they have been thrown away."""

    status = 502
    code = "wrong_hash"


class _AgainError(Exception):
    """Worth another try; `pause_s` is the server's wish."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def new_client() -> httpx2.AsyncClient:
    """The client that all downloads use."""
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(30, connect=10),
        follow_redirects=True,
        headers={"User-Agent": f"colosse/{__version__}"},
    )


async def get_json(client: httpx2.AsyncClient, url: str, headers: Mapping[str, str] | None = None) -> Any:
    """Ask a server one small question.

    Raises:
        UnavailableError: it is out of reach, or does not answer with JSON.
        NotFoundError, PermissionDeniedError: its own words.
    """
    try:
        async with asyncio.timeout(REACH_S):
            await _look_up(url)
            try:
                response = await client.get(url, headers=headers)
            except (
                httpx2.ReadError,
                httpx2.RemoteProtocolError,
            ):  # a connection that was closed while idle, or dropped
                response = await client.get(url, headers=headers)
    except TimeoutError:
        raise UnavailableError(f"{host_of(url)} is out of reach: no answer in {REACH_S:g} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise UnavailableError(f"{host_of(url)} is out of reach: {_words(error)}") from None
    if response.status_code >= 400:
        raise _refusal(response.status_code, url)
    try:
        return json.loads(response.content)
    except ValueError:
        raise UnavailableError(f"{shown(url)} does not answer with JSON") from None


async def _look_up(url: str) -> None:
    """Find the server's address, in a thread that may be left behind.

    A name lookup cannot be cancelled, and asyncio waits at its end for those that it started itself: where name
    servers do not answer, "out of reach" would be said after 20 seconds.

    Raises:
        OSError: the name is not known.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if getproxies().keys() & {parts.scheme, "all"} and not proxy_bypass(host):
        return  # the proxy finds it
    loop = asyncio.get_running_loop()
    found = asyncio.Event()

    def settle(_: Future[None]) -> None:
        with contextlib.suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(found.set)

    lookup = _lookup(host)
    lookup.add_done_callback(settle)
    await found.wait()
    lookup.result()


_lookups: dict[str, Future[None]] = {}
"""Name lookups of this process by host, on their way or successful: a burst of the same ones loses packets."""
_lookups_lock = threading.Lock()


def _lookup(host: str) -> Future[None]:
    """The lookup of `host`, begun if there is none. A failed one is forgotten, so that the next caller tries again."""

    def look_up(future: Future[None]) -> None:
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            with _lookups_lock:
                del _lookups[host]
            future.set_exception(error)
        else:
            future.set_result(None)

    with _lookups_lock:
        if host not in _lookups:
            _lookups[host] = Future()
            threading.Thread(target=look_up, args=(_lookups[host],), daemon=True).start()
        return _lookups[host]


def kept(target: Path) -> int:
    """Bytes of `target` that are here already: all of them, or what an earlier call left."""
    return size_of(target) or size_of(target.with_name(f"{target.name}.partial"))


async def download(
    client: httpx2.AsyncClient,
    url: str,
    target: Path,
    *,
    sha256: str = "",
    size: int = 0,
    headers: Mapping[str, str] | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> str:
    """Bring `url` to `target`, going on from what an earlier call left.

    Args:
        client: from `new_client`.
        url: where it is.
        target: the file it becomes, whole or not at all.
        sha256: expected hash; empty takes what comes.
        size: expected size in bytes; 0 takes what comes.
        headers: further request headers.
        advance: hears of bytes as they come, those that `kept` counts not included; negative when some of those
            cannot be used.

    Returns:
        The file's SHA-256.

    Raises:
        UnavailableError: the server is out of reach or keeps failing; what has come is kept.
        NotFoundError, PermissionDeniedError: the server's refusal.
        IntegrityError: wrong size or hash; nothing is kept.
        DiskFullError: what has come is kept.
    """
    partial = target.with_name(f"{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    attempt = _Attempt(client, url, partial, bool(sha256), size, dict(headers or {}), advance)
    failures = 0
    while True:
        before = size_of(partial)
        try:
            with disk_full_is_clear(target.parent):
                await attempt.run()
            break
        except (httpx2.TransportError, _AgainError) as error:
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout) and not attempt.connected:
                raise UnavailableError(f"{host_of(url)} is out of reach: {_words(error)}") from None
            failures = 1 if size_of(partial) > before else failures + 1
            if failures > RETRIES:
                raise UnavailableError(
                    f"the download of {shown(url)} keeps failing: {_words(error)}",
                    hint="what has come so far is kept: run the same command again to go on",
                ) from None
            wish = error.pause_s if isinstance(error, _AgainError) else 0.0
            await asyncio.sleep(max(wish, BACKOFF_S * 2 ** (failures - 1)))
    digest = await sha256_file(partial)
    attempt.forget()
    if sha256 and digest != sha256:
        partial.unlink()
        raise IntegrityError(
            f"{shown(url)} has the wrong SHA-256: {digest}, expected {sha256}; it was thrown away",
            hint="try again; if it stays wrong, the file on the server is not the one of the catalogue",
        )
    partial.replace(target)
    sync_folder(target.parent)
    return digest


class _Attempt:
    """One file's requests: each `run` asks for what is still missing."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        url: str,
        partial: Path,
        verified: bool,
        size: int,
        headers: dict[str, str],
        advance: Callable[[int], None],
    ) -> None:
        self.client, self.url, self.partial, self.headers, self.advance = client, url, partial, headers, advance
        self.verified, self.size = verified, size
        self.etag_file = partial.with_name(f"{partial.name}.etag")
        self.connected = False
        self.counted = size_of(partial)

    async def run(self) -> None:
        have = size_of(self.partial)
        etag = self.etag_file.read_text(encoding="utf-8") if self.etag_file.is_file() else ""
        if not (etag or self.verified) or (self.size and have > self.size):
            have = 0  # nothing would tell whether these bytes belong to what the server has now
        self._count(have)
        if self.size and have == self.size:
            return
        asked = {"Accept-Encoding": "identity", **self.headers}
        if have:
            asked["Range"] = f"bytes={have}-"
            if etag:
                asked["If-Range"] = etag
        async with self.client.stream("GET", self.url, headers=asked) as response:
            self.connected = True
            if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{have}":
                return  # nothing is missing: an earlier call was stopped before it could verify
            await self._receive(response, self._start(response, have))

    def forget(self) -> None:
        self.etag_file.unlink(missing_ok=True)

    def _start(self, response: httpx2.Response, have: int) -> int:
        """Byte that the body begins with.

        Raises:
            _AgainError: a failure that passes.
            ColosseError: one that does not.
        """
        status = response.status_code
        if status == 416:  # what we hold is not a beginning of what is there
            self._drop()
            raise _AgainError("the server has another file than the one begun")
        if status in (408, 425, 429) or status >= 500:
            pause = response.headers.get("Retry-After", "")
            raise _AgainError(f"status {status}", min(float(pause), 60.0) if pause.isdigit() else 0.0)
        if status >= 400:
            raise _refusal(status, self.url)
        if status == 206:
            match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if match and int(match[1]) == have:
                return have
            self._drop()
            raise _AgainError("the server sent another range than the one asked for")
        return 0

    async def _receive(self, response: httpx2.Response, start: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else 0
        if self.size and total and total != self.size:
            raise IntegrityError(f"{shown(self.url)} has {total} bytes, expected {self.size}")
        self._count(start)
        ensure_free(self.partial.parent, max(0, (total or self.size) - start))
        etag = response.headers.get("ETag", "")
        if etag and not etag.startswith("W/"):
            self.etag_file.write_text(etag, encoding="utf-8")
        else:
            self.forget()
        with self.partial.open("r+b" if start else "wb", buffering=0) as file:
            file.seek(start)
            async for chunk in response.aiter_raw():
                write_all(file, chunk)
                self._count(self.counted + len(chunk))
            os.fsync(file.fileno())
        if self.size and self.counted != self.size:
            raise _AgainError(f"the connection closed after {self.counted} of {self.size} bytes")

    def _drop(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.forget()

    def _count(self, done: int) -> None:
        self.advance(done - self.counted)
        self.counted = done


def host_of(url: str) -> str:
    """The server's name, without any password that the URL holds."""
    return urlsplit(url).hostname or url


def shown(url: str) -> str:
    """The URL as messages may print it: no user, no password, no query (signed links)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _refusal(status: int, url: str) -> ColosseError:
    if status == 404:
        return NotFoundError(f"{shown(url)} does not exist (status 404)")
    if status in (401, 403):
        return PermissionDeniedError(f"{shown(url)} may not be read (status {status})")
    return UnavailableError(f"{shown(url)} answered with status {status}")


def _words(error: Exception) -> str:
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
