"""`ModelSpec` to and from the metadata of a GGUF file, and llama.cpp's names of tensors.

llama.cpp has no general transformer: each architecture is a graph of its own, so the one that computes our model is
chosen, and what none computes is refused rather than written and answered wrongly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from colosse.core.errors import UserError
from colosse.model.hf_config import family_of
from colosse.model.rope import frequencies
from colosse.spec.model import ModelSpec, MoESpec, RopeScaling

ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe",
    "olmo2": "olmo2",
    "glm4_moe": "glm4moe",
}
"""llama.cpp's architecture for each family of `hf_config`."""

ROPE_FACTORS = "rope_freqs.weight"
"""Tensor [head_dim / 2] that rotary frequencies are divided by: how `llama3` scaling is written."""
_SIGMOID = 2  # LLAMA_EXPERT_GATING_FUNC_TYPE_SIGMOID


def architecture_of(spec: ModelSpec) -> str:
    """llama.cpp's architecture that computes this model.

    Raises:
        UserError: none does; says what stands in the way.
    """
    family = family_of(spec)
    architecture, moe = ARCHITECTURES[family], spec.moe
    if spec.rope_scaling and spec.rope_scaling.kind == "llama3" and architecture != "llama":
        raise _none_computes(f'rope scaling "llama3" in a model like {family}')
    if family == "qwen3_moe" and moe and (not moe.normalize or moe.num_dense_layers):
        raise _none_computes("qk_norm with experts in some layers only or with weights that do not sum to one")
    return architecture


def _none_computes(what: str) -> UserError:
    return UserError(
        f"no architecture of llama.cpp has {what}",
        hint="export it to a Hugging Face folder, which other engines serve",
        code="not_expressible",
    )


# -- spec to metadata -----------------------------------------------------------------------------------------------


def metadata_of(spec: ModelSpec) -> dict[str, int | float | str | bool]:
    """The model's metadata, keys without the architecture's prefix.

    llama.cpp looks at the whole context in these architectures: a model with a sliding window is given a context that
    is no longer than the window, within which the two are the same.
    """
    context = min(spec.max_seq_len, spec.sliding_window or spec.max_seq_len)
    data: dict[str, int | float | str | bool] = {
        "vocab_size": spec.vocab_size,
        "context_length": context,
        "embedding_length": spec.dim,
        "block_count": spec.num_layers,
        "feed_forward_length": spec.ffn_dim,
        "attention.head_count": spec.num_heads,
        "attention.head_count_kv": spec.num_kv_heads,
        "attention.key_length": spec.head_dim,
        "attention.value_length": spec.head_dim,
        "attention.layer_norm_rms_epsilon": spec.norm_eps,
        "rope.dimension_count": spec.head_dim,
        "rope.freq_base": spec.rope_theta,
    }
    scaling = spec.rope_scaling
    if scaling and scaling.kind != "llama3":
        data |= {"rope.scaling.type": scaling.kind, "rope.scaling.factor": scaling.factor}
    if scaling and scaling.kind == "yarn":
        data |= {
            "rope.scaling.original_context_length": scaling.original_seq_len,
            "rope.scaling.yarn_beta_fast": scaling.beta_fast,
            "rope.scaling.yarn_beta_slow": scaling.beta_slow,
        }
        if scaling.attention_factor:
            data["rope.scaling.attn_factor"] = scaling.attention_factor / _yarn_factor(scaling.factor)
    if moe := spec.moe:
        data |= {"expert_count": moe.num_experts, "expert_used_count": moe.top_k_experts}
        if architecture_of(spec) == "llama":
            data["feed_forward_length"] = moe.ffn_dim
        else:
            data["expert_feed_forward_length"] = moe.ffn_dim
        if moe.score == "sigmoid":
            data |= {
                "expert_shared_count": moe.shared_ffn_dim // moe.ffn_dim,
                "expert_gating_func": _SIGMOID,
                "expert_weights_norm": moe.normalize,
                "expert_weights_scale": moe.route_scale,
                "leading_dense_block_count": moe.num_dense_layers,
            }
    return data


def _yarn_factor(factor: float) -> float:
    """The multiplier of cosine and sine that llama.cpp applies with YaRN by itself."""
    return 0.1 * math.log(factor) + 1.0


