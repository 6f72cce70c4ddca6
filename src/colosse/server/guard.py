"""The outermost layer of the server, plain ASGI: what must hold for every request whatever its route.

It checks `Host` (a foreign page whose name was pointed at this machine is refused) and, for methods that change
something, `Origin` and the kind of the body (a foreign page cannot send JSON here without asking); it limits the body's
size, adds the security headers, answers unexpected exceptions, and counts and logs each request. Requests to the APIs
are authenticated here already, so that nobody unknown learns which addresses exist or has their body read.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time
import uuid
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from colosse.core.errors import ColosseError, PermissionDeniedError, TooLargeError
from colosse.server.auth import authenticate, host_name, is_loopback
from colosse.server.errors import UnsupportedMediaTypeError, as_colosse_error, error_response
from colosse.server.services import Services

log = structlog.get_logger(__name__)

API_PREFIXES = ("/api/", "/v1/")
PUBLIC = frozenset({("POST", "/api/session")})
"""Addresses under the prefixes that may be asked without being known: logging in."""
FILES, FILE = "/api/documents", "application/octet-stream"
"""The address that takes a file as it is, and the kind that says so; a foreign page cannot send that unasked either."""

SECURITY_HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "require-trusted-types-for 'script'",
        )
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """The middleware; one per application."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self.services = services
        self._max_body = int(services.settings.server.max_body_mb * 1_000_000)
        names = [services.settings.host, *services.settings.server.allowed_hosts]
        self._bound_loopback = is_loopback(services.settings.host)
        if not self._bound_loopback:
            names.append(socket.gethostname())
        self._hosts = {name.strip("[]").lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id", "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                out["x-request-id"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    out.setdefault(name, value)
                if scope["path"].startswith(API_PREFIXES):
                    out.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self._check(scope, headers)
            if scope["path"].startswith(API_PREFIXES) and (scope["method"], scope["path"]) not in PUBLIC:
                await authenticate(HTTPConnection(scope), self.services)
            await self.app(scope, self._limited(receive), send_guarded)
        except Exception as error:
            converted = as_colosse_error(error)
            if status:  # too late to say so: the connection is cut, which tells the client that the answer is not whole
                return
            await error_response(converted)(scope, receive, send_guarded)
        finally:
            self._record(scope, status, time.perf_counter() - start)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._allowed(host):
            raise PermissionDeniedError(
                f"this server does not answer to the name {host[:100]!r}",
                hint="add it to server.allowed_hosts in config.toml if it is meant to",
                code="host_not_allowed",
            )
        if scope["method"] in _SAFE_METHODS:
            return
        origin = headers.get("origin")
        if (origin is not None and urlsplit(origin).netloc.lower() != host.lower()) or (
            headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        ):
            raise PermissionDeniedError(
                f"requests from pages of {(origin or 'another site')[:100]!r} are refused", code="origin_not_allowed"
            )
        length = headers.get("content-length", "0")
        if length == "0" and "transfer-encoding" not in headers:
            return
        if length.isdecimal() and int(length) > self._max_body:
            raise self._too_large()
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        wanted = FILE if scope["path"] == FILES else "application/json"
        if kind != wanted and scope["path"].startswith(API_PREFIXES):
            raise UnsupportedMediaTypeError(
                f"the body must be {'a file' if wanted == FILE else 'JSON'}, not {kind[:100] or 'untold'}",
                hint=f"Content-Type: {wanted}",
            )

    def _allowed(self, host: str) -> bool:
        name = host_name(host)
        if is_loopback(name) or name in self._hosts:
            return True
        # An address cannot be rebound as a name can; anybody who can reach a public binding may use any of them.
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return not self._bound_loopback

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                raise self._too_large()
            return message

        return receive_limited

    def _too_large(self) -> ColosseError:
        return TooLargeError(
            f"the body is over {self.services.settings.server.max_body_mb:g} MB",
            hint="send less, or raise server.max_body_mb",
            code="body_too_large",
        )

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = _pattern(scope)
        method = scope["method"] if scope["method"] in _METHODS else "(other)"
        self.services.metrics.requests.labels(method, route, status).inc()
        self.services.metrics.latency.labels(method, route).observe(seconds)
        principal = scope.get("state", {}).get("principal")
        # Pages, probes and scrapes are looked at by the hundred.
        (log.info if scope["path"].startswith(API_PREFIXES) else log.debug)(
            "request",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            user=principal.user_id if principal else None,
        )


_METHODS = _SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE"}


def _pattern(scope: Scope) -> str:
    """The pattern of the route that answered, never its path: labels must be few, and paths hold ids."""
    pattern: str = getattr(scope.get("route"), "path", "")
    if not pattern or ":path" in pattern:
        return pattern or "(none)"
    # A route of an included router does not know its prefix.
    return "/".join(scope["path"].split("/")[: -pattern.count("/")]) + pattern
