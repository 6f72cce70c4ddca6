"""From a run's folder to weights that transformers reads and to a model that is served."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from colosse.core.config import load  # noqa: E402
from colosse.core.errors import ColosseError, ConflictError, NotFoundError, UserError  # noqa: E402
from colosse.core.settings import load_settings  # noqa: E402
from colosse.engines.engines import Engines  # noqa: E402
from colosse.engines.store import ModelStore  # noqa: E402
from colosse.model.generate import generate  # noqa: E402
from colosse.model.gguf import load_gguf  # noqa: E402
from colosse.model.huggingface import load_hf  # noqa: E402
from colosse.model.init import initialize  # noqa: E402
from colosse.model.transformer import Transformer  # noqa: E402
from colosse.parallel import apply, mesh  # noqa: E402
from colosse.spec.layout import Layout  # noqa: E402
from colosse.spec.model import ModelSpec  # noqa: E402
from colosse.train.checkpoint import Checkpoints  # noqa: E402
from colosse.train.export import export_run, from_files, from_run, install, publish_run  # noqa: E402
from colosse.train.manifest import folder_of  # noqa: E402
from colosse.train.recipe import Recipe, dump  # noqa: E402
from tests.model.families import BASE, FAMILIES, TEXTS, loaded, random_model, tiny_tokenizer  # noqa: E402
from tests.train.ranks import run_ranks  # noqa: E402

pytestmark = pytest.mark.torch

VOCAB = 320
NAME = "tiny-20260101-120000"


def make_run(folder: Path, family: str = "smollm", steps: tuple[int, ...] = (10, 20), **changes: Any) -> Recipe:
    """A run's folder with checkpoints of random models; the seed of each is its step."""
    model = {**BASE, **FAMILIES[family][1], "vocab_size": VOCAB, **changes}
    recipe = Recipe.model_validate({"name": "tiny", "model": model, "train": {"seq_len": 64}})
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(dump(recipe))
    tiny_tokenizer(folder / "tokenizer", VOCAB)
    checkpoints = Checkpoints(folder / "checkpoints", keep=5, asynchronous=False)
    for step in steps:
        state = random_model(recipe.model.spec, seed=step).state_dict()
        checkpoints.save(step, {"model": state, "optimizer": {"moment": torch.zeros(3)}}, {"step": step})
    return recipe


def trained(recipe: Recipe, step: int) -> Transformer:
    return random_model(recipe.model.spec, seed=step)


def assert_same(spec: ModelSpec, state: Any, wanted: Transformer) -> None:
    for name, tensor in loaded(spec, state).state_dict().items():
        assert torch.equal(tensor, wanted.state_dict()[name]), name


