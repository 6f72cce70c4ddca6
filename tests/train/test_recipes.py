"""The recipes for GPUs: what they promise holds. `tests/plan/test_dryrun.py` runs a step of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from colosse.spec.memory import memory
from colosse.train.recipe import load_recipe, resolve

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(path.stem for path in FOLDER.glob("*gpu.toml"))
GPU_BYTES = 80e9
"""Of an H100."""


def test_there_is_one_for_every_size() -> None:
    sizes = {int(match[1]) for name in RECIPES if (match := re.search(r"-(\d+)gpu$", name))}
    assert sizes == {1, 8, 512, 16384}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_what_its_name_says_and_fits(name: str) -> None:
    recipe = load_recipe(FOLDER / f"{name}.toml")
    resolved = resolve(recipe)
    assert recipe.name == name
    assert name.endswith(f"-{recipe.layout.world_size}gpu")
    assert recipe.data.tokenizer.vocab_size <= resolved.spec.vocab_size
    assert recipe.train.seq_len <= resolved.spec.max_seq_len
    assert resolved.total_tokens >= 15 * resolved.params.active
    needed = memory(resolved.spec, recipe.layout, seq_len=recipe.train.seq_len, micro_batches=resolved.grad_accum_steps)
    assert needed.total < 0.8 * GPU_BYTES  # the rest: collectives, fragments, the device's context


def test_the_largest_is_as_published() -> None:
    recipe = load_recipe(FOLDER / "llama3-405b-16384gpu.toml")
    resolved = resolve(recipe)
    layout = recipe.layout
    # arXiv:2407.21783, table 4: tensor 8, context 1, pipeline 16, data 128; 16 sequences of 8,192 a data rank.
    assert (layout.tp, layout.cp, layout.pp, layout.data_ranks) == (8, 1, 16, 128)
    assert (recipe.train.seq_len, resolved.grad_accum_steps, resolved.lr) == (8192, 16, 8e-5)
    assert resolved.total_flops == pytest.approx(3.8e25, rel=0.05)
