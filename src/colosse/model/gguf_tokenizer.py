"""A byte-level BPE tokenizer between the metadata of a GGUF file and a Hugging Face tokenizer folder.

llama.cpp knows how text is cut up before BPE by a name (`tokenizer.ggml.pre`) and has the rule in its source
(`llama-vocab.cpp`); a `tokenizer.json` has the rule itself. The table below pairs the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colosse.core.errors import UserError
from colosse.model.tokenizer_files import TokenizerFiles

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5  # enum llama_token_type

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = _WORDS + r"\p{N}" + _REST
_LLAMA3 = _WORDS + r"\p{N}{1,3}" + _REST


def _split(pattern: str) -> list[dict[str, Any]]:
    return [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    ]


_GPT2 = [{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]
_RULES: dict[str, list[dict[str, Any]]] = {
    "qwen2": _split(_QWEN2),
    "llama-bpe": _split(_LLAMA3),
    "dbrx": _split(_LLAMA3),
    "smollm": [{"type": "Digits", "individual_digits": True}, *_GPT2],
    "gpt-2": _GPT2,
}
"""Steps of `tokenizer.json`'s pre-tokenizer for each `tokenizer.ggml.pre`. `dbrx` (OLMo 2) is `llama-bpe` without its
shortcut, that a piece which is a token is not merged."""
_SHORTCUT = {"llama-bpe"}
_SAME = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2", "default": "gpt-2"}
"""Other names of the same rules."""


# -- folder to metadata ---------------------------------------------------------------------------------------------


def tokenizer_metadata(tokenizer: TokenizerFiles, vocab_size: int) -> dict[str, Any]:
    """The tokenizer as GGUF metadata.

    Args:
        tokenizer: from `read_tokenizer`.
        vocab_size: rows of the model's embedding; ids without a token are filled up with unused ones.

    Raises:
        UserError: it is no byte-level BPE, or cuts text up in a way that llama.cpp has no name for.
    """
    model = tokenizer.definition["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece BPE" if model.get("byte_fallback") else str(model.get("type"))
        raise UserError(
            f"the tokenizer in {tokenizer.folder} is {kind}: only byte-level BPE can be written to GGUF",
            code="not_expressible",
        )
    texts = [f"[PAD{i}]" for i in range(vocab_size)]
    kinds = [_UNUSED] * vocab_size
    for text, token_id in model["vocab"].items():
        texts[token_id], kinds[token_id] = text, _NORMAL
    for token in tokenizer.added:
        texts[token.id], kinds[token.id] = token.text, _CONTROL if token.special else _USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    # Where none is named llama.cpp takes token 11 for the beginning of a text; Qwen's files name the one that ends it.
    bos = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    found: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": _pre_of(tokenizer),
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": bos,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_id,
        "tokenizer.ggml.add_bos_token": tokenizer.adds_bos,
        "tokenizer.chat_template": tokenizer.chat_template,
    }
    return {key: value for key, value in found.items() if value is not None}


def _pre_of(tokenizer: TokenizerFiles) -> str:
    """llama.cpp's name for how the text is cut up."""
    steps = tokenizer.definition.get("pre_tokenizer") or {}
    steps = _rule(steps.get("pretokenizers", [steps]))
    shortcut = bool(tokenizer.definition["model"].get("ignore_merges"))
    for name, rule in _RULES.items():
        if _rule(rule) == steps and (name in _SHORTCUT) == shortcut:
            return name
    raise UserError(
        f"the tokenizer in {tokenizer.folder} cuts text up in a way that llama.cpp has no name for",
        hint="names that can be written: " + ", ".join(_RULES),
        code="not_expressible",
    )


def _rule(steps: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What of the steps decides where text is cut."""
    keys = ("type", "pattern", "behavior", "invert", "individual_digits", "add_prefix_space", "use_regex")
    return [tuple(json.dumps(step.get(key)) for key in keys) for step in steps]


# -- metadata to folder ---------------------------------------------------------------------------------------------


def write_tokenizer(meta: Mapping[str, Any], folder: Path, path: Path) -> None:
    """Write a Hugging Face tokenizer folder from a GGUF file's metadata.

    Args:
        meta: decoded metadata.
        folder: exists; its tokenizer files are overwritten.
        path: the GGUF file, for messages.

    Raises:
        UserError: no byte-level BPE, or an unknown way to cut text up.
    """
    kind, pre = meta.get("tokenizer.ggml.model"), str(meta.get("tokenizer.ggml.pre", "default"))
    pre = _SAME.get(pre, pre)
    if kind != "gpt2":
        name = "SentencePiece" if kind == "llama" else f"of kind {kind!r}"
        raise UserError(
            f"the tokenizer of {path} is {name}: only byte-level BPE can be read from GGUF",
            hint="give the model's own tokenizer folder instead",
            code="not_expressible",
        )
    if pre not in _RULES:
        raise UserError(
            f"the tokenizer of {path} cuts text up by the rule {pre!r}, which is not known here",
            hint="known: " + ", ".join(_RULES),
            code="not_expressible",
        )
    texts: list[str] = meta["tokenizer.ggml.tokens"]
    kinds: list[int] = meta.get("tokenizer.ggml.token_type") or [_NORMAL] * len(texts)
    vocab = {text: i for i, (text, kind) in enumerate(zip(texts, kinds, strict=True)) if kind != _UNUSED}
    bos = _token(meta, "bos", texts)
    adds_bos = bool(meta.get("tokenizer.ggml.add_bos_token", pre == "llama-bpe")) and bos is not None
    added = [_added(i, texts[i], kind) for i, kind in enumerate(kinds) if kind in (_CONTROL, _USER_DEFINED)]
    definition = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _RULES[pre]},
        "post_processor": _begin_with(bos, vocab[bos]) if adds_bos and bos else None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre in _SHORTCUT,
            "vocab": vocab,
            "merges": [merge.split(" ", 1) for merge in meta["tokenizer.ggml.merges"]],
        },
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": bos,
        "eos_token": _token(meta, "eos", texts),
        "pad_token": _token(meta, "padding", texts),
        "unk_token": None,
        "add_bos_token": adds_bos,
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / "tokenizer.json", definition)
    _write_json(folder / "tokenizer_config.json", config)
    if template := meta.get("tokenizer.chat_template"):
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _token(meta: Mapping[str, Any], name: str, texts: list[str]) -> str | None:
    token_id = meta.get(f"tokenizer.ggml.{name}_token_id")
    return texts[token_id] if token_id is not None and token_id < len(texts) else None


def _added(token_id: int, text: str, kind: int) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": text, "special": kind == _CONTROL, **plain}


def _begin_with(text: str, token_id: int) -> dict[str, Any]:
    """The post-processor that puts a token before every text."""
    first, one, two = (
        {"SpecialToken": {"id": text, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 0}},
    )
    return {
        "type": "TemplateProcessing",
        "single": [first, one],
        "pair": [first, one, two],
        "special_tokens": {text: {"id": text, "ids": [token_id], "tokens": [text]}},
    }


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
