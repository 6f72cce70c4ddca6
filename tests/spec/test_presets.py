"""Presets: every one is a model with a source, choices fill in what is not said, mistakes name the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from colosse.core.config import load
from colosse.core.errors import NotFoundError, UserError
from colosse.spec import counts, presets, scaling
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec, MoESpec, RopeScaling
from colosse.spec.presets import ModelChoice
from colosse.train.recipe import Recipe


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_a_model_with_a_source(name: str) -> None:
    preset = presets.preset(name)
    assert preset.source.startswith(("https://huggingface.co/", "arXiv:", "own: "))
    assert bool(preset.params) != preset.source.startswith("own: ")
    assert type(preset.spec) is ModelSpec
    assert ModelChoice(preset=name).spec == preset.spec  # type: ignore[call-arg]  # the preset says the rest


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"did you mean 'llama3\.1-8b'"):
        presets.preset("llama-3.1-8b")
    with pytest.raises(ValueError, match="did you mean 'smollm2-135m'"):
        ModelChoice.model_validate({"preset": "smollm-135m"})


def test_what_is_said_wins_over_the_preset_also_inside_tables() -> None:
    choice = ModelChoice.model_validate(
        {"preset": "qwen3-30b-a3b", "num_layers": "4", "moe": {"num_experts": "16"}, "tied_embeddings": "true"}
    )
    assert (choice.num_layers, choice.dim, choice.tied_embeddings) == (4, 2048, True)
    assert choice.moe is not None
    assert (choice.moe.num_experts, choice.moe.top_k_experts, choice.moe.ffn_dim) == (16, 8, 768)


@pytest.mark.parametrize("said", [{"preset": "llama3.1-8b", "num_layers": 4}, {"depth": 6, "vocab_size": 4096}])
def test_a_choice_that_is_written_out_is_the_same_choice(said: dict[str, object]) -> None:
    choice = ModelChoice.model_validate(said)
    assert ModelChoice.model_validate(choice.model_dump()) == choice
    assert ModelChoice.model_validate(choice.spec.model_dump()).spec == choice.spec


def test_the_dial_derives_a_shape() -> None:
    choice = ModelChoice.model_validate({"depth": "12", "vocab_size": "16384"})
    assert (choice.num_layers, choice.dim, choice.num_heads, choice.head_dim) == (12, 768, 12, 64)
    assert (choice.vocab_size, choice.ffn_dim) == (16384, 2048)


MISTAKES = [
    ({"model.prset": "5m"}, ["model.prset", "did you mean 'preset'?"]),
    ({"model.preset": "5mm"}, ["unknown preset '5mm'", "did you mean '5m'?"]),
    ({"model.preset": "5m", "model.depth": "4"}, ["preset 5m and depth 4"]),
    ({"model.flops": "1e18", "model.depth": "4"}, ["depth 4 and flops 1e+18 both"]),
    ({"model.tokens": "many"}, ["tokens 'many' is not a number above 0"]),
    ({"model.depth": "deep"}, ["depth 'deep' is not a number of layers"]),
    ({"model.max_seq_len": "4"}, ["no model", "preset, depth, flops, tokens"]),
    ({"model.preset": "5m", "model.num_layers": "0"}, ["model.num_layers", "greater than or equal to 1"]),
    ({"model.preset": "5m", "model.num_layers": "four"}, ["model.num_layers", "integer"]),
    ({"model.preset": "5m", "model.num_kv_heads": "3"}, ["num_heads 4 is not a multiple of num_kv_heads 3"]),
    ({"model.preset": "5m", "model.num_heads": "3"}, ["dim 256 is not divisible by num_heads 3", "head_dim"]),
    ({"model.preset": "5m", "model.moe.num_expert": "4"}, ["model.moe.num_expert", "did you mean 'num_experts'?"]),
    ({"model.preset": "llama3.1-8b", "model.rope_scaling.fctor": "4"}, ["rope_scaling.fctor", "'factor'"]),
    ({"model.preset": "mixtral-8x7b", "model.moe.top_k_experts": "9"}, ["top_k_experts 9", "num_experts 8"]),
    ({"model.preset": "deepseek-moe-16b", "model.num_layers": "1"}, ["num_dense_layers 1 leaves no layer"]),
]


@pytest.mark.parametrize(("overrides", "words"), MISTAKES)
def test_mistakes_in_a_recipe_say_what_and_where(
    tmp_path: Path, overrides: dict[str, object], words: list[str]
) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('name = "x"\n')
    with pytest.raises(UserError) as caught:
        load(Recipe, files=[file], overrides=overrides)
    for word in words:
        assert word in str(caught.value)


def test_kv_heads_of_nought_are_as_many_as_heads() -> None:
    assert ModelChoice.model_validate({"preset": "llama3-8b", "num_kv_heads": "0"}).num_kv_heads == 32


DOCS = (Path(__file__).parents[2] / "docs" / "spec.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_in_the_documentation_with_its_counts(name: str) -> None:
    spec = presets.preset(name)
    count = counts.params(spec)
    row = next(line for line in DOCS.splitlines() if line.startswith(f"| `{name}` |"))
    active = f"{count.active:,}" if count.idle else ""
    heads = f"{spec.num_heads}" + (f" / {spec.num_kv_heads}" if spec.num_kv_heads != spec.num_heads else "")
    shape = f"{spec.num_layers} | {spec.dim:,} | {heads} | {spec.vocab_size:,}"
    assert row == f"| `{name}` | {count.total:,} | {active} | {shape} |"


@pytest.mark.parametrize("model", [ModelChoice, MoESpec, RopeScaling, Layout])
def test_every_field_is_in_the_documentation(model: type[BaseModel]) -> None:
    assert [name for name in model.model_fields if f"`{name}`" not in DOCS] == []


def test_a_budget_makes_a_compute_optimal_model() -> None:
    by_flops = ModelChoice.model_validate({"flops": "1e18"})
    best = scaling.compute_optimal(flops=1e18)
    assert by_flops.num_layers == scaling.depth_for(best.params)
    assert ModelChoice.model_validate({"tokens": best.tokens}).spec == by_flops.spec
    assert ModelChoice.model_validate(by_flops.model_dump()).spec == by_flops.spec
    assert ModelChoice.model_validate({"flops": 1e18, "vocab_size": 4096}).vocab_size == 4096
