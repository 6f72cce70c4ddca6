"""Every address of the server, asked by nobody, by the owner, by somebody else and with a key of too little scope.

An address that is not listed here fails the test, so that none is added without saying who may use it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx2
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from colosse.core.settings import Settings
from colosse.server.app import create_app
from colosse.server.skills import SKILLS
from colosse.store.tables import Document, Passage, SkillRun
from colosse.store.tables import Response as StoredResponse
from tests.server.conftest import FakeClient, make_key


class Rule(NamedTuple):
    """Who may use an address.

    Attributes:
        scope: what it needs; empty: open to all.
        body: a body that is right.
        owned: what it shows belongs to somebody.
    """

    scope: str = ""
    body: Any = None
    owned: bool = False


NOWHERE = {"thread_id": "thread_0", "run_id": "run_0", "response_id": "resp_0", "skill_run_id": "skill_0"}
NOWHERE |= {"document_id": "doc_0"}
MESSAGES = [{"role": "user", "content": "x"}]
RULES = {
    "GET /health": Rule(),
    "POST /api/session": Rule(body={"key": "ck-wrong"}),
    "GET /metrics": Rule("read"),
    "GET /api/state": Rule("read"),
    "DELETE /api/session": Rule("read"),
    "GET /api/threads": Rule("read"),
    "POST /api/threads": Rule("chat", body={}),
    "GET /api/threads/{thread_id}": Rule("read", owned=True),
    "PATCH /api/threads/{thread_id}": Rule("chat", body={"title": "stolen"}, owned=True),
    "POST /api/threads/{thread_id}/runs": Rule("chat", body={"content": "x"}, owned=True),
    "GET /api/runs/{run_id}": Rule("read", owned=True),
    "GET /api/runs/{run_id}/events": Rule("read", owned=True),
    "DELETE /api/runs/{run_id}": Rule("chat", owned=True),
    "DELETE /api/threads/{thread_id}": Rule("chat", owned=True),  # last: the others need it
    "GET /api/skills": Rule("read"),
    "GET /api/skills/runs": Rule("read"),
    "GET /api/skills/runs/{skill_run_id}": Rule("read", owned=True),
    "GET /api/skills/runs/{skill_run_id}/events": Rule("read", owned=True),
    "GET /api/skills/runs/{skill_run_id}/file": Rule("read", owned=True),
    "DELETE /api/skills/runs/{skill_run_id}": Rule("chat", owned=True),
    "GET /api/documents": Rule("read"),
    "POST /api/documents": Rule("chat", body=b"text"),
    "GET /api/documents/search": Rule("read"),
    "GET /api/documents/{document_id}/passages/{position}": Rule("read", owned=True),
    "DELETE /api/documents/{document_id}": Rule("chat", owned=True),
    **{f"POST /api/skills/{name}/runs": Rule("chat", body={}) for name in SKILLS},
    "GET /v1/models": Rule("read"),
    "GET /v1/models/{model_id:path}": Rule("read"),
    "POST /v1/chat/completions": Rule("chat", body={"messages": MESSAGES}),
    "POST /v1/completions": Rule("chat", body={"prompt": "x"}),
    "POST /v1/embeddings": Rule("chat", body={"input": "x"}),
    "POST /v1/responses": Rule("chat", body={"input": "x"}),
    "GET /v1/responses/{response_id}": Rule("read", owned=True),
    "GET /v1/responses/{response_id}/input_items": Rule("read", owned=True),
    "POST /v1/responses/{response_id}/cancel": Rule("chat", owned=True),
    "DELETE /v1/responses/{response_id}": Rule("chat", owned=True),
}


def routes(app: FastAPI) -> set[str]:
    """`METHOD /path` of everything that the application answers."""
    found = set()
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            found |= {f"{method} {context.path}" for method in context.methods or ()}
    return found


def test_every_address_is_listed_and_no_other(settings: Settings, client: FakeClient) -> None:
    assert routes(create_app(settings, client)) == set(RULES)


async def call(http: httpx2.AsyncClient, address: str, ids: dict[str, str], **headers: str) -> httpx2.Response:
    method, path = address.split(" ")
    url = path.replace(":path", "").format(model_id="fake", position=0, **ids)
    body = RULES[address].body
    if isinstance(body, bytes):
        raw = {"content-type": "application/octet-stream", **headers}
        return await http.request(method, url, params={"name": "a.txt"}, content=body, headers=raw)
    return await http.request(method, url, json=body, headers=headers)


async def test_nobody_gets_in_without_a_key(public: tuple[httpx2.AsyncClient, FastAPI]) -> None:
    http, _ = public
    for address, rule in RULES.items():
        for headers in (
            {},
            {"x-api-key": "ck-wrong"},
            {"authorization": "Bearer none"},
            {"cookie": "colosse_session=x"},
        ):
            response = await call(http, address, NOWHERE, **headers)
            expected = (200, 401) if not rule.scope else (401,)  # logging in with a wrong key is 401 as well
            assert response.status_code in expected, (address, headers, response.text)


async def test_a_key_does_not_reach_beyond_its_scope(public: tuple[httpx2.AsyncClient, FastAPI]) -> None:
    http, app = public
    key = await make_key(app, scope="read")
    for address, rule in RULES.items():
        if rule.scope == "chat":
            response = await call(http, address, NOWHERE, **{"x-api-key": key})
            assert response.status_code == 403, (address, response.text)


async def test_what_is_somebody_elses_is_not_there(public: tuple[httpx2.AsyncClient, FastAPI]) -> None:
    http, app = public
    alice = {"x-api-key": await make_key(app, "alice", "admin")}
    mallory = {"x-api-key": await make_key(app, "mallory", "admin")}
    thread = (await http.post("/api/threads", json={"title": "private"}, headers=alice)).json()["id"]
    started = (await http.post(f"/api/threads/{thread}/runs", json={"content": "secret"}, headers=alice)).json()
    owner = (await http.get("/api/state", headers=alice)).json()["user"]["id"]
    async with app.state.services.store.write() as session:
        stored = StoredResponse(owner_id=owner, model="fake", status="completed", input=[], body={"id": "x"})
        skill = SkillRun(owner_id=owner, skill="translate", input={"text": "secret"}, status="complete")
        skill.file_name, skill.file = "private.docx", b"secret"
        about = {"media_type": "text/plain", "sha256": "0", "num_bytes": 6, "num_passages": 1}
        document = Document(owner_id=owner, name="private.txt", **about)
        session.add_all((stored, skill, document))
        await session.flush()
        session.add(Passage(owner_id=owner, document_id=document.id, position=0, text="secret", folded="secret"))
    ids = {
        "thread_id": thread,
        "run_id": started["run"]["id"],
        "response_id": stored.id,
        "skill_run_id": skill.id,
        "document_id": document.id,
    }
    await http.get(f"/api/runs/{ids['run_id']}/events", headers=alice)
    before = (await http.get(f"/api/threads/{thread}", headers=alice)).json()
    owned = [address for address, rule in RULES.items() if rule.owned]
    for address in owned:
        theirs = await call(http, address, ids, **mallory)
        nobodys = await call(http, address, NOWHERE, **mallory)
        assert theirs.status_code == nobodys.status_code == 404, (address, theirs.text)
        assert theirs.text.replace(_used(ids, address), "") == nobodys.text.replace(_used(NOWHERE, address), "")
    for listing in ("/api/threads", "/api/skills/runs"):
        assert (await http.get(listing, headers=mallory)).json()["items"] == []
    assert (await http.get("/api/documents", headers=mallory)).json() == []
    # By the ids of messages either.
    mine = (await http.post("/api/threads", json={}, headers=mallory)).json()["id"]
    for body in ({"content": "x", "parent_id": started["message"]["id"]}, {"parent_id": started["user_message"]["id"]}):
        assert (await http.post(f"/api/threads/{mine}/runs", json=body, headers=mallory)).status_code == 404
    head = await http.patch(f"/api/threads/{mine}", json={"head_id": started["message"]["id"]}, headers=mallory)
    assert head.status_code == 404
    after_theirs, after_nobodys = [
        await http.post("/v1/responses", json={"input": "x", "previous_response_id": id}, headers=mallory)
        for id in (ids["response_id"], "resp_0")
    ]
    assert after_theirs.status_code == after_nobodys.status_code == 400
    assert after_theirs.text.replace(ids["response_id"], "resp_0") == after_nobodys.text
    assert (await http.get(f"/api/threads/{thread}", headers=alice)).json() == before
    for address in (address for address in owned if address.startswith("GET")):
        assert (await call(http, address, ids, **alice)).status_code == 200, address


def _used(ids: dict[str, str], address: str) -> str:
    return next(value for name, value in ids.items() if "{" + name + "}" in address)
