"""How well `colosse.assistant.ground.support` tells supported sentences from others, on real text.

    python -m benchmarks.grounding --data PATH [--items 150] [--output result.json] [--no-embeddings]

True pairs: one-sentence summaries of papers (SciTLDR) against the passages of their abstract; sentences of English and
French books, shortened by a clause, against their own page; paragraphs of the Python documentation against their
translation and its neighbours.
Hard negatives, against the same passages: a number changed, a name swapped for one of another text, a negation put in
or taken out, a sentence of a neighbouring paragraph or of another paper's summary.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from colosse.assistant import embed, facts, ground
from colosse.assistant.ground import Source, sentences, support


class Pair(NamedTuple):
    """A sentence, the passages it is compared with, and whether it rests on them."""

    kind: str
    sentence: str
    sources: tuple[Source, ...]
    true: bool


def lines(path: Path) -> Iterator[dict[str, str]]:
    """The records of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def passages(text: str, size: int = 2) -> tuple[Source, ...]:
    """The text as sources of `size` sentences each."""
    found = [s for s in sentences(text) if s.strip()]
    groups = [found[at : at + size] for at in range(0, len(found), size)]
    return tuple(Source(id=number, text="".join(group).strip()) for number, group in enumerate(groups, 1))


def changed_number(sentence: str, rng: random.Random) -> str:
    """The sentence with one of its numbers replaced by a near one, or an empty string."""
    found = list(re.finditer(r"(?<![\w.,])\d+(?![\w.,]*\d)", sentence))
    if not found:
        return ""
    match = rng.choice(found)
    value = int(match[0])
    other = value + rng.choice([-2, -1, 1, 2, 10]) or value + 3
    return f"{sentence[: match.start()]}{abs(other)}{sentence[match.end() :]}"


def swapped_name(sentence: str, others: Sequence[str], rng: random.Random) -> str:
    """The sentence with one of its names replaced by one of another text, or an empty string."""
    found = [name for name in facts.names(sentence) if name in sentence]
    return sentence.replace(rng.choice(found), rng.choice(others)) if found and others else ""


def negated(sentence: str) -> str:
    """The sentence that says the opposite, or an empty string where no simple rule makes one."""
    for pattern, other in (
        (r"\b(is|are|was|were|can|could|will|would|should|has|have|had|do|does|did) not\b", r"\1"),
        (r"\b(is|are|was|were|can|could|will|would|should)\b", r"\1 not"),
        (r"\b[Ww]e (\w+)\b", r"we do not \1"),
        (r"\bne (\w+) (?:pas|jamais|plus)\b", r"\1"),
        (r"\b(est|sont|était|étaient|peut|peuvent|doit|doivent|avait|fut)\b", r"n'\1 pas"),
    ):
        turned = re.sub(pattern, other, sentence, count=1)
        if turned != sentence:
            return turned
    return ""


def shortened(sentence: str) -> str:
    """The sentence without its brackets and its last clause, as a summary would say it."""
    plain = re.sub(r"\s*\([^)]*\)", "", sentence).strip()
    clauses = re.split(r",\s+|\s+;\s+", plain)
    kept = ", ".join(clauses[: max(1, len(clauses) - 1)])
    return kept.rstrip(".") + "." if len(kept.split()) > 5 else plain


