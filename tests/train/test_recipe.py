"""Reading recipes, and the numbers that follow from them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from colosse.core.errors import UserError
from colosse.train.recipe import Recipe, dump, load_recipe, resolve
from tests.train.corpus import RECIPE, write_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


def test_overrides_win_and_paths_are_relative_to_the_recipe(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = recipe.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    loaded = load_recipe(recipe, ["train.steps=7", "layout.dp_shard=2", "runs_dir=here", "eval.prompts=['a', 'b']"])
    assert loaded.train.steps == 7 and loaded.layout.dp_shard == 2 and loaded.eval.prompts == ["a", "b"]
    assert loaded.data.sources[0].paths == [recipe.parent / "sea"]
    assert loaded.runs_dir == elsewhere / "here"


def test_what_is_written_out_is_the_same_recipe(recipe: Path, tmp_path: Path) -> None:
    loaded = load_recipe(recipe, ["model.depth=0", "optimizer.kind=muon"])
    again = tmp_path / "again.toml"
    again.write_text(dump(loaded))
    assert load_recipe(again) == loaded
    assert dump(load_recipe(again)) == dump(loaded)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.stesp=3"], r"unknown setting 'train.stesp' \(command\).*'steps'"),
        (["optimizer.kind=sgd"], "optimizer.kind"),
        (["train.steps"], "dotted.key=value"),
        (["=3"], "dotted.key=value"),
        (["train.steps=many"], "train.steps"),
        (["layout.schedule=1f2b"], "layout.schedule"),
    ],
)
def test_bad_settings_are_refused(recipe: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe(recipe, overrides)


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no recipe"):
        load_recipe(tmp_path / "no.toml")
    write_recipe(tmp_path, RECIPE + "\n[train\n")
    with pytest.raises(UserError, match="not valid TOML"):
        load_recipe(tmp_path / "tiny.toml")


def test_numbers_follow(recipe: Path) -> None:
    numbers = resolve(load_recipe(recipe))
    assert numbers.global_batch_size == 8 and numbers.grad_accum_steps == 4
    assert numbers.total_steps == 12 and numbers.total_tokens == 12 * 256
    assert numbers.lr == 3e-3 and numbers.warmup_steps == 2
    assert (
        dict(numbers.rows())["params"] == numbers.params.total == 512 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 64 + 64) + 32
    )


def test_laws_fill_what_is_left_open_in_whole_micro_batches(recipe: Path) -> None:
    open_ended = ["train.tokens_per_step=0", "train.steps=0", "optimizer.lr=0", "layout.dp_shard=3"]
    numbers = resolve(load_recipe(recipe, open_ended))
    assert numbers.global_batch_size % 6 == 0 and numbers.tokens_per_step == numbers.global_batch_size * 32
    assert 0 < numbers.lr <= 4e-3
    wanted = 20 * numbers.params.non_embedding
    assert abs(numbers.total_tokens - wanted) <= numbers.tokens_per_step
    longer = resolve(load_recipe(recipe, [*open_ended, "train.tokens_per_param=40"]))
    assert longer.total_steps == pytest.approx(2 * numbers.total_steps, abs=1)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.tokens_per_step=250", "250 is not a multiple of train.seq_len = 32.*256"),
        ("layout.tp=3", "layout.tp"),
        ("layout.dp_shard=3", "does not divide among 3 data ranks"),
        ("layout.pp=2", "tied_embeddings"),
    ],
)
def test_what_cannot_run_is_refused(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(load_recipe(recipe, [override]))


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings that this package documents."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if name not in ("model", "layout", "data"):  # documented with the packages that own them
                yield from settings(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_setting_is_documented_and_nothing_else() -> None:
    text = (Path(__file__).parents[2] / "docs" / "train.md").read_text()
    table = text.split("## The recipe")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z_.]+)` \|", table, flags=re.MULTILINE)) == sorted(settings(Recipe))


def test_the_laptop_recipe_runs_as_it_is() -> None:
    path = Path(__file__).parents[2] / "recipes" / "laptop.toml"
    numbers = resolve(load_recipe(path))
    assert 1e6 < numbers.params.total < 1e7 and numbers.total_flops < 1e14


def test_a_budget_of_flops_is_used_up() -> None:
    numbers = resolve(Recipe.model_validate({"name": "budget", "model": {"flops": 1e17}}))
    assert numbers.total_flops == pytest.approx(1e17, rel=0.01)
    numbers = resolve(Recipe.model_validate({"name": "budget", "model": {"tokens": 3e8}}))
    assert numbers.total_tokens == pytest.approx(3e8, rel=0.01)
