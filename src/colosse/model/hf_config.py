"""`ModelSpec` to and from a Hugging Face `config.json`, and the names that its families give to tensors.

Each family is the class of `transformers` that computes exactly our model:

    llama       pre-norm; also SmolLM           mixtral     llama with experts
    mistral     llama with a sliding window     qwen3_moe   qwen3 with experts
    qwen2       biases on q, k, v               glm4_moe    sigmoid scores, shared experts, balancing bias
    qwen3       RMSNorm of each query and key head          (DeepSeek-V3's experts below ordinary attention)
    olmo2       norms after the blocks, RMSNorm of all queries and of all keys
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from colosse.core.errors import UserError
from colosse.spec.model import ModelSpec, MoESpec, RopeScaling

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "glm4_moe": "Glm4MoeForCausalLM",
}

_SPARSE = {"mixtral", "qwen3_moe", "glm4_moe"}
_WINDOWED_ON_REQUEST = {"qwen2", "qwen3", "qwen3_moe"}
"""Their `sliding_window` counts only with `use_sliding_window`."""

# What a family means by a key that its file leaves out (the defaults of its configuration class in transformers).
_MISSING: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 4096, "num_key_value_heads": 8},
    "qwen3": {"head_dim": 128},
    "olmo2": {"rms_norm_eps": 1e-5},
    "mixtral": {"rms_norm_eps": 1e-5, "rope_theta": 1e6, "num_key_value_heads": 8},
    "glm4_moe": {"rms_norm_eps": 1e-5, "partial_rotary_factor": 0.5},
}


# -- choosing a family ---------------------------------------------------------------------------------------------


def family_of(spec: ModelSpec) -> str:
    """The family (`model_type`) that computes this model.

    Raises:
        UserError: none does; says what stands in the way.
    """
    moe = spec.moe
    if spec.norm_position == "post" or spec.qk_norm == "full":
        if spec.norm_position != "post" or spec.qk_norm != "full":
            raise _none_has('norm_position "post" without qk_norm "full", or the other way round; OLMo 2 has both')
        if moe or spec.sliding_window or spec.attention_bias:
            raise _none_has("OLMo 2's norms together with experts, a sliding window or attention biases")
        return "olmo2"
    if moe is None:
        if spec.qk_norm == "head":
            if spec.attention_bias:
                raise _none_has('qk_norm "head" together with biases on query, key and value')
            return "qwen3"
        if spec.attention_bias:
            return "qwen2"
        return "mistral" if spec.sliding_window else "llama"
    if moe.score == "sigmoid":
        if spec.sliding_window or not moe.shared_ffn_dim or moe.shared_ffn_dim % moe.ffn_dim:
            raise _none_has(
                'experts with score "sigmoid" and a sliding window, without shared experts, or with shared ones whose '
                "width is no multiple of ffn_dim"
            )
        return "glm4_moe"
    if moe.balance == "bias" or moe.shared_ffn_dim or moe.route_scale != 1:
        raise _none_has(
            'experts with score "softmax" and a balancing bias, shared experts or a route_scale; with score "sigmoid" '
            "there is one"
        )
    if spec.attention_bias:
        raise _none_has("experts together with biases on query, key and value")
    if spec.qk_norm == "head":
        return "qwen3_moe"
    if moe.num_dense_layers or not moe.normalize:
        raise _none_has("experts without qk_norm, in some layers only or with weights that do not sum to one")
    return "mixtral"


def _none_has(what: str) -> UserError:
    return UserError(
        f"no model family of Hugging Face transformers has {what}",
        hint="the model runs in Colosse; to take it elsewhere it needs another shape",
        code="not_expressible",
    )


# -- spec to config -------------------------------------------------------------------------------------------------


def config_of(spec: ModelSpec) -> dict[str, Any]:
    """The `config.json` of a model, without token ids and dtype.

    Rotary settings are written twice: as `rope_parameters` for transformers from version 5 on, and as `rope_theta` and
    `rope_scaling`, which everything else reads.

    Raises:
        UserError: no family has such a model.
    """
    family = family_of(spec)
    rope = _rope_config(spec)
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        "attention_bias": spec.attention_bias,
        "attention_dropout": 0.0,
        "head_dim": spec.head_dim,
        "hidden_act": "silu",
        "hidden_size": spec.dim,
        "initializer_range": 0.02,
        "intermediate_size": spec.ffn_dim,
        "max_position_embeddings": spec.max_seq_len,
        "num_attention_heads": spec.num_heads,
        "num_hidden_layers": spec.num_layers,
        "num_key_value_heads": spec.num_kv_heads,
        "rms_norm_eps": spec.norm_eps,
        "rope_parameters": {"rope_theta": spec.rope_theta, **(rope or {"rope_type": "default"})},
        "rope_scaling": rope,
        "rope_theta": spec.rope_theta,
        "tie_word_embeddings": spec.tied_embeddings,
        "use_cache": True,
        "vocab_size": spec.vocab_size,
    }
    if family == "llama":
        config["mlp_bias"] = False
    if family in ("mistral", "mixtral"):
        config["sliding_window"] = spec.sliding_window or None
    if family in _WINDOWED_ON_REQUEST:
        window = bool(spec.sliding_window)
        config |= {
            "use_sliding_window": window,
            "sliding_window": spec.sliding_window or None,
            "max_window_layers": 0 if window else spec.num_layers,
        }
    if spec.moe is not None:
        config |= _moe_config(family, spec.moe, spec)
    return config


def _rope_config(spec: ModelSpec) -> dict[str, Any] | None:
    scaling = spec.rope_scaling
    if scaling is None:
        return None
    config: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind != "linear":
        config["original_max_position_embeddings"] = scaling.original_seq_len
    if scaling.kind == "llama3":
        config |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
    if scaling.kind == "yarn":
        config |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        if scaling.attention_factor:
            config["attention_factor"] = scaling.attention_factor
    return config


def _moe_config(family: str, moe: MoESpec, spec: ModelSpec) -> dict[str, Any]:
    common: dict[str, Any] = {"num_experts_per_tok": moe.top_k_experts, "output_router_logits": False}
    if moe.balance == "loss" and family != "glm4_moe":
        common["router_aux_loss_coef"] = moe.balance_rate
    if family == "mixtral":
        return common | {"num_local_experts": moe.num_experts, "intermediate_size": moe.ffn_dim}
    common |= {"moe_intermediate_size": moe.ffn_dim, "norm_topk_prob": moe.normalize}
    if family == "qwen3_moe":
        dense = list(range(moe.num_dense_layers))
        return common | {"num_experts": moe.num_experts, "decoder_sparse_step": 1, "mlp_only_layers": dense}
    return common | {
        "n_routed_experts": moe.num_experts,
        "n_shared_experts": moe.shared_ffn_dim // moe.ffn_dim,
        "first_k_dense_replace": moe.num_dense_layers,
        "routed_scaling_factor": moe.route_scale,
        "n_group": 1,
        "topk_group": 1,
        "num_nextn_predict_layers": 0,
        "partial_rotary_factor": 1.0,
        "use_qk_norm": spec.qk_norm == "head",
    }


# -- config to spec -------------------------------------------------------------------------------------------------


def spec_of(config: Mapping[str, Any], path: Path) -> ModelSpec:
    """The model that a `config.json` describes.

    Args:
        config: the decoded file, in the form of transformers 5 or an older one.
        path: where it came from, for messages.

    Raises:
        UserError: a family or a feature that our transformer does not have, or a missing key.
    """
    family = str(config.get("model_type"))
    if family not in ARCHITECTURES:
        raise UserError(
            f"{path}: models of type {family!r} cannot be read",
            hint="families: " + ", ".join(ARCHITECTURES),
            code="not_expressible",
        )
    known = {**_MISSING.get(family, {}), **{key: value for key, value in config.items() if value is not None}}
    if family == "mistral" and "sliding_window" in config and config["sliding_window"] is None:
        known["sliding_window"] = 0
    _refuse_what_we_lack(family, known, path)
    rope = {**(known.get("rope_scaling") or {}), **(known.get("rope_parameters") or {})}
    try:
        return ModelSpec(
            dim=known["hidden_size"],
            num_layers=known["num_hidden_layers"],
            num_heads=known["num_attention_heads"],
            num_kv_heads=known.get("num_key_value_heads", 0),
            head_dim=known.get("head_dim", 0),
            ffn_dim=known["intermediate_size"],
            vocab_size=known["vocab_size"],
            max_seq_len=known.get("max_position_embeddings", 2048),
            norm_eps=known.get("rms_norm_eps", 1e-6),
            rope_theta=rope.get("rope_theta", known.get("rope_theta", 10_000.0)),
            rope_scaling=_rope_scaling(rope, known, path),
            tied_embeddings=known.get("tie_word_embeddings", False),
            attention_bias=family == "qwen2" or bool(known.get("attention_bias", False)),
            qk_norm=_qk_norm(family, known),
            norm_position="post" if family == "olmo2" else "pre",
            sliding_window=_sliding_window(family, known, path),
            moe=_moe_spec(family, known, path) if family in _SPARSE else None,
        )
    except KeyError as error:
        raise UserError(f"{path} has no {error.args[0]!r}", code="corrupt_model") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", code="corrupt_model") from None


def _refuse_what_we_lack(family: str, known: Mapping[str, Any], path: Path) -> None:
    """Features of a family's configuration that its class computes and our transformer does not."""
    lacking = [
        ("hidden_act", known.get("hidden_act", "silu") != "silu"),
        ("attention_bias", bool(known.get("attention_bias")) and family not in ("qwen2", "glm4_moe")),
        ("mlp_bias", bool(known.get("mlp_bias"))),
        ("n_group", known.get("n_group", 1) != 1),
        ("quantization_config", "quantization_config" in known),
        ("partial_rotary_factor", _partial_rotary(known) != 1),
    ]
    for key, is_set in lacking:
        if is_set:
            raise UserError(f"{path}: {key} = {known.get(key)!r} is not supported", code="not_expressible")


