"""Search with checked citations against one raw answer: the same model, the same questions, a local site.

The pages of the data are served on this machine, behind a search in the form of SearXNG's; questions are made from
their headings, and some ask what no page says. An answer is judged without the skill's own checks, by words alone.

    python -m benchmarks.skills_search --model qwen2.5-coder-1.5b-instruct --data react_docs_fr.jsonl.gz --items 4
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import html
import json
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from colosse.assistant.documents.rank import bm25, query_terms, terms
from colosse.assistant.ground import sentences
from colosse.assistant.search import search
from colosse.assistant.skill import generate
from colosse.core.settings import SearchSettings, load_settings
from colosse.engines.client import Client
from colosse.engines.engines import Engines
from colosse.engines.schema import ChatMessage

SUPPORTED = 0.6
"""Share of a sentence's words that must be on a page."""
NOWHERE = (
    "Quelle est la capitale de la Mongolie ?",
    "Qui a gagné la Coupe du monde de football en 1998 ?",
    "Combien de pattes a une araignée ?",
    "Quelle est la recette de la ratatouille ?",
)
REFUSED = re.compile(r"je ne sais pas|désolé|ne peux pas|pas d'information|I don't know|sorry|cannot", re.IGNORECASE)


@dataclass
class Item:
    """A question, and the page that answers it; no page: nothing does."""

    question: str
    page: str


@dataclass
class Judged:
    """What came of one question; `citations_right` of `citations` are on the page that answers."""

    question: str
    way: str
    answer: str
    refused: bool
    supported: bool
    citations: int
    citations_right: int
    seconds: float