def rope_factors(spec: ModelSpec) -> torch.Tensor:
    """What `ROPE_FACTORS` holds, float32 [head_dim / 2]: unscaled over scaled frequency."""
    plain, _ = frequencies(spec.model_copy(update={"rope_scaling": None}))
    return plain / frequencies(spec)[0]


# -- metadata to spec -----------------------------------------------------------------------------------------------


def spec_of(meta: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]], factors: Any, path: Path) -> ModelSpec:
    """The model that a GGUF file describes.

    Args:
        meta: its metadata.
        tensors: names and shapes of its tensors, rows first.
        factors: the values of `ROPE_FACTORS`; None where there is none.
        path: for messages.

    Raises:
        UserError: an architecture or a feature that our transformer does not have, or a missing key.
    """
    architecture = str(meta.get("general.architecture"))
    if architecture not in ARCHITECTURES.values():
        raise UserError(
            f"{path}: models of llama.cpp's architecture {architecture!r} cannot be read",
            hint="architectures: " + ", ".join(sorted(set(ARCHITECTURES.values()))),
            code="not_expressible",
        )
    known = {key.removeprefix(f"{architecture}."): _short(value) for key, value in meta.items()}
    try:
        heads = known["attention.head_count"]
        head_dim = known.get("attention.key_length", known["embedding_length"] // heads)
        _refuse_what_we_lack(architecture, known, tensors, head_dim, path)
        spec = ModelSpec(
            dim=known["embedding_length"],
            num_layers=known["block_count"] - known.get("nextn_predict_layers", 0),
            num_heads=heads,
            num_kv_heads=known.get("attention.head_count_kv", heads),
            head_dim=head_dim,
            ffn_dim=known["feed_forward_length"],
            vocab_size=tensors["token_embd.weight"][0],
            max_seq_len=known["context_length"],
            norm_eps=known["attention.layer_norm_rms_epsilon"],
            rope_theta=known.get("rope.freq_base", 10_000.0),
            rope_scaling=_rope_scaling(known, path),
            tied_embeddings="output.weight" not in tensors,
            attention_bias="blk.0.attn_q.bias" in tensors,
            qk_norm=_qk_norm(architecture, tensors),
            norm_position="post" if architecture == "olmo2" else "pre",
            moe=_moe_spec(architecture, known),
        )
    except KeyError as error:
        raise UserError(f"{path} has no {error.args[0]!r}", code="corrupt_model") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", code="corrupt_model") from None
    return spec if factors is None else _with_llama3(spec, torch.as_tensor(factors, dtype=torch.float32), path)


def _short(value: Any) -> Any:
    """A float32 as the decimal number that it was written from: 1e-5, not 9.99999974e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _refuse_what_we_lack(
    architecture: str, known: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]], head_dim: int, path: Path
) -> None:
    lacking = [
        ("attention.value_length", known.get("attention.value_length", head_dim) != head_dim),
        ("rope.dimension_count", known.get("rope.dimension_count", head_dim) != head_dim),
        ("attention.sliding_window", bool(known.get("attention.sliding_window"))),
        ("expert_gating_func", architecture == "glm4moe" and known.get("expert_gating_func", _SIGMOID) != _SIGMOID),
        ("experts in tensors of their own", "blk.0.ffn_gate.0.weight" in tensors),
        ("several head counts", isinstance(known["attention.head_count"], list)),
        ("several counts of key-value heads", isinstance(known.get("attention.head_count_kv"), list)),
    ]
    for what, is_set in lacking:
        if is_set:
            raise UserError(f"{path}: {what} {known.get(what, '')} is not supported", code="not_expressible")


def _qk_norm(architecture: str, tensors: Mapping[str, tuple[int, ...]]) -> str:
    if architecture == "olmo2":
        return "full"
    return "head" if "blk.0.attn_q_norm.weight" in tensors else "none"


def _rope_scaling(known: Mapping[str, Any], path: Path) -> RopeScaling | None:
    kind = known.get("rope.scaling.type", "none")
    factor = known.get("rope.scaling.factor", 1.0)
    if kind == "none" or (kind == "linear" and factor == 1):
        return None
    if kind == "linear":
        return RopeScaling(kind="linear", factor=factor)
    if kind != "yarn":
        raise UserError(f"{path}: rope scaling {kind!r} is not supported", code="not_expressible")
    attention = known.get("rope.scaling.attn_factor", 1.0)
    return RopeScaling(
        kind="yarn",
        factor=factor,
        original_seq_len=known.get("rope.scaling.original_context_length", known["context_length"]),
        beta_fast=known.get("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=known.get("rope.scaling.yarn_beta_slow", 1.0),
        attention_factor=0.0 if attention == 1 else _short(attention * _yarn_factor(factor)),
    )


def _with_llama3(spec: ModelSpec, factors: torch.Tensor, path: Path) -> ModelSpec:
    """Find the `llama3` scaling that made these factors; low and high are 1 and 4 in every model that has it.

    Between the bands a factor f keeps the share s = (1/f - 1/factor) / (1 - 1/factor), and
    s = (original / wavelength - low) / (high - low), which gives the original length.
    """
    low, high, factor = 1.0, 4.0, float(factors.max())
    if factor <= 1:
        return spec
    plain, _ = frequencies(spec)
    between = (factors > 1) & (factors < factor)
    if between.any():
        keep = (1 / factors[between] - 1 / factor) / (1 - 1 / factor)
        lengths = (keep * (high - low) + low) * 2 * math.pi / plain[between]
        length = round(float(lengths.median()))
    else:
        length = 8192
    scaling = RopeScaling(kind="llama3", factor=factor, original_seq_len=length, low_freq_factor=low)
    found = spec.model_copy(update={"rope_scaling": scaling})
    if not torch.allclose(rope_factors(found), factors, rtol=1e-3):
        raise UserError(f"{path}: {ROPE_FACTORS} follows no rule that we know", code="not_expressible")
    return found


def _moe_spec(architecture: str, known: Mapping[str, Any]) -> MoESpec | None:
    if not known.get("expert_count"):
        return None
    shape = {"num_experts": known["expert_count"], "top_k_experts": known["expert_used_count"]}
    if architecture == "llama":
        return MoESpec(ffn_dim=known["feed_forward_length"], **shape)
    width = known["expert_feed_forward_length"]
    if architecture != "glm4moe":
        return MoESpec(ffn_dim=width, **shape)
    return MoESpec(
        ffn_dim=width,
        shared_ffn_dim=width * known.get("expert_shared_count", 1),
        num_dense_layers=known.get("leading_dense_block_count", 0),
        score="sigmoid",
        normalize=bool(known.get("expert_weights_norm", True)),
        route_scale=known.get("expert_weights_scale", 1.0),
        balance="bias",
        **shape,
    )


# -- names of tensors -----------------------------------------------------------------------------------------------

_ENDS = {"embed.weight": "token_embd.weight", "norm.weight": "output_norm.weight", "head.weight": "output.weight"}
_LAYER = {
    "attention_norm.weight": "attn_norm.weight",
    "ffn_norm.weight": "ffn_norm.weight",
    **{f"attention.{x}.{kind}": f"attn_{x}.{kind}" for x in "qkv" for kind in ("weight", "bias")},
    "attention.o.weight": "attn_output.weight",
    **{f"attention.{x}_norm.weight": f"attn_{x}_norm.weight" for x in "qk"},
    **{f"ffn.{x}.weight": f"ffn_{x}.weight" for x in ("gate", "up", "down")},
    "moe.router.weight": "ffn_gate_inp.weight",
    "moe.bias": "exp_probs_b.bias",
    **{f"moe.experts.{x}": f"ffn_{x}_exps.weight" for x in ("gate", "up", "down")},
    **{f"moe.shared.{x}.weight": f"ffn_{x}_shexp.weight" for x in ("gate", "up", "down")},
}
_NORMS = {
    "olmo2": {"attention_norm.weight": "post_attention_norm.weight", "ffn_norm.weight": "post_ffw_norm.weight"},
    "glm4moe": {"ffn_norm.weight": "post_attention_norm.weight"},
}


def tensor_name(name: str, architecture: str) -> str:
    """llama.cpp's name of our tensor `name`."""
    if name in _ENDS:
        return _ENDS[name]
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{({**_LAYER, **_NORMS.get(architecture, {})})[rest]}"


def permuted_heads(name: str, architecture: str, spec: ModelSpec) -> int:
    """Heads whose rows llama.cpp keeps in another order, 0 for tensors that it keeps as they are.

    Its `llama` graph turns neighbouring channels of a head together, Hugging Face's and ours those half a head apart.
    """
    if architecture != "llama":
        return 0
    if ".attention.q." in name:
        return spec.num_heads
    return spec.num_kv_heads if ".attention.k." in name else 0
