"""Weights to and from Hugging Face folders: what `transformers` computes with them is what we compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from colosse.core.errors import ConflictError, NotFoundError, UserError  # noqa: E402
from colosse.model import huggingface  # noqa: E402
from colosse.model.hf_config import config_of, family_of, spec_of  # noqa: E402
from colosse.model.huggingface import load_hf, save_hf  # noqa: E402
from tests.model.families import FAMILIES, loaded, random_model, spec_for, tokens  # noqa: E402

pytestmark = pytest.mark.torch

ROUNDING = {"rtol": 1e-4, "atol": 2e-5}


@torch.no_grad()
def their_logits(folder: Path, ids: Any, **arguments: Any) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    )
    return model.eval()(ids, use_cache=False, **arguments).logits


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_ours_to_theirs(name: str, tmp_path: Path) -> None:
    """Our export in transformers gives our logits, beyond window and unscaled length too; and it comes back."""
    spec = spec_for(name)
    model, ids = random_model(spec), tokens(spec)
    family = save_hf(tmp_path / "out", spec, model.state_dict(), None, "float32")
    assert family == FAMILIES[name][0]
    ours = model(ids)
    torch.testing.assert_close(their_logits(tmp_path / "out", ids), ours, **ROUNDING)
    back, state = load_hf(tmp_path / "out")
    assert config_of(back) == config_of(spec)
    assert torch.equal(loaded(back, state)(ids), ours)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("old_form", [False, True])
@torch.no_grad()
def test_theirs_to_ours(name: str, old_form: bool, tmp_path: Path) -> None:
    """A folder that transformers wrote, and the same with rotary settings as they were written before version 5."""
    ids = tokens(spec_for(name))
    config = transformers.AutoConfig.for_model(**config_of(spec_for(name)))
    torch.manual_seed(2)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for tensor_name, tensor in model.state_dict().items():
        tensor.normal_(1.0 if "norm" in tensor_name else 0.0, 0.2 if tensor.dim() == 1 else 0.08)
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert "rope_parameters" in written and "rope_theta" not in written
    if old_form:
        rope = written.pop("rope_parameters")
        written["rope_theta"] = rope.pop("rope_theta")
        rope["type"] = rope.pop("rope_type")
        written["rope_scaling"] = rope if rope["type"] != "default" else None
        written["partial_rotary_factor"] = rope.pop("partial_rotary_factor", None)
        (tmp_path / "config.json").write_text(json.dumps(written))
    spec, state = load_hf(tmp_path)
    torch.testing.assert_close(loaded(spec, state)(ids), their_logits(tmp_path, ids), **ROUNDING)


@torch.no_grad()
def test_packed_documents_are_separate_runs_of_theirs(tmp_path: Path) -> None:
    spec = spec_for("mistral")
    model, ids = random_model(spec), tokens(spec, batch=1)
    save_hf(tmp_path / "out", spec, model.state_dict(), None, "float32")
    lengths = [20, 3, 25]
    documents = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))[None]
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    packed = model(ids, documents=documents, positions=positions)
    alone = [their_logits(tmp_path / "out", piece) for piece in ids.split(lengths, dim=1)]
    torch.testing.assert_close(packed, torch.cat(alone, dim=1), **ROUNDING)


def test_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "SHARD_BYTES", 60_000)
    spec = spec_for("mixtral")
    model = random_model(spec)
    save_hf(tmp_path / "out", spec, model.state_dict(), None, "float32")
    index = json.loads((tmp_path / "out" / huggingface.INDEX).read_text())
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 3 and set(index["weight_map"].values()) == set(files)
    assert index["metadata"]["total_size"] == 4 * sum(p.numel() for p in model.parameters())
    assert max((tmp_path / "out" / name).stat().st_size for name in files) < 70_000
    _, state = load_hf(tmp_path / "out")
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor)
    ids = tokens(spec)
    torch.testing.assert_close(their_logits(tmp_path / "out", ids), model(ids), **ROUNDING)
    (tmp_path / "out" / files[1]).unlink()
    with pytest.raises(NotFoundError, match=files[1]):
        load_hf(tmp_path / "out")


def test_half_precision(tmp_path: Path) -> None:
    spec = spec_for("glm4_moe")
    model = random_model(spec)
    save_hf(tmp_path / "out", spec, model.state_dict(), None, "bfloat16")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    _, state = load_hf(tmp_path / "out")
    for name, tensor in model.state_dict().items():
        wanted = torch.float32 if name.endswith("moe.bias") else torch.bfloat16
        assert state[name].dtype == wanted and torch.equal(state[name], tensor.to(wanted))


INEXPRESSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"norm_position": "post"}, "OLMo 2"),
    ({"qk_norm": "full"}, "OLMo 2"),
    ({"qk_norm": "full", "norm_position": "post", "sliding_window": 8}, "sliding window"),
    ({"qk_norm": "head", "attention_bias": True}, "biases"),
    ({"moe": {"num_experts": 4, "top_k_experts": 2, "ffn_dim": 8, "balance": "bias"}}, "balancing bias"),
    ({"moe": {"num_experts": 4, "top_k_experts": 2, "ffn_dim": 8, "shared_ffn_dim": 8}}, "shared experts"),
    ({"moe": {"num_experts": 4, "top_k_experts": 2, "ffn_dim": 8, "score": "sigmoid"}}, "without shared experts"),
    ({"moe": {"num_experts": 4, "top_k_experts": 2, "ffn_dim": 8, "normalize": False}}, "without qk_norm"),
    ({"moe": {"num_experts": 4, "top_k_experts": 2, "ffn_dim": 8}, "attention_bias": True}, "biases"),
]


@pytest.mark.parametrize(("changes", "reason"), INEXPRESSIBLE)
def test_what_no_family_has_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    spec = spec_for("llama", **changes)
    with pytest.raises(UserError, match=reason):
        family_of(spec)
    with pytest.raises(UserError, match=reason):
        save_hf(tmp_path / "out", spec, random_model(spec).state_dict(), None)
    assert not list(tmp_path.iterdir())


UNREADABLE: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "gpt2"}, "type 'gpt2' cannot be read"),
    ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
    ({"attention_bias": True}, "attention_bias = True"),
    ({"mlp_bias": True}, "mlp_bias"),
    ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
    ({"rope_parameters": {"rope_type": "longrope", "factor": 2.0}}, "'longrope'"),
    ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}}, "with mscale"),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
    ({"hidden_size": None}, "has no 'hidden_size'"),
    ({"num_key_value_heads": 3}, "not a multiple of num_kv_heads 3"),
    ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, "some layers"),
]


@pytest.mark.parametrize(("changes", "reason"), UNREADABLE)
def test_what_we_lack_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        spec_of({**config_of(spec_for("llama")), **changes}, Path("config.json"))


def test_what_a_family_means_by_a_missing_key() -> None:
    config = config_of(spec_for("mistral"))
    del config["sliding_window"]
    assert spec_of(config, Path("c")).sliding_window == 4096
    assert spec_of({**config, "sliding_window": None}, Path("c")).sliding_window == 0
    oldest = {k: v for k, v in config_of(spec_for("llama")).items() if "rope" not in k and k != "head_dim"}
    assert (spec_of(oldest, Path("c")).rope_theta, spec_of(oldest, Path("c")).head_dim) == (10_000, 16)


def test_damaged_folders(tmp_path: Path) -> None:
    spec = spec_for("llama")
    with pytest.raises(NotFoundError, match=r"config\.json"):
        load_hf(tmp_path)
    save_hf(tmp_path / "m", spec, random_model(spec).state_dict(), None)
    with pytest.raises(ConflictError, match="exists already"):
        save_hf(tmp_path / "m", spec, random_model(spec).state_dict(), None)
    config = tmp_path / "m" / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"intermediate_size": 96', '"intermediate_size": 100'))
    with pytest.raises(UserError, match=r"gate_proj\.weight' has shape \[96, 64\].*\[100, 64\]"):
        load_hf(tmp_path / "m")
    config.write_text(text.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(UserError, match=r"lacks the tensor 'model\.layers\.2"):
        load_hf(tmp_path / "m")
    config.write_text(text.replace('"tie_word_embeddings": false', '"tie_word_embeddings": true'))
    assert torch.equal(load_hf(tmp_path / "m")[1]["head.weight"], load_hf(tmp_path / "m")[1]["embed.weight"])
    config.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        load_hf(tmp_path / "m")
    config.write_text(text)
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="no whole safetensors file"):
        load_hf(tmp_path / "m")
    weights.unlink()
    with pytest.raises(NotFoundError, match=r"model\.safetensors"):
        load_hf(tmp_path / "m")


def test_tensors_that_nobody_would_compute_with_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    spec = spec_for("llama")
    save_hf(tmp_path / "m", spec, random_model(spec).state_dict(), None)
    path = tmp_path / "m" / "model.safetensors"
    save_file({**load_file(path), "model.layers.0.self_attn.o_proj.bias": torch.zeros(64)}, path)
    with pytest.raises(UserError, match=r"o_proj\.bias"):
        load_hf(tmp_path / "m")


def test_nothing_is_left_of_an_export_that_failed(tmp_path: Path) -> None:
    spec = spec_for("llama")
    state = dict(random_model(spec).state_dict())
    state["layers.1.ffn.up.weight"] = torch.zeros(3, 3)
    with pytest.raises(UserError, match=r"layers\.1\.ffn\.up\.weight"):
        save_hf(tmp_path / "m", spec, state, None)
    del state["layers.1.ffn.up.weight"]
    with pytest.raises(UserError, match="lack"):
        save_hf(tmp_path / "m", spec, state, None)
    with pytest.raises(UserError, match="'int3'"):
        save_hf(tmp_path / "m", spec, random_model(spec).state_dict(), None, "int3")
    assert not list(tmp_path.iterdir())
