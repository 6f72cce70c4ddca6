"""`colosse data` as people run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.data.conftest import corpus, prose

Colosse = Callable[..., CompletedProcess[str]]
SMALL = ["data.tokenizer.vocab_size=512", "data.val_fraction=0.1"]
__all__ = ["corpus"]


def test_from_a_folder_to_documents(colosse: Colosse, corpus: Path, home: Path) -> None:
    done = colosse("data", "prepare", "--source", corpus, "--workers", 1, *SMALL)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.parent == home / "data"
    assert "cleaning: " in done.stderr and "corpus: " in done.stderr
    name = folder.name[:6]

    stats = colosse("data", "stats", name, "--verify")
    assert stats.returncode == 0, stats.stderr
    assert "dedup/exact" in stats.stdout and "unreadable" in stats.stdout and "bytes per token" in stats.stdout
    summary = json.loads(colosse("data", "stats", folder, "--json").stdout)
    assert summary["sources"][0]["train"]["tokens"] > 1000 and summary["folder"] == str(folder)

    shown = colosse("data", "inspect", name, "--count", 2, "--split", "val")
    assert shown.stdout.count("── corpus · ") == 2
    pieces = json.loads(colosse("data", "inspect", name, "-n", 1, "--tokens", "--json").stdout)
    assert pieces[0]["text"].count("|") >= pieces[0]["tokens"] - 1
    dropped = colosse("data", "inspect", name, "--dropped", "dedup")
    assert "dedup/exact · corpus/a.jsonl:" in dropped.stdout and "like corpus/a.jsonl" in dropped.stdout

    for arguments, message in (
        (["data", "stats", "nothing"], "no prepared data in"),
        (["data", "inspect", name, "--source", "x"], "no source 'x'"),
        (["data", "inspect", name, "--split", "test"], "no split 'test'"),
        (["data", "inspect", name, "--dropped", "gofer"], "nothing was dropped by 'gofer'"),
    ):
        refused = colosse(*arguments)
        assert (refused.returncode, refused.stdout) == (2, "") and message in refused.stderr


def test_a_recipe_is_prepared_as_train_would(colosse: Colosse, tmp_path: Path, home: Path) -> None:
    from colosse.data.prepare import prepare
    from colosse.train.recipe import load_recipe

    (tmp_path / "texts").mkdir()
    for n in range(5):
        (tmp_path / "texts" / f"{n}.txt").write_text(prose(n))
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        'name = "tiny"\n[model]\npreset = "llama3.2-1b"\n[[data.sources]]\nname = "texts"\npaths = ["texts"]\n'
        "[data.tokenizer]\nvocab_size = 384\n"
    )
    done = colosse("data", "prepare", recipe, "data.val_fraction=0.2", "--json")
    assert done.returncode == 0, done.stderr
    folder = json.loads(done.stdout)["folder"]
    assert folder == str(prepare(load_recipe(recipe, ["data.val_fraction=0.2"]).data, home))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "nowhere"], "does not exist"),
        (["nowhere.toml"], "no recipe"),
        (["nowhere.toml", "--source", "x"], "not both"),
        (["data.val_fraction=2"], "val_fraction"),
        (["data.valfraction=0.1"], "did you mean 'val_fraction'?"),
        (["data.steps.pii=true", "oops"], "changes nothing"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], message: str, colosse: Colosse) -> None:
    done = colosse("data", "prepare", *arguments)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
