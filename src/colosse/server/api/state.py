"""`/api/state` and `/api/session`: who is asking and what this server can do."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from colosse import __version__
from colosse.core.errors import AuthenticationError, NotFoundError
from colosse.server.api.schema import Limits, SessionIn, State, UserOut
from colosse.server.auth import COOKIE, ReadPrincipal
from colosse.server.errors import ERROR_RESPONSES
from colosse.server.services import ServicesDep
from colosse.store import keys

router = APIRouter(tags=["state"], responses=ERROR_RESPONSES)


@router.get("/state", operation_id="getState")
async def state(principal: ReadPrincipal, services: ServicesDep) -> State:
    """Version, user, models and limits."""
    try:
        default: str | None = services.client.default_model
    except NotFoundError:
        default = None
    settings = services.settings.server
    return State(
        version=__version__,
        user=UserOut(id=principal.user_id, name=principal.name),
        default_model=default,
        models=services.client.models(),
        limits=Limits(
            max_body_bytes=int(settings.max_body_mb * 1_000_000), max_concurrent_runs=settings.max_concurrent_runs
        ),
    )


@router.post("/session", operation_id="logIn")
async def log_in(body: SessionIn, request: Request, response: Response, services: ServicesDep) -> UserOut:
    """Exchange an API key for a cookie that scripts of a page cannot read."""
    async with services.store.write() as session:
        found = await keys.find_key(session, body.key)
        if found is None:
            raise AuthenticationError("wrong or revoked API key", hint="see `colosse keys list`")
        if old := request.cookies.get(COOKIE):
            await keys.end_session(session, old)
        key, user = found
        cookie, _ = await keys.create_session(session, key)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(keys.SESSION_LIFETIME.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return UserOut(id=user.id, name=user.name)


@router.delete("/session", operation_id="logOut", status_code=204)
async def log_out(_principal: ReadPrincipal, request: Request, response: Response, services: ServicesDep) -> None:
    """End the browser's session."""
    if cookie := request.cookies.get(COOKIE):
        async with services.store.write() as session:
            await keys.end_session(session, cookie)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
