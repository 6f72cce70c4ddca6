from __future__ import annotations

import httpx2
import pytest
from fastapi import FastAPI

from colosse.core.errors import AuthenticationError
from colosse.core.settings import Settings
from colosse.server.app import create_app
from colosse.server.auth import COOKIE, is_loopback
from colosse.store import keys
from tests.server.conftest import FakeClient, eventually, make_key, running

FORMS = [
    lambda key: {"authorization": f"Bearer {key}"},
    lambda key: {"authorization": f"bearer  {key}"},
    lambda key: {"x-api-key": key},
    lambda key: {"api-key": key},
]


async def user(http: httpx2.AsyncClient, **headers: str) -> str:
    response = await http.get("/api/state", headers=headers)
    return response.json()["user"]["name"] if response.status_code == 200 else str(response.status_code)


async def test_whoever_sits_here_is_the_local_user(http: httpx2.AsyncClient) -> None:
    assert await user(http) == "local"


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"])
async def test_what_a_proxy_hands_on_is_not_from_here(http: httpx2.AsyncClient, name: str) -> None:
    assert await user(http, **{name: "for=1.2.3.4"}) == "401"


async def test_another_name_of_this_server_is_not_here(settings: Settings, client: FakeClient) -> None:
    server = settings.server.model_copy(update={"allowed_hosts": ["chat.example.org"]})
    async with running(create_app(settings.model_copy(update={"server": server}), client)) as http:
        assert await user(http, host="chat.example.org") == "401"
        assert await user(http) == "local"


@pytest.mark.parametrize("form", FORMS)
async def test_a_key_in_every_header(http: httpx2.AsyncClient, app: FastAPI, form) -> None:
    assert await user(http, **form(await make_key(app, "alice"))) == "alice"
    assert await user(http, **form("ck-" + "0" * 43)) == "401"
    revoked = await make_key(app, "bob")
    async with app.state.services.store.write() as session:
        await keys.revoke_key(session, revoked[:8])
    assert await user(http, **form(revoked)) == "401"


@pytest.mark.parametrize("form", FORMS)
async def test_text_that_is_no_key_counts_as_none_here(http: httpx2.AsyncClient, form) -> None:
    assert await user(http, **form("none")) == "local"


@pytest.mark.parametrize("form", FORMS)
async def test_text_that_is_no_key_is_refused_elsewhere(public: tuple[httpx2.AsyncClient, FastAPI], form) -> None:
    assert await user(public[0], **form("none")) == "401"


async def test_a_public_address_needs_a_key_for_everything(public: tuple[httpx2.AsyncClient, FastAPI]) -> None:
    http, app = public
    assert await user(http) == "401"
    assert (await http.get("/metrics")).status_code == 401
    assert (await http.get("/api/nothing")).status_code == 401  # which addresses exist is nobody's business
    assert (await http.get("/health")).status_code == 200
    assert await user(http, **{"x-api-key": await make_key(app)}) == "local"
    response = await http.get("/api/state")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_nothing_of_the_body_is_read_before_the_key(public: tuple[httpx2.AsyncClient, FastAPI]) -> None:
    response = await public[0].post("/api/threads", content=b"{not json", headers={"content-type": "application/json"})
    assert response.status_code == 401


async def test_two_keys_are_refused(http: httpx2.AsyncClient, app: FastAPI) -> None:
    one, two = await make_key(app, "alice"), await make_key(app, "bob")
    assert await user(http, **{"x-api-key": one, "authorization": f"Bearer {two}"}) == "401"
    assert await user(http, **{"x-api-key": one, "authorization": f"Bearer {one}"}) == "alice"


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", ""])
async def test_odd_authorization(http: httpx2.AsyncClient, value: str) -> None:
    assert await user(http, authorization=value) == ("401" if value.startswith("Basic") else "local")


async def test_scopes_grow_and_are_enforced(http: httpx2.AsyncClient, app: FastAPI) -> None:
    for scope, may_write in (("read", False), ("chat", True), ("admin", True)):
        headers = {"x-api-key": await make_key(app, scope=scope)}
        assert (await http.get("/api/threads", headers=headers)).status_code == 200
        response = await http.post("/api/threads", json={}, headers=headers)
        assert response.status_code == (201 if may_write else 403)
    assert (
        "scope 'chat'"
        in (await http.post("/api/threads", json={}, headers={"x-api-key": await make_key(app, scope="read")})).text
    )


async def test_logging_in_with_a_key(public: tuple[httpx2.AsyncClient, FastAPI]) -> None:
    http, app = public
    key = await make_key(app, "alice")
    assert (await http.post("/api/session", json={"key": "ck-wrong"})).status_code == 401
    response = await http.post("/api/session", json={"key": key})
    assert response.json()["name"] == "alice"
    cookie = response.headers["set-cookie"]
    assert all(part in cookie for part in (COOKIE, "HttpOnly", "SameSite=strict", "Path=/"))
    assert key not in cookie
    assert await user(http) == "alice"
    first = http.cookies[COOKIE]
    await http.post("/api/session", json={"key": key})
    assert http.cookies[COOKIE] != first  # a new one each time, and the old one ends
    http.cookies = httpx2.Cookies()
    assert await user(http, cookie=f"{COOKIE}={first}") == "401"


async def test_logging_out_and_revoking_end_a_session(public: tuple[httpx2.AsyncClient, FastAPI]) -> None:
    http, app = public
    for end in ("logout", "revoke"):
        key = await make_key(app, end)
        await http.post("/api/session", json={"key": key})
        cookie = f"{COOKIE}={http.cookies[COOKIE]}"
        assert await user(http) == end
        if end == "logout":
            assert (await http.delete("/api/session")).status_code == 204
        else:
            async with app.state.services.store.write() as session:
                await keys.revoke_key(session, key[:8])
        http.cookies = httpx2.Cookies()
        assert await user(http, cookie=cookie) == "401"


async def test_a_stale_cookie_does_not_lock_out_who_sits_here(http: httpx2.AsyncClient) -> None:
    assert await user(http, cookie=f"{COOKIE}=old") == "local"


async def test_only_hashes_are_kept(http: httpx2.AsyncClient, app: FastAPI, settings: Settings) -> None:
    key = await make_key(app, "alice")
    await http.post("/api/session", json={"key": key})
    cookie = http.cookies[COOKIE]
    kept = b"".join(path.read_bytes() for path in settings.home.glob("colosse.db*"))
    assert key[:8].encode() in kept  # the prefix, to tell keys apart
    assert key.encode() not in kept
    assert cookie.encode() not in kept


async def test_when_a_key_was_used_is_kept(http: httpx2.AsyncClient, app: FastAPI) -> None:
    await user(http, **{"x-api-key": await make_key(app, "alice")})
    await eventually(lambda: not app.state.services.key_last_used)
    async with app.state.services.store.read() as session:
        ((key, _),) = await keys.list_keys(session)
    assert key.last_used_at is not None


async def test_a_public_address_without_any_key_is_refused(settings: Settings, client: FakeClient) -> None:
    app = create_app(settings.model_copy(update={"host": "0.0.0.0"}), client)
    with pytest.raises(AuthenticationError, match="colosse keys create"):
        async with app.router.lifespan_context(app):
            pass


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("localhost.evil.com", False),
        ("127.0.0.1.evil.com", False),
        ("192.168.1.2", False),
        ("", False),
    ],
)
def test_loopback(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer
