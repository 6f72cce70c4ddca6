"""Runs over real HTTP: asking, listening, stopping, faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from colosse.core.errors import EngineError, UserError
from colosse.core.settings import ServerSettings, Settings, load_settings
from colosse.engines.schema import ChatRequest, Delta
from colosse.server.app import create_app
from tests.server.conftest import FakeClient, eventually, running
from tests.server.test_events import parse, text_of

Json = dict[str, Any]


async def new_thread(http: httpx2.AsyncClient, **fields: str) -> str:
    response = await http.post("/api/threads", json=fields)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def ask(http: httpx2.AsyncClient, thread: str, content: str | None = "Bonjour", **fields: Any) -> Json:
    body = fields if content is None else {"content": content, **fields}
    response = await http.post(f"/api/threads/{thread}/runs", json=body)
    assert response.status_code == 202, response.text
    return dict(response.json())


async def listen(http: httpx2.AsyncClient, started: Json, **headers: str) -> list[tuple[int, str, Json]]:
    response = await http.get(f"/api/runs/{started['run']['id']}/events", headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    return parse(response.content)


async def messages(http: httpx2.AsyncClient, thread: str) -> dict[str, Json]:
    return {row["id"]: row for row in (await http.get(f"/api/threads/{thread}")).json()["messages"]}


async def finish(http: httpx2.AsyncClient, started: Json) -> Json:
    """The answer's message when its run has ended."""
    seen = await listen(http, started)
    assert seen[-1][1] == "done"
    return dict(seen[-1][2]["message"])


async def test_a_question_is_answered_streamed_and_kept(http: httpx2.AsyncClient, client: FakeClient) -> None:
    thread = await new_thread(http, system="Sois bref.")
    started = await ask(http, thread, "Bonjour  le\nmonde", params={"temperature": 0.5, "max_tokens": 9})
    assert started["run"]["status"] == started["message"]["status"] == "running"
    assert started["user_message"]["content"] == "Bonjour  le\nmonde"
    seen = await listen(http, started)
    assert text_of(seen) == "Bonjour le monde "
    done = seen[-1][2]
    assert done["message"]["usage"]["completion_tokens"] == 3
    assert done["message"]["usage"]["ttft_ms"] >= 0
    stored = await http.get(f"/api/threads/{thread}")
    assert stored.json()["thread"]["title"] == "Bonjour le monde"
    assert stored.json()["thread"]["head_id"] == started["message"]["id"]
    assert stored.json()["messages"] == [started["user_message"], done["message"]]
    assert (await http.get(f"/api/runs/{started['run']['id']}")).json() == done["run"]
    (request,) = client.requests
    assert [(m.role, m.content) for m in request.messages] == [("system", "Sois bref."), ("user", "Bonjour  le\nmonde")]
    assert (request.temperature, request.max_tokens, request.model) == (0.5, 9, "fake")


async def test_the_whole_branch_is_sent_and_no_other(http: httpx2.AsyncClient, client: FakeClient) -> None:
    thread = await new_thread(http, system="s")
    first = await ask(http, thread, "un")
    await finish(http, first)
    second = await ask(http, thread, "deux")
    await finish(http, second)
    other = await ask(http, thread, "autre", parent_id=first["message"]["id"])  # an edit of "deux"
    await finish(http, other)
    root = await ask(http, thread, "racine", parent_id=None)
    await finish(http, root)
    sent = [[m.content for m in request.messages[1:]] for request in client.requests]
    assert sent == [["un"], ["un", "un ", "deux"], ["un", "un ", "autre"], ["racine"]]
    rows = await messages(http, thread)
    assert len(rows) == 8
    assert rows[second["user_message"]["id"]]["parent_id"] == rows[other["user_message"]["id"]]["parent_id"]
    assert rows[root["user_message"]["id"]]["parent_id"] is None


async def test_a_question_is_answered_again_beside_the_first_answer(http: httpx2.AsyncClient) -> None:
    thread = await new_thread(http)
    first = await ask(http, thread, "encore")
    await finish(http, first)
    for fields in ({}, {"parent_id": first["user_message"]["id"]}):  # the head's question; the same one by name
        again = await ask(http, thread, None, model="other", **fields)
        answer = await finish(http, again)
        assert again["user_message"] == first["user_message"]
        assert (answer["parent_id"], answer["model"]) == (first["user_message"]["id"], "other")
    assert len(await messages(http, thread)) == 4


