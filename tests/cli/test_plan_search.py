"""`colosse plan search` and `colosse plan estimate`, as people run them."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from colosse.train.recipe import load_recipe, resolve

pytest.importorskip("numpy")
Run = Callable[..., CompletedProcess[str]]
SEARCH = ("plan", "search", "--model", "llama3-8b", "--gpus", 32)


def test_search_ranks_writes_and_draws(colosse: Run, tmp_path: Path) -> None:
    recipe, page = tmp_path / "r.toml", tmp_path / "p.html"
    done = colosse(
        *SEARCH, "--tokens", "1T", "--batch", "4M", "--explain", "--write", recipe, "--report", page, "--price", "2-4"
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "best ",
        "why they lose",
        "because of",
        "where a step goes",
        "memory of a GPU",
        "one setting changed",
    ):
        assert words in done.stdout, words
    resolved = resolve(load_recipe(recipe))
    assert resolved.tokens_per_step == 512 * 8192
    html = page.read_text(encoding="utf-8")
    for words in ("Failures", "The bill", "More or fewer GPUs", "If things are not as assumed"):
        assert f"<h2>{words}</h2>" in html, words


def test_search_as_json(colosse: Run) -> None:
    done = colosse(*SEARCH, "--top", 3, "--json")
    found = json.loads(done.stdout)
    assert [set(one["layout"]) >= {"pp", "tp"} for one in found["ranked"]] == [True] * 3
    first = found["ranked"][0]
    assert sum(first["breakdown_s"].values()) == pytest.approx(first["step_s"]["value"])
    assert first["training_usd"] is None
    assert {"reason", "layouts", "nearest"} == set(found["losers"][0])


def test_a_models_own_shape_from_a_recipe(colosse: Run, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('name = "own"\n[model]\npreset = "llama3-8b"\nnum_layers = 16\n')
    written = tmp_path / "out.toml"
    done = colosse("plan", "search", "--model", path, "--gpus", 8, "--write", written)
    assert done.returncode == 0, done.stderr
    assert load_recipe(written).model.spec == load_recipe(path).model.spec


def test_gpus_that_a_recipe_does_not_use_share_its_weights(colosse: Run) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "llama3-70b-512gpu.toml"
    found = json.loads(colosse("plan", "estimate", recipe, "layout.tp=4", "--gpus", 512, "--json").stdout)
    assert (found["gpus"], found["layout"]["dp_shard"]) == (512, 128)


def test_a_timeline_fits_the_terminal_and_shows_both_ends(colosse: Run) -> None:
    run = ("plan", "estimate", "--model", "llama3-8b", "--gpus", 16, "layout.pp=4", "--batch", "4M", "--explain")
    _, _, strips = colosse(*run, COLUMNS="80").stdout.partition("pipeline: ")
    caption, *places = strips.splitlines()
    assert "the first and the last" in caption
    assert all(len(line) <= 80 for line in places)
    assert [line.split()[1][0] for line in places] == ["▒", "·", "·", "·"]
    assert {line[-1] for line in places[1:]} == {"·"}  # the first place is done last


def test_a_batch_that_nobody_asked_for_divides(colosse: Run) -> None:
    long = ("--model", "llama3-8b", "--gpus", 64, "--seq-len", 32768)
    found = json.loads(colosse("plan", "estimate", *long, "layout.micro_batch_size=3", "--json").stdout)
    assert found["global_batch_size"] % (64 * 3) == 0


def test_rent_is_said_with_failures_and_of_which_cluster(colosse: Run) -> None:
    done = colosse(*SEARCH, "--tokens", "1T", "--by", "cost", "--price", "2")
    assert "; with failures $" in done.stdout
    assert "why they lose, on " in done.stdout


def test_estimate_of_a_recipe_and_of_settings(colosse: Run) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "llama3-70b-512gpu.toml"
    done = colosse("plan", "estimate", recipe, "layout.tp=4", "layout.dp_shard=128", "--json")
    found = json.loads(done.stdout)
    assert (found["gpus"], found["layout"]["tp"], found["tokens"]) == (512, 4, pytest.approx(1.4e12, rel=1e-3))
    done = colosse("plan", "estimate", "--model", "llama3-8b", "--gpus", 64, "layout.tp=2", "--explain")
    assert done.returncode == 0, done.stderr
    assert "dp 32 · tp 2" in done.stdout
    assert "MFU" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search", "--model", "llama3-9b", "--gpus", 8), "unknown preset 'llama3-9b' (did you mean 'llama3-8b'?)"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--gpu", "h10O"), "unknown GPU or node 'h10O' (did you mean"),
        (("search", "--model", "llama3-8b", "--gpus", 63), "63 GPUs"),
        (("search", "--model", "llama3-8b", "--gpus", 0), "at least 1 GPU"),
        (("search", "--model", "llama3-405b", "--gpus", 16), "GPUs would do)"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--price=-3"), "is below 0"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--price=4-3"), "upside down"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--by", "cost"), "needs tokens and a price"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--batch", "8193"), "no whole sequences of 8192 (8192 are)"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--tokens", "many"), "'many' is not a number"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--gpu", "a100", "--precision", "float8"), "has no float8"),
        (("estimate", "--gpus", 8), "which model?"),
        (("estimate", "--model", "llama3-8b"), "on how many GPUs?"),
        (("estimate", "--model", "llama3-8b", "--gpus", 8, "layout.tp=3"), "no multiple of the layout's tp 3"),
        (("estimate", "--model", "llama3-8b", "--gpus", -8), "on how many GPUs?"),
        (("estimate", "--model", "llama3-8b", "--gpus", 8, "layout.dp_shard=4"), "set layout.dp_shard = 8"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--seq-len", -1), "--seq-len: -1 is below 0"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--tokens", "1e300"), "more than can be meant"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--report", Path(__file__).parent), "cannot write"),
        (("search", "--model", "llama3-8b", "--gpus", 8, "--write", Path(__file__) / "r.toml"), "cannot write"),
        (("estimate", "--model", "llama3-8b", "--gpus", 8, "layout.tpp=2"), "did you mean 'tp'?"),
        (("estimate", "nowhere.toml"), "there is no recipe nowhere.toml"),
        (("estimate", "nowhere.toml", "--tokens", "1T"), "a recipe says which model"),
    ],
)
def test_bad_input_is_one_clear_line(colosse: Run, arguments: tuple[object, ...], words: str) -> None:
    done = colosse("plan", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