def pages_of(path: Path) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Address of each page to its title and its sections, heading and text."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "article" in row:  # a code of law
                address = "/" + re.sub(r"\W+", "-", str(row["path"]))[-120:]
                title = str(row["path"]).rsplit("/", 1)[-1]
                found.setdefault(address, (title, []))[1].append((row["article"], row["text"]))
                continue
            text = re.sub(r"\{/\*.*?\*/\}|<[^>\n]{0,300}>", "", row["text"])
            title = (re.search(r"^title:\s*(.+)$", text, re.MULTILINE) or [row["path"], row["path"]])[1].strip("\"' ")
            body = re.sub(r"\A---.*?---", "", text, count=1, flags=re.DOTALL)
            parts = re.split(r"^##+ +(.+)$", body, flags=re.MULTILINE)
            sections = [(title, parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
            found["/" + re.sub(r"\W+", "-", row["path"])] = (title, [(h.strip(" `"), t) for h, t in sections])
    return found


def items_of(pages: dict[str, tuple[str, list[tuple[str, str]]]]) -> list[Item]:
    """Questions from headings of several words over sections with some prose."""
    every = []
    for address, (title, sections) in pages.items():
        for heading, text in sections:
            prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
            if heading.startswith("Article "):
                every.append(Item(f"Que dit l'{heading.lower()} du code civil ?", address))
            elif len(heading.split()) >= 5 and 60 <= len(prose.split()) <= 600 and heading != title:
                every.append(Item(f"{title} : {heading.rstrip(' ?:.')} ?", address))
    return every


@asynccontextmanager
async def served(pages: dict[str, tuple[str, list[tuple[str, str]]]]) -> AsyncIterator[str]:
    """The address of the site."""
    addresses = list(pages)
    words = [terms(" ".join([title, *(f"{h} {text}" for h, text in sections)])) for title, sections in pages.values()]

    async def page(request: web.Request) -> web.Response:
        title, sections = pages[request.path]
        body = "".join(f"<h2>{html.escape(h)}</h2>{_paragraphs(text)}" for h, text in sections)
        whole = f"<html><head><title>{html.escape(title)}</title></head><body><article><h1>{html.escape(title)}</h1>"
        return web.Response(text=f"{whole}{body}</article></body></html>", content_type="text/html")

    async def found(request: web.Request) -> web.Response:
        scores = bm25(query_terms(request.query["q"]), words)
        best = sorted(range(len(words)), key=lambda i: -scores[i])[:5]
        hits = [{"url": f"{url}{addresses[i]}", "title": pages[addresses[i]][0], "content": ""} for i in best]
        return web.json_response({"results": hits})

    app = web.Application()
    app.router.add_get("/search", found)
    for address in addresses:
        app.router.add_get(address, page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield url
    finally:
        await runner.cleanup()


def _paragraphs(text: str) -> str:
    parts = re.split(r"(```.*?```)", text, flags=re.DOTALL)
    code = [f"<pre>{html.escape(part.strip('`'))}</pre>" for part in parts[1::2]]
    prose = [
        "".join(f"<p>{html.escape(p)}</p>" for p in re.split(r"\n\s*\n", part) if p.strip()) for part in parts[::2]
    ]
    return "".join(a + b for a, b in zip(prose, [*code, ""], strict=True))


def says(page: str, sentence: str) -> bool:
    """Whether a text has most of the words of a sentence, and all of its numbers."""
    known, words = set(terms(page)), query_terms(sentence)
    numbers = [word for word in words if any(c.isdigit() for c in word)]
    enough = sum(word in known for word in words) >= SUPPORTED * len(words)
    return enough and all(number in known for number in numbers)


async def raw(client: Client, model: str, question: str) -> str:
    """One answer to the bare question."""
    done = await generate(
        client, [ChatMessage(role="user", content=question)], model=model, max_tokens=200, temperature=0
    )
    return done.text


async def measure(client: Client, model: str, path: Path, count: int, seed: int) -> list[Judged]:
    """Each question both ways."""
    pages = pages_of(path)
    texts = {a: "\n".join([t, *(f"{h}\n{x}" for h, x in sections)]) for a, (t, sections) in pages.items()}
    items = random.Random(seed).sample(items_of(pages), count) + [Item(q, "") for q in NOWHERE[: max(1, count // 2)]]
    judged = []
    async with served(pages) as url:
        given = {"providers": ["searxng"], "searxng_url": url, "delay_s": 0, "max_pages": 3}
        settings = SearchSettings.model_validate({**given, "allow_private": [url.removeprefix("http://")]})
        for item in items:
            start = time.perf_counter()
            answer = await raw(client, model, item.question)
            said = [s for s in sentences(answer) if len(s.split()) > 2]
            supported = bool(said and item.page) and all(says(texts[item.page], s) for s in said)
            refused = bool(REFUSED.search(answer))
            judged.append(Judged(item.question, "raw", answer, refused, supported, 0, 0, time.perf_counter() - start))
            found = await search(client, item.question, settings=settings, model=model)
            cited = {source.id: source for source in found.sources}
            said_by = [
                (one.text, "\n".join(f"{cited[n].section}\n{cited[n].text}" for n in one.citations))
                for one in found.sentences
            ]
            judged.append(
                Judged(
                    item.question,
                    "skill",
                    found.answer,
                    not found.sentences,
                    bool(said_by) and all(says(passages, text) for text, passages in said_by),
                    len(cited),
                    sum(bool(item.page) and source.url == url + item.page for source in cited.values()),
                    found.seconds,
                )
            )
            print(f"{item.question}\n  {found.answer}  {found.notes}\n", flush=True)
    return judged


def table(judged: list[Judged], count: int) -> list[dict[str, Any]]:
    """One line for each way."""
    lines = []
    for way in ("raw", "skill"):
        mine = [one for one in judged if one.way == way]
        known, unknown = mine[:count], mine[count:]
        citations = sum(one.citations for one in known)
        lines.append(
            {
                "way": way,
                "answered": sum(not one.refused for one in known) / len(known),
                "supported": sum(one.supported for one in known) / len(known),
                "citation_precision": sum(one.citations_right for one in known) / citations if citations else None,
                "refused_when_nothing_is_there": sum(one.refused for one in unknown) / len(unknown),
                "seconds": sum(one.seconds for one in mine) / len(mine),
            }
        )
    return lines


async def run(options: argparse.Namespace) -> None:
    """Measure, print and write."""
    async with Engines(load_settings({"model": options.model}).value) as client:
        judged = await measure(client, options.model, options.data, options.items, options.seed)
    lines = table(judged, options.items)
    for line in lines:
        print(
            "  ".join(
                f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in line.items()
            )
        )
    if options.output:
        body = {"model": options.model, "lines": lines, "items": [asdict(one) for one in judged]}
        options.output.write_text(json.dumps(body, ensure_ascii=False, indent=2))


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="auto", help="installed model, or an endpoint's")
    parser.add_argument(
        "--data", type=Path, required=True, help="jsonl.gz of pages: {path, text}, or {path, article, text}"
    )
    parser.add_argument("--items", type=int, default=6, help="questions with an answer; half as many have none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="JSON to write")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
