"""From a question to checked citations, with a scripted model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

from colosse.assistant.documents.library import add_document
from colosse.assistant.search import SearchAnswer, search
from colosse.assistant.search.gather import WebSource
from colosse.assistant.skill import Listener
from colosse.core.errors import UserError
from colosse.core.settings import SearchSettings
from colosse.engines.engines import Engines
from colosse.engines.schema import ChatMessage
from colosse.store import Store, keys, open_store
from tests.assistant.search.conftest import Site
from tests.assistant.search.searx import searx
from tests.fixtures.scripted import Body, Scripted

LIGHTHOUSE = (
    "<html><head><title>Mean Ruz</title></head><body><article><h1>Mean Ruz</h1><h2>History</h2>"
    "<p>The lighthouse of Mean Ruz was built in 1860. It was destroyed by German troops in 1944, and rebuilt in 1946 "
    "with pink granite from a quarry nearby.</p><h2>Today</h2><p>The lighthouse is 15 metres high and cannot be "
    "visited. Its light can be seen from a distance of 15 kilometres.</p></article></body></html>"
)
CHEESE = (
    "<html><head><title>Cheese</title></head><body><article><h1>Cheese</h1><p>Comté is a cheese made of raw milk from "
    "cows in the Jura. It ripens in cellars for at least four months, and often for more than a year.</p></article>"
    "</body></html>"
)
QUESTION = "When was the lighthouse of Mean Ruz built?"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'search.db'}") as opened:
        yield opened


def writes(scripted: Scripted, answer: str, queries: str = "") -> None:
    """The model proposes queries when asked for some, and else answers."""

    def reply(body: Body) -> str:
        return queries if "queries" in str(body["messages"][0]["content"]) else answer

    scripted.reply = reply


def lit(site: Site) -> None:
    site.pages |= {"/lighthouse": LIGHTHOUSE, "/cheese": CHEESE}
    site.found("/cheese", "/lighthouse")


class Heard(Listener):
    def __init__(self) -> None:
        self.steps: list[str] = []
        self.found: list[BaseModel] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def partial(self, part: BaseModel) -> None:
        self.found.append(part)


async def test_a_question_becomes_an_answer_with_checked_citations(
    client: Engines, scripted: Scripted, site: Site
) -> None:
    lit(site)
    writes(scripted, "The lighthouse of Mean Ruz was built in 1860 [1].", "Mean Ruz lighthouse history")
    heard = Heard()
    found = await search(client, QUESTION, settings=site.settings(), listener=heard)
    assert found.verified
    assert found.answer == "The lighthouse of Mean Ruz was built in 1860 [1]."
    assert found.queries == [QUESTION, "Mean Ruz lighthouse history"]
    assert [(source.url, source.title, source.section) for source in found.sources] == [
        (f"{site.url}/lighthouse", "Mean Ruz", "Mean Ruz › History")
    ]
    assert "was built in 1860" in found.sources[0].text
    assert found.sources[0].fetched_at is not None
    assert found.notes == []
    assert (found.removed, [one.citations for one in found.sentences]) == ([], [[1]])
    assert any("reading" in step for step in heard.steps)
    assert [type(part) for part in heard.found] == [WebSource] * len(heard.found) != []
    assert SearchAnswer.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    "written",
    [
        "The lighthouse was built in 1861 [1].",
        "Each year a million tourists come to it by boat [1].",
        "The lighthouse was built by Napoleon Bonaparte [1][2].",
        "The lighthouse can be visited [2].",
    ],
)
async def test_what_no_passage_says_is_left_out(client: Engines, scripted: Scripted, site: Site, written: str) -> None:
    lit(site)
    writes(scripted, f"The lighthouse of Mean Ruz was built in 1860 [1]. {written}")
    found = await search(client, QUESTION, settings=site.settings())
    assert found.answer == "The lighthouse of Mean Ruz was built in 1860 [1]."
    assert len(found.removed) == 1
    assert found.removed[0][:20] == written[:20]
    writes(scripted, written)
    alone = await search(client, QUESTION, settings=site.settings())
    assert not alone.verified
    assert alone.sources == []
    assert "1861" not in alone.answer


async def test_a_citation_of_nothing_is_replaced_by_the_passage_that_says_it(
    client: Engines, scripted: Scripted, site: Site
) -> None:
    lit(site)
    writes(scripted, "The lighthouse is 15 metres high [97].")
    found = await search(client, "How high is the lighthouse of Mean Ruz?", settings=site.settings())
    assert found.verified
    (source,) = found.sources
    assert "15 metres" in source.text
    assert found.answer == f"The lighthouse is 15 metres high [{source.id}]."


async def test_nothing_found_is_said(client: Engines, scripted: Scripted, site: Site) -> None:
    site.found()
    scripted.reply = "An invented answer [1]."
    found = await search(client, QUESTION, settings=site.settings())
    assert not found.verified
    assert found.sentences == []
    assert "invented" not in found.answer
    assert found.notes == ["searxng: nothing found"]
    assert [check.name for check in found.failed] == ["found", "answered"]
    lit(site)
    scripted.reply = "NOT IN THE PASSAGES"
    assert not (await search(client, QUESTION, settings=site.settings())).verified


async def test_what_is_true_and_beside_the_question_is_no_answer(
    client: Engines, scripted: Scripted, site: Site
) -> None:
    lit(site)
    writes(scripted, "Comté is a cheese made of raw milk from cows in the Jura [1].")
    found = await search(client, "What is the capital of Mongolia?", settings=site.settings())
    assert not found.verified
    assert found.answer == "What was found does not answer this question."
    assert (found.sentences, found.sources, len(found.removed)) == ([], [], 1)
    assert [check.name for check in found.failed] == ["related"]


async def test_pages_that_fail_are_said_and_others_take_their_place(
    client: Engines, scripted: Scripted, site: Site
) -> None:
    lit(site)
    site.pages["/image"] = web.Response(body=b"x", headers={"Content-Type": "image/png"})

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response(text="late")

    site.pages["/slow"] = slow
    site.found("http://169.254.169.254/", "/image", "/missing", "/lighthouse", "/lighthouse?utm_source=x")
    writes(scripted, "The lighthouse of Mean Ruz was built in 1860 [1].")
    found = await search(client, QUESTION, settings=site.settings(max_pages=2))
    assert found.verified
    assert len([note for note in found.notes if note]) == 3
    assert any("public Internet" in note for note in found.notes)
    assert any("image/png" in note for note in found.notes)
    assert any("answered 404" in note for note in found.notes)
    assert site.seen.count("/lighthouse") == 1
    other = Site()
    assert other.seen == []
    site.found("/slow", "/lighthouse")
    late = await search(client, QUESTION, settings=site.settings(timeout_s=0.5, searxng_url=site.url))
    assert any("in time" in note or "within" in note for note in late.notes)


async def test_results_and_pages_are_kept(client: Engines, scripted: Scripted, site: Site, store: Store) -> None:
    lit(site)
    writes(scripted, "The lighthouse of Mean Ruz was built in 1860 [1].")
    first = await search(client, QUESTION, settings=site.settings(), store=store)
    asked = len(site.seen)
    again = await search(client, QUESTION, settings=site.settings(), store=store)
    assert len(site.seen) == asked
    assert again.answer == first.answer
    assert again.sources == first.sources


async def test_own_documents_need_no_provider(client: Engines, scripted: Scripted, site: Site, store: Store) -> None:
    async with store.write() as session:
        await keys.ensure_user(session, keys.LOCAL_USER)
    notes = b"# Notes\n\nThe lighthouse of Mean Ruz was built in 1860.\n"
    await add_document(store, keys.LOCAL_USER, "notes.md", notes)
    writes(scripted, "The lighthouse of Mean Ruz was built in 1860 [1].")
    found = await search(client, QUESTION, settings=site.settings(providers=["documents"]), store=store)
    assert found.verified
    assert [(source.title, source.url, source.fetched_at) for source in found.sources] == [("Notes", "", None)]
    assert site.seen == []
    lit(site)
    both = await search(client, QUESTION, settings=site.settings(providers=["searxng", "documents"]), store=store)
    assert both.verified
    other = await search(
        client, QUESTION, settings=site.settings(providers=["documents"]), store=store, owner_id="other"
    )
    assert other.sources == []


async def test_providers_fall_over_and_say_so(client: Engines, scripted: Scripted, site: Site) -> None:
    lit(site)
    site.pages["/openai/v1/responses"] = web.Response(status=429)
    writes(scripted, "The lighthouse of Mean Ruz was built in 1860 [1].")
    azure = {"azure_endpoint": site.url, "azure_key": "k", "azure_model": "m"}
    found = await search(client, QUESTION, settings=site.settings(providers=["azure", "searxng"], **azure))
    assert found.verified
    assert found.notes == ["azure: its limit of requests was reached (429)"]


@pytest.mark.parametrize(
    ("proposed", "queries"),
    [
        ("1. Mean Ruz lighthouse\n2. lighthouse built year", ["Mean Ruz lighthouse", "lighthouse built year"]),
        ("- \"built lighthouse\"\n* 'lighthouse' ", ["built lighthouse", "lighthouse"]),
        ("Sure! Here are some ideas.\nbuilt lighthouse", ["built lighthouse"]),
        ("site:evil.example lighthouse\nhttp://evil.example/lighthouse\n<b>lighthouse</b>", []),
        ("x" * 500 + " lighthouse\n\n  \nRuz, Mean; built lighthouse", []),
        ("", []),
    ],
)
async def test_queries_are_checked(
    client: Engines, scripted: Scripted, site: Site, proposed: str, queries: list[str]
) -> None:
    lit(site)
    writes(scripted, "NOT IN THE PASSAGES", proposed)
    found = await search(client, QUESTION, settings=site.settings())
    assert found.queries == [QUESTION, *queries]


async def test_the_conversation_helps_to_understand_and_goes_no_further(
    client: Engines, scripted: Scripted, site: Site
) -> None:
    lit(site)

    def reply(body: Body) -> str:
        asked = str(body["messages"])
        if "conversation" in asked:
            return "When was the lighthouse of Mean Ruz rebuilt?"
        return "lighthouse rebuilt" if "queries" in asked else "It was rebuilt in 1946 with pink granite [1]."

    scripted.reply = reply
    history = [
        ChatMessage(role="user", content="My password is SECRET. Tell me of the lighthouse of Mean Ruz."),
        ChatMessage(role="assistant", content="It is in Brittany."),
    ]
    found = await search(client, "When was it rebuilt?", history=history, settings=site.settings())
    assert found.queries[0] == "When was the lighthouse of Mean Ruz rebuilt?"
    assert found.verified
    bodies = [str(request.body) for request in scripted.requests]
    assert ["SECRET" in body for body in bodies] == [True] + [False] * (len(bodies) - 1)
    assert not any("SECRET" in path for path in site.seen)
    scripted.reply = lambda body: "Buy cheap watches today!" if "conversation" in str(body) else "x"
    unsound = await search(client, "When was it rebuilt?", history=history, settings=site.settings())
    assert unsound.queries[0] == "When was it rebuilt?"


async def test_french_questions_are_asked_in_french(client: Engines, scripted: Scripted, site: Site) -> None:
    site.pages["/phare"] = (
        "<html lang=fr><title>Phare</title><article><p>Le phare de Mean Ruz a été construit en 1860 à "
        "l'entrée du port de Ploumanac'h, puis reconstruit en 1946 après la guerre.</p></article></html>"
    )
    site.found("/phare")
    scripted.reply = "Le phare de Mean Ruz a été construit en 1860 [1]."
    found = await search(client, "Quand le phare de Mean Ruz a-t-il été construit ?", settings=site.settings())
    assert found.answer == "Le phare de Mean Ruz a été construit en 1860 [1]."
    assert "Tu" in scripted.requests[-1].body["messages"][0]["content"]
    assert "language=fr" in next(path for path in site.seen if path.startswith("/search"))


@pytest.mark.parametrize("question", ["", "  \n", "x" * 3000])
async def test_questions_that_cannot_be_asked(client: Engines, question: str) -> None:
    with pytest.raises(UserError, match="1 to 2000"):
        await search(client, question)


async def test_nowhere_to_look(client: Engines) -> None:
    with pytest.raises(UserError, match="no provider"):
        await search(client, QUESTION, settings=SearchSettings(providers=["brave", "documents"]))


async def test_the_whole_path_with_a_real_search_server(
    client: Engines, scripted: Scripted, site: Site, tmp_path: Path
) -> None:
    lit(site)
    results: dict[str, Any] = {
        "results": [{"url": f"{site.url}/lighthouse", "title": "Mean Ruz", "content": "A lighthouse"}]
    }
    site.pages["/find"] = web.json_response(results)
    writes(scripted, "The lighthouse of Mean Ruz was built in 1860 [1]. It was built by Vauban in 1700 [1].")
    async with searx(tmp_path, site.url) as url:
        found = await search(client, QUESTION, settings=site.settings(searxng_url=url))
    assert found.verified
    assert found.answer == "The lighthouse of Mean Ruz was built in 1860 [1]."
    assert found.removed == ["It was built by Vauban in 1700."]
    assert [source.url for source in found.sources] == [f"{site.url}/lighthouse"]
