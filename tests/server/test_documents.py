"""Documents over HTTP: given, listed, searched, opened at a citation, taken back, nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
from fastapi import FastAPI

from colosse.engines.schema import ChatRequest, Delta, Usage
from tests.server.conftest import FakeClient, make_key
from tests.server.test_skills import listen

TEXT = b"# Towers\n\nThe tower of Rivermouth is 84 metres high.\n\n# Trains\n\nThe train to Saltmarsh leaves at nine."
RAW = {"content-type": "application/octet-stream"}


async def add(http: httpx2.AsyncClient, name: str = "guide.md", text: bytes = TEXT, **headers: str) -> httpx2.Response:
    return await http.post("/api/documents", params={"name": name}, content=text, headers={**RAW, **headers})


async def says(request: ChatRequest) -> AsyncIterator[Delta]:
    yield Delta(content="The tower of Rivermouth is 84 metres high [1]. It was built by giants [1].")
    yield Delta(finish_reason="stop", usage=Usage(prompt_tokens=50, completion_tokens=12, total_tokens=62))


async def test_a_document_is_kept_once_searched_opened_and_removed(http: httpx2.AsyncClient) -> None:
    added = await add(http)
    assert added.status_code == 201, added.text
    document = added.json()
    assert (document["name"], document["num_passages"], document["num_bytes"]) == ("guide.md", 2, len(TEXT))
    again = await add(http, "other name.md")
    assert (again.status_code, again.json()["id"]) == (200, document["id"])
    assert [one["id"] for one in (await http.get("/api/documents")).json()] == [document["id"]]
    found = (await http.get("/api/documents/search", params={"q": "how high is the tower?"})).json()
    assert "84 metres" in found[0]["text"]
    address = f"/api/documents/{document['id']}/passages"
    passage = (await http.get(f"{address}/{found[0]['position']}")).json()
    assert passage["text"] == found[0]["text"]
    for position in (-1, 2, 10**30):
        assert (await http.get(f"{address}/{position}")).status_code == 404
    assert (await http.delete(f"/api/documents/{document['id']}")).status_code == 204
    assert (await http.get(f"{address}/0")).status_code == 404
    assert (await http.get("/api/documents/search", params={"q": "tower"})).json() == []


async def test_what_is_no_document_is_refused_in_one_line(http: httpx2.AsyncClient) -> None:
    for name, text, headers in (
        ("a.md", b"", RAW),
        ("a.pdf", b"not a PDF", RAW),
        ("", TEXT, RAW),
        ("a.md", TEXT, {"content-type": "text/plain"}),
        ("a.md", TEXT, {"content-type": "application/json"}),
    ):
        response = await http.post("/api/documents", params={"name": name}, content=text, headers=headers)
        assert response.status_code in (400, 415), (name, headers, response.text)
        assert "\n" not in response.json()["error"]["message"]
    assert (await http.post("/api/threads", content=b"{}", headers=RAW)).status_code == 415


async def test_documents_are_their_owners_alone(public: tuple[httpx2.AsyncClient, FastAPI]) -> None:
    http, app = public
    alice = {"x-api-key": await make_key(app, "alice")}
    mallory = {"x-api-key": await make_key(app, "mallory")}
    document = (await add(http, **alice)).json()["id"]
    assert (await http.get("/api/documents", headers=mallory)).json() == []
    assert (await http.get("/api/documents/search", params={"q": "tower"}, headers=mallory)).json() == []
    # Nor can the name of a document be removed through somebody else's.
    for which in (document, "guide.md"):
        assert (await http.delete(f"/api/documents/{which}", headers=mallory)).status_code == 404
    assert len((await http.get("/api/documents", headers=alice)).json()) == 1


async def test_a_question_is_answered_from_documents_with_citations(
    http: httpx2.AsyncClient, client: FakeClient
) -> None:
    await add(http)
    client.answer = says
    run = await http.post("/api/skills/documents/runs", json={"question": "How high is the tower of Rivermouth?"})
    done = (await listen(http, run.json()["id"]))[-1][2]
    assert done["status"] == "complete", done["error"]
    assert "84 metres" in done["result"]["answer"]
    assert "giants" not in done["result"]["answer"]
    assert "84 metres" in done["result"]["sources"][0]["text"]
