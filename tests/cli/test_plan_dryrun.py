"""`colosse plan dryrun`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RECIPE = """
name = "small"
[model]
preset = "14m"
tied_embeddings = false
[layout]
dp_shard = 4
pp = 2
[train]
seq_len = 128
tokens_per_step = 2048
steps = 2
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.torch
def test_places_are_shown(colosse: Any, recipe: Path) -> None:
    done = colosse("plan", "dryrun", recipe)
    assert done.returncode == 0, done.stderr
    for words in ("rank 0 of 8, place 1 of 2", "rank 4 of 8, place 2 of 2", "peak memory", "reduce_scatter fsdp"):
        assert words in done.stdout
    assert "not foreseen" not in done.stdout


@pytest.mark.torch
def test_as_json(colosse: Any, recipe: Path) -> None:
    got = json.loads(colosse("plan", "dryrun", recipe, "layout.pp=1", "--rank", 3, "--json").stdout)
    (rank,) = got["ranks"]
    assert (got["recipe"], got["world_size"], rank["rank"], rank["place"]) == ("small", 4, 3, 0)
    assert rank["memory"]["measured_bytes"] == sum(rank["memory"]["at_peak"].values()) > 0
    assert rank["traffic"]["measured"] == rank["traffic"]["claimed"]
    assert rank["traffic"]["error"] == 0


def test_mistakes_are_one_line(colosse: Any, recipe: Path) -> None:
    for arguments, words in (
        (["nowhere.toml"], "there is no recipe"),
        ([recipe, "layout.dp_shard=3"], "does not divide"),
        ([recipe, "layout.tpp=2"], "tp"),
        ([recipe, "layout.pp=64"], "not enough"),
    ):
        done = colosse("plan", "dryrun", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.torch
def test_a_rank_that_is_not_there(colosse: Any, recipe: Path) -> None:
    done = colosse("plan", "dryrun", recipe, "--rank", 8)
    assert (done.returncode, done.stdout) == (2, "")
    assert "ranks 0 to 7" in done.stderr
