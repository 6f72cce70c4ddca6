"""Finding passages: how well by words, by meaning and by both, and how fast among 100,000.

    python -m benchmarks.retrieval --data FOLDER [--items 300] [--passages 100000] [--database URL] [--output FILE]

Quality (nDCG@10) on open texts, each document added as a user would add it; one passage or document is right:

* `civil-number`: the Code civil, asked for `article 1134`; the article.
* `civil-words`: a sentence of an article without its stop words and without every third of the others; the article.
* `react`: a heading of React's French documentation, and the page's title; a passage of the section.
* `tldr-en-fr`: the English description of a command, without its name, against the French pages; the page.
* `python-en-fr`, `python-words`: the first English words of a paragraph of Python's documentation against the French
  ones, and a French sentence as in `civil-words`; the paragraph.

The weight of the search was chosen on `react` and `tldr-en-fr`, the form of its sum after a look at all of these tasks.

Speed on passages made of the same texts, repeated with a word of their own until there are enough.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import math
import random
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select

from colosse.assistant import embed
from colosse.assistant.documents import vectors
from colosse.assistant.documents.library import add_document
from colosse.assistant.documents.passages import passages_of
from colosse.assistant.documents.plain import markdown_blocks
from colosse.assistant.documents.rank import folded, query_terms
from colosse.assistant.documents.search import POOL, meaning_ranking, search_passages, words_ranking
from colosse.assistant.outside import gives_orders
from colosse.store import Store, keys, open_store
from colosse.store.tables import Document, Passage

AT = 10
PARAGRAPHS = 4000
"""Of Python's documentation."""


class Asked(NamedTuple):
    """A query and what tells the right passages: (name of the document, beginning of the section)."""

    query: str
    name: str
    section: str = ""