def _partial_rotary(known: Mapping[str, Any]) -> float:
    inside = known.get("rope_parameters") or {}
    return float(inside.get("partial_rotary_factor", known.get("partial_rotary_factor", 1.0)))


def _qk_norm(family: str, known: Mapping[str, Any]) -> str:
    if family == "olmo2":
        return "full"
    return "head" if family in ("qwen3", "qwen3_moe") or known.get("use_qk_norm") else "none"


def _rope_scaling(rope: Mapping[str, Any], known: Mapping[str, Any], path: Path) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    unknown = rope.keys() - {
        "rope_type", "type", "factor", "rope_theta", "original_max_position_embeddings", "low_freq_factor",
        "high_freq_factor", "beta_fast", "beta_slow", "attention_factor", "partial_rotary_factor", "truncate",
    }  # fmt: skip
    if kind not in ("linear", "llama3", "yarn") or unknown or not rope.get("truncate", True):
        what = f"with {', '.join(sorted(unknown))}" if unknown else "of this form"
        raise UserError(f"{path}: rope scaling {kind!r} {what} is not supported", code="not_expressible")
    length = rope.get("original_max_position_embeddings") or known.get("max_position_embeddings", 0)
    given = {
        "low_freq_factor": rope.get("low_freq_factor"),
        "high_freq_factor": rope.get("high_freq_factor"),
        "beta_fast": rope.get("beta_fast"),
        "beta_slow": rope.get("beta_slow"),
        "attention_factor": rope.get("attention_factor"),
        "original_seq_len": length if kind != "linear" else None,
    }
    return RopeScaling(kind=kind, factor=rope["factor"], **{key: value for key, value in given.items() if value})


