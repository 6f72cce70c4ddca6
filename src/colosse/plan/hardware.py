"""The catalogue: accelerators, nodes as they are rented or bought, fabrics, storage, prices; and clusters of them.

Everything stated is per accelerator ("GPU", TPU chips too) unless its name says otherwise. Bandwidths are bytes per
second in one direction, products FLOP/s without sparsity. Users add their own entries in TOML, with the same keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from colosse.core.config import Config
from colosse.core.errors import NotFoundError, UserError, nearest

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]

PRECISIONS = ("float32", "float16", "bfloat16", "float8", "mxfp8", "nvfp4")
"""Precisions of matrix products. `mxfp8` is float8 with a scale for every 32 values; `float8` has coarser ones."""


class Gpu(Config):
    """An accelerator."""

    name: str
    aliases: list[str] = []
    """Other names that people type; lower case."""
    vendor: str
    year: Annotated[int, Field(ge=2010, le=2100)]
    """In which it could first be bought or rented."""
    tflops: dict[str, Positive]
    """Peak of matrix products by precision, 1e12 FLOP/s, dense, as the vendor states it; what it lacks is absent."""
    achievable_tflops: dict[str, Positive] = {}
    """The best that large matrix products have been measured at, where somebody published it."""
    vector_tflops: Positive
    """Peak of float32 outside the matrix units."""
    multiprocessors: Count
    """SMs, compute units or cores among which tiles of a matrix product are shared out."""
    memory_gb: Positive
    """1e9 bytes."""
    memory_gb_per_s: Positive
    link_gb_per_s: NotNegative
    """To its neighbours in the same scale-up domain (NVLink, xGMI, ICI), all links together, one way; 0: PCIe only."""
    domain: Count = 1
    """GPUs that the scale-up links join, where the node does not say otherwise."""
    in_network_reduction: bool = False
    """Whether the domain's switches add up (NVLink SHARP)."""
    watts: Positive
    """Board power limit."""
    price_usd: tuple[NotNegative, NotNegative] = (0, 0)
    """To buy one, low and high; 0: not known."""
    source: str
    """Where the figures come from; where several, separated by semicolons."""


class Price(Config):
    """What a GPU-hour costs somewhere."""

    usd_per_gpu_hour: tuple[NotNegative, NotNegative]
    """Low and high."""
    kind: Literal["on_demand", "reserved", "spot"]
    region: str = ""
    date: str
    """When it was so, as YYYY-MM or YYYY-MM-DD."""
    source: str


class Node(Config):
    """A server as it is rented or bought."""

    name: str
    aliases: list[str] = []
    provider: str
    """`azure`, `aws`, `gcp`, `nvidia`, ...; `own` for a user's."""
    gpu: str
    """Name of a `Gpu`."""
    gpus: Count
    """Per server (per VM)."""
    domain: Count
    """GPUs in one scale-up domain; more than `gpus` where it spans servers (NVL72)."""
    nic_gb_per_s: NotNegative
    """To other domains, bytes per GPU and second (1e9), one direction: 400 Gb/s is 50."""
    cpu_watts: NotNegative = 0
    """Of everything in the server but the GPUs, at load."""
    memory_gb: NotNegative = 0
    """Of the host."""
    local_nvme_gb_per_s: NotNegative = 0
    """Write rate of local disks, per server."""
    prices: list[Price] = []
    price_usd: tuple[NotNegative, NotNegative] = (0, 0)
    """To buy one server with its GPUs; 0: not known."""
    source: str


