"""Chat that searches, reads one's own documents and runs programs: what it answers, tells meanwhile and keeps."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from colosse.engines.schema import ChatRequest, Delta, ModelInfo, Usage
from tests.server.conftest import FakeClient, eventually
from tests.server.test_documents import add, says
from tests.server.test_runs import new_thread

QUESTION = "How high is the tower of Rivermouth?"
USAGE = Usage(prompt_tokens=10, completion_tokens=5, total_tokens=15)


class ToolClient(FakeClient):
    """Its default model calls tools, the other one does not."""

    def models(self) -> list[ModelInfo]:
        fake, other = super().models()
        return [fake.model_copy(update={"capabilities": ["chat", "tools"]}), other]


@pytest.fixture
async def client() -> ToolClient:
    return ToolClient()


def calls(code: str) -> Any:
    """A model that runs `code`, then says what it printed."""

    async def answer(request: ChatRequest) -> AsyncIterator[Delta]:
        results = [message.content for message in request.messages if message.role == "tool"]
        if results:
            yield Delta(content=f"It printed {'42' if '42' in str(results) else 'nothing'}.")
        else:
            function = {"name": "run_python", "arguments": json.dumps({"code": code})}
            yield Delta(tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": function}])
        yield Delta(finish_reason="stop", usage=USAGE)

    return answer


async def ask(http: httpx2.AsyncClient, thread: str, **body: Any) -> dict[str, Any]:
    response = await http.post(f"/api/threads/{thread}/runs", json=body)
    assert response.status_code == 202, response.text
    started: dict[str, Any] = response.json()
    return started


async def heard(http: httpx2.AsyncClient, run: dict[str, Any]) -> list[tuple[str, Any]]:
    """All events of a chat run: (name, data)."""
    text = (await http.get(f"/api/runs/{run['run']['id']}/events", headers={"last-event-id": "0"})).text
    blocks = [block.splitlines() for block in text.split("\n\n") if block and not block.startswith(":")]
    return [(lines[1].removeprefix("event: "), json.loads(lines[2].removeprefix("data: "))) for lines in blocks]


async def test_mode_documents_answers_with_sources_that_stay(http: httpx2.AsyncClient, client: ToolClient) -> None:
    document = (await add(http)).json()["id"]
    client.answer = says
    thread = await new_thread(http)
    events = await heard(http, await ask(http, thread, content=QUESTION, mode="documents"))
    message = events[-1][1]["message"]
    assert (message["status"], message["error"]) == ("complete", "")
    assert "84 metres" in message["content"]
    assert "giants" not in message["content"]
    assert message["sources"][0]["document_id"] == document
    assert message["usage"]["completion_tokens"] >= 12
    assert any(name == "step" for name, _ in events)
    kept = (await http.get(f"/api/threads/{thread}")).json()["messages"][-1]
    assert kept == message
    # The source opens.
    source = message["sources"][0]
    passage = await http.get(f"/api/documents/{document}/passages/{source['position']}")
    assert passage.json()["text"] == source["text"]


async def test_a_question_that_is_too_long_to_search_for_says_so(http: httpx2.AsyncClient) -> None:
    events = await heard(http, await ask(http, await new_thread(http), content="x" * 3000, mode="documents"))
    message = events[-1][1]["message"]
    assert (message["status"], message["error_code"]) == ("failed", "invalid_value")


async def test_models_that_call_no_tools_are_refused_them(http: httpx2.AsyncClient) -> None:
    thread = await new_thread(http)
    response = await http.post(
        f"/api/threads/{thread}/runs", json={"content": "x", "model": "other", "tools": ["python"]}
    )
    assert (response.status_code, response.json()["error"]["code"]) == (400, "tools_not_supported")


async def test_what_would_be_ignored_is_refused(http: httpx2.AsyncClient) -> None:
    thread = await new_thread(http)
    file = {"name": "a", "content_base64": ""}
    for body, param in (
        ({"mode": "search", "tools": ["python"]}, "tools"),
        ({"files": [file]}, "files"),
        ({"files": [file], "tools": ["search"]}, "files"),
        ({"files": [file], "tools": ["python"], "content": None}, "files"),
    ):
        response = await http.post(f"/api/threads/{thread}/runs", json={"content": "x", **body})
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_a_program_of_the_answer_reads_and_writes_files(http: httpx2.AsyncClient, client: ToolClient) -> None:
    client.answer = calls("open('out.txt', 'w').write(open('in.txt').read()); print(42)")
    file = {"name": "in.txt", "content_base64": base64.b64encode(b"data").decode()}
    thread = await new_thread(http)
    started = await ask(http, thread, content="Run it", tools=["python"], files=[file])
    assert started["user_message"]["files"][0]["name"] == "in.txt"
    events = await heard(http, started)
    message = events[-1][1]["message"]
    assert (message["content"], message["error"]) == ("It printed 42.", "")
    assert message["files"] == [
        {"name": "out.txt", "media_type": "text/plain", "content_base64": file["content_base64"]}
    ]
    assert message["usage"]["completion_tokens"] == 2 * USAGE.completion_tokens
    assert any(name == "step" for name, _ in events)
    messages = (await http.get(f"/api/threads/{thread}")).json()["messages"]
    assert [one["files"] is None for one in messages] == [False, False]
    # What was written is there for the next question.
    client.answer = calls("print(42 if open('out.txt').read() == 'data' else 0)")
    events = await heard(http, await ask(http, thread, content="Again", tools=["python"]))
    assert events[-1][1]["message"]["content"] == "It printed 42."


async def test_stop_ends_the_program(http: httpx2.AsyncClient, client: ToolClient) -> None:
    client.answer = calls("import time; time.sleep(60)")
    started = await ask(http, await new_thread(http), content="Run it", tools=["python"])
    await eventually(lambda: client.requests)
    stopped = (await http.delete(f"/api/runs/{started['run']['id']}")).json()
    assert stopped["status"] == "stopped"


async def test_files_have_a_limit(http: httpx2.AsyncClient) -> None:
    file = {"name": "a", "content_base64": base64.b64encode(bytes(1_000_001)).decode()}
    thread = await new_thread(http)
    body = {"content": "x", "tools": ["python"], "files": [file]}
    assert (await http.post(f"/api/threads/{thread}/runs", json=body)).status_code == 413
    body["files"] = [{"name": "a", "content_base64": "not base64!"}]
    assert (await http.post(f"/api/threads/{thread}/runs", json=body)).status_code == 400
