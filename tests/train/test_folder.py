"""Which folder a run gets, and who may have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from colosse.core.errors import ConflictError, NotFoundError, UserError
from colosse.train.folder import RunFolder, choose, state_of
from colosse.train.recipe import Recipe, load_recipe
from tests.train.corpus import write_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(write_recipe(tmp_path))


def ended(folder: RunFolder, state: str) -> Path:
    (folder.path / "status.json").write_text(json.dumps({"state": state}))
    folder.close()
    return folder.path


def test_an_unfinished_run_of_the_same_recipe_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = ended(choose(recipe, runs), "failed")
    again = choose(recipe, runs)
    assert again.resumed and again.path == first and state_of(first) == "failed"
    ended(again, "finished")
    second = choose(recipe, runs)
    assert not second.resumed and second.path != first
    second.close()
    other = choose(recipe.model_copy(update={"seed": 3}), runs)
    assert not other.resumed and other.path not in (first, second.path)
    other.close()


def test_a_run_that_is_being_trained_is_left_alone(recipe: Recipe, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    held = choose(recipe, runs)
    second = choose(recipe, runs)
    assert not second.resumed and second.path != held.path
    with pytest.raises(ConflictError, match="another process"):
        choose(recipe, runs, resume=held.path.name)
    held.close()
    second.close()
    taken = choose(recipe, runs, resume=held.path.name)
    assert taken.resumed and taken.path == held.path
    taken.close()


def test_a_name_that_begins_like_another_is_not_taken_for_it(recipe: Recipe, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    longer = recipe.model_copy(update={"name": "tiny-two"})
    ended(choose(longer, runs), "interrupted")
    with pytest.raises(NotFoundError, match="no unfinished run of 'tiny'"):
        choose(recipe, runs, resume="auto")


def test_what_cannot_be(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contradict"):
        choose(recipe, tmp_path / "runs", resume="auto", new=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make"):
        choose(recipe, tmp_path / "file")