class Fabric(Config):
    """The network between scale-up domains."""

    kind: Literal["fat_tree", "rail_optimized", "torus"] = "rail_optimized"
    latency_us: Positive = 5.0
    """Of a small message between two GPUs of different nodes, software included."""
    oversubscription: Annotated[float, Field(ge=1)] = 1.0
    """At the level above the pod: 7 means one seventh of the bandwidth there (Llama 3: 1:7)."""
    pod_gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs among which bandwidth is full; 0: all."""
    in_network_reduction: bool = False
    """Whether switches add up (SHARP)."""


class Storage(Config):
    """Where checkpoints go."""

    write_gb_per_s: Positive = 100.0
    """Together, all nodes writing."""
    read_gb_per_s: Positive = 200.0
    usd_per_tb_month: NotNegative = 20.0


class Cluster(Config):
    """A number of the same GPUs, linked."""

    gpu: Gpu
    node: Node
    gpus: Count
    fabric: Fabric = Fabric()
    storage: Storage = Storage()


EntryT = TypeVar("EntryT", Gpu, Node)


class Catalogue:
    """What is known, by name."""

    def __init__(
        self,
        gpus: Sequence[Gpu],
        nodes: Sequence[Node],
        fabrics: Mapping[str, Fabric],
        storages: Mapping[str, Storage],
    ) -> None:
        self.gpus = {gpu.name: gpu for gpu in gpus}
        self.nodes = {node.name: node for node in nodes}
        self.fabrics = dict(fabrics)
        self.storages = dict(storages)

    def gpu(self, name: str) -> Gpu:
        """The accelerator called `name`, or one of whose other names it is; case and separators do not count.

        Raises:
            NotFoundError: there is none; the nearest name is given.
        """
        return _find("GPU", name, self.gpus)

    def node(self, name: str) -> Node:
        """The node called `name`, likewise.

        Raises:
            NotFoundError: there is none; the nearest name is given.
        """
        return _find("node", name, self.nodes)

    def nodes_for(self, gpu: str | Gpu) -> list[Node]:
        """Nodes with such accelerators, the reference first."""
        found = self.gpu(gpu) if isinstance(gpu, str) else gpu
        return [node for node in self.nodes.values() if node.gpu == found.name]

    def cluster(self, name: str, gpus: int, *, fabric: str = "", storage: str = "", domain: int = 0) -> Cluster:
        """A cluster of nodes.

        Args:
            name: a node, or a GPU for the first node in the catalogue that has it.
            gpus: how many; whole nodes, or a part of one.
            fabric: a named fabric; empty: the default.
            storage: named storage; empty: the default.
            domain: GPUs that the scale-up links join, where that is to differ from the node's.

        Raises:
            UserError: an unknown name, or a number of GPUs that no whole number of nodes has.
        """
        node = self._node_or_reference(name)
        if gpus < 1:
            raise UserError(f"a cluster of {gpus} GPUs cannot be", hint="at least 1", param="gpus")
        if gpus > node.gpus and gpus % node.gpus:
            low = gpus // node.gpus * node.gpus
            raise UserError(
                f"{gpus} GPUs are no whole number of {node.name} nodes of {node.gpus}",
                hint=f"the nearest are {low} and {low + node.gpus}",
                param="gpus",
            )
        if domain:
            node = node.model_copy(update={"domain": domain})
        return Cluster(
            gpu=self.gpus[node.gpu],
            node=node,
            gpus=gpus,
            fabric=self._named("fabric", fabric, self.fabrics) if fabric else Fabric(),
            storage=self._named("storage", storage, self.storages) if storage else Storage(),
        )

    def _node_or_reference(self, name: str) -> Node:
        node = _lookup(name, self.nodes)
        if node is not None:
            return node
        gpu = _lookup(name, self.gpus)
        if gpu is not None:
            return self.nodes_for(gpu)[0]
        raise NotFoundError(f"unknown GPU or node {name!r}", hint=nearest(name, [*self.gpus, *self.nodes]))

    @staticmethod
    def _named(what: str, name: str, entries: Mapping[str, Any]) -> Any:
        for known, entry in entries.items():
            if _plain(known) == _plain(name):
                return entry
        raise NotFoundError(f"unknown {what} {name!r}", hint=nearest(name, entries))


def catalogue(files: Sequence[Path] = ()) -> Catalogue:
    """The built-in catalogue and, over it, `files`."""
    return _built_in()


@cache
def _built_in() -> Catalogue:
    table = tomllib.loads(resources.files(__package__).joinpath("hardware.toml").read_text(encoding="utf-8"))
    return Catalogue(
        [Gpu(name=name, **entry) for name, entry in table["gpus"].items()],
        [Node(name=name, **entry) for name, entry in table["nodes"].items()],
        {name: Fabric(**entry) for name, entry in table["fabrics"].items()},
        {name: Storage(**entry) for name, entry in table["storages"].items()},
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _lookup(name: str, entries: Mapping[str, EntryT]) -> EntryT | None:
    plain = _plain(name)
    for entry in entries.values():
        if plain in (_plain(entry.name), *map(_plain, entry.aliases)):
            return entry
    return None


def _find(what: str, name: str, entries: Mapping[str, EntryT]) -> EntryT:
    found = _lookup(name, entries)
    if found is None:
        names = [word for entry in entries.values() for word in (entry.name, *entry.aliases)]
        raise NotFoundError(f"unknown {what} {name!r}", hint=nearest(name, names))
    return found
