"""Weights to and from Hugging Face folders: `config.json`, safetensors (one file or shards), the tokenizer's files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from colosse.core.errors import NotFoundError, UserError
from colosse.core.files import ensure_free, whole
from colosse.core.progress import Progress
from colosse.model.hf_config import config_of, family_of, file_names, spec_of
from colosse.model.tokenizer_files import TokenizerFiles, check_fits, copy_tokenizer, read_json, read_tokenizer
from colosse.model.weights import DTYPES, LazyState, check_shape, check_state, shapes
from colosse.spec.model import ModelSpec

SHARD_BYTES = 5_000_000_000
INDEX = "model.safetensors.index.json"
ONE_FILE = "model.safetensors"


def load_hf(folder: Path) -> tuple[ModelSpec, LazyState]:
    """The model of a Hugging Face folder.

    Args:
        folder: with `config.json` and safetensors files.

    Returns:
        Its spec, and its state dict in the files' own precision. Tensors are mapped from the files when asked for;
        those of a family that stores each expert by itself are stacked then.

    Raises:
        NotFoundError: a file is missing.
        UserError: a family or feature that we lack, or a damaged file; says which.
    """
    path = folder / "config.json"
    config = read_json(path)
    spec = spec_of(config, path)
    family = str(config["model_type"])
    files = _Files(folder)
    num_experts = spec.moe.num_experts if spec.moe else 0
    readers: dict[str, Callable[[], Tensor]] = {}
    used: set[str] = set()
    for name, shape in shapes(spec).items():
        source = "embed.weight" if name == "head.weight" and spec.tied_embeddings else name
        theirs = file_names(source, family, num_experts)
        one = shape if len(theirs) == 1 else shape[1:]
        for file_name in theirs:
            check_shape(file_name, files.shape(file_name), one, folder)
        used.update(theirs)
        readers[name] = partial(files.read, theirs[0]) if len(theirs) == 1 else partial(files.stack, theirs)
    _refuse_extra(files.names - used, spec, folder)
    return spec, LazyState(readers)


def _refuse_extra(extra: set[str], spec: ModelSpec, folder: Path) -> None:
    """Tensors that our transformer would not compute with change what the model says: refuse them.

    Not missed: rotary tables, a head that is the embedding, and layers beyond the last that predict further tokens.
    """
    beyond = f"model.layers.{spec.num_layers}."
    extra = {name for name in extra if "rotary_emb" not in name and not name.startswith(beyond)}
    if spec.tied_embeddings:
        extra.discard("lm_head.weight")
    if extra:
        raise UserError(
            f"{folder} has {len(extra)} tensors that its config.json does not account for, such as {min(extra)!r}",
            code="not_expressible",
        )


class _Files:
    """The tensors of one or more safetensors files, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (folder / INDEX).is_file():
            files = sorted(set(read_json(folder / INDEX).get("weight_map", {}).values()))
        else:
            files = [ONE_FILE]
        self._where: dict[str, Any] = {}
        for name in files:
            handle = self._open(folder / name)
            self._where |= dict.fromkeys(handle.keys(), handle)
        self.names = set(self._where)

    @staticmethod
    def _open(path: Path) -> Any:
        if not path.is_file():
            raise NotFoundError(f"there is no file {path}", hint="the folder is incomplete: fetch it again")
        try:
            return safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{path} is no whole safetensors file: {error}", hint="fetch it again", code="corrupt_model"
            ) from None

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self._where:
            raise UserError(
                f"{self.folder} lacks the tensor {name!r} that its config.json calls for", code="corrupt_model"
            )
        return tuple(self._where[name].get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        tensor: Tensor = self._where[name].get_tensor(name)
        return tensor

    def stack(self, names: list[str]) -> Tensor:
        return torch.stack([self.read(name) for name in names])


def save_hf(
    folder: Path,
    spec: ModelSpec,
    state: Mapping[str, Tensor],
    tokenizer_folder: Path | None,
    dtype: str = "bfloat16",
    progress: Progress | None = None,
) -> str:
    """Write a Hugging Face folder, which appears complete or not at all. One shard is in memory at a time.

    Args:
        folder: where; must not exist or be empty.
        spec: the model.
        state: its state dict; may be lazy.
        tokenizer_folder: its tokenizer; None to write weights alone.
        dtype: `float32`, `bfloat16` or `float16`.
        progress: hears of the bytes written.

    Returns:
        The family that the model is written as, such as `llama`.

    Raises:
        UserError: no family has such a model, the tokenizer is not this model's, or an unknown dtype.
        ConflictError: there is something at `folder`.
        DiskFullError: there is no room.
    """
    family, wanted = family_of(spec), check_state(spec, state)
    if dtype not in DTYPES:
        raise UserError(f"no dtype {dtype!r} in safetensors", hint="dtypes: " + ", ".join(DTYPES), param="dtype")
    tokenizer = read_tokenizer(tokenizer_folder) if tokenizer_folder else None
    if tokenizer:
        check_fits(tokenizer, spec.vocab_size)
    total = sum(torch.Size(shape).numel() for shape in wanted.values()) * DTYPES[dtype].itemsize
    ensure_free(folder, total)
    listener = progress or Progress()
    listener.begin(f"{folder.name}: writing safetensors", total)
    with whole(folder) as fresh:
        fresh.mkdir()
        _write_shards(fresh, _renamed(spec, family, wanted, state, DTYPES[dtype]), listener)
        config = config_of(spec) | {"dtype": dtype, **_token_ids(tokenizer)}
        _write_json(fresh / "config.json", config)
        if tokenizer:
            _write_json(fresh / "generation_config.json", _generation_config(tokenizer))
            copy_tokenizer(tokenizer.folder, fresh)
    return family


def _renamed(
    spec: ModelSpec, family: str, wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor], dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """(their name, tensor) in the order of the layers; the balancing bias stays float32, as its readers expect."""
    for name, shape in wanted.items():
        if name == "head.weight" and spec.tied_embeddings:
            continue
        tensor = state[name].detach().to("cpu", torch.float32 if name.endswith("moe.bias") else dtype)
        if tuple(tensor.shape) != shape:
            raise UserError(f"{name!r} has shape {list(tensor.shape)}, and the model wants {list(shape)}")
        theirs = file_names(name, family, spec.moe.num_experts if spec.moe else 0)
        parts = [tensor] if len(theirs) == 1 else tensor.unbind()
        yield from ((their, part.contiguous()) for their, part in zip(theirs, parts, strict=True))


def _write_shards(folder: Path, tensors: Iterator[tuple[str, Tensor]], progress: Progress) -> None:
    shard: dict[str, Tensor] = {}
    written: list[list[str]] = []
    size = total = 0

    def flush() -> None:
        # Copies: safetensors refuses two tensors that share memory, as experts cut from one stack would.
        save_file({n: t.clone() for n, t in shard.items()}, folder / f"{len(written)}.part", {"format": "pt"})
        written.append(list(shard))
        shard.clear()
        progress.advance(size)

    for name, tensor in tensors:
        if shard and size + tensor.nbytes > SHARD_BYTES:
            flush()
            size = 0
        shard[name] = tensor
        size, total = size + tensor.nbytes, total + tensor.nbytes
    flush()
    if len(written) == 1:
        (folder / "0.part").rename(folder / ONE_FILE)
        return
    weight_map: dict[str, str] = {}
    for number, names in enumerate(written):
        file_name = f"model-{number + 1:05}-of-{len(written):05}.safetensors"
        (folder / f"{number}.part").rename(folder / file_name)
        weight_map |= dict.fromkeys(names, file_name)
    _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})


def _token_ids(tokenizer: TokenizerFiles | None) -> dict[str, int | None]:
    if tokenizer is None:
        return {"bos_token_id": None, "eos_token_id": None}
    return {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}


def _generation_config(tokenizer: TokenizerFiles) -> dict[str, object]:
    return {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": list(tokenizer.stop_ids),
        "pad_token_id": tokenizer.pad_id,
    }


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
