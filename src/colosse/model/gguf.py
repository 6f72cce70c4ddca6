"""Weights to and from GGUF files, the format of llama.cpp.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import quants
from torch import Tensor

from colosse.core.errors import NotFoundError, UserError
from colosse.core.files import ensure_free, whole
from colosse.core.progress import Progress
from colosse.model.gguf_config import (
    ROPE_FACTORS,
    architecture_of,
    metadata_of,
    permuted_heads,
    rope_factors,
    spec_of,
    tensor_name,
)
from colosse.model.gguf_tokenizer import tokenizer_metadata, write_tokenizer
from colosse.model.tokenizer_files import check_fits, read_tokenizer
from colosse.model.weights import LazyState, check_shape, check_state, shapes
from colosse.spec.model import ModelSpec

DTYPES = {"float32": Kind.F32, "float16": Kind.F16, "bfloat16": Kind.BF16, "q8_0": Kind.Q8_0}
"""Kinds that are written, by the names that a person gives."""
_FILE_TYPES = {
    Kind.F32: gguf.LlamaFileType.ALL_F32,
    Kind.F16: gguf.LlamaFileType.MOSTLY_F16,
    Kind.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    Kind.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
}
_PLAIN = {Kind.F32: torch.float32, Kind.F16: torch.float16, Kind.BF16: torch.bfloat16}
_NOT_QUANTISED = (".moe.router.weight", ".moe.bias")
"""Small, and decisive for what is computed at all; llama.cpp's own converter keeps them in float32."""


def load_gguf(path: Path) -> tuple[ModelSpec, LazyState]:
    """The model of a GGUF file (or of the first one of a split model).

    Returns:
        Its spec, and its state dict. Tensors are read when asked for: F32, F16 and BF16 as they are, quantised ones as
        float32.

    Raises:
        NotFoundError: a file is missing.
        UserError: not a GGUF file, an architecture, feature or tensor type that we lack, or a damaged file; says which.
    """
    readers = [_open(file) for file in _splits(path)]
    meta = _metadata(readers[0], tokenizer=False)
    tensors = {tensor.name: tensor for reader in readers for tensor in reader.tensors}
    their_shapes = {name: tuple(int(n) for n in reversed(tensor.shape)) for name, tensor in tensors.items()}
    factors = tensors.get(ROPE_FACTORS)
    spec = spec_of(meta, their_shapes, None if factors is None else np.array(factors.data), path)
    architecture = str(meta["general.architecture"])
    state: dict[str, Callable[[], Tensor]] = {}
    for name, shape in shapes(spec).items():
        source = "embed.weight" if name == "head.weight" and spec.tied_embeddings else name
        theirs = tensor_name(source, architecture)
        if theirs not in tensors:
            raise UserError(f"{path} lacks the tensor {theirs!r}", code="corrupt_model")
        check_shape(theirs, their_shapes[theirs], shape, path)
        if not _can_read(tensors[theirs].tensor_type):
            raise UserError(
                f"{path}: tensor {theirs!r} is of type {tensors[theirs].tensor_type.name}, which cannot be read",
                hint="take the same model in another quantisation, such as Q8_0 or Q4_K_M",
                code="not_expressible",
            )
        state[name] = partial(_read, tensors[theirs], permuted_heads(name, architecture, spec))
    used = {tensor_name(name, architecture) for name in state}
    _refuse_extra(tensors.keys() - used, spec, path)
    return spec, LazyState(state)


def load_tokenizer(path: Path, folder: Path) -> None:
    """Write the tokenizer that a GGUF file carries as the files of a Hugging Face tokenizer into `folder`.

    Raises:
        UserError: it is of a kind that cannot be written so; says which.
    """
    write_tokenizer(_metadata(_open(path), tokenizer=True), folder, path)


def _refuse_extra(extra: set[str], spec: ModelSpec, path: Path) -> None:
    """Tensors that our transformer would not compute with change what the model says: refuse them."""
    beyond = f"blk.{spec.num_layers}."
    extra = {name for name in extra if name != ROPE_FACTORS and not name.startswith(beyond)}
    if extra:
        raise UserError(
            f"{path} has {len(extra)} tensors that its architecture has no use for, such as {min(extra)!r}",
            code="not_expressible",
        )