def _sliding_window(family: str, known: Mapping[str, Any], path: Path) -> int:
    window = int(known.get("sliding_window") or 0)
    if family in _WINDOWED_ON_REQUEST and not known.get("use_sliding_window", False):
        return 0
    if family in ("qwen2", "qwen3") and window:
        first, count = known.get("max_window_layers", 28), known["num_hidden_layers"]
        slides = [kind == "sliding_attention" for kind in known.get("layer_types", ())]
        slides = slides or [layer >= first for layer in range(count)]
        if any(slides) and not all(slides):
            raise UserError(f"{path}: a sliding window in some layers only is not supported", code="not_expressible")
        return window if any(slides) else 0
    return window if family in ("mistral", "mixtral", "qwen3_moe") else 0


def _moe_spec(family: str, known: Mapping[str, Any], path: Path) -> MoESpec:
    if family == "glm4_moe":
        width = known["moe_intermediate_size"]
        return MoESpec(
            num_experts=known.get("n_routed_experts") or known["num_local_experts"],
            top_k_experts=known["num_experts_per_tok"],
            ffn_dim=width,
            shared_ffn_dim=width * known.get("n_shared_experts", 1),
            num_dense_layers=known.get("first_k_dense_replace", 1),
            score="sigmoid",
            normalize=known.get("norm_topk_prob", True),
            route_scale=known.get("routed_scaling_factor", 1.0),
            balance="bias",
        )
    rate = known.get("router_aux_loss_coef", 0.001)
    if family == "mixtral":
        return MoESpec(
            num_experts=known.get("num_local_experts") or known["num_experts"],
            top_k_experts=known["num_experts_per_tok"],
            ffn_dim=known["intermediate_size"],
            balance_rate=rate,
        )
    dense = sorted(known.get("mlp_only_layers") or [])
    if known.get("decoder_sparse_step", 1) != 1 or dense != list(range(len(dense))):
        raise UserError(f"{path}: dense layers between those with experts are not supported", code="not_expressible")
    return MoESpec(
        num_experts=known.get("num_experts") or known["num_local_experts"],
        top_k_experts=known["num_experts_per_tok"],
        ffn_dim=known["moe_intermediate_size"],
        num_dense_layers=len(dense),
        normalize=known.get("norm_topk_prob", False),
        balance_rate=rate,
    )


