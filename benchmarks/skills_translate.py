"""Translation: the raw model, asked once, against the skill, with the same model and the same items.

    python -m benchmarks.skills_translate --data DATA --model NAME --items 10 --output out.json

DATA holds `parallel_tico19_en_fr/tico19.tsv` (English, French) and `parallel_python_docs_en_fr` (`en`, `fr`).
Sentences, in both directions, are scored by chrF (sacrebleu; the mean over sentences); documents, made of sentences of
TICO-19, by whether the format's reader and an independent count of marks find the structure of the source. The memory
is not used. Held out: sentences of TICO-19 that the seeds of the development drew, and the sample of Python's
documentation that was used then. About one row of TICO-19 in ten is no pair: rows whose two sides' embeddings are
less alike than `ALIKE` are left out, and their number is printed.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.skills_common import Answer, Bench, Measure, Run, main, unseen

from colosse.assistant import embed
from colosse.assistant.skill import generate
from colosse.assistant.translate import translate
from colosse.assistant.translate.document import skeleton
from colosse.assistant.translate.formats import FORMATS
from colosse.core.errors import UserError
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage

ALIKE = 0.5
"""Cosine: 1 % of true pairs of long sentences lie below 0.57, 1 % of other sentences above 0.46 (docs/translate.md)."""
NAMES = {"en": "English", "fr": "French"}
MARKS = {
    "markdown": r"^#+ |^- |\*\*|`[^`]*`|\]\([^)]*\)|^```.*|\{\w+\}|\|",
    "html": r"<[^>]*>|&\w+;",
    "srt": r"^\d+$|^.*-->.*$|</?i>",
    "po": r"^#.*|^msg\w+|%\(\w+\)s|%d",
    "json": r"\"[\w.]+\":|\{\{\w+\}\}|[{}\[\]]",
}
"""What is counted in a document and its translation, apart from the readers that the skill uses itself."""


class Item(NamedTuple):
    """One text to translate; `reference` is empty for a document that is scored by its structure alone."""

    kind: str
    format: str
    source: str
    reference: str


def tico19(data: Path, seed: int, left_out: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs of TICO-19 in random order; those that are none are added to `left_out` instead."""
    lines = (data / "parallel_tico19_en_fr/tico19.tsv").read_text("utf-8").splitlines()
    rows = [(en, fr) for en, fr, *_ in (line.split("\t") for line in lines) if _fits(en, fr)]
    for index in unseen(len(rows), seed, samples=range(1, 41)):
        en, fr = rows[index]
        first, second = embed.encode([en, fr])
        if float(first @ second) < ALIKE:
            left_out.append(en)
        else:
            yield en, fr


def _fits(en: str, fr: str) -> bool:
    return 40 < len(en) < 300 and 0.6 < len(fr) / len(en) < 2


