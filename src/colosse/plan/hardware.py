"""The catalogue: accelerators, nodes as they are rented or bought, fabrics, storage, prices; and clusters of them.

Everything stated is per accelerator ("GPU", TPU chips too) unless its name says otherwise. Bandwidths are bytes per
second in one direction, products FLOP/s without sparsity. Users add their own entries in TOML, with the same keys.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from colosse.core.config import Config

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