def rows(data: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a corpus."""
    with gzip.open(data / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def corpora(data: Path, seed: int) -> Iterator[tuple[str, dict[str, str], dict[str, list[Asked]]]]:
    """(corpus, documents by name, tasks) of each."""
    rng = random.Random(seed)
    civil = rows(data, "code_civil_fr/code_civil.jsonl.gz")
    documents = {row["article"] + ".md": f"# {row['article']}\n\n{row['text']}\n" for row in civil}
    words = [Asked(query, row["article"] + ".md") for row in civil if (query := incomplete(row["text"]))]
    numbers = [Asked(row["article"].lower(), row["article"] + ".md") for row in civil]
    yield "civil", documents, {"civil-number": shuffled(numbers, rng), "civil-words": shuffled(words, rng)}

    react = rows(data, "docs_react_fr/react_docs_fr.jsonl.gz")
    documents = {row["path"] + ".md": row["text"] for row in react}
    asked = []
    for row in react:
        title = re.search(r"^title:\s*[\"']?(.*?)[\"']?\s*$", row["text"], re.MULTILINE)
        sections = {p.section for p in passages_of(markdown_blocks(row["text"]))}
        for section in sorted(sections - {""}):
            query = f"{section.split(' › ')[-1]} {title[1] if title else ''}"
            asked.append(Asked(query, row["path"] + ".md", section))
    yield "react", documents, {"react": shuffled(asked, rng)}

    tldr = [row for row in rows(data, "tldr_pages/tldr.jsonl.gz") if row.get("fr")]
    documents = {row["page"] + ".md": row["fr"] for row in tldr}
    asked = []
    for row in tldr:
        said = re.findall(r"^> (?!More|See|Note)(.+)$", row["en"], re.MULTILINE)
        name = row["page"].split("/")[-1]
        query = re.sub(rf"`?\b{re.escape(name)}\b`?", "", " ".join(said), flags=re.IGNORECASE)
        if len(query.split()) >= 4:
            asked.append(Asked(query, row["page"] + ".md"))
    yield "tldr", documents, {"tldr-en-fr": shuffled(asked, rng)}

    long = [row for row in rows(data, "parallel_python_docs_en_fr/python_docs.jsonl.gz") if len(row["fr"]) > 80]
    long = [row for row in long if not gives_orders(row["fr"])]  # a document of nothing else is refused
    chosen = {f"{index}.txt": row for index, row in enumerate(rng.sample(long, min(PARAGRAPHS, len(long))))}
    documents = {name: row["fr"] for name, row in chosen.items()}
    asked = [Asked(" ".join(row["en"].split()[:14]), name) for name, row in chosen.items()]
    words = [Asked(query, name) for name, text in documents.items() if (query := incomplete(text))]
    yield "python", documents, {"python-en-fr": shuffled(asked, rng), "python-words": shuffled(words, rng)}


def incomplete(text: str) -> str:
    """The longest sentence without its stop words and every third of the others; empty when little is left."""
    sentence = max(re.split(r"(?<=[.;])\s+", text), key=len)
    kept = [word for index, word in enumerate(query_terms(sentence)) if index % 3 != 2]
    return " ".join(kept[:20]) if len(kept) >= 6 else ""


def shuffled(asked: list[Asked], rng: random.Random) -> list[Asked]:
    """In an order of its own, the same each time."""
    return rng.sample(asked, len(asked))


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Store]:
    """An empty database: a file that is gone afterwards, or the one of `url`, whose documents are removed."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_store(url or f"sqlite+aiosqlite:///{folder}/retrieval.db") as store:
            async with store.write() as session:
                await keys.ensure_user(session, keys.LOCAL_USER)
                await session.execute(delete(Passage))
                await session.execute(delete(Document))
            yield store


async def quality(store: Store, data: Path, items: int, seed: int) -> dict[str, dict[str, float]]:
    """Task -> way -> mean nDCG@10."""
    found: dict[str, dict[str, float]] = {}
    for corpus, documents, tasks in corpora(data, seed):
        start = time.perf_counter()
        for name, text in documents.items():
            await add_document(store, keys.LOCAL_USER, name, text.encode())
        seconds = time.perf_counter() - start
        async with store.read() as session:
            query = select(Passage.id, Document.name, Passage.section).join(Document)
            place = {id: (name, section) for id, name, section in (await session.execute(query)).tuples()}
        print(f"{corpus}: {len(documents)} documents, {len(place)} passages added in {seconds:.1f} s", flush=True)
        for task, asked in tasks.items():
            scores: dict[str, list[float]] = {}
            for one in asked[:items]:
                words = await words_ranking(store, keys.LOCAL_USER, one.query)
                meaning = await meaning_ranking(store, keys.LOCAL_USER, one.query)
                both = await search_passages(store, keys.LOCAL_USER, one.query, limit=AT)
                ways = {"words": list(words), "meaning": list(meaning), "both": [found.passage_id for found in both]}
                for way, ranking in ways.items():
                    scores.setdefault(way, []).append(gain(ranking, one, place))
            found[task] = {"items": min(items, len(asked)), **{way: statistics.mean(s) for way, s in scores.items()}}
            print(task, json.dumps({way: round(score, 3) for way, score in found[task].items()}), flush=True)
        async with store.write() as session:
            await session.execute(delete(Passage))
            await session.execute(delete(Document))
    return found


def gain(ranking: list[int], asked: Asked, place: dict[int, tuple[str, str]]) -> float:
    """1 / log2(1 + place) of the first right passage among the first ten: nDCG@10 with one right answer."""
    for rank, id in enumerate(ranking[:AT], 1):
        name, section = place[id]
        if name == asked.name and section.startswith(asked.section):
            return 1 / math.log2(1 + rank)
    return 0.0


async def speed(store: Store, data: Path, passages: int, queries: int, seed: int) -> dict[str, Any]:
    """Milliseconds of searches among many passages."""
    texts, asked = [], []
    for _, documents, tasks in corpora(data, seed):
        texts += [span.text for text in documents.values() for span in passages_of(markdown_blocks(text))]
        asked += [one.query for task in tasks.values() for one in task[:queries]]
    rng = random.Random(seed)
    asked = rng.sample(asked, queries)
    few = texts[:1000]
    known = embed.encode(few)
    import numpy as np

    noise = np.random.default_rng(seed)
    async with store.write() as session:
        document = Document(owner_id=keys.LOCAL_USER, name="many", media_type="text/plain", sha256="0" * 64)
        document.num_bytes, document.num_passages = 0, passages
        session.add(document)
        await session.flush()
        for start in range(0, passages, 2000):
            batch = []
            for position in range(start, min(start + 2000, passages)):
                vector = known[position % len(few)] + noise.normal(0, 0.01, embed.DIM).astype(np.float32)
                vector /= np.linalg.norm(vector)
                text = f"{texts[position % len(texts)]} mot{position}"
                row = {"owner_id": keys.LOCAL_USER, "document_id": document.id, "position": position, "section": ""}
                batch.append({**row, "text": text, "folded": folded(text), "embedder": embed.NAME})
                batch[-1]["embedding"] = vector.astype("<f4").tobytes()
            await session.execute(insert(Passage), batch)
    measured: dict[str, Any] = {"passages": passages, "queries": len(asked), "pool": POOL}
    vectors._held.clear()
    start_s, start_cpu = time.perf_counter(), time.process_time()
    await search_passages(store, keys.LOCAL_USER, asked[0])  # as after a start, but for the embedder
    measured["cold_ms"] = round((time.perf_counter() - start_s) * 1e3, 1)
    measured["cold_cpu_ms"] = round((time.process_time() - start_cpu) * 1e3, 1)
    ways: dict[str, Callable[[Store, str, str], Awaitable[object]]] = {
        "words": words_ranking,
        "meaning": meaning_ranking,
        "both": search_passages,
    }
    for way, function in ways.items():
        times, busy = [], []
        for query in asked:
            start_s, start_cpu = time.perf_counter(), time.process_time()
            await function(store, keys.LOCAL_USER, query)
            times.append((time.perf_counter() - start_s) * 1e3)
            busy.append((time.process_time() - start_cpu) * 1e3)
        times.sort()
        measured[way] = {"median_ms": statistics.median(times), "p95_ms": times[int(len(times) * 0.95)]}
        busy.sort()  # says more where others use the machine
        measured[way] |= {"cpu_median_ms": statistics.median(busy), "cpu_p95_ms": busy[int(len(busy) * 0.95)]}
        print(way, {name: round(value, 1) for name, value in measured[way].items()}, flush=True)
    return measured


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for."""
    async with database(options.database) as store:
        done: dict[str, Any] = {"database": store.url.get_backend_name(), "embedder": embed.NAME}
        if options.items:
            done["ndcg10"] = await quality(store, options.data, options.items, options.seed)
        if options.passages:
            done["speed"] = await speed(store, options.data, options.passages, options.queries, options.seed)
    return done


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--items", type=int, default=300, help="queries of each task; 0: no quality")
    parser.add_argument("--passages", type=int, default=100_000, help="0: no speed")
    parser.add_argument("--queries", type=int, default=60, help="whose time is taken")
    parser.add_argument("--database", default="", help="URL of a PostgreSQL database that may be emptied")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    done = asyncio.run(run(options))
    print(json.dumps(done, indent=2))
    if options.output:
        options.output.write_text(json.dumps(done, indent=2) + "\n")


if __name__ == "__main__":
    main()
