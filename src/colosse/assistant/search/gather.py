"""From queries to passages: who knows pages, which of them are fetched, and what of them may be cited."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from colosse.assistant.documents.passages import passages_of
from colosse.assistant.documents.rank import bm25, fused, query_terms, rank, terms
from colosse.assistant.ground import Source
from colosse.assistant.search.cache import keep, kept
from colosse.assistant.search.extract import Extracted, extract
from colosse.assistant.search.fetch import Fetched, Policy, fetch
from colosse.assistant.search.providers import Asked, Hit, Provider, ask
from colosse.assistant.skill import Listener
from colosse.core.errors import ColosseError
from colosse.core.settings import SearchSettings
from colosse.store import Store

_KIND = "search"
_FRESH_S = 900.0
_HITS = 10
"""Pages asked of a provider for one query."""
_LIKELY = 24
"""Passages whose meaning is compared with the question's."""
_MAX_PASSAGES = 200
"""Of one page; what is longer is read from its beginning."""
_TRACKING = ("utm_", "fbclid", "gclid", "mc_cid", "mc_eid")


class WebSource(Source):
    """A passage that was read, and when its page was fetched; `date` is the page's own."""

    fetched_at: datetime | None = None
    date: str = ""


class Page(NamedTuple):
    """A page that was fetched and read."""

    fetched: Fetched
    extracted: Extracted


async def find(
    providers: Sequence[Provider],
    queries: Sequence[str],
    language: str,
    settings: SearchSettings,
    store: Store | None,
    notes: list[str],
) -> list[Hit]:
    """The pages that the providers know for the queries, each once, best first; what went wrong goes to `notes`."""
    answers: list[Asked] = []
    try:
        async with asyncio.timeout(settings.timeout_s):
            for query in queries:
                answers.append(await _asked(providers, query, language, store))  # noqa: PERF401 - kept at a timeout
    except TimeoutError:
        notes.append(f"not all providers answered within {settings.timeout_s:g} s")
    notes += dict.fromkeys(said for asked in answers for said in asked.notes)
    known: dict[str, Hit] = {}
    for asked in answers:
        for hit in asked.hits:
            known.setdefault(_same(hit.url), hit)
    places = {url: index for index, url in enumerate(known)}
    hits = list(known.values())
    rankings: list[tuple[Sequence[int], float]] = [
        ([places[_same(hit.url)] for hit in asked.hits], 1.0) for asked in answers
    ]
    if hits:
        rankings.append((_by_words(queries[0], [f"{hit.title}\n{hit.snippet}" for hit in hits]), 1.0))
    return [hits[index] for index, _ in fused(rankings)]


async def _asked(providers: Sequence[Provider], query: str, language: str, store: Store | None) -> Asked:
    """`ask`, or what was answered to the same a short while ago."""
    names = ",".join(provider.name for provider in providers)
    if store is not None and (value := await kept(store, _KIND, (names, language, query))):
        return Asked([Hit.model_validate(hit) for hit in value["hits"]], value["provider"], value["notes"])
    asked = await ask(providers, query, language, _HITS)
    if store is not None and asked.hits:
        value = {"hits": [hit.model_dump() for hit in asked.hits], "provider": asked.provider, "notes": asked.notes}
        await keep(store, _KIND, (names, language, query), value, _FRESH_S)
    return asked


def _same(url: str) -> str:
    """What two addresses of one page have in common."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if not name.startswith(_TRACKING)])
    host = parts.netloc.lower().removeprefix("www.")
    return urlunsplit(("", host, parts.path.rstrip("/"), query, ""))


def policy_of(settings: SearchSettings) -> Policy:
    """The limits of a fetch that an installation's settings ask for."""
    return Policy(allow=tuple(settings.allow_private), delay_s=settings.delay_s, timeout_s=settings.timeout_s)


async def read_pages(
    hits: Sequence[Hit], settings: SearchSettings, store: Store | None, listener: Listener, notes: list[str]
) -> list[Page]:
    """Up to `settings.max_pages` of the hits, fetched and read; what has not arrived in time is left."""
    policy = policy_of(settings)

    async def read(hit: Hit) -> Page | None:
        try:
            fetched = await fetch(hit.url, policy=policy, store=store)
            page = Page(fetched, await extract(fetched))
        except ColosseError as error:
            notes.append(str(error))
            return None
        if page.extracted.num_orders:
            notes.append(f"{fetched.url} gives orders to machines ({page.extracted.num_orders} paragraphs left out)")
        return page

    pages: list[Page] = []
    waiting = list(hits)
    end = asyncio.get_running_loop().time() + settings.timeout_s
    while waiting and len(pages) < settings.max_pages:
        wanted = settings.max_pages - len(pages)
        batch, waiting = waiting[:wanted], waiting[wanted:]
        listener.step(f"reading {', '.join(hit.url for hit in batch)}")
        tasks = [asyncio.create_task(read(hit)) for hit in batch]
        try:
            done, late = await asyncio.wait(tasks, timeout=max(0.0, end - asyncio.get_running_loop().time()))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        pages += [page for task in tasks if task in done and (page := task.result()) is not None]
        if late:
            notes += [
                f"{hit.url} had not arrived in time" for hit, task in zip(batch, tasks, strict=True) if task in late
            ]
            break
    return pages


def choose(question: str, pages: Sequence[Page], own: Sequence[WebSource], limit: int) -> list[WebSource]:
    """The `limit` passages that answer the question best, numbered from 1. Blocks."""
    candidates = [*own]
    for page in pages:
        read = page.extracted.read
        candidates += [
            WebSource(
                id=0,
                text=passage.text,
                title=read.title,
                url=page.fetched.url,
                page=passage.page,
                section=passage.section,
                fetched_at=page.fetched.fetched_at,
                date=page.extracted.date,
            )
            for passage in passages_of(read.blocks)[:_MAX_PASSAGES]
        ]
    texts = [f"{one.title}\n{one.section}\n{one.text}" for one in candidates]
    # Words are cheap to compare, meaning is not: the rest has no word of the question, or few that say little.
    likely = _by_words(question, texts)[:_LIKELY]
    best = rank(question, [texts[index] for index in likely], limit)
    chosen = [candidates[likely[index]] for index in best]
    return [one.model_copy(update={"id": number}) for number, one in enumerate(chosen, 1)]


def _by_words(query: str, texts: Sequence[str]) -> list[int]:
    """The indexes of the texts, those with the words of `query` first, else in their order."""
    scores = bm25(query_terms(query), [terms(text) for text in texts])
    return sorted(range(len(texts)), key=lambda index: -scores[index])