@pytest.mark.parametrize("family", ["smollm", "qwen3", "glm4_moe"])
def test_newest_and_chosen_checkpoints(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / NAME
    recipe = make_run(run, family)
    path = export_run(run, None, "hf", dtype="float32")
    assert path == tmp_path / NAME
    spec, state = load_hf(path)
    assert spec.max_seq_len == 64  # as trained, not as the spec would allow
    assert_same(spec, state, trained(recipe, 20))
    assert (path / "chat_template.jinja").is_file() and (path / "tokenizer.json").is_file()
    path = export_run(run, 10, "gguf", tmp_path / "ten.gguf", "float32")
    assert_same(*load_gguf(path), trained(recipe, 10))


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    recipe = make_run(tmp_path / NAME)
    shard = next(folder_of(tmp_path / NAME / "checkpoints", 20).glob("*.distcp"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    weights = from_run(tmp_path / NAME)
    assert weights.note == "trained here, step 10: it continues text"
    assert_same(weights.spec, weights.state, trained(recipe, 10))
    with pytest.raises(UserError, match="changed since it was written"):
        from_run(tmp_path / NAME, 20)


def test_what_is_no_run_or_not_yet_or_of_another_recipe(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no train run"):
        from_run(tmp_path)
    recipe = make_run(tmp_path / NAME, steps=())
    with pytest.raises(NotFoundError, match="no checkpoint yet"):
        from_run(tmp_path / NAME)
    with pytest.raises(UserError, match="cannot be used"):
        from_run(tmp_path / NAME, 3)
    make_run(tmp_path / "other")
    text = dump(recipe)
    (tmp_path / "other" / "recipe.toml").write_text(text.replace("ffn_dim = 96", "ffn_dim = 100"))
    with pytest.raises(UserError, match=r"gate.*\[96, 64\].*\[100, 64\]"):
        from_run(tmp_path / "other")
    (tmp_path / "other" / "recipe.toml").write_text(text.replace("num_layers = 2", "num_layers = 3"))
    with pytest.raises(UserError, match=r"no 'layers\.2"):
        from_run(tmp_path / "other")


SPREAD = {
    "mixtral": {"dp_shard": 2, "ep": 2},
    "qwen3": {"pp": 2},
    "smollm": {"tp": 2},
}


def save_spread_models(rank: int, folder: Path) -> None:
    """A rank that trains nothing and saves the first values of models on several meshes."""
    for family, axes in SPREAD.items():
        layout = Layout.model_validate({**axes, "precision": "float32", "compile": "off"})
        spec = load(Recipe, files=[folder / family / "recipe.toml"]).value.model.spec
        model = apply.build(spec, layout, mesh.start(layout), seq_len=64, seed=7)
        checkpoints = Checkpoints(folder / family / "checkpoints", keep=1, asynchronous=False)
        checkpoints.save(5, {"model": model.state_dict()}, {"rng": rank})


def test_runs_that_were_spread_over_ranks(tmp_path: Path) -> None:
    recipes = {family: make_run(tmp_path / family, family, (), num_heads=4, num_kv_heads=2) for family in SPREAD}
    run_ranks(save_spread_models, 2, tmp_path, tmp_path)
    for family, recipe in recipes.items():
        weights = from_run(tmp_path / family)
        wanted = Transformer(recipe.model.spec)
        initialize(wanted, recipe.model.spec, 7)
        assert_same(weights.spec, weights.state, wanted)


async def test_a_published_run_is_served_and_says_what_we_would(home: Path) -> None:
    """Run, store, llama.cpp, completion: greedy text equals our own, and chat answers."""
    pytest.importorskip("xllamacpp")
    from tokenizers import Tokenizer

    recipe = make_run(home / "runs" / NAME)
    assert publish_run(home / "runs" / NAME) == NAME
    settings = load_settings({"engine.slots": 1, "engine.threads": 1, "model": NAME}).value
    (model,) = ModelStore(settings).installed()
    assert (model.id, model.source, model.problem) == (NAME, f"train run {NAME}", "")
    assert model.entry.parameters == sum(p.numel() for p in trained(recipe, 20).parameters())
    assert (model.entry.max_model_len, model.entry.capabilities) == (64, ["chat", "completions"])
    assert model.sha256 == hashlib.sha256(model.path.read_bytes()).hexdigest()
    tokenizer = Tokenizer.from_file(str(home / "runs" / NAME / "tokenizer" / "tokenizer.json"))
    ours = loaded(*load_gguf(model.path)).float()
    async with Engines(settings) as engines:
        for prompt in TEXTS[:2]:
            body = {"model": NAME, "prompt": prompt[:30], "max_tokens": 12, "temperature": 0}
            answer = await engines.request("/completions", body)
            ids = list(generate(ours, tokenizer.encode(prompt[:30]).ids, 12, stop={0, 1, 2}))
            said, wanted = answer["choices"][0]["text"], tokenizer.decode(ids, skip_special_tokens=False)
            assert said.rstrip("\ufffd") == wanted.rstrip("\ufffd")
        messages = [{"role": "user", "content": "Hi"}]
        chat = await engines.request("/chat/completions", {"messages": messages, "max_tokens": 4})
        assert chat["usage"]["completion_tokens"] >= 1


def test_publishing_again_replaces_and_never_takes_another_models_name(home: Path) -> None:
    run = home / "runs" / NAME
    recipe = make_run(run, steps=(10,))
    store = ModelStore(load_settings().value)
    publish_run(run)
    first = store.get(NAME).sha256
    Checkpoints(run / "checkpoints", keep=5, asynchronous=False).save(
        30, {"model": trained(recipe, 30).state_dict()}, {}
    )
    publish_run(run)
    assert store.get(NAME).sha256 != first and store.begun() == {}
    assert "step 30" in store.get(NAME).entry.note

    make_run(home / "runs" / "smollm2-135m-instruct", steps=(1,))
    with pytest.raises(ConflictError, match="in the catalogue"):
        publish_run(home / "runs" / "smollm2-135m-instruct")
    make_run(home / "runs" / "mine", steps=(1,))
    (home / "models" / "mine.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConflictError, match="installed, from local file"):
        publish_run(home / "runs" / "mine")


def test_a_run_that_llama_cpp_cannot_serve_leaves_nothing_behind(home: Path) -> None:
    make_run(home / "runs" / NAME, "qwen3_moe-uneven")
    with pytest.raises(UserError, match=r"no architecture of llama\.cpp"):
        publish_run(home / "runs" / NAME)
    assert ModelStore(load_settings().value).begun() == {}


def test_other_weights_become_models_too(home: Path, tmp_path: Path) -> None:
    recipe = make_run(tmp_path / NAME)
    folder = export_run(tmp_path / NAME, None, "hf", tmp_path / "My Model", "float32")
    with from_files(folder) as weights:
        model = install(weights, load_settings().value, "float32")
    assert (model.id, model.source) == ("my-model", str(folder))
    with from_files(model.path) as weights:
        assert_same(weights.spec, weights.state, trained(recipe, 20))
        assert (weights.tokenizer / "tokenizer.json").is_file()
    with pytest.raises(ColosseError, match=r"config\.json"), from_files(tmp_path):
        pass