# -- names of tensors -----------------------------------------------------------------------------------------------

_ENDS = {
    "embed.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
_LAYER = {
    "attention_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    **{f"attention.{x}.{kind}": f"self_attn.{x}_proj.{kind}" for x in "qkvo" for kind in ("weight", "bias")},
    **{f"attention.{x}_norm.weight": f"self_attn.{x}_norm.weight" for x in "qk"},
    **{f"ffn.{x}.weight": f"mlp.{x}_proj.weight" for x in ("gate", "up", "down")},
    "moe.router.weight": "mlp.gate.weight",
    "moe.bias": "mlp.gate.e_score_correction_bias",
    **{f"moe.experts.{x}": f"mlp.experts.{{}}.{x}_proj.weight" for x in ("gate", "up", "down")},
    **{f"moe.shared.{x}.weight": f"mlp.shared_experts.{x}_proj.weight" for x in ("gate", "up", "down")},
}
_OLMO2 = {
    "attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "post_feedforward_layernorm.weight",
}
_MIXTRAL = {
    "moe.router.weight": "block_sparse_moe.gate.weight",
    "moe.experts.gate": "block_sparse_moe.experts.{}.w1.weight",
    "moe.experts.up": "block_sparse_moe.experts.{}.w3.weight",
    "moe.experts.down": "block_sparse_moe.experts.{}.w2.weight",
}


def file_names(name: str, family: str, num_experts: int) -> list[str]:
    """Names in a family's files of our tensor `name`: one, or one for each expert of a stack of experts."""
    if name in _ENDS:
        return [_ENDS[name]]
    _, layer, rest = name.split(".", 2)
    table = {**_LAYER, **{"olmo2": _OLMO2, "mixtral": _MIXTRAL}.get(family, {})}
    theirs = f"model.layers.{layer}.{table[rest]}"
    return [theirs.format(expert) for expert in range(num_experts)] if "{}" in theirs else [theirs]
