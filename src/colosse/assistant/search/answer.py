"""A question to an answer whose every sentence was checked against the passage that it cites."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from colosse.assistant import embed
from colosse.assistant.cite import CitedSentence, cited_answer
from colosse.assistant.documents.answer import checked
from colosse.assistant.documents.rank import query_terms, terms
from colosse.assistant.ground import Source
from colosse.assistant.languages import guess_language, prompt_language
from colosse.assistant.search.gather import WebSource, choose, find, read_pages
from colosse.assistant.search.plan import SearchPrompts, plan, standalone
from colosse.assistant.search.providers import configured
from colosse.assistant.skill import SMALL_PARAMETERS, Check, Listener, Result, Work, parameters_of
from colosse.core.errors import UserError
from colosse.core.settings import SearchSettings, load_settings
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage
from colosse.store import Store

_PASSAGES, _PASSAGES_SMALL = 8, 5
_RELATED = 0.3
"""Similarity of a question and a sentence that answers it, in another language or in other words."""


class SearchAnswer(Result):
    """An answer with its sources; `answer` has the marks `[1]`.

    Attributes:
        sentences: of the answer, each with the passages that it rests on.
        removed: sentences that the model wrote and no passage supports.
        sources: the passages that are cited.
        queries: what was searched for.
        notes: what did not go as it should: providers that failed, pages that could not be read.
    """

    sentences: list[CitedSentence] = []
    removed: list[str] = []
    sources: list[WebSource] = []
    queries: list[str] = []
    notes: list[str] = []


async def search(
    client: Client,
    question: str,
    *,
    history: Sequence[ChatMessage] = (),
    settings: SearchSettings | None = None,
    store: Store | None = None,
    owner_id: str = "local",
    model: str = "",
    listener: Listener | None = None,
) -> SearchAnswer:
    """Answer from pages and documents that are read for the question.

    Args:
        client: whom to ask.
        question: in any language; the answer is in the same.
        history: the conversation before it; read to understand the question, never with a page's text.
        settings: where to look; None: this installation's.
        store: keeps what was fetched, and has the documents of `owner_id`.
        owner_id: whose documents.
        model: its name; empty: the default.
        listener: hears steps, and each source as it is chosen.

    Raises:
        UserError: the question is empty or too long, or there is nowhere to look.
    """
    question = checked(question)
    settings = settings or load_settings().value.search
    providers = configured(settings)
    own = "documents" in settings.providers and store is not None
    if not providers and not own:
        raise UserError("no provider to search with", hint="set search.providers, or search.searxng_url")
    listener = listener or Listener()
    language = guess_language(question)
    work = await Work.start(client, model, SearchPrompts, "search", prompt_language(language), listener)
    question = await standalone(work, question, history)
    notes: list[str] = []
    listener.step("planning queries")
    queries = await plan(work, question, language) if providers else [question]
    listener.step(f"searching: {'; '.join(queries)}")
    hits = await find(providers, queries, language, settings, store, notes) if providers else []
    pages = await read_pages(hits, settings, store, listener, notes)
    passages = await own_passages(store, owner_id, question) if own and store is not None else []
    small = 0 < parameters_of(work.model.id) < SMALL_PARAMETERS
    chosen = await asyncio.to_thread(choose, question, pages, passages, _PASSAGES_SMALL if small else _PASSAGES)
    for source in chosen:
        listener.partial(source)
    listener.step("writing the answer")
    found = await cited_answer(work, question, chosen)
    kept = [one for one in found.sentences if one.supported]
    cited = [source for source in chosen if source.id in {used.id for used in found.sources}]
    related = bool(kept) and await asyncio.to_thread(is_related, question, kept, cited)
    return SearchAnswer(
        answer=found.answer if related or not kept else work.texts.unrelated,
        verified=found.verified and related,
        checks=[
            Check(name="found", passed=bool(chosen), detail="" if chosen else "; ".join(notes)),
            *found.checks,
            Check(name="related", passed=related or not kept),
        ],
        sentences=kept if related else [],
        removed=[one.text for one in found.sentences if not (one.supported and related)],
        sources=cited if related else [],
        queries=queries,
        notes=notes,
        **work.cost(),
    )


def is_related(question: str, kept: Sequence[CitedSentence], cited: Sequence[Source]) -> bool:
    """Whether an answer is about the question at all: what a passage says may be true and beside it. Blocks.

    Half of the question's words are in the answer or what it cites, or the answer is near in meaning.
    """
    said = [one.text for one in kept]
    known = set(terms(" ".join([*said, *(f"{one.title} {one.section} {one.text}" for one in cited)])))
    asked = query_terms(question)
    if sum(term in known for term in asked) >= len(asked) / 2:
        return True
    if not embed.available():
        return False
    vectors = embed.encode([question, *said])
    return bool((vectors[1:] @ vectors[0]).max() >= _RELATED)


async def own_passages(store: Store, owner_id: str, question: str) -> list[WebSource]:
    """Passages of one's own documents."""
    from colosse.assistant.documents.search import search_passages

    found = await search_passages(store, owner_id, question)
    return [WebSource(**{**one.model_dump(include=set(Source.model_fields)), "id": 0}) for one in found]
