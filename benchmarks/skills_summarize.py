"""Summaries of papers: the raw model asked once, against the skill with the same model and the same items.

    python -m benchmarks.skills_summarize --data PATH [--model NAME] [--items 8] [--output result.json]

Items are abstracts of SciTLDR (`--data` is its folder) with the authors' and readers' one-sentence summaries. Reported
are ROUGE-1, 2 and L (the best of the references), the share of sentences that rest on the source (the grounding check,
and independently of it the share of 4-grams and of numbers that the source does not have), and seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import time
from pathlib import Path
from statistics import mean
from typing import Any

from colosse.assistant.checks import numbers
from colosse.assistant.facts import words
from colosse.assistant.ground import Source, sentences, support
from colosse.assistant.skill import generate
from colosse.assistant.summarize import summarize
from colosse.core.settings import load_settings
from colosse.engines.client import Client
from colosse.engines.engines import Engines
from colosse.engines.schema import ChatMessage

PROMPT = "Summarize the following text in one sentence of at most 30 words.\n\n{text}"
"""What a person would type."""


def items_of(folder: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """A sample of the papers."""
    with gzip.open(folder / "dev.jsonl.gz", "rt", encoding="utf-8") as file:
        papers = [json.loads(line) for line in file]
    return random.Random(seed).sample(papers, count)


def measured(summary: str, paper: dict[str, Any]) -> dict[str, float]:
    """What a summary is worth against its paper."""
    from rouge_score.rouge_scorer import RougeScorer

    text = paper["document"]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    scores = scorer.score_multi(paper["summaries"], summary)
    own = [sentence for sentence in sentences(summary) if sentence.strip()]
    passages = [Source(id=number, text=one) for number, one in enumerate(sentences(text), 1)]
    said, there = words(summary), words(text)
    grams = {tuple(said[at : at + 4]) for at in range(len(said) - 3)}
    known = {tuple(there[at : at + 4]) for at in range(len(there) - 3)}
    stated = numbers(summary)
    return {
        **{name: score.fmeasure for name, score in scores.items()},
        "supported": mean(support(sentence, passages).supported for sentence in own) if own else 0.0,
        "novel_4grams": len(grams - known) / max(1, len(grams)),
        "novel_numbers": sum((stated - numbers(text)).values()) / max(1, stated.total()) if stated else 0.0,
        "words": float(len(said)),
    }


async def raw(client: Client, model: str, text: str) -> str:
    """The model's answer to the plain question."""
    info = await client.ensure(model)
    most = 3 * (info.max_model_len or 4096)
    messages = [ChatMessage(role="user", content=PROMPT.format(text=text[:most]))]
    done = await generate(client, messages, model=info.id, temperature=0.0, max_tokens=120)
    return done.text.strip()


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Both ways, item by item."""
    rows = []
    async with Engines(load_settings().value) as client:
        for paper in items_of(options.data, options.items, options.seed):
            start = time.perf_counter()
            plain = await raw(client, options.model, paper["document"])
            middle = time.perf_counter()
            skill = await summarize(client, paper["document"], style="tldr", model=options.model)
            end = time.perf_counter()
            said = " ".join(sentence.text for sentence in skill.sentences)
            rows.append(
                {
                    "paper": paper["paper_id"],
                    "raw": {"text": plain, "seconds": middle - start, **measured(plain, paper)},
                    "skill": {
                        "text": skill.answer,
                        "seconds": end - middle,
                        "verified": float(skill.verified),
                        "quoted": float(any(sentence.quote for sentence in skill.sentences)),
                        "dropped": skill.dropped,
                        **measured(said, paper),
                    },
                }
            )
            print(f"{paper['paper_id']}\n  raw:   {plain}\n  skill: {skill.answer}", flush=True)
    return rows


def main() -> None:
    """Measure, print a table, and write it with --output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with dev.jsonl.gz of SciTLDR")
    parser.add_argument("--model", default="", help="empty: the default")
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = asyncio.run(run(options))
    keys = ("rouge1", "rouge2", "rougeL", "supported", "novel_4grams", "novel_numbers", "words", "seconds")
    table = {way: {key: mean(row[way][key] for row in rows) for key in keys} for way in ("raw", "skill")}
    table["skill"] |= {key: mean(row["skill"][key] for row in rows) for key in ("verified", "quoted")}
    print(f"{'':14}{'raw':>9}{'skill':>9}   ({len(rows)} items)")
    for key in (*keys, "verified", "quoted"):
        print(f"{key:14}{table['raw'].get(key, float('nan')):9.3f}{table['skill'][key]:9.3f}")
    if options.output:
        options.output.write_text(json.dumps({"mean": table, "items": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