def python_docs(data: Path, seed: int) -> Iterator[tuple[str, str]]:
    """Paragraphs of Python's documentation in random order, without the sample."""
    folder = data / "parallel_python_docs_en_fr"
    sample = {json.loads(line)["en"] for line in (folder / "sample_200.jsonl").open(encoding="utf-8")}
    with gzip.open(folder / "python_docs.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = [row for row in rows if row["en"] not in sample and 40 < len(row["en"]) < 300]
    for index in unseen(len(rows), seed):
        yield rows[index]["en"], rows[index]["fr"]


def documents(sentences: Sequence[str], count: int) -> Iterator[Item]:
    """Documents of four sentences each, format by format."""
    makers = list(DOCUMENTS.items())
    for number in range(min(count, len(sentences) // 4)):
        name, make = makers[number % len(makers)]
        yield Item("translate documents", name, make(sentences[4 * number : 4 * number + 4]), "")


def _markdown(said: Sequence[str]) -> str:
    a, b, c, d = said
    return (
        f"# {a}\n\n- {_bold(b)}\n- `run --all` {c}\n\nSee [{d}](https://example.org/a_b) {{name}}\n\n"
        f"```py\nx = 1\n```\n\n| {a} | `n` |\n|---|---|\n| {b} | 2 |\n"
    )


def _bold(text: str) -> str:
    first, _, rest = text.partition(" ")
    return f"**{first}** {rest}"


def _html(said: Sequence[str]) -> str:
    a, b, c, d = (text.replace("&", "&amp;").replace("<", "&lt;") for text in said)
    first, _, rest = b.partition(" ")
    body = f'<h1>{a}</h1>\n<p class="x">{first} <b>{rest}</b> <code>run()</code></p>\n'
    return f"{body}<ul><li>{c}</li><li>{d}<br>&copy;</li></ul>\n"


def _srt(said: Sequence[str]) -> str:
    cues: list[str] = []
    for number, text in enumerate(said, 1):
        words = text.split()
        half = len(words) // 2
        cue = f"<i>{' '.join(words[:half])}</i>\n{' '.join(words[half:])}"
        cues.append(f"{number}\n00:00:{number:02},000 --> 00:00:{number:02},900\n{cue}\n")
    return "\n".join(cues)


def _po(said: Sequence[str]) -> str:
    lines = ['msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n']
    for number, text in enumerate(said):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'#: a.py:{number}\n#, python-format\nmsgid "%(user)s: {quoted} %d"\nmsgstr ""\n')
    return "\n".join(lines)


def _json(said: Sequence[str]) -> str:
    texts = {f"key.{number}": f"{text} {{{{name}}}}" for number, text in enumerate(said)}
    return json.dumps({"app": texts, "version": 3}, ensure_ascii=False, indent=2) + "\n"


DOCUMENTS: dict[str, Callable[[Sequence[str]], str]] = {
    "markdown": _markdown,
    "html": _html,
    "srt": _srt,
    "po": _po,
    "json": _json,
}


def kept(item: Item, answer: str) -> bool:
    """Whether a translated document has the structure of its source, by its reader and by a count of marks."""
    form = FORMATS[item.format]
    if item.format == "po":  # a catalogue without translations keeps everything, and says nothing
        filled = len(re.findall(r'^msgstr "(?!")|^msgstr ""\n"', answer, re.MULTILINE))
        if filled < len(re.findall(r"^msgid", item.source, re.MULTILINE)):
            return False
        answer_marks = Counter(re.findall(MARKS["po"], answer, re.MULTILINE))
        wanted = Counter(re.findall(MARKS["po"], item.source, re.MULTILINE))
        times = {mark: 2 if mark[0] == "%" else 1 for mark in wanted}
        same = all(answer_marks[mark] == count * times[mark] for mark, count in wanted.items())
    else:
        marks = (Counter(re.findall(MARKS[item.format], text, re.MULTILINE)) for text in (item.source, answer))
        same = next(marks) == next(marks)
    try:
        return same and skeleton(form, answer) == skeleton(form, item.source)
    except UserError:
        return False


async def raw(client: Client, item: Item, model: str, to: str) -> Answer:
    """One request, as a person would write it."""
    name = "text" if item.format == "text" else f"{item.format} document"
    ask = f"Translate this {name} into {NAMES[to]}. Keep its formatting. Reply with the translation only.\n\n"
    tokens = 200 + len(item.source)
    done = await generate(
        client,
        [ChatMessage(role="user", content=ask + item.source)],
        model=model,
        temperature=0.0,
        max_tokens=min(tokens, 1500),
    )
    text = done.text.strip()
    fenced = re.fullmatch(r"```\w*\n(.*)\n```", text, re.DOTALL)
    text = (fenced[1] if fenced else text) + ("\n" if item.source.endswith("\n") else "")
    return Answer(text, done.usage.completion_tokens)


async def skill(client: Client, item: Item, model: str, to: str) -> Answer:
    """What `translate` hands back."""
    origin = "fr" if to == "en" else "en"
    done = await translate(client, item.source, to, source=origin, format=item.format, model=model)
    return Answer(done.answer, done.usage.completion_tokens, done.verified)


async def judge(item: Item, answer: Answer) -> dict[str, Any]:
    """ChrF against the reference, or whether the structure was kept."""
    from sacrebleu.metrics import CHRF

    if not item.reference:
        same = kept(item, answer.text)
        return {"kept": same, "kept_when_verified": same if answer.verified else None}
    return {"chrf": CHRF().sentence_score(answer.text, [item.reference]).score}


async def measure(run: Run) -> None:
    """Sentences both ways, then documents."""
    client = run.client
    left_out: list[str] = []
    pairs = tico19(run.data, run.seed, left_out)
    own = list(islice(pairs, run.items))
    docs = list(islice(python_docs(run.data, run.seed), run.items))
    every = [
        (to, Item(f"translate {kind} {origin}-{to}", "text", *(pair if origin == "en" else pair[::-1])))
        for kind, known in (("TICO-19", own), ("Python docs", docs))
        for origin, to in (("en", "fr"), ("fr", "en"))
        for pair in known
    ]
    sentences = [en for en, _ in islice(pairs, 4 * run.items)]
    every += [("fr", item) for item in documents(sentences, run.items)]
    run.notes["TICO-19"] = f"{len(left_out)} of {len(left_out) + 5 * run.items} rows left out (cosine below {ALIKE})"
    for to, item in every:
        await run.both(
            item.kind,
            item.source if item.reference else f"{item.format}: {item.source}",
            lambda item=item, to=to: raw(client, item, run.model, to),
            lambda item=item, to=to: skill(client, item, run.model, to),
            lambda answer, item=item: judge(item, answer),
        )


SENTENCES = (Measure("chrf", "chrF", "mean"), Measure("verified", "said verified"))
BENCH = Bench(
    "translate",
    {
        **{f"translate {kind} {way}": SENTENCES for kind in ("TICO-19", "Python docs") for way in ("en-fr", "fr-en")},
        "translate documents": (
            Measure("kept", "structure kept"),
            Measure("verified", "said verified"),
            Measure("kept_when_verified", "of these, structure kept"),
        ),
    },
    measure,
)

if __name__ == "__main__":
    main(BENCH, __doc__)