async def test_a_reader_that_left_comes_back_where_it_was(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = client.until_told
    started = await ask(http, await new_thread(http))
    url = f"/api/runs/{started['run']['id']}/events"
    seen: list[tuple[int, str, Json]] = []
    async with http.stream("GET", url) as response:
        async for part in response.aiter_bytes():
            seen += parse(part)
            if text_of(seen) == "one ":
                break
    client.go.set()
    seen += await listen(http, started, **{"Last-Event-ID": str(seen[-1][0])})
    assert text_of(seen) == "one two "
    assert [name for _, name, _ in seen].count("snapshot") <= 1
    assert seen[-1][2]["message"]["status"] == "complete"
    for unusable in ("999", "x", "-1", "", "9" * 90, "²"):
        again = await listen(http, started, **{"Last-Event-ID": unusable.encode()})
        assert [name for _, name, _ in again] == ["snapshot", "done"]


async def test_several_readers_see_the_same(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = client.until_told
    started = await ask(http, await new_thread(http))
    readers = [asyncio.create_task(listen(http, started)) for _ in range(5)]
    await asyncio.sleep(0.05)
    client.go.set()
    assert {text_of(seen) for seen in await asyncio.gather(*readers)} == {"one two "}


async def test_a_run_goes_on_when_nobody_listens(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = client.until_told
    thread = await new_thread(http)
    started = await ask(http, thread)
    async with http.stream("GET", f"/api/runs/{started['run']['id']}/events"):
        pass
    client.go.set()
    assert (await finish(http, started))["content"] == "one two "
    assert client.cancelled == 0


async def test_the_text_so_far_is_in_the_database_while_it_runs(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = client.until_told
    thread = await new_thread(http)
    started = await ask(http, thread)
    for _ in range(1000):
        row = (await messages(http, thread))[started["message"]["id"]]
        if row["content"]:
            break
        await asyncio.sleep(0.02)
    assert (row["content"], row["status"]) == ("one ", "running")
    client.go.set()


async def test_stop_keeps_what_was_said_and_reaches_the_engine(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = client.until_told
    thread = await new_thread(http)
    started = await ask(http, thread)
    reader = asyncio.create_task(listen(http, started))
    await eventually(lambda: client.requests)
    await asyncio.sleep(0.05)
    stopped = await http.delete(f"/api/runs/{started['run']['id']}")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "stopped")
    assert stopped.json()["finished_at"]
    assert client.cancelled == 1
    seen = await reader
    assert (seen[-1][1], seen[-1][2]["message"]["status"]) == ("done", "stopped")
    assert (await messages(http, thread))[started["message"]["id"]]["content"] == "one "
    assert (await http.delete(f"/api/runs/{started['run']['id']}")).json() == stopped.json()  # again changes nothing


async def test_an_engine_that_dies_leaves_the_prefix(http: httpx2.AsyncClient, client: FakeClient) -> None:
    async def dies(request: ChatRequest) -> AsyncIterator[Delta]:
        yield Delta(content="Il était ")
        raise EngineError("the engine died")

    client.answer = dies
    thread = await new_thread(http)
    answer = await finish(http, await ask(http, thread))
    assert (answer["status"], answer["content"], answer["error"]) == ("interrupted", "Il était ", "the engine died")
    assert answer["error_code"] == "engine_error"
    client.answer = client.echo  # and the conversation goes on from there
    assert (await finish(http, await ask(http, thread, "et puis ?")))["content"] == "et puis ? "
    assert [m.content for m in client.requests[-1].messages[1:]] == ["Bonjour", "Il était ", "et puis ?"]


async def test_an_answer_that_never_began_has_failed(http: httpx2.AsyncClient, client: FakeClient) -> None:
    async def refuses(request: ChatRequest) -> AsyncIterator[Delta]:
        raise EngineError("no engine")
        yield Delta()

    client.answer = refuses
    thread = await new_thread(http)
    answer = await finish(http, await ask(http, thread))
    assert (answer["status"], answer["content"], answer["error"]) == ("failed", "", "no engine")
    client.answer = client.echo
    await finish(http, await ask(http, thread, "toujours là ?"))
    assert [m.content for m in client.requests[-1].messages[1:]] == ["Bonjour\n\ntoujours là ?"]  # roles alternate


async def test_an_unexpected_failure_is_told_without_its_inside(http: httpx2.AsyncClient, client: FakeClient) -> None:
    async def breaks(request: ChatRequest) -> AsyncIterator[Delta]:
        raise ZeroDivisionError("secret inside")
        yield Delta()

    client.answer = breaks
    answer = await finish(http, await ask(http, await new_thread(http)))
    assert answer["status"] == "failed"
    assert "internal error" in answer["error"]
    assert "secret" not in answer["error"]


async def test_the_oldest_turns_make_room(http: httpx2.AsyncClient, client: FakeClient) -> None:
    thread = await new_thread(http, system="règles")
    for index in range(6):
        await finish(http, await ask(http, thread, f"tour {index} " + "mot " * 50))
    client.max_model_len = 400

    async def counts(request: ChatRequest) -> AsyncIterator[Delta]:
        length = sum(len(str(m.content).split()) for m in request.messages)
        if length > 120:  # the engine counts other than we estimate
            raise UserError(f"{length} tokens are too many for 120", code="context_length_exceeded")
        yield Delta(content="assez court")

    client.answer = counts
    assert (await finish(http, await ask(http, thread, "dernier")))["content"] == "assez court"
    sent = [str(m.content) for m in client.requests[-1].messages]
    assert (sent[0], sent[-1]) == ("règles", "dernier")
    assert 2 < len(sent) < 13
    too_long = await finish(http, await ask(http, thread, "long " * 200))
    assert too_long["status"] == "failed"
    assert "too many for 120" in too_long["error"]
    assert too_long["error_code"] == "context_length_exceeded"


async def test_a_repeated_call_gets_the_first_run(http: httpx2.AsyncClient, client: FakeClient) -> None:
    thread = await new_thread(http)
    url, key = f"/api/threads/{thread}/runs", {"Idempotency-Key": "key 1"}
    calls = [http.post(url, json={"content": "une fois"}, headers=key) for _ in range(5)]
    started = [response.json() for response in await asyncio.gather(*calls)]
    assert len({item["run"]["id"] for item in started}) == 1
    await finish(http, started[0])
    later = await http.post(url, json={"content": "une fois"}, headers=key)
    assert (later.status_code, later.json()["message"]["content"]) == (202, "une fois ")
    assert len(client.requests) == 1
    assert len(await messages(http, thread)) == 2
    other = await http.post(url, json={"content": "autre chose"}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")


async def test_only_so_many_at_once(settings: Settings, client: FakeClient) -> None:
    limited = settings.model_copy(update={"server": ServerSettings(max_concurrent_runs=2)})
    client.answer = client.until_told
    async with running(create_app(limited, client)) as http:
        threads = [await new_thread(http) for _ in range(4)]
        responses = await asyncio.gather(
            *(http.post(f"/api/threads/{thread}/runs", json={"content": "x"}) for thread in threads)
        )
        assert sorted(response.status_code for response in responses) == [202, 202, 429, 429]
        refused = next(response for response in responses if response.status_code == 429)
        assert refused.json()["error"]["type"] == "rate_limit_error"
        client.go.set()
        for response in responses:
            if response.status_code == 202:
                await finish(http, response.json())
        await finish(http, await ask(http, threads[0], parent_id=None))


async def test_what_cannot_be_asked(http: httpx2.AsyncClient, client: FakeClient) -> None:
    thread, elsewhere = await new_thread(http), await new_thread(http)
    foreign = await ask(http, elsewhere)
    client.answer = client.until_told
    going = await ask(http, thread)
    cases: list[tuple[Json, int, str]] = [
        ({"content": ""}, 400, "content"),
        ({"content": " \n"}, 400, "content"),
        ({"content": "x", "parent_id": "msg_0"}, 404, "message"),
        ({"content": "x", "parent_id": foreign["message"]["id"]}, 404, "in this thread"),
        ({"content": "x", "parent_id": going["user_message"]["id"]}, 400, "below an answer"),
        ({"content": "x", "parent_id": going["message"]["id"]}, 409, "still being written"),
        ({"content": "x"}, 409, "still being written"),
        ({"parent_id": going["message"]["id"]}, 400, "no question"),
        ({"parent_id": None}, 400, "no question"),
        ({"content": "x", "parent_id": None, "model": "fak"}, 404, "did you mean 'fake'"),
        ({"content": "x", "params": {"temperature": 9}}, 400, "params.temperature"),
        ({"content": "x", "params": {"temprature": 1}}, 400, "params.temprature"),
        ({"contents": "x"}, 400, "contents"),
    ]
    for body, status, says in cases:
        response = await http.post(f"/api/threads/{thread}/runs", json=body)
        assert (response.status_code, says in response.json()["error"]["message"]) == (status, True), response.text
    empty = await http.post(f"/api/threads/{await new_thread(http)}/runs", json={})
    assert empty.status_code == 400
    client.go.set()


async def test_text_that_cannot_be_stored(http: httpx2.AsyncClient, client: FakeClient) -> None:
    thread = await new_thread(http)

    async def post(content: bytes) -> httpx2.Response:
        body = b'{"content": "' + content + b'"}'
        headers = {"content-type": "application/json"}
        return await http.post(f"/api/threads/{thread}/runs", content=body, headers=headers)

    refused = await post(b"half a character: \\ud800")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "content")
    answer = await finish(http, (await post(b"a\\u0000b \\ud83c\\udf88")).json())
    assert answer["content"] == "a\ufffdb 🎈 "

    async def halves(request: ChatRequest) -> AsyncIterator[Delta]:
        yield Delta(content="a\ud83c")

    client.answer = halves
    started = await ask(http, thread, "encore", parent_id=None)
    await finish(http, started)
    rows = await messages(http, thread)
    assert [row["content"] for row in rows.values()] == ["a\ufffdb 🎈", "a\ufffdb 🎈 ", "encore", "a\ufffd"]


async def test_deleting_a_thread_stops_its_runs(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = client.until_told
    thread = await new_thread(http)
    started = await ask(http, thread)
    await eventually(lambda: client.requests)
    assert (await http.delete(f"/api/threads/{thread}")).status_code == 204
    assert client.cancelled == 1
    assert (await http.get(f"/api/runs/{started['run']['id']}")).status_code == 404
    assert (await http.get(f"/api/threads/{thread}")).status_code == 404


async def test_closing_saves_what_runs_and_tells_the_readers(
    settings: Settings, client: FakeClient, app: FastAPI
) -> None:
    client.answer = client.until_told
    async with running(app) as http:
        thread = await new_thread(http)
        started = await ask(http, thread)
        async with http.stream("GET", f"/api/runs/{started['run']['id']}/events") as response:
            parts = response.aiter_bytes()
            seen = parse(await anext(parts))
            while text_of(seen) != "one ":
                seen += parse(await anext(parts))
            app.state.services.close()
            rest = parse(b"".join([part async for part in parts]))
            assert rest[-1][2]["message"]["status"] == "interrupted"
        refused = await http.post(f"/api/threads/{thread}/runs", json={"content": "x", "parent_id": None})
        assert refused.status_code == 503
    async with running(create_app(settings, client)) as http:  # the next start
        row = (await messages(http, thread))[started["message"]["id"]]
        assert (row["status"], row["content"], row["error"]) == ("interrupted", "one ", "the server was stopped")
        assert row["error_code"] == "server_stopped"
        seen = await listen(http, started)  # not in memory any more
        assert [(name, data.get("content")) for _, name, data in seen[:1]] == [("snapshot", "one ")]
        assert seen[-1][2]["run"]["status"] == "interrupted"


async def test_finished_runs_are_forgotten_and_still_readable(
    settings: Settings, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colosse.server.live.HOUSEKEEPING_S", 0.01)
    quick = settings.model_copy(update={"server": ServerSettings(run_retention_s=0)})
    app = create_app(quick, client)
    async with running(app) as http:
        started = await ask(http, await new_thread(http))
        await finish(http, started)
        await eventually(lambda: not app.state.services.runs._live)
        assert [name for _, name, _ in await listen(http, started)] == ["snapshot", "done"]


async def test_runs_work_the_same_on_both_databases(home: object, database_url: str, client: FakeClient) -> None:
    settings = load_settings({"database": database_url}).value
    async with running(create_app(settings, client)) as http:
        thread = await new_thread(http)
        key = {"Idempotency-Key": "k"}
        calls = [http.post(f"/api/threads/{thread}/runs", json={"content": "x"}, headers=key) for _ in range(8)]
        started = [response.json() for response in await asyncio.gather(*calls)]
        assert len({item["run"]["id"] for item in started}) == 1
        await finish(http, started[0])
        client.answer = client.until_told
        threads = [await new_thread(http) for _ in range(20)]
        runs = await asyncio.gather(*(ask(http, each, "q") for each in threads))
        client.go.set()
        answers = await asyncio.gather(*(finish(http, run) for run in runs))
        assert {(answer["content"], answer["status"]) for answer in answers} == {("one two ", "complete")}
        assert (await http.delete(f"/api/threads/{threads[0]}")).status_code == 204
