"""Who is asking. One function, `authenticate`, decides; routes say what they need with `require(scope)`.

A request carries an API key (`Authorization: Bearer`, `x-api-key` or `api-key`), or the cookie of a browser that logged
in with one, or nothing. With nothing, whoever sits at this machine is the user `local`, as long as the server is bound
to a loopback address and the request was not handed on by a proxy; everywhere else a key is needed. A wrong key is
refused everywhere: it is a mistake that somebody should learn of. What does not even look like a key of ours counts as
none on this machine: clients of OpenAI's API cannot leave theirs empty, so that people write `none` or `sk-...`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from colosse.core.errors import AuthenticationError, PermissionDeniedError
from colosse.server.services import Services
from colosse.store import keys
from colosse.store.tables import now

COOKIE = "colosse_session"
USED_PRECISION = timedelta(minutes=1)
"""How exactly a key's last use is kept; finer would be a write for every request."""
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@dataclass(frozen=True)
class Principal:
    """Somebody who may ask.

    Attributes:
        user_id: owner of what they make; rows are theirs by it.
        name: for people.
        scopes: of `read`, `chat`, `admin`.
        key_id: the API key they came with, directly or by a session; empty for the local user.
    """

    user_id: str
    name: str
    scopes: frozenset[str]
    key_id: str = ""


LOCAL = Principal(keys.LOCAL_USER, keys.LOCAL_USER, frozenset(keys.SCOPES))


async def authenticate(connection: HTTPConnection, services: Services) -> Principal:
    """Who sends this request; the answer is kept with the request.

    Raises:
        AuthenticationError: a wrong or revoked key, or none where one is needed.
    """
    known: Principal | None = connection.scope.setdefault("state", {}).get("principal")
    if known is None:
        known = await _identify(connection, services)
        connection.scope["state"]["principal"] = known
    return known


def require(scope: str) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that lets in who has `scope` and gives the route their `Principal`.

    Use: `principal: Annotated[Principal, Depends(require("chat"))]`, or `Chat` and `Read` below.
    """

    async def gate(request: Request) -> Principal:
        principal = await authenticate(request, request.app.state.services)
        if scope not in principal.scopes:
            raise PermissionDeniedError(
                f"this key may not do that: it needs the scope '{scope}'",
                hint=f"make one with `colosse keys create --scope {scope}`",
            )
        return principal

    gate.__name__ = f"require_{scope}"
    return gate


ReadPrincipal = Annotated[Principal, Depends(require("read"))]
ChatPrincipal = Annotated[Principal, Depends(require("chat"))]


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, in brackets or not) is this machine's own loopback."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def refuse_without_key(host: str, session: AsyncSession) -> None:
    """Refuse to serve on an address that others reach while there is no API key.

    Raises:
        AuthenticationError: says how to make one.
    """
    if not is_loopback(host) and not await keys.any_key(session):
        raise AuthenticationError(
            f"refusing to serve on {host} without any API key: anybody could use it",
            hint="make one with `colosse keys create`, or serve on 127.0.0.1",
            code="no_api_key",
        )


def host_name(host: str) -> str:
    """The name or address in a `Host` header, without its port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


async def _identify(connection: HTTPConnection, services: Services) -> Principal:
    local = _is_local(connection, services)
    given = {key for key in _keys_in(connection) if not local or key.startswith(keys.PREFIX)}
    if len(given) > 1:
        raise AuthenticationError("the request carries several different API keys", hint="send one")
    async with services.store.read() as session:
        if given:
            found = await keys.find_key(session, given.pop())
            if found is None:
                hint = "on this machine none is needed: leave it empty" if local else "see `colosse keys list`"
                raise AuthenticationError("wrong or revoked API key", hint=hint)
        else:
            cookie = connection.cookies.get(COOKIE)
            found = await keys.find_session(session, cookie) if cookie else None
    if found is not None:
        key, user = found
        if key.last_used_at is None or now() - key.last_used_at > USED_PRECISION:
            services.key_last_used[key.id] = now()
        return Principal(user.id, user.name, frozenset(key.scopes), key.id)
    if local:
        return LOCAL
    raise AuthenticationError("an API key is needed here", hint="make one with `colosse keys create`")


def _keys_in(connection: HTTPConnection) -> set[str]:
    given = {connection.headers.get("x-api-key", "").strip(), connection.headers.get("api-key", "").strip()}
    scheme, _, token = connection.headers.get("authorization", "").strip().partition(" ")
    if scheme and scheme.lower() != "bearer":
        raise AuthenticationError(f"unknown kind of authorization {scheme[:20]!r}", hint="Authorization: Bearer <key>")
    given.add(token.strip())
    return given - {""}


def _is_local(connection: HTTPConnection, services: Services) -> bool:
    """Whether this can only be somebody at this machine: bound, called and named as loopback, and by no proxy."""
    client = connection.client
    return (
        is_loopback(services.settings.host)
        and client is not None
        and is_loopback(client.host)
        and is_loopback(host_name(connection.headers.get("host", "")))
        and not any(name in connection.headers for name in _PROXY_HEADERS)
    )
