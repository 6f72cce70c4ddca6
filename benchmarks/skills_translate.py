"""Translation: the raw model, asked once, against the skill, with the same model and the same items.

    python -m benchmarks.skills_translate --data FOLDER --model NAME --items 10 --output out.json

FOLDER holds `parallel_tico19_en_fr/tico19.tsv` (English, French) and `parallel_python_docs_en_fr/sample_200.jsonl`
(`en`, `fr`). Sentences are scored by chrF (sacrebleu); documents, made of sentences of TICO-19, by whether the format's
reader and an independent count of marks find the structure of the source. The memory is not used.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from colosse.assistant.skill import generate
from colosse.assistant.translate import translate
from colosse.assistant.translate.document import skeleton
from colosse.assistant.translate.formats import FORMATS
from colosse.cli.connect import connect, settings_for
from colosse.core.errors import UserError
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage

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


def items(data: Path, count: int, origin: str) -> list[Item]:
    """`count` items of each of TICO-19, the documentation of Python, and documents."""
    chance = random.Random(0)
    tico = [line.split("\t") for line in (data / "parallel_tico19_en_fr/tico19.tsv").read_text("utf-8").splitlines()]
    docs = [json.loads(line) for line in (data / "parallel_python_docs_en_fr/sample_200.jsonl").open(encoding="utf-8")]
    pairs = {
        "tico19": [(en, fr) for en, fr, *_ in tico if 40 < len(en) < 300 and 0.6 < len(fr) / len(en) < 2],
        "python docs": [(doc["en"], doc["fr"]) for doc in docs if 40 < len(doc["en"]) < 300],
    }
    found: list[Item] = []
    for kind, known in pairs.items():
        for en, fr in chance.sample(known, min(count, len(known))):
            found.append(Item(kind, "text", *((en, fr) if origin == "en" else (fr, en))))
    sentences = [pair[0 if origin == "en" else 1] for pair in pairs["tico19"]]
    makers = list(DOCUMENTS.items())
    for number in range(count):
        name, make = makers[number % len(makers)]
        found.append(Item("documents", name, make(chance.sample(sentences, 4)), ""))
    return found


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


async def raw(client: Client, item: Item, model: str, to: str) -> str:
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
    return (fenced[1] if fenced else text) + ("\n" if item.source.endswith("\n") else "")


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both ways over all items."""
    rows: list[dict[str, Any]] = []
    async with connect(settings_for(options.model), options.model) as client:
        model = (await client.ensure(options.model)).id
        for item in items(options.data, options.items, options.origin):
            start = time.perf_counter()
            plain = await raw(client, item, model, options.to)
            middle = time.perf_counter()
            result = await translate(
                client, item.source, options.to, source=options.origin, format=item.format, model=model
            )
            end = time.perf_counter()
            row = {**item._asdict(), "raw": plain, "skill": result.answer, "verified": result.verified}
            row |= {"failed": [c.name for c in result.failed], "raw_s": middle - start, "skill_s": end - middle}
            if not item.reference:
                row |= {"raw_kept": kept(item, plain), "skill_kept": kept(item, result.answer)}
            rows.append(row)
            print(f"{item.kind} {item.format}: {end - start:.1f} s", flush=True)
    return {"model": model, "from": options.origin, "to": options.to, "rows": rows}


def summary(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One line a kind of item."""
    from sacrebleu.metrics import CHRF

    lines: list[dict[str, Any]] = []
    for kind in dict.fromkeys(row["kind"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["kind"] == kind]
        line: dict[str, Any] = {"kind": kind, "items": len(rows)}
        for way in ("raw", "skill"):
            if rows[0]["reference"]:
                metric = CHRF()
                score = metric.corpus_score([row[way] for row in rows], [[row["reference"] for row in rows]])
                line |= {way: round(score.score, 2), "unit": "chrF", "signature": str(metric.get_signature())}
            else:
                line |= {way: round(sum(row[f"{way}_kept"] for row in rows) / len(rows), 3), "unit": "structure kept"}
            line[f"{way}_s"] = round(sum(row[f"{way}_s"] for row in rows) / len(rows), 1)
        line["verified"] = round(sum(row["verified"] for row in rows) / len(rows), 3)
        lines.append(line)
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the parallel texts")
    parser.add_argument("--model", required=True)
    parser.add_argument("--items", type=int, default=10, help="of each kind")
    parser.add_argument("--from", dest="origin", choices=NAMES, default="en")
    parser.add_argument("--output", type=Path, help="write everything as JSON")
    options = parser.parse_args()
    options.to = "fr" if options.origin == "en" else "en"
    found = asyncio.run(measure(options))
    found["summary"] = summary(found)
    for line in found["summary"]:
        print(
            f"{line['kind']:12} {line['items']:3} items  {line['unit']}: raw {line['raw']}, skill {line['skill']}  "
            f"(verified {line['verified']:.0%}; {line['raw_s']} and {line['skill_s']} s)  {line.get('signature', '')}"
        )
    if options.output:
        options.output.write_text(json.dumps(found, ensure_ascii=False, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
