"""Skills over HTTP: called, heard, resumed, stopped, repeated, kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from fastapi import FastAPI
from pydantic import BaseModel

from colosse.core.settings import Settings
from colosse.engines.schema import ChatRequest, Delta, Usage
from colosse.server import events
from colosse.server.app import create_app
from colosse.server.skill_events import SkillLog, storable
from colosse.store import open_store
from colosse.store.tables import SkillRun
from tests.server.conftest import FakeClient, eventually, running

ENGLISH = "The harbour was quiet and the boats stayed where they were for the whole of the evening."
FRENCH = "Le port était calme et les bateaux sont restés là où ils étaient pendant toute la soirée."


async def in_french(request: ChatRequest) -> AsyncIterator[Delta]:
    """A right translation of `ENGLISH`, in three pieces."""
    for start in (0, 30, 60):
        yield Delta(content=FRENCH[start : start + 30 if start < 60 else None])
    yield Delta(finish_reason="stop", usage=Usage(prompt_tokens=9, completion_tokens=20, total_tokens=29))


async def start(http: httpx2.AsyncClient, skill: str = "translate", **headers: str) -> dict[str, Any]:
    response = await http.post(f"/api/skills/{skill}/runs", json={"text": ENGLISH, "to": "fr"}, headers=headers)
    assert response.status_code == 202, response.text
    body: dict[str, Any] = response.json()
    return body


async def listen(http: httpx2.AsyncClient, id: str, **headers: str) -> list[tuple[int, str, Any]]:
    """All events of a run: (id, name, data)."""
    response = await http.get(f"/api/skills/runs/{id}/events", headers=headers)
    assert response.status_code == 200
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    found = []
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def test_a_call_is_heard_to_its_result_and_kept(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = in_french
    run = await start(http)
    assert (run["skill"], run["status"], run["result"]) == ("translate", "running", None)
    heard = await listen(http, run["id"])
    assert heard[0][1] == "snapshot"
    assert heard[-1][1] == "done"
    done = heard[-1][2]
    assert done["status"] == "complete"
    assert done["result"]["answer"].strip() == FRENCH
    assert done["result"]["usage"]["completion_tokens"] >= 20
    assert (await http.get(f"/api/skills/runs/{run['id']}")).json() == done


async def test_a_reader_takes_up_where_it_was(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = in_french
    run = await start(http)
    whole = await listen(http, run["id"])
    last = whole[-1][0]
    again = await listen(http, run["id"], **{"last-event-id": str(last - 1)})
    assert [(id, name) for id, name, _ in again] == [(last, "done")]
    assert await listen(http, run["id"], **{"last-event-id": str(last)}) == []
    # From the beginning, or from an id that is not there: a snapshot and the end.
    for id in ("", "9999", "x"):
        assert [name for _, name, _ in await listen(http, run["id"], **{"last-event-id": id})] == ["snapshot", "done"]


async def test_the_same_key_is_the_same_call(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = in_french
    first = await start(http, **{"idempotency-key": "k1"})
    assert (await start(http, **{"idempotency-key": "k1"}))["id"] == first["id"]
    body = {"text": ENGLISH, "to": "de"}
    other = await http.post("/api/skills/translate/runs", json=body, headers={"idempotency-key": "k1"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert len((await http.get("/api/skills/runs")).json()["items"]) == 1


async def test_a_call_is_cancelled_down_to_the_engine(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = client.until_told
    run = await start(http)
    await eventually(lambda: client.requests)
    stopped = (await http.delete(f"/api/skills/runs/{run['id']}")).json()
    assert (stopped["status"], stopped["error"]) == ("stopped", "")
    assert client.cancelled >= 1
    assert (await listen(http, run["id"]))[-1][2]["status"] == "stopped"
    assert (await http.delete(f"/api/skills/runs/{run['id']}")).json() == stopped


async def test_a_failure_says_why(http: httpx2.AsyncClient, client: FakeClient) -> None:
    file = {"name": "a.docx", "content_base64": "YQ=="}
    response = await http.post("/api/skills/translate/runs", json={"file": file, "to": "fr"})
    done = (await listen(http, response.json()["id"]))[-1][2]
    assert (done["status"], done["error_code"], done["result"]) == ("failed", "bad_docx", None)
    assert "not a Word document" in done["error"]

    async def broken(request: ChatRequest) -> AsyncIterator[Delta]:
        raise RuntimeError("secret of the inside")
        yield Delta()

    client.answer = broken
    run = await start(http)
    done = (await listen(http, run["id"]))[-1][2]
    assert (done["status"], done["error_code"]) == ("failed", "internal_error")
    assert "secret" not in done["error"]


async def test_calls_are_listed_newest_first_in_pages(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = in_french
    ids = [(await start(http))["id"] for _ in range(3)]
    page = (await http.get("/api/skills/runs", params={"limit": 2})).json()
    assert [row["id"] for row in page["items"]] == ids[:0:-1]
    assert "result" not in page["items"][0]
    rest = (await http.get("/api/skills/runs", params={"cursor": page["next_cursor"]})).json()
    assert ([row["id"] for row in rest["items"]], rest["next_cursor"]) == (ids[:1], None)
    assert (await http.get("/api/skills/runs", params={"cursor": "nonsense"})).status_code == 400


async def test_what_is_taken_is_described_and_checked(http: httpx2.AsyncClient) -> None:
    skills = {skill["name"]: skill["input_schema"] for skill in (await http.get("/api/skills")).json()}
    assert {"translate", "summarize"} <= set(skills)
    assert "to" in skills["translate"]["required"]
    for body in ({}, {"text": "x"}, {"text": "x", "to": "fr", "unknown": 1}):
        assert (await http.post("/api/skills/translate/runs", json=body)).status_code == 400
    assert (await http.post("/api/skills/juggle/runs", json={})).status_code in (404, 405)


async def test_limits_are_shared_with_chat(settings: Settings, client: FakeClient) -> None:
    client.answer = client.until_told
    limited = settings.model_copy(update={"server": settings.server.model_copy(update={"max_concurrent_runs": 1})})
    async with running(create_app(limited, client)) as http:
        run = await start(http)
        assert (await http.post("/api/skills/translate/runs", json={"text": "x", "to": "fr"})).status_code == 429
        thread = (await http.post("/api/threads", json={})).json()["id"]
        assert (await http.post(f"/api/threads/{thread}/runs", json={"content": "x"})).status_code == 429
        await http.delete(f"/api/skills/runs/{run['id']}")
        assert (await http.post(f"/api/threads/{thread}/runs", json={"content": "x"})).status_code == 202


async def test_a_server_that_stops_or_is_killed_leaves_interrupted_calls(
    app: FastAPI, settings: Settings, client: FakeClient
) -> None:
    client.answer = client.until_told
    async with running(app) as http:
        run = await start(http)
        await eventually(lambda: client.requests)
    async with open_store(settings.database_url) as store:
        async with store.read() as session:
            row = await session.get_one(SkillRun, run["id"])
            assert (row.status, row.error_code) == ("interrupted", "server_stopped")
        async with store.write() as session:  # as `kill -9` leaves it
            (await session.get_one(SkillRun, run["id"])).status = "running"
    async with running(create_app(settings, client)) as http:
        again = (await http.get(f"/api/skills/runs/{run['id']}")).json()
        assert again["status"] == "interrupted"
        assert again["finished_at"] is not None
        assert [name for _, name, _ in await listen(http, run["id"])] == ["snapshot", "done"]


class Part(BaseModel):
    """A part of a result."""

    text: str


async def test_events_are_merged_and_a_snapshot_has_all_of_them() -> None:
    clock = events.Clock()
    ticking = asyncio.create_task(clock.run())
    log = SkillLog(clock)
    log.step("reading")
    for index in range(50):
        log.text("ab")
        log.parts(index, 50)
    log.partial(Part(text="\ud800"))
    log.text("!")
    log.close({"end": True})
    snapshot, rest = [chunk async for chunk in log.read()]
    assert b"event: done" in rest
    data = json.loads(snapshot.decode().split("data: ", 1)[1])
    assert data == {
        "step": "reading",
        "parts": {"done": 49, "total": 50},
        "text": "ab" * 50 + "!",
        "partials": [{"text": "\ufffd"}],
    }
    replayed = b"".join([chunk async for chunk in log.read(0)]).decode()
    names = [line.removeprefix("event: ") for line in replayed.splitlines() if line.startswith("event: ")]
    assert names == ["step", "parts", "text", "partial", "text", "done"]
    ticking.cancel()


def test_what_a_database_refuses_is_replaced() -> None:
    assert storable({"a\0": ["\ud83d", 1, None]}) == {"a\ufffd": ["\ufffd", 1, None]}
    assert storable("é😀") == "é😀"
