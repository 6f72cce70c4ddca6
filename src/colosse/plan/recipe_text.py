"""A plan as a recipe that `colosse train` runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w

from colosse.core.numbers import share
from colosse.plan.estimate import Estimate
from colosse.spec.layout import Layout

CORPORA = (
    (1.3e12, [("fineweb-edu", "HuggingFaceFW/fineweb-edu", 1.0)]),
    (float("inf"), [("fineweb", "HuggingFaceFW/fineweb", 0.8), ("dclm", "mlfoundations/dclm-baseline-1.0", 0.2)]),
)
"""Public English text to begin with, by the tokens that it has (15 T and 4 T in the larger two)."""


def recipe_text(
    one: Estimate, *, name: str, model: Mapping[str, Any], tokens: float = 0.0, checkpoint_s: float = 0.0
) -> str:
    """The recipe as TOML; what it leaves out has the defaults of `train.recipe`.

    Args:
        one: the layout and its estimate.
        name: of the recipe.
        model: its `model` table, such as a preset's name.
        tokens: of the whole training; 0: the recipe's own rule.
        checkpoint_s: seconds between checkpoints; 0: the default.

    Raises:
        UserError: a model that can be planned, but not yet trained.
    """
    job = one.job
    job.model.check_trainable()
    train: dict[str, Any] = {
        "seq_len": job.seq_len,
        "tokens_per_step": job.seq_len * job.global_batch_size,
    }
    if tokens:
        train["total_tokens"] = round(tokens)
    corpus = next(sources for most, sources in CORPORA if tokens <= most)
    tables: dict[str, Any] = {
        "name": name,
        "model": dict(model),
        "layout": _changed(job.layout),
        "train": train,
    }
    if job.optimizer != "adamw":
        tables["optimizer"] = {"kind": job.optimizer}
    if checkpoint_s:
        tables["checkpoint"] = {"interval_s": round(checkpoint_s)}
    data = {
        "data": {
            "tokenizer": {"vocab_size": job.model.vocab_size, "sample_mb": 1024},
            "sources": [
                {"name": source, "kind": "hub", "dataset": dataset, "weight": weight, "language": "en"}
                for source, dataset, weight in corpus
            ],
        }
    }
    gpu = job.cluster.gpu
    lines = [
        f"# {job.cluster.gpus} {gpu.name}: {one.step_s.value:.3g} s a step ({one.step_s.low:.3g} to "
        f"{one.step_s.high:.3g}), {share(one.mfu)} MFU,",
        f"# {one.peak_memory.total / 1e9:.1f} of {gpu.memory_gb:g} GB on the fullest GPU. Estimated by colosse plan.",
    ]
    return (
        "\n".join(lines)
        + "\n\n"
        + tomli_w.dumps(tables)
        + "\n# Text to begin with: put your own corpus here.\n"
        + tomli_w.dumps(data)
    )


def _changed(layout: Layout) -> dict[str, Any]:
    """What differs from the defaults."""
    return {key: value for key, value in layout.model_dump().items() if value != getattr(Layout(), key)}
