"""Every skill against the raw model: the same model, the same held-out items, one table.

    python -m benchmarks.skills --data DATA --model qwen2.5-coder-1.5b-instruct --items 8 --output skills.json
    python -m benchmarks.skills --data DATA --output skills.json --resume       # after a kill
    python -m benchmarks.skills --scripted                                      # the machinery itself, without a model

The parts (`--only`) are `skills_code`, `skills_optimize`, `skills_translate`, `skills_summarize`, `skills_search`,
`sandbox` (raw: bare), and retrieval (raw: by words alone). Elsewhere raw asks the model once, greedily. Measures of a
part are said in its module; intervals are 95 %, Wilson's for rates, else bootstrapped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks import (
    sandbox,
    skills_code,
    skills_optimize,
    skills_scripted,
    skills_search,
    skills_summarize,
    skills_translate,
)
from benchmarks.retrieval import AT, Asked, corpora, database, gain
from benchmarks.skills_common import Answer, Bench, Measure, Run, options_of, start, unseen
from sqlalchemy import delete, select

from colosse.assistant.documents.library import add_document
from colosse.assistant.documents.search import search_passages, words_ranking
from colosse.assistant.ground import sentences
from colosse.assistant.search import search
from colosse.core.settings import SearchSettings
from colosse.store import Store, keys
from colosse.store.tables import Document, Passage

SITES = {
    "search React docs": "docs_react_fr/react_docs_fr.jsonl.gz",
    "search Code civil": "code_civil_fr/code_civil.jsonl.gz",
}
NOWHERE = "search without an answer"
TASKS = {
    "civil": ("civil-number", "civil-words"),
    "react": ("react",),
    "tldr": ("tldr-en-fr",),
    "python": ("python-en-fr", "python-words"),
}
SEEN_QUERIES = 300
"""The ranking was tuned on so many queries of each task."""


async def searched(run: Run) -> None:
    """Questions over the pages of two sites, and some that no page answers."""
    for table, name in SITES.items():
        if not run.waits(table, NOWHERE):
            continue
        pages = skills_search.pages_of(run.data / name)
        texts = {a: "\n".join([t, *(f"{h}\n{x}" for h, x in sections)]) for a, (t, sections) in pages.items()}
        every = skills_search.items_of(pages)
        items = [every[index] for index in unseen(len(every), run.seed, samples=range(1, 13))[: run.items]]
        async with skills_search.served(pages) as url:
            given = {"providers": ["searxng"], "searxng_url": url, "delay_s": 0, "max_pages": 3}
            settings = SearchSettings.model_validate({**given, "allow_private": [url.removeprefix("http://")]})
            for item in items:
                await _asked(run, table, item.question, settings, texts[item.page], url + item.page)
            for question in skills_search.NOWHERE[: run.items]:
                await _asked(run, NOWHERE, question, settings)


async def _asked(
    run: Run, table: str, question: str, settings: SearchSettings, page: str = "", address: str = ""
) -> None:
    client = run.client

    async def raw() -> Answer:
        return Answer(await skills_search.raw(client, run.model, question))

    async def skill() -> Answer:
        found = await search(client, question, settings=settings, model=run.model)
        return Answer(found.answer, found.usage.completion_tokens, found.verified, found)

    async def judge(answer: Answer) -> dict[str, Any]:
        found = answer.result
        if found is None:
            said = [(s, page) for s in sentences(answer.text) if len(s.split()) > 2]
            refused = bool(skills_search.REFUSED.search(answer.text))
        else:
            cited = {source.id: f"{source.section}\n{source.text}" for source in found.sources}
            said = [(one.text, "\n".join(cited[n] for n in one.citations)) for one in found.sentences]
            refused = not said
        right = [source.url == address for source in found.sources] if found else []
        rest = [skills_search.says(text, sentence) for sentence, text in said]
        return {
            "refused": refused,
            "supported": all(rest) if rest and not refused else None,
            "right_page": sum(right) / len(right) if right else None,
        }

    await run.both(table, question, raw, skill, judge)


async def retrieved(run: Run) -> None:
    """Queries over four corpora, each document added as a user would."""
    async with database("") as store:
        for corpus, documents, tasks in corpora(run.data, 1):
            if not run.waits(*(f"retrieval {task}" for task in TASKS[corpus])):
                continue
            for name, text in documents.items():
                await add_document(store, keys.LOCAL_USER, name, text.encode())
            async with store.read() as session:
                query = select(Passage.id, Document.name, Passage.section).join(Document)
                place = {id: (name, section) for id, name, section in await session.execute(query)}
            for task, asked in tasks.items():
                left = asked[SEEN_QUERIES:]
                for index in unseen(len(left), run.seed)[: run.items]:
                    await _found(run, store, f"retrieval {task}", left[index], place)
            async with store.write() as session:
                await session.execute(delete(Passage))
                await session.execute(delete(Document))


async def _found(run: Run, store: Store, table: str, asked: Asked, place: dict[int, tuple[str, str]]) -> None:
    async def words() -> Answer:
        return Answer("", result=list(await words_ranking(store, keys.LOCAL_USER, asked.query)))

    async def both() -> Answer:
        found = await search_passages(store, keys.LOCAL_USER, asked.query, limit=AT)
        return Answer("", result=[passage.passage_id for passage in found])

    async def judge(answer: Answer) -> dict[str, Any]:
        value = gain(answer.result, asked, place)
        return {"ndcg": value, "first": math.isclose(value, 1.0)}

    await run.both(table, f"{asked.query} -> {asked.name} {asked.section}", words, both, judge)


CITED = (
    Measure("refused", "no answer"),
    Measure("supported", "answers that rest on the page or what they cite"),
    Measure("right_page", "citations of the page that answers", "mean"),
    Measure("verified", "said verified"),
)
RANKED = (Measure("ndcg", "nDCG@10", "mean"), Measure("first", "right passage first"))
BENCHES = [
    skills_code.BENCH,
    skills_optimize.BENCH,
    skills_translate.BENCH,
    skills_summarize.BENCH,
    Bench("search", {**dict.fromkeys(SITES, CITED), NOWHERE: (CITED[0], CITED[3])}, searched),
    Bench("retrieval", {f"retrieval {t}": RANKED for tasks in TASKS.values() for t in tasks}, retrieved, False),
    sandbox.BENCH,
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose the parts and run them."""
    parser = options_of(__doc__)
    names = [bench.name for bench in BENCHES]
    parser.add_argument("--only", default=",".join(names), help="parts, with commas between them")
    parser.add_argument("--scripted", action="store_true", help="answers known to be good and bad, in place of a model")
    options = parser.parse_args(arguments)
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: no such part; there are {', '.join(names)}")
    if options.scripted:
        parser.exit(skills_scripted.main(chosen))
    start(parser, options, [bench for bench in BENCHES if bench.name in chosen])


if __name__ == "__main__":
    main()
