"""Summaries of papers: the raw model asked once, against the skill with the same model and the same items.

    python -m benchmarks.skills_summarize --data DATA [--model NAME] [--items 8] [--output result.json]

Items are abstracts of SciTLDR's training part (`DATA/summarise_scitldr_en`), which nothing here was tried on before,
with the authors' and readers' one-sentence summaries. Reported are ROUGE-1, 2 and L (the best of the references), the
share of sentences that rest on the source by the skill's own grounding check, and independently of it the share of
4-grams and of numbers that the source does not have.
"""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.skills_common import Answer, Bench, Measure, Run, main, unseen

from colosse.assistant.checks import numbers
from colosse.assistant.facts import words
from colosse.assistant.ground import Source, sentences, support
from colosse.assistant.skill import generate
from colosse.assistant.summarize import summarize
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage

PROMPT = "Summarize the following text in one sentence of at most 30 words.\n\n{text}"
"""What a person would type."""


def papers(folder: Path, seed: int) -> list[dict[str, Any]]:
    """The papers in random order."""
    with gzip.open(folder / "train.jsonl.gz", "rt", encoding="utf-8") as file:
        known = [json.loads(line) for line in file]
    return [known[index] for index in unseen(len(known), seed)]


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


async def raw(client: Client, model: str, text: str) -> Answer:
    """The model's answer to the plain question."""
    info = await client.ensure(model)
    most = 3 * (info.max_model_len or 4096)
    messages = [ChatMessage(role="user", content=PROMPT.format(text=text[:most]))]
    done = await generate(client, messages, model=info.id, temperature=0.0, max_tokens=120)
    return Answer(done.text.strip(), done.usage.completion_tokens, result=done.text.strip())


async def skill(client: Client, model: str, text: str) -> Answer:
    """The skill's summary; what is scored has no marks of its sources."""
    done = await summarize(client, text, style="tldr", model=model)
    said = " ".join(sentence.text for sentence in done.sentences)
    return Answer(done.answer, done.usage.completion_tokens, done.verified, said)


async def measure(run: Run) -> None:
    """Both ways, paper by paper."""
    client = run.client

    async def judge(answer: Answer, paper: dict[str, Any]) -> dict[str, Any]:
        return measured(answer.result or "", paper)

    for paper in islice(papers(run.data / "summarise_scitldr_en", run.seed), run.items):
        await run.both(
            "summarize",
            paper["paper_id"],
            lambda text=paper["document"]: raw(client, run.model, text),
            lambda text=paper["document"]: skill(client, run.model, text),
            lambda answer, paper=paper: judge(answer, paper),
        )


BENCH = Bench(
    "summarize",
    {
        "summarize": (
            Measure("rouge1", "ROUGE-1", "mean"),
            Measure("rouge2", "ROUGE-2", "mean"),
            Measure("rougeL", "ROUGE-L", "mean"),
            Measure("supported", "sentences that rest on the source", "mean"),
            Measure("novel_4grams", "4-grams that the source lacks", "mean"),
            Measure("novel_numbers", "numbers that the source lacks", "mean"),
            Measure("words", "words", "mean"),
            Measure("verified", "said verified"),
        )
    },
    measure,
)

if __name__ == "__main__":
    main(BENCH, __doc__)
