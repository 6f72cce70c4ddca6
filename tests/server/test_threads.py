"""Threads and the page's start, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from colosse import __version__
from colosse.core.errors import NotFoundError
from tests.server.conftest import FakeClient
from tests.server.test_runs import ask, finish, new_thread


async def test_what_the_page_needs_at_its_start(http: httpx2.AsyncClient, app: FastAPI) -> None:
    state = (await http.get("/api/state")).json()
    assert state["version"] == __version__
    assert state["user"] == {"id": "local", "name": "local"}
    assert state["default_model"] == "fake"
    assert [model["id"] for model in state["models"]] == ["fake", "other"]
    assert state["limits"] == {"max_body_bytes": 16_000_000, "max_concurrent_runs": 1024}
    health = (await http.get("/health")).json()
    assert (health["status"], health["model"], health["state"]) == ("ok", "fake", "ready")
    assert health["instance"] == app.state.services.instance


async def test_without_a_model_the_page_still_works(
    http: httpx2.AsyncClient, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: FakeClient) -> str:
        raise NotFoundError("no model is installed", hint="colosse models pull x")

    monkeypatch.setattr(FakeClient, "default_model", property(none))
    assert (await http.get("/api/state")).json()["default_model"] is None
    assert (await http.get("/health")).json()["state"] == "none"
    response = await http.post(f"/api/threads/{await new_thread(http)}/runs", json={"content": "x"})
    assert (response.status_code, "colosse models pull" in response.text) == (404, True)


async def test_a_thread_is_made_changed_listed_and_deleted(http: httpx2.AsyncClient) -> None:
    made = await http.post("/api/threads", json={"title": "  Un titre ", "model": "other", "system": "Sois bref."})
    thread = made.json()
    assert (thread["title"], thread["model"], thread["system"], thread["head_id"]) == (
        "Un titre",
        "other",
        "Sois bref.",
        None,
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", thread["created_at"])
    changed = (await http.patch(f"/api/threads/{thread['id']}", json={"title": "Autre"})).json()
    assert (changed["title"], changed["system"]) == ("Autre", "Sois bref.")
    assert changed["updated_at"] >= thread["updated_at"]
    assert (await http.get("/api/threads")).json() == {"items": [changed], "next_cursor": None}
    assert (await http.delete(f"/api/threads/{thread['id']}")).status_code == 204
    assert (await http.delete(f"/api/threads/{thread['id']}")).status_code == 404
    assert (await http.get("/api/threads")).json()["items"] == []


async def test_pages_of_threads(http: httpx2.AsyncClient) -> None:
    made = [await new_thread(http, title=str(index)) for index in range(5)]
    await finish(http, await ask(http, made[0]))  # the last changed comes first
    first = (await http.get("/api/threads", params={"limit": 3})).json()
    rest = (await http.get("/api/threads", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    ids = [row["id"] for row in first["items"] + rest["items"]]
    assert ids == [made[0], *made[:0:-1]]
    assert rest["next_cursor"] is None


async def test_another_branch_is_shown(http: httpx2.AsyncClient) -> None:
    thread, elsewhere = await new_thread(http), await new_thread(http)
    first = await ask(http, thread, "un")
    await finish(http, first)
    await finish(http, await ask(http, thread, "deux", parent_id=None))
    before = (await http.get(f"/api/threads/{thread}")).json()["thread"]
    url, head = f"/api/threads/{thread}", first["message"]["id"]
    after = (await http.patch(url, json={"head_id": head})).json()
    assert (after["head_id"], after["updated_at"]) == (head, before["updated_at"])
    assert (await http.patch(f"/api/threads/{elsewhere}", json={"head_id": head})).status_code == 404
    assert (await http.patch(url, json={"head_id": "msg_0"})).status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"title": "x" * 201}, "title"),
        ({"titel": "x"}, "titel"),
        ({"title": None}, "title"),
        ({"title": 3}, "title"),
        ({"model": "x" * 201}, "model"),
    ],
)
async def test_what_a_thread_cannot_become(http: httpx2.AsyncClient, body: dict, param: str) -> None:
    response = await http.patch(f"/api/threads/{await new_thread(http)}", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_the_example_of_the_documentation_works(http: httpx2.AsyncClient) -> None:
    page = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code = code.replace("http://127.0.0.1:8420", str(http.base_url))
    assert str(http.base_url) in code
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'content': 'Bonjour ! '" in done.stdout


async def test_the_openapi_document_is_the_one_made_without_a_server(http: httpx2.AsyncClient) -> None:
    made = await asyncio.to_thread(subprocess.run, [sys.executable, "-m", "colosse.server.app"], capture_output=True)
    assert (await http.get("/openapi.json")).json() == json.loads(made.stdout)
