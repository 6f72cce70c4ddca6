"""What a program takes and sends, counted while it runs: bytes that are alive on a device, and collectives.

Both are seen from below, where every operation passes on its way to the device (`TorchDispatchMode`), so the program
itself need not know. Memory is that of storages: a view takes none, a storage counts until nobody holds it any more.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import _resolve_process_group
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributed import ProcessGroup
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.distributed_c10d import GroupName
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

OPERATIONS = {
    "allreduce_": "all_reduce",
    "all_reduce": "all_reduce",
    "all_reduce_": "all_reduce",
    "_allgather_base_": "all_gather",
    "all_gather_into_tensor": "all_gather",
    "_reduce_scatter_base_": "reduce_scatter",
    "reduce_scatter_tensor": "reduce_scatter",
    "alltoall_base_": "all_to_all",
    "all_to_all_single": "all_to_all",
    "shard_dim_alltoall": "all_to_all",
    "broadcast_": "broadcast",
    "send": "send",
    "recv_": "recv",
}
"""torch's names of what goes over the network, old and functional ones."""

NAMESPACES = ("c10d", "_c10d_functional", "_dtensor")


class Ledger(TorchDispatchMode):
    """Counts while it is entered.

    Args:
        axis_of: name of the axis of a process group, from its ranks.

    Attributes:
        peak: most bytes that were alive at once.
        at_peak: of these, how many of which kind.
        counts: collectives by (operation, axis, ranks).
        bytes: of their messages likewise: the larger of what one rank gives and gets.
    """

    def __init__(self, axis_of: Callable[[Sequence[int]], str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self.at_peak: dict[str, int] = {}
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self.bytes: Counter[tuple[str, str, int]] = Counter()
        self.kind = ""
        """What new storages are, where that is known better than by whether backward is running."""
        self._axis_of = axis_of
        self._axes: dict[str, tuple[str, int]] = {}
        self._alive: dict[int, tuple[int, str]] = {}
        self._watched: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._now: Counter[str] = Counter()
        self._total = 0

    def hold(self, tensor: Tensor, kind: str = "") -> None:
        """Count a tensor's storage from now on, as `kind`; one that counts already only becomes of that kind."""
        if not tensor.is_meta or isinstance(tensor, FakeTensor):  # with which DTensor works out shapes
            return
        storage = tensor.untyped_storage()
        known = self._alive.get(storage._cdata)
        if known is None:
            kind = kind or self.kind or ("backward" if torch._C._current_graph_task_id() >= 0 else "activations")
            key = storage._cdata
            self._watched[key] = weakref.ref(storage, lambda _gone: self._drop(key))
            self._alive[key] = (0, kind)
            self._set(storage._cdata, storage.nbytes(), kind)
        elif kind and kind != known[1]:
            self._set(storage._cdata, known[0], kind)

    def resized(self, storage: torch.UntypedStorage) -> None:
        """A storage has taken or given back its memory."""
        if storage._cdata in self._alive:
            self._set(storage._cdata, storage.nbytes(), self._alive[storage._cdata][1])

    def _drop(self, key: int) -> None:
        del self._watched[key]
        size, kind = self._alive.pop(key)
        self._now[kind] -= size
        self._total -= size

    def _set(self, key: int, size: int, kind: str) -> None:
        before, was = self._alive[key]
        self._now[was] -= before
        self._now[kind] += size
        self._total += size - before
        self._alive[key] = (size, kind)
        if self._total > self.peak:
            self.peak, self.at_peak = self._total, {name: n for name, n in self._now.items() if n}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let the operation happen on the meta device, and see what comes out."""
        if DTensor in types or AsyncCollectiveTensor in types:
            return NotImplemented  # they do the same to what is in them, and come back here
        kwargs = kwargs or {}
        answer = _without_values(func, args, kwargs)
        if answer is not None:
            return answer
        out = func(*args, **kwargs)
        if func is torch.ops._dtensor.shard_dim_alltoall.default:  # on this device it is a view of everybody's
            out = torch.empty_like(out)
        if func.namespace in NAMESPACES:
            self._send(func, args, out)
        for tensor in _tensors(out):
            self.hold(tensor)
        return out

    def _send(self, func: Any, args: Any, out: Any) -> None:
        operation = OPERATIONS.get(func._opname)
        if operation is None:  # a wait, a wrapper
            return
        boxed = [arg for arg in args if isinstance(arg, torch.ScriptObject)]  # a reduction comes after the group
        names = [arg for arg in args if isinstance(arg, str)]  # and here before it
        axis, ranks = self._group(ProcessGroup.unbox(boxed[0]).group_name if boxed else names[-1])
        sizes = [sum(t.numel() * t.element_size() for t in _tensors(item)) for item in (*args, out)]
        self.counts[operation, axis, ranks] += 1
        self.bytes[operation, axis, ranks] += max(sizes)

    def _group(self, name: str) -> tuple[str, int]:
        if name not in self._axes:
            ranks = dist.get_process_group_ranks(_resolve_process_group(GroupName(name)))
            self._axes[name] = (self._axis_of(ranks), len(ranks))
        return self._axes[name]


def _without_values(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation that leaves the device answers where nothing has a value: ones. None for all others."""
    aten = torch.ops.aten
    if func is aten._local_scalar_dense.default and args[0].is_meta:
        return 1.0 if args[0].is_floating_point() else 1
    target = kwargs.get("device")
    if func is aten._to_copy.default and args[0].is_meta and target is not None and target.type != "meta":
        return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype, device=target)
    return None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
