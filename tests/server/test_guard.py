from __future__ import annotations

import json

import httpx2
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from colosse.core.settings import Settings
from colosse.server.app import create_app
from colosse.server.guard import SECURITY_HEADERS
from tests.server.conftest import FakeClient, public_app, running


def code(response: httpx2.Response) -> str:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["code"])


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("127.0.0.1:99", True),
        ("[::1]:8420", True),
        ("LOCALHOST.:1", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:8420", False),
        ("127.0.0.1@evil.example", False),
        ("evil.example#localhost", False),
        ("192.168.1.7", False),
        ("[::1", False),
        ("", False),
    ],
)
async def test_names_that_a_loopback_server_answers_to(http: httpx2.AsyncClient, host: str, allowed: bool) -> None:
    for path in ("/health", "/api/state", "/"):
        response = await http.get(path, headers={"host": host})
        assert (response.status_code != 403) is allowed, path
        assert allowed or code(response) == "host_not_allowed"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("192.168.1.7", True), ("[2001:db8::1]:80", True), ("chat.example.org:443", True), ("evil.example", False)],
)
async def test_names_that_a_public_server_answers_to(settings: Settings, host: str, allowed: bool) -> None:
    server = settings.server.model_copy(update={"allowed_hosts": ["Chat.example.org"]})
    app = await public_app(settings.model_copy(update={"server": server}), FakeClient())
    async with running(app) as http:
        assert (await http.get("/health", headers={"host": host})).status_code == (200 if allowed else 403)


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"origin": "http://localhost:7"}, True),
        ({"origin": "https://localhost:7"}, True),  # a proxy may speak TLS for us
        ({"origin": "http://localhost:8"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://localhost:7.evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
async def test_foreign_pages_change_nothing(http: httpx2.AsyncClient, headers: dict[str, str], allowed: bool) -> None:
    headers = {"host": "localhost:7", **headers}
    response = await http.post("/api/threads", json={}, headers=headers)
    assert response.status_code == (201 if allowed else 403)
    assert allowed or code(response) == "origin_not_allowed"
    assert (await http.get("/api/threads", headers=headers)).status_code == 200  # reading is the browser's to refuse
    assert not any(name.startswith("access-control") for name in response.headers)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_only_json_is_taken(http: httpx2.AsyncClient, kind: str) -> None:
    response = await http.post("/api/threads", content=b"{}", headers={"content-type": kind} if kind else {})
    assert (response.status_code, code(response)) == (415, "unsupported_media_type")
    charset = {"content-type": "application/json; charset=utf-8"}
    assert (await http.post("/api/threads", content=b"{}", headers=charset)).status_code == 201


@pytest.mark.parametrize(
    "body", [b"{", b"", b"nope", b"[" * 100_000, b"\xff\xfe", b'{"title": 1}', b"[]", b'"x"', b"null", b'{"a": NaN}']
)
async def test_bad_bodies_are_the_callers_fault(http: httpx2.AsyncClient, body: bytes) -> None:
    response = await http.post("/api/threads", content=body, headers=JSON)
    assert response.status_code == 400, response.text
    assert code(response) in ("invalid_json", "invalid_value", "invalid_request")


async def test_a_huge_body_is_refused_told_or_not(settings: Settings, client: FakeClient) -> None:
    server = settings.server.model_copy(update={"max_body_mb": 0.1})
    async with running(create_app(settings.model_copy(update={"server": server}), client)) as http:

        async def pieces():
            for _ in range(200):
                yield b" " * 1000

        for content in (b" " * 200_000, pieces()):
            response = await http.post("/api/threads", content=content, headers=JSON)
            assert (response.status_code, code(response)) == (413, "body_too_large")
        fits = json.dumps({"title": "x", "system": "y" * 90_000}).encode()
        assert (await http.post("/api/threads", content=fits, headers=JSON)).status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/v1/nothing", 404),
        ("POST", "/nothing", 404),
        ("PUT", "/api/threads", 405),
        ("DELETE", "/health", 405),
        ("PROPFIND", "/api/threads", 405),
        ("GET", "/api/session", 405),
        ("GET", "/api/threads/", 404),
        ("GET", "/api//threads", 404),
        ("GET", "/api/threads?limit=0", 400),
        ("GET", "/api/threads?limit=x", 400),
        ("GET", "/api/threads/%00", 404),
        ("GET", "/api/threads/%F0%9F%8E%88", 404),
        ("GET", "/api/threads/..%2f..%2fetc%2fpasswd", 404),
        ("GET", f"/api/threads/{'x' * 3000}", 404),
    ],
)
async def test_wrong_addresses(http: httpx2.AsyncClient, method: str, path: str, status: int) -> None:
    response = await http.request(method, path)
    assert response.status_code == status, response.text
    code(response)


async def test_an_address_names_its_methods(http: httpx2.AsyncClient) -> None:
    for path, methods in (("/api/threads", "GET, POST"), ("/api/threads/x", "GET, PATCH, DELETE"), ("/health", "GET")):
        response = await http.put(path)
        assert (response.status_code, response.headers["allow"]) == (405, methods)
        assert f"try {methods}" in response.json()["error"]["message"]


async def test_headers_of_every_answer(http: httpx2.AsyncClient) -> None:
    for path in ("/", "/health", "/api/state", "/api/nothing", "/metrics"):
        response = await http.get(path)
        assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert response.headers["x-request-id"]
    assert (await http.get("/api/state")).headers["cache-control"] == "no-store"
    policy = SECURITY_HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("x" * 65, False), ("a b", False)])
async def test_request_ids_are_kept_when_they_are_harmless(http: httpx2.AsyncClient, given: str, kept: bool) -> None:
    response = await http.get("/health", headers={"x-request-id": given})
    assert (response.headers["x-request-id"] == given) is kept


async def test_an_unexpected_failure_tells_nothing_of_the_inside(settings: Settings, client: FakeClient) -> None:
    app = create_app(settings, client)
    _break(app)
    async with running(app) as http:
        response = await http.get("/broken")
        assert (response.status_code, code(response)) == (500, "internal_error")
        assert "secret" not in response.text
        assert "Traceback" not in response.text
        with pytest.raises(httpx2.RemoteProtocolError):  # too late for a status: the connection is cut
            await http.get("/cut")
        assert (await http.get("/health")).status_code == 200


def _break(app: FastAPI) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("secret")

    @app.get("/cut")
    async def cut() -> StreamingResponse:
        async def parts():
            yield b"half"
            raise ZeroDivisionError("secret")

        return StreamingResponse(parts())