def articles(path: Path, items: int) -> Iterator[list[str]]:
    """Paragraphs of long texts: three neighbouring ones at a time."""
    for record in list(lines(path))[:items]:
        found = [" ".join(p.split()) for p in record["text"].split("\n\n") if 250 < len(p) < 1500]
        for at in range(len(found) // 2, min(len(found) - 3, len(found) // 2 + 9), 3):
            yield found[at : at + 3]


def pairs(data: Path, items: int, seed: int) -> Iterator[Pair]:
    """About `items` true pairs of each kind, and the negatives made from them."""
    rng = random.Random(seed)
    papers = list(lines(data / "summarise_scitldr_en" / "dev.jsonl.gz"))
    rng.shuffle(papers)
    yield from _of_papers(papers[: items + 1], rng)
    for language in ("en", "fr"):
        groups = list(articles(data / f"books_{language}" / "books-00.jsonl.gz", 60))
        rng.shuffle(groups)
        yield from _of_books(groups[:items], language, rng)
    rows = [(r["en"], r["fr"]) for r in lines(data / "parallel_python_docs_en_fr" / "python_docs.jsonl.gz")]
    long = [at for at, row in enumerate(rows[:-9]) if 9 < len(row[0].split()) < 40]
    for at in rng.sample(long, min(items, len(long))):
        for here, there, kind in ((0, 1, "en on fr"), (1, 0, "fr on en")):
            own = tuple(Source(id=i, text=row[there]) for i, row in enumerate(rows[at - 1 : at + 2], 1))
            yield from _pairs(kind, rows[at][here], own, rows[at + 4][here], [], rng)


def _of_papers(papers: Sequence[dict[str, str]], rng: random.Random) -> Iterator[Pair]:
    others = [name for paper in papers for name in facts.names(paper["document"])]
    for paper, other in pairwise(papers):
        yield from _pairs(
            "summary", paper["summaries"][0], passages(paper["document"]), other["summaries"][0], others, rng
        )


def _of_books(groups: Sequence[list[str]], language: str, rng: random.Random) -> Iterator[Pair]:
    others = [name for group in groups for name in facts.names(group[0])]
    for first, second, third in groups:
        sentence = max(sentences(first), key=lambda s: (len(facts.numbers(s)), -abs(len(s) - 150)))
        neighbour = max(sentences(third), key=lambda s: -abs(len(s) - 150))
        yield from _pairs(
            f"book {language}", shortened(sentence), passages(f"{first}\n\n{second}"), neighbour, others, rng
        )


def _pairs(
    kind: str, sentence: str, own: tuple[Source, ...], other: str, names: Sequence[str], rng: random.Random
) -> Iterator[Pair]:
    yield Pair(kind, sentence, own, True)
    yield Pair(f"{kind}: another text", other, own, False)
    for what, made in (
        ("number changed", changed_number(sentence, rng)),
        ("name swapped", swapped_name(sentence, names, rng)),
        ("negated", negated(sentence)),
    ):
        if made and made != sentence:
            yield Pair(f"{kind}: {what}", made, own, False)


def main() -> None:
    """Measure and print; with --output also as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--items", type=int, default=150, help="true pairs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-embeddings", action="store_true", help="as without the extra `skills`")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.no_embeddings:
        embed.available = lambda: False
    found = list(pairs(options.data, options.items, options.seed))
    start = time.perf_counter()
    judged = [support(pair.sentence, pair.sources) for pair in found]
    seconds = time.perf_counter() - start
    table = {}
    for kind in sorted({pair.kind for pair in found}):
        of_kind = [(pair, said) for pair, said in zip(found, judged, strict=True) if pair.kind == kind]
        right = sum(pair.true == said.supported for pair, said in of_kind)
        table[kind] = {"pairs": len(of_kind), "right": right / len(of_kind)}
        print(f"{kind:32} {len(of_kind):5d}  {right / len(of_kind):6.1%} right")
    said = [(pair.true, one.supported) for pair, one in zip(found, judged, strict=True)]
    hits = sum(true and yes for true, yes in said)
    precision = hits / max(1, sum(yes for _, yes in said))
    recall = hits / max(1, sum(true for true, _ in said))
    ms = 1000 * seconds / len(found)
    print(f"precision {precision:.3f}  recall {recall:.3f}  threshold {ground.THRESHOLD}  {ms:.1f} ms a pair")
    if options.output:
        summary = {"precision": precision, "recall": recall, "ms_per_pair": ms, "kinds": table}
        options.output.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
