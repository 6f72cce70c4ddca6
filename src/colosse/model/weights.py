"""Weights by name: which a model has, and a state dict whose tensors are read from files only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from colosse.core.errors import UserError
from colosse.model.transformer import Transformer
from colosse.spec.model import ModelSpec

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class LazyState(Mapping[str, Tensor]):
    """A state dict made of functions that read: no more is in memory than what is in use.

    `Transformer.load_state_dict` and the `save_*` functions take it like a dict.
    """

    def __init__(self, readers: dict[str, Callable[[], Tensor]]) -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> Tensor:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the model's state dict; `head.weight` too where it is the embedding."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in Transformer(spec).state_dict().items()}


def check_shape(name: str, found: tuple[int, ...], wanted: tuple[int, ...], path: Path) -> None:
    """Refuse a tensor of a file whose shape is not the one that its model has.

    Raises:
        UserError: with both.
    """
    if tuple(found) != tuple(wanted):
        raise UserError(
            f"{path}: tensor {name!r} has shape {list(found)}, and the model described beside it has {list(wanted)}",
            hint="the weights and their description are not of the same model",
            code="corrupt_model",
        )


def check_state(spec: ModelSpec, state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """`shapes(spec)` after seeing that `state` has every one of them.

    Raises:
        UserError: one is missing.
    """
    wanted = shapes(spec)
    missing = [name for name in wanted if name not in state and not (name == "head.weight" and spec.tied_embeddings)]
    if missing:
        raise UserError(f"the weights lack {missing[0]!r} and {len(missing) - 1} more", code="corrupt_model")
    return wanted
