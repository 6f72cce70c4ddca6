"""Small corpora in two languages, made here."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
import zstandard

_ENGLISH = (
    "the old lighthouse stood at the end of the bay and every evening its keeper climbed the narrow stairs to light "
    "the lamp because ships that came from the north could not see the rocks which lay below the water he had done "
    "this for thirty years with patience and with care and he wrote in a small book what he saw when the night was "
    "clear and when it was not"
)
_FRENCH = (
    "le vieux phare se dressait au bout de la baie et chaque soir son gardien montait les marches étroites pour "
    "allumer la lampe parce que les navires qui venaient du nord ne voyaient pas les rochers cachés sous l'eau il "
    "faisait cela depuis trente ans avec patience et il écrivait dans un petit carnet ce qu'il avait aperçu quand la "
    "nuit était claire ou quand elle ne l'était pas"
)

ENGLISH, FRENCH = _ENGLISH.split(), _FRENCH.split()


def prose(seed: int, sentences: int = 12, words: list[str] = ENGLISH) -> str:
    """Sentences of random order: no two seeds give documents that are near-duplicates."""
    draw = random.Random(seed)
    lines = []
    for _ in range(sentences):
        chosen = [draw.choice(words) for _ in range(draw.randint(8, 16))]
        lines.append(" ".join(chosen).capitalize() + ".")
    return "\n".join(lines)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with a file of every kind and a few bad ones: 40 + 30 + 20 rows, 3 texts, a page, a script."""
    folder = tmp_path / "corpus"
    (folder / "more").mkdir(parents=True)
    rows = [json.dumps({"text": prose(n)}) for n in range(40)]
    rows[7] = rows[3]
    rows[9] = "{broken"
    (folder / "a.jsonl").write_text("\n".join(rows) + "\n")
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"text": prose(100 + n, words=FRENCH)}) + "\n" for n in range(30))
    (folder / "more" / "c.jsonl.zst").write_bytes(
        zstandard.compress("".join(json.dumps({"text": prose(200 + n)}) + "\n" for n in range(20)).encode())
    )
    for n in range(3):
        (folder / f"text{n}.txt").write_text(prose(300 + n, sentences=60))
    (folder / "page.html").write_text(
        "<html><body><nav><a href='/'>Home</a></nav><article><h1>The lighthouse</h1>"
        + "".join(f"<p>{prose(400 + n, 4)}</p>" for n in range(6))
        + "</article><footer>Copyright</footer></body></html>"
    )
    (folder / "script.py").write_text("def area(width, height):\n    return width * height\n")
    (folder / "binary.txt").write_bytes(b"\x00\x01\x02" * 100)
    (folder / "latin.txt").write_bytes("Où est passé l'été ?".encode("latin-1"))
    (folder / "notes.xyz").write_text("not of a kind that is read from a folder")
    return folder
