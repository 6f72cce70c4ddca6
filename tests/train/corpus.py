"""A small corpus and the recipe of a model that learns it in seconds."""

from __future__ import annotations

import random
from pathlib import Path

TEXT = "the ship sails over a wide sea while old gulls cry and the wind turns slowly to the north"

RECIPE = """
name = "tiny"
loggers = []
[model]
dim = 32
num_layers = 2
num_heads = 2
ffn_dim = 64
vocab_size = 512
tied_embeddings = true
[layout]
precision = "float32"
compile = "off"
micro_batch_size = 2
[data]
val_fraction = 0.2
tokenizer = { vocab_size = 384 }
[data.steps]
dedup = "none"
[[data.sources]]
name = "sea"
paths = ["sea"]
[[data.sources]]
name = "sea2"
paths = ["sea2"]
[train]
seq_len = 32
tokens_per_step = 256
steps = 12
[optimizer]
lr = 3e-3
warmup_steps = 2
[eval]
interval_steps = 6
tokens = 256
[checkpoint]
interval_steps = 4
"""


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    """Write the recipe `tiny.toml` and its corpus of two sources into `folder`."""
    rng = random.Random(0)
    for source in ("sea", "sea2"):
        (folder / source).mkdir(parents=True, exist_ok=True)
        for number in range(40):
            text_of = " ".join(rng.choice(TEXT.split()) for _ in range(60)) + ".\n"
            (folder / source / f"{number}.txt").write_text(text_of)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path
