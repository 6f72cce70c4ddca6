"""A GPU that is not there: torch's meta device, made to take every path of a program that a GPU takes.

Tensors on the meta device have shapes and no values, so a program runs on it in the memory of a laptop, whatever its
size. What a GPU has and the meta device lacks is lent to it here: streams and events (which order what need not be
ordered), fused kernels of attention and norms (which keep what the real ones keep), automatic precision, a process
group of any size in which nobody else is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp._fully_shard import _fsdp_param_group
from torch.distributed.tensor._redistribute import _gen_transform_infos
from torch.distributed.tensor.debug import _clear_sharding_prop_cache
from torch.nn import functional as F
from torch.testing._internal.distributed.fake_pg import FakeStore

from colosse.model import attention
from colosse.model.precision import product_dtype
from colosse.parallel import apply, expert
from colosse.spec.layout import Layout

DEVICE = torch.device("meta")


@contextlib.contextmanager
def pretended(layout: Layout, rank: int) -> Iterator[None]:
    """Be `rank` of the layout's ranks, on a GPU.

    Nothing of it remains afterwards. There must be no process group.
    """
    with contextlib.ExitStack() as stack:
        if layout.world_size > 1:
            stack.enter_context(mock.patch.dict(dist.Backend.backend_capability, {"fake": ["cpu", "meta"]}))
            dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=layout.world_size)
            stack.callback(_leave)
        alone = layout.world_size == layout.pp  # weights are gathered by nobody: autocast makes them narrow
        dtype = product_dtype(layout.precision, DEVICE) if alone else torch.float32
        precision = _Precision(None if dtype == torch.float32 else dtype)
        for target, name, value in (
            (torch, "meta", _handle()),
            (torch, "is_autocast_enabled", precision.enabled(torch.is_autocast_enabled)),
            (torch, "get_autocast_dtype", precision.dtype_of(torch.get_autocast_dtype)),
            (apply, "autocast", precision.scope),
            (F, "linear", precision.linear(F.linear)),
            (F, "scaled_dot_product_attention", _flash_attention),
            # What a document or a window hides, the kernel skips: its mask of blocks is small.
            (attention, "_block_mask", lambda *_: None),
            (expert, "message_rows", _balanced),
            # FSDP wants parameters to have left the meta device before it begins.
            (_fsdp_param_group.FSDPParamGroup, "_validate_no_meta_params", lambda _self: None),
        ):
            stack.enter_context(mock.patch.object(target, name, value, create=name == "meta"))
        kernels: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
        stack.callback(kernels._destroy)
        # By its inner name: the outer one refuses kernels for what can also be taken apart, as the norm is on CPUs.
        kernels.m.impl("_fused_rms_norm", "Meta", _rms_norm)
        kernels.m.impl("_fused_rms_norm_backward", "Meta", _rms_norm_backward)
        yield


def _leave() -> None:
    """End the process group. What DTensor remembers of it would be taken for that of the next one."""
    dist.destroy_process_group()
    _clear_sharding_prop_cache()  # type: ignore[no-untyped-call]
    _gen_transform_infos.cache_clear()


class _Precision:
    """`torch.autocast`, which does not know the meta device: narrow inputs of products, each weight narrowed once.

    Args:
        dtype: what products are computed in; None: as they are given.
    """

    def __init__(self, dtype: torch.dtype | None) -> None:
        self._dtype = dtype
        self._narrowed: dict[int, Tensor] | None = None

    @contextlib.contextmanager
    def scope(self, _precision: str, _device: torch.device) -> Iterator[None]:
        """A forward pass; its narrowed weights stay until it ends. Outside, in recomputation, each is made anew."""
        self._narrowed = {}
        try:
            yield
        finally:
            self._narrowed = None

    def linear(self, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """`F.linear` of narrowed arguments."""

        def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            if self._dtype is None:
                return original(x, weight, bias)
            return original(x.to(self._dtype), self._narrow(weight), None if bias is None else self._narrow(bias))

        return linear

    def enabled(self, original: Callable[..., bool]) -> Callable[..., bool]:
        """`torch.is_autocast_enabled`."""
        return lambda *kind: self._dtype is not None if kind == ("meta",) else original(*kind)

    def dtype_of(self, original: Callable[..., torch.dtype]) -> Callable[..., torch.dtype | None]:
        """`torch.get_autocast_dtype`."""
        return lambda kind: self._dtype if kind == "meta" else original(kind)

    def _narrow(self, weight: Tensor) -> Tensor:
        if self._narrowed is None:
            return weight.to(self._dtype)
        if id(weight) not in self._narrowed:
            self._narrowed[id(weight)] = weight.to(self._dtype)
        return self._narrowed[id(weight)]


class _Stream:
    """Work on it is done in order, as all of ours is."""

    def __init__(self, **_: Any) -> None: ...

    def record_event(self, event: _Event | None = None) -> _Event:
        """A point of the stream."""
        return event or _Event()

    def wait_event(self, event: _Event | None) -> None:
        """What comes later waits."""

    def wait_stream(self, stream: _Stream) -> None:
        """What comes later waits."""


class _Event:
    """A point in a stream that has passed."""

    def record(self, stream: _Stream | None = None) -> None:
        """Be now."""

    def synchronize(self) -> None:
        """Wait for it."""


def _handle() -> SimpleNamespace:
    """What `torch.cuda` is to a CUDA device, as far as FSDP and DTensor ask."""
    return SimpleNamespace(
        Stream=_Stream,
        Event=_Event,
        current_stream=_Stream,
        stream=lambda _stream: contextlib.nullcontext(),
        current_device=lambda: None,
        device_count=lambda: 8,
    )


def _flash_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, is_causal: bool = False, enable_gqa: bool = False
) -> Tensor:
    """As on a GPU: scores are never whole; kept are queries, keys, values, the result and a sum for each query."""
    out: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, is_causal)[0]
    return out


def _rms_norm(x: Tensor, shape: list[int], weight: Tensor | None, _eps: float | None) -> tuple[Tensor, Tensor]:
    rows = x.shape[: x.ndim - len(shape)]
    wide = torch.promote_types(x.dtype, torch.float32)
    return torch.empty_like(x), torch.empty(*rows, *[1] * len(shape), dtype=wide, device=x.device)


def _rms_norm_backward(
    gradient: Tensor, x: Tensor, _shape: list[int], _rstd: Tensor, weight: Tensor | None, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    of_weight = torch.empty_like(weight) if wanted[1] and weight is not None else None
    return torch.empty_like(x) if wanted[0] else None, of_weight


def _balanced(x: Tensor, sent: Tensor, _received: Tensor) -> tuple[list[int], list[int]]:
    """Every expert has as many tokens as every other."""
    ranks = sent.shape[0]
    rows = [x.shape[0] // ranks + (rank < x.shape[0] % ranks) for rank in range(ranks)]
    return rows, rows
