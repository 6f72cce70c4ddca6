"""Each skill over HTTP, from its input to its typed result; what cannot be right is refused by its field's name."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import docx
import httpx2
import pytest

from colosse.assistant.code import programs
from colosse.assistant.sandbox import require
from colosse.core.errors import ColosseError
from colosse.core.settings import Settings
from colosse.engines.schema import ChatRequest, Delta, Usage
from colosse.server.app import create_app
from tests.assistant.code.test_fix import BUG, FILES, GOOD, RUN
from tests.assistant.code.test_optimize import BENCH, FAST, SLOW
from tests.assistant.search.conftest import Site, site
from tests.assistant.search.test_answer import QUESTION, lit
from tests.assistant.summarize.test_summarize import HONEST, SHIP
from tests.assistant.translate.conftest import word_file
from tests.server.conftest import FakeClient, eventually, running
from tests.server.test_chat_tools import ask, heard
from tests.server.test_documents import add
from tests.server.test_runs import new_thread
from tests.server.test_skills import ENGLISH, FRENCH, listen

__all__ = ["site"]

DOUBLE = "def double(x):\n    return 2 * x\n"
CALLS = "```python\nassert double(3) == 6\nassert double('a') == 'aa'\n```"
FOUND = "The lighthouse of Mean Ruz was built in 1860 [1]."


def block(code: str, language: str = "python") -> str:
    return f"```{language}\n{code.strip()}\n```\nAs asked."


def model(reply: str | Callable[[str], str]) -> Any:
    """A model that answers `reply`, or what `reply` makes of the whole request."""

    async def answer(request: ChatRequest) -> AsyncIterator[Delta]:
        asked = "\n".join(str(message.content) for message in request.messages)
        text = reply if isinstance(reply, str) else reply(asked)
        yield Delta(content=text[:5])
        yield Delta(content=text[5:])
        yield Delta(finish_reason="stop", usage=Usage(prompt_tokens=9, completion_tokens=3, total_tokens=12))

    return answer


def called(asked: str) -> str:
    """Answers a request for calls, and one for an explanation."""
    return CALLS if "assert name(arguments)" in asked else "`double` multiplies `x` by two."


@pytest.fixture
def sandbox() -> None:
    try:
        require()
    except ColosseError as error:
        pytest.skip(str(error))


def encoded(files: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "content_base64": base64.b64encode(text.encode()).decode()} for name, text in files.items()]


async def run(http: httpx2.AsyncClient, skill: str, **body: Any) -> tuple[dict[str, Any], list[tuple[int, str, Any]]]:
    """Call a skill twice with one key, hear it to its end: the run as it is kept, and its events."""
    key = {"idempotency-key": f"key of {skill} {json.dumps(body)}"[:200]}
    response = await http.post(f"/api/skills/{skill}/runs", json=body, headers=key)
    assert response.status_code == 202, response.text
    again = await http.post(f"/api/skills/{skill}/runs", json=body, headers=key)
    assert again.json()["id"] == response.json()["id"]
    events = await listen(http, response.json()["id"], **{"last-event-id": "0"})
    kept = (await http.get(f"/api/skills/runs/{response.json()['id']}")).json()
    assert events[-1][1:] == ("done", kept)
    return kept, events


CASES: dict[str, tuple[str | Callable[[str], str], dict[str, Any], dict[str, Any]]] = {
    "translate": (FRENCH, {"text": ENGLISH, "to": "French"}, {"target_language": "fr", "format": "text"}),
    "summarize": (HONEST, {"text": SHIP, "length": "short"}, {"language": "en", "dropped": []}),
    "code-write": (block(DOUBLE), {"task": "Double: double(3) == 6, double(0) == 0"}, {"tests_from": "examples"}),
    "code-optimize": (block(FAST), {"code": SLOW, "bench": BENCH}, {"bench": BENCH, "language": "python"}),
    "code-explain": (called, {"code": DOUBLE, "question": "Why?"}, {"dropped": []}),
}


@pytest.mark.parametrize("skill", CASES)
async def test_from_input_to_result(http: httpx2.AsyncClient, client: FakeClient, skill: str, sandbox: None) -> None:
    reply, body, fields = CASES[skill]
    client.answer = model(reply)
    kept, events = await run(http, skill, **body)
    result = kept["result"]
    assert (kept["status"], kept["error"], kept["skill"]) == ("complete", "", skill)
    assert all(check["passed"] for check in result["checks"]), result["checks"]
    assert {name: result[name] for name in fields} == fields
    assert result["checks"]
    assert result["usage"]["completion_tokens"] >= 3
    names = [name for _, name, _ in events]
    assert {"text", "done"} <= set(names)
    assert "step" in names or "parts" in names


async def test_code_goes_into_another_language(http: httpx2.AsyncClient, client: FakeClient, sandbox: None) -> None:
    if not programs.present("c"):
        pytest.skip("no C compiler")
    client.answer = model(block('#include <stdio.h>\nint main() { printf("6\\n"); }', "c"))
    kept, _ = await run(http, "code-translate", code="print(2 * 3)\n", target=".c")
    assert (kept["status"], kept["result"]["verified"], kept["result"]["language"]) == ("complete", True, "c")
    assert kept["input"]["target"] == "c"


async def test_a_fix_of_files_has_a_diff_and_the_files(
    http: httpx2.AsyncClient, client: FakeClient, sandbox: None
) -> None:
    client.answer = model(block(GOOD))
    kept, _ = await run(http, "code-fix", files=encoded(FILES), command=RUN)
    assert kept["result"]["diff"].startswith("--- a/calc.py\n+++ b/calc.py\n")
    assert kept["result"]["files"] == {"calc.py": GOOD}
    assert [step["failed"] for step in kept["result"]["transcript"]] == [1, 0]
    # Nothing of the files' contents is kept with the run.
    assert kept["input"]["files"] == [{"name": name, "num_bytes": len(text)} for name, text in FILES.items()]
    client.answer = model(block(GOOD))
    kept, _ = await run(http, "code-fix", code=BUG, error="test_double: assert 5 == 6")
    assert (kept["result"]["verified"], kept["result"]["answer"].strip()) == (False, GOOD.strip())


async def test_a_document_comes_back_as_a_file(http: httpx2.AsyncClient, client: FakeClient) -> None:
    client.answer = model("Ein Satz.")
    file = {"name": "C:\\Über uns.docx", "content_base64": base64.b64encode(word_file()).decode()}
    kept, _ = await run(http, "translate", file=file, to="de", source="en")
    assert (kept["file_name"], kept["result"]["format"]) == ("Über uns.de.docx", "docx")
    saved = await http.get(f"/api/skills/runs/{kept['id']}/file")
    assert saved.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%9Cber%20uns.de.docx"
    assert saved.headers["content-type"] == "application/octet-stream"
    assert any("Satz" in paragraph.text for paragraph in docx.Document(io.BytesIO(saved.content)).paragraphs)
    # A text file comes back in its own encoding; a text is no file.
    client.answer = model(FRENCH)
    file = {"name": "a.txt", "content_base64": base64.b64encode(ENGLISH.encode("utf-16")).decode()}
    kept, _ = await run(http, "translate", file=file, to="fr")
    saved = await http.get(f"/api/skills/runs/{kept['id']}/file")
    assert saved.content.decode("utf-16") == kept["result"]["answer"].removeprefix("\ufeff")
    kept, _ = await run(http, "translate", text=ENGLISH, to="fr")
    assert kept["file_name"] is None
    missing = await http.get(f"/api/skills/runs/{kept['id']}/file")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "invalid_request_error")


@pytest.fixture
async def web(settings: Settings, client: FakeClient, site: Site) -> AsyncIterator[httpx2.AsyncClient]:
    """A server that searches `site`, and may fetch it."""
    lit(site)
    async with running(create_app(settings.model_copy(update={"search": site.settings()}), client)) as http:
        yield http


async def test_a_search_answers_from_pages(web: httpx2.AsyncClient, client: FakeClient, site: Site) -> None:
    client.answer = model(lambda asked: FOUND if "pink granite" in asked else "Mean Ruz")
    kept, events = await run(web, "search", question=QUESTION)
    assert (kept["status"], kept["result"]["answer"]) == ("complete", FOUND)
    assert kept["result"]["sources"][0]["url"] == f"{site.url}/lighthouse"
    heard_sources = [data["url"] for _, name, data in events if name == "partial"]
    assert f"{site.url}/lighthouse" in heard_sources


async def test_chat_in_mode_search_keeps_its_sources(web: httpx2.AsyncClient, client: FakeClient, site: Site) -> None:
    client.answer = model(lambda asked: FOUND if "pink granite" in asked else "Mean Ruz")
    thread = await new_thread(web)
    events = await heard(web, await ask(web, thread, content=QUESTION, mode="search"))
    message = events[-1][1]["message"]
    assert (message["status"], message["content"]) == ("complete", FOUND)
    assert message["sources"][0]["url"] == f"{site.url}/lighthouse"
    assert "1860" in message["sources"][0]["text"]
    assert any(name == "step" for name, _ in events)
    assert (await web.get(f"/api/threads/{thread}")).json()["messages"][-1] == message


async def test_a_page_is_summarised_by_its_address(web: httpx2.AsyncClient, client: FakeClient, site: Site) -> None:
    client.answer = model("The lighthouse was built in 1860 and rebuilt in 1946 with pink granite.")
    kept, events = await run(web, "summarize", url=f"{site.url}/lighthouse", style="tldr")
    assert kept["status"] == "complete"
    assert "1860" in kept["result"]["answer"]
    assert kept["result"]["sources"][0]["title"] == "Mean Ruz"
    assert ("step", {"text": f"reading {site.url}/lighthouse"}) in [event[1:] for event in events]


async def test_no_page_of_a_private_network_is_fetched(http: httpx2.AsyncClient, site: Site) -> None:
    lit(site)
    kept, _ = await run(http, "summarize", url=f"{site.url}/lighthouse")
    assert (kept["status"], kept["error_code"]) == ("failed", "address_refused")
    assert site.seen == []


async def test_documents_are_asked_with_what_was_said_before(http: httpx2.AsyncClient, client: FakeClient) -> None:
    await add(http)
    client.answer = model(
        lambda asked: (
            "The tower of Rivermouth is 84 metres high [1]."
            if "84 metres" in asked
            else "How high is the tower of Rivermouth?"
        )
    )
    turns = [{"role": "user", "content": "Is there a tower in Rivermouth?"}, {"role": "assistant", "content": "Yes."}]
    kept, events = await run(http, "documents", question="How high is it?", history=turns)
    assert kept["result"]["verified"], kept["result"]["checks"]
    assert kept["result"]["sources"][0]["document_id"]
    assert any(name == "partial" for _, name, _ in events)


ONE_CALL: dict[str, dict[str, Any]] = {
    **{skill: body for skill, (_, body, _) in CASES.items()},
    "code-fix": {"code": BUG, "error": "assert 5 == 6"},
    "code-translate": {"code": "print(1)", "target": "c"},
    "search": {"question": QUESTION},
    "documents": {"question": QUESTION},
}


@pytest.mark.parametrize("skill", ONE_CALL)
async def test_each_is_cancelled_down_to_the_engine(
    web: httpx2.AsyncClient, client: FakeClient, skill: str, sandbox: None
) -> None:
    await add(web, text=f"# Lights\n\n{QUESTION} In 1860.".encode())
    client.answer = client.until_told
    started = (await web.post(f"/api/skills/{skill}/runs", json=ONE_CALL[skill])).json()
    await eventually(lambda: client.requests)
    stopped = (await web.delete(f"/api/skills/runs/{started['id']}")).json()
    assert (stopped["status"], stopped["result"]) == ("stopped", None)
    assert client.cancelled >= 1


TEXT = {"name": "a.txt", "content_base64": "YQ=="}
WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("translate", {"text": " ", "to": "fr"}, "text", "empty_input"),
    ("translate", {"text": "a", "file": TEXT, "to": "fr"}, "file", "invalid_request"),
    ("translate", {"text": "a"}, "to", "invalid_value"),
    ("translate", {"text": "a", "to": " "}, "to", "invalid_value"),
    ("translate", {"text": "a", "to": "klingon"}, "to", "unknown_language"),
    ("translate", {"text": "a", "to": "fr", "source": "elvish"}, "source", "unknown_language"),
    ("translate", {"text": "a", "to": "fr", "tone": "angry"}, "tone", "invalid_value"),
    ("translate", {"text": "a", "to": "fr", "glossary": "word"}, "glossary", "bad_glossary"),
    ("translate", {"text": "a", "to": "fr", "model": "nobody"}, "model", "model_not_found"),
    ("translate", {"file": {"name": "a", "content_base64": "?"}, "to": "fr"}, "file.content_base64", "invalid_value"),
    ("summarize", {}, "text", "empty_input"),
    ("summarize", {"text": "a", "url": "https://a.example"}, "url", "invalid_request"),
    ("summarize", {"url": "file:///etc/passwd"}, "url", "address_refused"),
    ("summarize", {"text": "a", "length": "endless"}, "length", "invalid_value"),
    ("code-write", {"task": "\n"}, "task", "empty_input"),
    ("code-write", {"task": "a", "language": "latin"}, "language", "unknown_language"),
    ("code-fix", {"command": "pytest"}, "code", "empty_input"),
    ("code-fix", {"code": "a", "command": "pytest '"}, "command", "invalid_request"),
    ("code-fix", {"files": [TEXT, TEXT], "command": "pytest"}, "files", "invalid_request"),
    ("code-optimize", {"bench": "f()"}, "code", "invalid_value"),
    ("code-explain", {"code": ""}, "code", "empty_input"),
    ("code-translate", {"code": "a", "target": "python"}, "target", "invalid_request"),
    ("search", {"question": "  "}, "question", "invalid_value"),
    ("documents", {"question": "a", "history": [{"role": "system", "content": ""}]}, "history.0.role", "invalid_value"),
]


@pytest.mark.parametrize(("skill", "body", "param", "code"), WRONG)
async def test_what_cannot_be_right_is_refused_by_its_field(
    http: httpx2.AsyncClient, skill: str, body: dict[str, Any], param: str, code: str
) -> None:
    response = await http.post(f"/api/skills/{skill}/runs", json=body)
    error = response.json()["error"]
    assert response.status_code in (400, 404)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert error["message"]
    assert "\n" not in error["message"]
    assert (await http.get("/api/skills/runs")).json()["items"] == []
