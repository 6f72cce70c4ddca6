"""The header of a GGUF file: what the model is, and whether the file is whole. Pure Python, no tensor is read.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colosse.core.errors import NotFoundError, UserError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
KV_ELEMENT_BYTES = 2  # the cache holds 16-bit floats

# Value types by number: struct letter; 8 is text, 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9

# Tensor types by number: (elements, bytes) of one block (ggml.h, ggml-common.h).
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17),
}  # fmt: skip

# `general.file_type` (llama.h, llama_ftype).
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True)
class GGUFInfo:
    """What a GGUF file says of itself.

    Attributes:
        architecture: llama.cpp's name, such as `qwen2`.
        name: the model's own name; may be empty.
        context_length: tokens it was trained for; 0 when it does not say.
        num_layers: transformer blocks.
        num_kv_heads: key-value heads of one layer (of the widest one where layers differ).
        head_dim: size of one key.
        vocab_size: tokens of the vocabulary.
        file_type: quantisation, such as `Q4_K_M`; empty when unknown.
        chat_template: its Jinja template; None for a base model.
        kv_bytes_per_token: bytes of cache that one token of context takes with 16-bit entries; an upper bound for
            models whose layers look only at a window.
        size_bytes: the file's size.
        num_splits: files that the model consists of; this is the first of them.
    """

    architecture: str
    name: str
    context_length: int
    num_layers: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    file_type: str
    chat_template: str | None
    kv_bytes_per_token: int
    size_bytes: int
    num_splits: int


def read_gguf(path: Path) -> GGUFInfo:
    """Read the header and check that every tensor lies inside the file.

    Raises:
        NotFoundError: there is no such file.
        UserError: it is not a GGUF file, of an unknown version, or cut short.
    """
    size = path.stat().st_size if path.is_file() else -1
    if size < 0:
        raise NotFoundError(f"there is no file {path}")
    with path.open("rb") as file:
        if (magic := file.read(4)) != MAGIC:
            found = "is empty" if not size else f"begins with {magic!r}"
            raise _broken(path, f"is not a GGUF model: it {found}, not with {MAGIC!r}")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _read(path, data, size)
            except (struct.error, IndexError, ValueError, OverflowError):
                raise _broken(path, "is cut short or damaged: its header does not end") from None


def _broken(path: Path, what: str) -> UserError:
    return UserError(f"{path} {what}", hint="remove it and pull the model again", code="corrupt_model")


def _read(path: Path, data: mmap.mmap, size: int) -> GGUFInfo:
    cursor = _Cursor(data)
    cursor.position = 4
    version = cursor.number("I")
    if version not in VERSIONS:
        raise _broken(path, f"has GGUF version {version}; versions 2 and 3 can be read")
    num_tensors, num_values = cursor.number("Q"), cursor.number("Q")
    meta: dict[str, Any] = {}
    for _ in range(num_values):
        key = cursor.text()
        meta[key] = cursor.value(cursor.number("I"))
    end = 0
    for _ in range(num_tensors):
        end = max(end, cursor.tensor_end())
    alignment = _count(meta.get("general.alignment")) or 32
    needed = -(-cursor.position // alignment) * alignment + end if num_tensors else cursor.position
    if size < needed:
        raise _broken(path, f"is cut short: it has {size} of {needed} bytes")
    return _info(meta, size)


def _info(meta: dict[str, Any], size: int) -> GGUFInfo:
    architecture = str(meta.get("general.architecture", ""))

    def field(name: str) -> Any:
        return meta.get(f"{architecture}.{name}")

    num_layers = _count(field("block_count"))
    num_heads = field("attention.head_count")
    per_layer = field("attention.head_count_kv") or num_heads or 0
    kv_heads = [_count(n) for n in per_layer] if isinstance(per_layer, list) else [_count(per_layer)]
    num_all_kv_heads = sum(kv_heads) if isinstance(per_layer, list) else kv_heads[0] * num_layers
    widest = max((_count(n) for n in num_heads), default=0) if isinstance(num_heads, list) else _count(num_heads)
    head_dim = _count(field("attention.key_length")) or _count(field("embedding_length")) // (widest or 1)
    value_dim = _count(field("attention.value_length")) or head_dim
    tokens = meta.get("tokenizer.ggml.tokens")
    template = meta.get("tokenizer.chat_template")
    return GGUFInfo(
        architecture=architecture,
        name=str(meta.get("general.name", "")),
        context_length=_count(field("context_length")),
        num_layers=num_layers,
        num_kv_heads=max(kv_heads, default=0),
        head_dim=head_dim,
        vocab_size=tokens.count if isinstance(tokens, _Skipped) else 0,
        file_type=_FILE_TYPES.get(_count(meta.get("general.file_type")), "") if "general.file_type" in meta else "",
        chat_template=template if isinstance(template, str) else None,
        kv_bytes_per_token=num_all_kv_heads * (head_dim + value_dim) * KV_ELEMENT_BYTES,
        size_bytes=size,
        num_splits=_count(meta.get("split.count")) or 1,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


@dataclass(frozen=True)
class _Skipped:
    """An array of texts, stepped over: a vocabulary."""

    count: int


class _Cursor:
    """Reads little-endian values one after another."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.position = 0

    def number(self, letter: str) -> int:
        (value,) = struct.unpack_from(f"<{letter}", self.data, self.position)
        self.position += struct.calcsize(f"<{letter}")
        return int(value)

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8", "replace")

    def take(self, count: int) -> bytes:
        piece = self.data[self.position : self.position + count]
        if len(piece) != count:
            raise IndexError
        self.position += count
        return piece

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self.text()
        if kind != _ARRAY:
            letter = _SCALARS[kind] if kind in _SCALARS else self._unknown()
            (value,) = struct.unpack(f"<{letter}", self.take(struct.calcsize(f"<{letter}")))
            return value
        of, count = self.number("I"), self.number("Q")
        if of == _TEXT:
            return self._skip_texts(count)
        letter = _SCALARS[of] if of in _SCALARS else self._unknown()
        return list(struct.unpack(f"<{count}{letter}", self.take(count * struct.calcsize(f"<{letter}"))))

    def _unknown(self) -> str:
        raise ValueError("a value of no known type")

    def _skip_texts(self, count: int) -> _Skipped:
        unpack, data, position = struct.Struct("<Q").unpack_from, self.data, self.position
        for _ in range(count):
            position += 8 + unpack(data, position)[0]
        self.position = position
        return _Skipped(count)

    def tensor_end(self) -> int:
        """Offset after the next tensor's last byte, counted from where the tensors begin."""
        self.text()
        elements = 1
        for _ in range(self.number("I")):
            elements *= self.number("Q")
        kind, offset = self.number("I"), self.number("Q")
        block = _BLOCKS.get(kind)  # a type newer than this table: at least its beginning must be there
        return offset + (elements // block[0] * block[1] if block else 1)
