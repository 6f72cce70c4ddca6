"""A small model of each family that weights are exchanged with, with random values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from colosse.model import gguf_tokenizer
from colosse.model.transformer import Transformer
from colosse.spec.model import ModelSpec

BASE: dict[str, Any] = {
    "dim": 64,
    "num_layers": 2,
    "num_heads": 4,
    "num_kv_heads": 2,
    "ffn_dim": 96,
    "vocab_size": 128,
    "max_seq_len": 256,
    "norm_eps": 1e-5,
}
LLAMA3 = {"kind": "llama3", "factor": 8.0, "original_seq_len": 32}
YARN = {"kind": "yarn", "factor": 4.0, "original_seq_len": 64}
EXPERTS = {"num_experts": 4, "top_k_experts": 2, "ffn_dim": 48}

# Name, family in transformers, what differs from BASE.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama3": ("llama", {"rope_scaling": LLAMA3, "rope_theta": 500_000.0, "head_dim": 32}),
    "linear": ("llama", {"rope_scaling": {"kind": "linear", "factor": 2.0}}),
    "smollm": ("llama", {"tied_embeddings": True, "num_heads": 2, "num_kv_heads": 1}),
    "mistral": ("mistral", {"sliding_window": 8}),
    "qwen2": ("qwen2", {"attention_bias": True, "tied_embeddings": True}),
    "qwen2-yarn": ("qwen2", {"attention_bias": True, "rope_scaling": YARN}),
    "qwen2-yarn-factor": ("qwen2", {"attention_bias": True, "rope_scaling": {**YARN, "attention_factor": 1.3}}),
    "qwen2-window": ("qwen2", {"attention_bias": True, "sliding_window": 8}),
    "qwen3": ("qwen3", {"qk_norm": "head", "head_dim": 32}),
    "qwen3-window": ("qwen3", {"qk_norm": "head", "sliding_window": 8}),
    "olmo2": ("olmo2", {"qk_norm": "full", "norm_position": "post"}),
    "mixtral": ("mixtral", {"moe": EXPERTS}),
    "mixtral-window": ("mixtral", {"moe": EXPERTS, "sliding_window": 8}),
    "qwen3_moe": ("qwen3_moe", {"moe": EXPERTS, "qk_norm": "head"}),
    "qwen3_moe-uneven": (
        "qwen3_moe",
        {"moe": {**EXPERTS, "normalize": False, "num_dense_layers": 1}, "qk_norm": "head", "head_dim": 32},
    ),
    "glm4_moe": (
        "glm4_moe",
        {
            "moe": {
                **EXPERTS,
                "shared_ffn_dim": 96,
                "num_dense_layers": 1,
                "score": "sigmoid",
                "route_scale": 2.5,
                "balance": "bias",
            },
            "qk_norm": "head",
        },
    ),
}


def spec_for(name: str, **changes: Any) -> ModelSpec:
    """Spec of one of `FAMILIES`."""
    return ModelSpec.model_validate({**BASE, **FAMILIES[name][1], **changes})


def random_model(spec: ModelSpec, seed: int = 0) -> Transformer:
    """A model whose every tensor, norms and biases too, is random and matters."""
    torch.manual_seed(seed)
    model = Transformer(spec).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.normal_(1.0 if "norm" in name else 0.0, 0.2 if tensor.dim() == 1 else 0.08)
    return model


def loaded(spec: ModelSpec, state: Any) -> Transformer:
    """A model from a state dict, which may be lazy."""
    model = Transformer(spec).eval()
    model.load_state_dict(state)
    return model


def tokens(spec: ModelSpec, length: int = 48, batch: int = 2) -> Tensor:
    """Random token ids [batch, length]."""
    return torch.randint(0, spec.vocab_size, (batch, length), generator=torch.Generator().manual_seed(1))


TEXTS = [
    "def add(a, b):\n    return a + b\n\n\nclass Point:\n    x: int = 12345\n",
    "The quick brown fox jumps over the lazy dog; it doesn't care. We're here, they've gone.",
    "L'été où j'étais né, le cœur n'hésitait pas : « où êtes-vous ? »",
    "Größe, naïve, мир, 你好世界, こんにちは, 🙂🚀, e\u0301, \u00a0\t\r\n  x  \n\n",
]


def tiny_tokenizer(folder: Path, vocab_size: int = 320, pre: str = "qwen2", *, adds_bos: bool = False) -> Path:
    """A byte-level BPE tokenizer folder, with chat tokens and a template."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    definition = json.loads(tokenizer.to_str())
    definition["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": gguf_tokenizer._RULES[pre]}
    definition["decoder"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    if adds_bos:
        definition["post_processor"] = gguf_tokenizer._begin_with("<|endoftext|>", 0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": None,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    (folder / "chat_template.jinja").write_text(template + "<|im_start|>assistant\n")
    return folder