def _splits(path: Path) -> list[Path]:
    """All files of a model of which `path` is the first."""
    found = re.search(r"-(\d+)-of-(\d+)\.gguf$", path.name)
    if not found:
        return [path]
    count, stem = int(found[2]), path.name[: found.start()]
    return [path.with_name(f"{stem}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]


def _open(path: Path) -> gguf.GGUFReader:
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise UserError(f"{path} is no whole GGUF file: {error}", hint="fetch it again", code="corrupt_model") from None


def _metadata(reader: gguf.GGUFReader, *, tokenizer: bool) -> dict[str, Any]:
    """What the file says of the tokenizer, or of all else: decoding a vocabulary takes long."""
    chosen = {name: field for name, field in reader.fields.items() if name.startswith("tokenizer.") == tokenizer}
    return {name: field.contents() for name, field in chosen.items()}


@cache
def _can_read(kind: Kind) -> bool:
    """Whether the gguf package can turn values of this kind into numbers: tried on one block of zeros."""
    try:
        quants.dequantize(np.zeros(gguf.GGML_QUANT_SIZES[kind][1], np.uint8), kind)
    except NotImplementedError:
        return False
    return True


def _read(tensor: gguf.ReaderTensor, heads: int) -> Tensor:
    """One tensor, in our order of rows."""
    if tensor.tensor_type == Kind.BF16:  # numpy has no such type: the reader gives its bytes
        values = torch.from_numpy(np.array(tensor.data)).view(torch.bfloat16)
    elif tensor.tensor_type in _PLAIN:
        values = torch.from_numpy(np.array(tensor.data))
    else:
        values = torch.from_numpy(quants.dequantize(np.array(tensor.data), tensor.tensor_type))
    return _to_halves(values, heads) if heads else values


def _to_halves(values: Tensor, heads: int) -> Tensor:
    """Rows [heads x (E/2, 2)], pairs of channels next to each other, to [heads x (2, E/2)]."""
    return values.view(heads, -1, 2, *values.shape[1:]).transpose(1, 2).reshape(values.shape)


def _to_pairs(values: Tensor, heads: int) -> Tensor:
    """The inverse of `_to_halves`."""
    return values.view(heads, 2, -1, *values.shape[1:]).transpose(1, 2).reshape(values.shape)


def save_gguf(
    path: Path,
    spec: ModelSpec,
    state: Mapping[str, Tensor],
    tokenizer_folder: Path,
    dtype: str = "bfloat16",
    *,
    name: str = "",
    progress: Progress | None = None,
) -> str:
    """Write one GGUF file, which appears complete or not at all. One tensor is in memory at a time.

    Args:
        path: where; must not exist.
        spec: the model.
        state: its state dict; may be lazy.
        tokenizer_folder: its tokenizer (byte-level BPE).
        dtype: `float32`, `float16`, `bfloat16` or `q8_0`. Norms, biases and routers stay float32; a matrix whose rows
            are no multiple of 32 long cannot be quantised and is float16.
        name: the model's own name in the file; the file's when empty.
        progress: hears of the bytes written.

    Returns:
        llama.cpp's architecture that it is written for.

    Raises:
        UserError: llama.cpp has no such model or tokenizer, the tokenizer is not this model's, or an unknown dtype.
        ConflictError: there is something at `path`.
        DiskFullError: there is no room.
    """
    architecture, wanted = architecture_of(spec), check_state(spec, state)
    if dtype not in DTYPES:
        raise UserError(f"no dtype {dtype!r} in GGUF files", hint="dtypes: " + ", ".join(DTYPES), param="dtype")
    tokenizer = read_tokenizer(tokenizer_folder)
    check_fits(tokenizer, spec.vocab_size)
    if spec.tied_embeddings:
        wanted.pop("head.weight", None)
    listener = progress or Progress()
    with whole(path) as fresh:
        writer = gguf.GGUFWriter(fresh, architecture)
        try:
            _add_metadata(writer, spec, architecture, DTYPES[dtype], name or path.stem)
            for key, value in tokenizer_metadata(tokenizer, spec.vocab_size).items():
                _add(writer, key, value)
            _write_tensors(writer, spec, architecture, state, wanted, DTYPES[dtype], path, listener)
        finally:
            writer.close()
    return architecture


def _add_metadata(writer: gguf.GGUFWriter, spec: ModelSpec, architecture: str, kind: Kind, name: str) -> None:
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(_FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in metadata_of(spec).items():
        _add(writer, f"{architecture}.{key}", value)


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """Add a value with the type that llama.cpp reads it as: its integers are unsigned but for those in arrays."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _kind_of(name: str, shape: tuple[int, ...], kind: Kind) -> Kind:
    """What a tensor is written as."""
    if len(shape) == 1 or name.endswith(_NOT_QUANTISED):
        return Kind.F32
    return Kind.F16 if kind == Kind.Q8_0 and shape[-1] % 32 else kind


def _write_tensors(
    writer: gguf.GGUFWriter,
    spec: ModelSpec,
    architecture: str,
    state: Mapping[str, Tensor],
    wanted: Mapping[str, tuple[int, ...]],
    kind: Kind,
    path: Path,
    progress: Progress,
) -> None:
    plan: list[tuple[str, Kind]] = []
    total = 0

    def announce(theirs: str, shape: tuple[int, ...], as_kind: Kind) -> int:
        row = quants.quant_shape_to_byte_shape(shape, as_kind)
        size = int(np.prod(row, dtype=np.int64))
        writer.add_tensor_info(theirs, row, np.dtype(np.uint8), size, as_kind)
        return size

    factors = rope_factors(spec) if spec.rope_scaling and spec.rope_scaling.kind == "llama3" else None
    if factors is not None:
        total += announce(ROPE_FACTORS, tuple(factors.shape), Kind.F32)
    for name, shape in wanted.items():
        plan.append((name, _kind_of(name, shape, kind)))
        total += announce(tensor_name(name, architecture), shape, plan[-1][1])
    ensure_free(path, total)
    progress.begin(f"{path.name}: writing GGUF", total)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(_bytes(factors, Kind.F32))
    for name, as_kind in plan:
        tensor = state[name].detach().cpu()
        if tuple(tensor.shape) != wanted[name]:
            raise UserError(f"{name!r} has shape {list(tensor.shape)}, and the model wants {list(wanted[name])}")
        if heads := permuted_heads(name, architecture, spec):
            tensor = _to_pairs(tensor, heads)
        data = _bytes(tensor, as_kind)
        writer.write_tensor_data(data)
        progress.advance(data.nbytes)


def _bytes(tensor: Tensor, kind: Kind) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A tensor as the bytes of a file."""
    if kind in _PLAIN:
        return tensor.to(_PLAIN[kind]).contiguous().view(torch.uint8).numpy()
    quantised: np.ndarray[Any, np.dtype[np.uint8]] = quants.quantize(tensor.float().numpy(), kind)
    return quantised
