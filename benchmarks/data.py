"""Cleaning and tokenising on one core: Colosse, datatrove and `datasets.map` doing the same steps to the same texts.

    python benchmarks/data.py                       the Python installation itself
    python benchmarks/data.py --folder texts/       or any files that Colosse reads

Steps: Unicode repair, language identification, Gopher's rules (quality and repetition), FineWeb's rules, MinHash
signatures (5-grams, 14 x 8); then byte-level BPE. The peers use the published implementations: ftfy, datatrove's
filters, its MinHash and its tokenizer block, and within `datasets.map` the same functions and transformers' tokenizer.
What would only slow them is taken away: words are cut at white space for all (datatrove's default needs spaCy), and
languages are told by our function on our sample of the text (datatrove's needs a model that is not on PyPI). Documents
are pages of some 5,000 characters.

Each contestant is a process of its own with one thread, reads JSON lines and writes its own format. They take turns.
Reported is megabytes of text per second of processor time, the median of the rounds. Thresholds, stop words and ends of
sentences are the same for all; how many documents come out still differs a little, by how repetition is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CONTESTANTS = ("colosse", "datatrove", "datasets")
STAGES = ("clean", "tokenise")
PAGE = 5000


def main() -> None:
    """Make the corpus, let the contestants take turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="texts to use in place of the Python installation")
    parser.add_argument("--mb", type=float, default=8.0, help="megabytes of text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--run", nargs=3, metavar=("CONTESTANT", "STAGE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        contestant, stage, folder = options.run
        print(json.dumps(_measure(globals()[f"{contestant}_{stage}"], Path(folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        corpus = _make_corpus(options.folder, Path(folder), options.mb * 1e6)
        results: dict[str, dict[str, list[dict[str, float]]]] = {s: {c: [] for c in CONTESTANTS} for s in STAGES}
        for _ in range(options.rounds):
            for stage in STAGES:
                for contestant in CONTESTANTS:
                    results[stage][contestant].append(_child(contestant, stage, Path(folder)))
    report = {"corpus": corpus, "rounds": options.rounds, "stages": {}}
    print(f"{corpus['documents']} documents, {corpus['bytes'] / 1e6:.1f} MB of text, {options.rounds} rounds\n")
    print(f"{'':10}{'contestant':12}{'MB/s per core':>14}{'documents out':>15}{'Colosse is':>12}")
    for stage, found in results.items():
        rates = {c: statistics.median(corpus["bytes"] / 1e6 / run["cpu"] for run in runs) for c, runs in found.items()}
        report["stages"][stage] = {
            c: {"mb_per_s": rates[c], "colosse_times": rates["colosse"] / rates[c], "runs": found[c]}
            for c in CONTESTANTS
        }
        for contestant in CONTESTANTS:
            ratio = "" if contestant == "colosse" else f"{rates['colosse'] / rates[contestant]:.1f}x"
            out = int(found[contestant][0]["documents"])
            print(f"{stage:10}{contestant:12}{rates[contestant]:14.2f}{out:15}{ratio:>12}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


def _make_corpus(texts: Path | None, folder: Path, limit: float) -> dict[str, Any]:
    """`corpus.jsonl`, and a tokenizer learned on it."""
    from colosse.data.config import SourceConfig
    from colosse.data.tokenizer import Tokenizer

    kind = {"kind": "files", "paths": [texts]} if texts else {"kind": "python"}
    pages, size = [], 0
    for page in _pages(SourceConfig.model_validate({"name": "corpus", **kind})):
        pages.append(page)
        size += len(page.encode())
        if size >= limit:
            break
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": page}, ensure_ascii=False) + "\n" for page in pages)
    Tokenizer.train(pages, 8192).save(folder / "tokenizer")
    return {"documents": len(pages), "bytes": size, "texts": str(texts or "the Python installation")}


def _pages(source: Any) -> Iterator[str]:
    """Documents, cut at line ends."""
    from colosse.data import sources
    from colosse.data.document import Document

    for part in sources.list_parts(source):
        for document in sources.read_part(source, part):
            text = document.text if isinstance(document, Document) else ""
            while text:
                cut = len(text) if len(text) <= PAGE else text.rfind("\n", PAGE // 2, PAGE) + 1 or PAGE
                yield text[:cut]
                text = text[cut:]


def _child(contestant: str, stage: str, folder: Path) -> dict[str, float]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--run", contestant, stage, str(folder)],
        env={**os.environ, **threads, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{contestant}, {stage}:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(contestant: Callable[[Path, Path], Callable[[], int]], folder: Path) -> dict[str, float]:
    """Processor and wall time of what the contestant does after importing and loading what it needs."""
    with tempfile.TemporaryDirectory() as out:
        run = contestant(folder, Path(out))
        cpu, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        documents = run()
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
        return {"cpu": spent, "wall": time.perf_counter() - wall, "documents": documents}


def colosse_clean(folder: Path, out: Path) -> Callable[[], int]:
    """Our first pass over one chunk."""
    import numpy as np

    from colosse.data import clean, language, sources
    from colosse.data.config import DataConfig

    config = DataConfig.model_validate(
        {
            "sources": [{"name": "x", "paths": [folder / "corpus.jsonl"]}],
            "steps": {"quality": ["gopher", "fineweb"], "dedup": "minhash"},
        }
    )
    parts = sources.list_parts(config.sources[0])
    job = clean.CleanJob(sources.Chunk(0, 0, tuple(parts)), config.model_dump_json(), out)
    language.identify("load the model")

    def run() -> int:
        clean.clean_chunk(job)
        return int(np.load(clean.keys_file(out, 0)).shape[1])

    return run


def _words() -> Any:
    """The interface of datatrove for cutting words, at white space, and sentences."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    class WhiteSpace(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            return text.split(". ")

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            raise NotImplementedError

    return WhiteSpace()


def _filters() -> list[Any]:
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter

    from colosse.data.quality import STOP_WORDS, TERMINAL

    words = _words()
    stop_words = sorted({word for of_language in STOP_WORDS.values() for word in of_language.split()})
    return [
        GopherQualityFilter(language=words, stop_words=stop_words),
        GopherRepetitionFilter(language=words),
        FineWebQualityFilter(language=words, stop_chars=TERMINAL, char_duplicates_ratio=0.1, new_line_ratio=10.0),
    ]


def _minhash(out: Path) -> Any:
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    return MinhashDedupSignature(str(out / "signatures"), config=config, language=_words())


def datatrove_clean(folder: Path, out: Path) -> Callable[[], int]:
    """A pipeline of datatrove's blocks, run as its executor runs them."""
    from datatrove.pipeline.filters import LambdaFilter
    from datatrove.pipeline.formatters import FTFYFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    from colosse.data.language import identify

    def language(document: Any) -> bool:
        document.metadata["language"] = identify(document.text)[0]
        return True

    language(type("Document", (), {"text": "load the model", "metadata": {}}))
    writer = JsonlWriter(str(out / "cleaned"), compression="zstd")
    blocks = [
        JsonlReader(str(folder), glob_pattern="corpus.jsonl"),
        FTFYFormatter(unescape_html=False, uncurl_quotes=False),
        LambdaFilter(language),
        *_filters(),
        writer,
        _minhash(out),
    ]

    def run() -> int:
        data: Any = None
        for block in blocks:
            data = block(data, 0, 1)
        for _ in data or ():
            pass
        return int(writer.stats["total"].total)

    return run


def datasets_clean(folder: Path, out: Path) -> Callable[[], int]:
    """`map` and `filter`, which write what comes out to Arrow files."""
    import datasets
    import ftfy
    from datatrove.data import Document

    from colosse.data.language import identify

    datasets.disable_progress_bars()
    config = ftfy.TextFixerConfig(unescape_html=False, uncurl_quotes=False)
    identify("load the model")
    filters, signer = _filters(), _minhash(out)
    rows = datasets.load_dataset("json", data_files=str(folder / "corpus.jsonl"), split="train", cache_dir=str(out))

    def kept(text: str) -> bool:
        document = Document(text, "")
        return all(block.filter(document) is True for block in filters)

    def sign(row: dict[str, str]) -> dict[str, Any]:
        return {"signature": signer.get_signature(signer.get_shingles(row["text"]))}

    def run() -> int:
        found = rows.map(lambda row: {"text": ftfy.fix_text(row["text"], config)})
        found = found.map(lambda row: {"language": identify(row["text"])[0]})
        found = found.filter(lambda row: kept(row["text"]))
        return len(found.map(sign))

    return run


def colosse_tokenise(folder: Path, out: Path) -> Callable[[], int]:
    """Our second pass over one chunk, from cleaned documents to token ids."""
    import numpy as np
    import orjson
    import zstandard

    from colosse.data import clean, tokenise
    from colosse.data.tokenizer import Tokenizer

    for name in ("clean", "keep", "tokens"):
        (out / name).mkdir()
    lines = (folder / "corpus.jsonl").read_bytes().splitlines()
    packed = b"".join(orjson.dumps(["", orjson.loads(line)["text"]]) + b"\n" for line in lines)
    clean.documents_file(out / "clean", 0).write_bytes(zstandard.compress(packed, 1))
    np.save(clean.keys_file(out / "clean", 0), np.ones((3, len(lines)), np.uint64))
    np.save(tokenise.keep_file(out, 0), np.ones(len(lines), np.bool_))
    Tokenizer.load(folder / "tokenizer").encode_batch(["load"])
    job = tokenise.TokeniseJob(0, out, folder / "tokenizer", 0.01, False, 0, "uint16")

    def run() -> int:
        tokenise.tokenise_chunk(job)
        return sum(c["documents"] for c in orjson.loads(tokenise.counts_file(out / "tokens", 0).read_bytes()).values())

    return run


def datatrove_tokenise(folder: Path, out: Path) -> Callable[[], int]:
    """The tokenizer block of datatrove, which writes token files and an index."""
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    block = DocumentTokenizer(
        str(out / "tokens"),
        str(folder / "tokenizer" / "tokenizer.json"),
        eos_token="<|endoftext|>",
        shuffle_documents=False,
        save_final_metadata=False,
    )
    block.tokenizer.encode("load")
    reader = JsonlReader(str(folder), glob_pattern="corpus.jsonl")

    def run() -> int:
        for _ in block(reader(None, 0, 1), 0, 1) or ():
            pass
        return int(reader.stats["documents"].total)

    return run


def datasets_tokenise(folder: Path, out: Path) -> Callable[[], int]:
    """`map` over batches with transformers' tokenizer, ids to Arrow files."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer")
    rows = datasets.load_dataset("json", data_files=str(folder / "corpus.jsonl"), split="train", cache_dir=str(out))

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        found = tokenizer(batch["text"], add_special_tokens=False, return_attention_mask=False)
        return {"ids": [[*ids, tokenizer.eos_token_id] for ids in found["input_ids"]]}

    return lambda: len(rows.map(encode, batched=True, remove_columns=rows.column_names))


if __name__ == "__main__":
    main()
