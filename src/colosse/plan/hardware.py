"""The catalogue: accelerators, nodes as they are rented or bought, fabrics, storage, prices; and clusters of them.

Everything stated is per accelerator ("GPU", TPU chips too) unless its name says otherwise. Bandwidths are bytes per
second in one direction, products FLOP/s without sparsity. Users add their own entries in TOML, with the same keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator

from colosse.core.config import Config
from colosse.core.errors import NotFoundError, UserError, nearest
from colosse.core.settings import load_settings

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"low {pair[0]:g} is above high {pair[1]:g}")
    return pair


Range = Annotated[tuple[NotNegative, NotNegative], AfterValidator(_ordered)]
"""Low and high."""
Kind = Literal["on_demand", "reserved", "spot"]
"""`reserved` is any commitment: capacity blocks of days, clusters for weeks, contracts of one to three years."""
KINDS: tuple[Kind, ...] = get_args(Kind)

PRECISIONS = ("float32", "float16", "bfloat16", "float8", "mxfp8", "nvfp4")
"""Precisions of matrix products. `mxfp8` is float8 with a scale for every 32 values; `float8` has coarser ones.
`float32` is the real one, not TF32."""


class Price(Config):
    """What a GPU-hour costs somewhere."""

    usd_per_gpu_hour: Range
    kind: Kind
    provider: str = ""
    """As in `Node`; empty in a node's prices: the node's."""
    region: str = ""
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]
    """When it was so, as YYYY-MM or YYYY-MM-DD."""
    source: str


class Gpu(Config):
    """An accelerator."""

    name: str
    aliases: list[str] = []
    """Other names that people type."""
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
    """1e9 bytes, as programs see it: what is sold as 80 GB is 80 GiB less a reserve, 85e9 bytes."""
    memory_gb_per_s: Positive
    link_gb_per_s: NotNegative
    """To its neighbours in the same scale-up domain (NVLink, xGMI, ICI), all links together, one way; 0: PCIe only."""
    domain: Count = 1
    """GPUs that the scale-up links join, where the node does not say otherwise."""
    in_network_reduction: bool = False
    """Whether the domain's switches add up (NVLink SHARP)."""
    watts: Positive
    """Board power limit."""
    price_usd: Range = (0, 0)
    """To buy one; 0: not known."""
    prices: list[Price] = []
    """To rent one where the provider's node is not in the catalogue."""
    source: str
    """Where the figures come from; where several, separated by semicolons."""

    @model_validator(mode="after")
    def _products_are_possible(self) -> Gpu:
        for name in (*self.tflops, *self.achievable_tflops):
            if name not in PRECISIONS:
                raise ValueError(f"unknown precision {name!r}: {nearest(name, PRECISIONS)}")
        for name, reached in self.achievable_tflops.items():
            if reached > self.tflops.get(name, 0):
                raise ValueError(f"achievable_tflops.{name} {reached:g} is above the peak {self.tflops.get(name, 0):g}")
        return self


class Node(Config):
    """A server as it is rented or bought."""

    name: str
    aliases: list[str] = []
    provider: str = "own"
    """`azure`, `aws`, `gcp`, `nvidia`, ...; `own` for a user's and for usual builds."""
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
    price_usd: Range = (0, 0)
    """To buy one server with its GPUs; 0: not known."""
    source: str


class Fabric(Config):
    """The network between scale-up domains."""

    name: str = ""
    kind: Literal["fat_tree", "rail_optimized", "torus"] = "rail_optimized"
    latency_us: Positive = 5.0
    """Of a small message between two GPUs of different nodes, software included."""
    oversubscription: Annotated[float, Field(ge=1)] = 1.0
    """At the level above the pod: 7 means one seventh of the bandwidth there (Llama 3: 1:7)."""
    pod_gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs among which bandwidth is full; 0: all."""
    in_network_reduction: bool = False
    """Whether switches add up (SHARP)."""
    source: str = ""


class Storage(Config):
    """Where checkpoints go."""

    name: str = ""
    write_gb_per_s: Positive = 100.0
    """Together, all nodes writing."""
    read_gb_per_s: Positive = 200.0
    usd_per_tb_month: NotNegative = 20.0
    """A TB that is kept, 1e12 bytes."""
    source: str = ""


class Cluster(Config):
    """A number of the same GPUs, linked."""

    gpu: Gpu
    node: Node
    gpus: Count
    fabric: Fabric = Fabric()
    storage: Storage = Storage()


EntryT = TypeVar("EntryT", Gpu, Node, Fabric, Storage)

SECTIONS: dict[str, type[Config]] = {"gpus": Gpu, "nodes": Node, "fabrics": Fabric, "storages": Storage}
"""Tables of a file; beside them `prices`, lists of `Price` by the name of a node or GPU."""


class Catalogue:
    """What is known, by name. Case and separators in names do not count: `h100 sxm 80gb` is `H100-SXM-80GB`.

    Raises:
        UserError: two entries share a name, or a node's GPU is not there.
    """

    def __init__(
        self,
        gpus: Iterable[Gpu] = (),
        nodes: Iterable[Node] = (),
        fabrics: Iterable[Fabric] = (),
        storages: Iterable[Storage] = (),
    ) -> None:
        self.gpus = {gpu.name: gpu for gpu in gpus}
        self.nodes = {node.name: node for node in nodes}
        self.fabrics = {fabric.name: fabric for fabric in fabrics}
        self.storages = {storage.name: storage for storage in storages}
        machines: list[Gpu | Node] = [*self.gpus.values(), *self.nodes.values()]
        taken: dict[str, str] = {}
        for entry in machines:
            for plain in dict.fromkeys(map(_plain, _names(entry))):
                if taken.setdefault(plain, entry.name) != entry.name:
                    raise UserError(f"{taken[plain]} and {entry.name} share a name", hint=f"change alias {plain!r}")
        for node in self.nodes.values():
            if node.gpu not in self.gpus:
                raise UserError(f"node {node.name!r}: unknown GPU {node.gpu!r}", hint=nearest(node.gpu, self.gpus))

    def gpu(self, name: str) -> Gpu:
        """The accelerator called `name`, or one of whose other names it is.

        Raises:
            NotFoundError: there is none; the nearest name is given. So do `node`, `fabric` and `storage`.
        """
        return _find("GPU", name, self.gpus)

    def node(self, name: str) -> Node:
        """The node called `name`."""
        return _find("node", name, self.nodes)

    def fabric(self, name: str) -> Fabric:
        """The fabric called `name`."""
        return _find("fabric", name, self.fabrics)

    def storage(self, name: str) -> Storage:
        """The storage called `name`."""
        return _find("storage", name, self.storages)

    def find(self, name: str) -> Gpu | Node | Fabric | Storage:
        """Whatever is called `name`; a node before a GPU.

        Raises:
            NotFoundError: nothing is.
        """
        found = (
            _lookup(name, self.nodes)
            or _lookup(name, self.gpus)
            or _lookup(name, self.fabrics)
            or _lookup(name, self.storages)
        )
        if found is None:
            raise _unknown("hardware", name, (*self.nodes.values(), *self.gpus.values(), *self.fabrics.values()))
        return found

    def nodes_for(self, gpu: str | Gpu) -> list[Node]:
        """Nodes with such accelerators, the reference first."""
        name = self.gpu(gpu).name if isinstance(gpu, str) else gpu.name
        return [node for node in self.nodes.values() if node.gpu == name]

    def cluster(self, name: str, gpus: int, *, fabric: str = "", storage: str = "", domain: int = 0) -> Cluster:
        """A cluster of the same nodes.

        Args:
            name: a node, or a GPU for its reference node.
            gpus: how many; whole nodes, or a part of one.
            fabric: a named fabric; empty: rails at full bandwidth.
            storage: a named storage; empty: the default.
            domain: GPUs that the scale-up links join, where that is to differ from the node's; 0: the node's.

        Raises:
            UserError: an unknown name, or a number of GPUs that no whole number of nodes has.
        """
        node = self._node_or_reference(name)
        if gpus < 1:
            raise UserError(f"a cluster needs at least 1 GPU, not {gpus}", param="gpus")
        if domain < 0:
            raise UserError(f"a scale-up domain of {domain} GPUs cannot be", hint="0 is the node's own", param="domain")
        whole = gpus // node.gpus * node.gpus
        if whole not in (0, gpus):
            raise UserError(
                f"{gpus} GPUs are not whole nodes of {node.gpus} ({node.name})",
                hint=f"the nearest are {whole} and {whole + node.gpus}",
                param="gpus",
            )
        return Cluster(
            gpu=self.gpus[node.gpu],
            node=node.model_copy(update={"domain": domain}) if domain else node,
            gpus=gpus,
            fabric=self.fabric(fabric) if fabric else Fabric(),
            storage=self.storage(storage) if storage else Storage(),
        )

    def prices_of(self, what: Cluster | Node | Gpu | str, kind: Kind | None = None) -> list[Price]:
        """What a GPU-hour costs, cheapest first.

        Of a GPU: everywhere. Of a node or a cluster: at its provider; where none is known there, everywhere.
        """
        if isinstance(what, str):
            found = _lookup(what, self.nodes)
            what = self.gpu(what) if found is None else found
        node = what.node if isinstance(what, Cluster) else what
        gpu = self.gpus[node.gpu] if isinstance(node, Node) else node
        everywhere = [*gpu.prices, *(price for other in self.nodes_for(gpu) for price in other.prices)]
        for prices in (node.prices if isinstance(node, Node) else [], everywhere):
            wanted = [price for price in prices if kind in (None, price.kind)]
            if wanted:
                return sorted(wanted, key=lambda price: price.usd_per_gpu_hour)
        return []

    def rental_range(
        self, what: Cluster | Node | Gpu | str, kind: Kind = "on_demand"
    ) -> tuple[float, float, list[Price]]:
        """The lowest and the highest of `prices_of`, USD a GPU and hour, and those prices.

        Raises:
            NotFoundError: no price of that kind is known.
        """
        prices = self.prices_of(what, kind)
        if not prices:
            name = what if isinstance(what, str) else what.node.name if isinstance(what, Cluster) else what.name
            known = " and ".join(dict.fromkeys(price.kind for price in self.prices_of(what)))
            raise NotFoundError(
                f"no {kind} price of {name} is known",
                hint=f"{'known: ' + known + '; ' if known else ''}a file given with --hardware may add one",
            )
        low = min(price.usd_per_gpu_hour[0] for price in prices)
        return low, max(price.usd_per_gpu_hour[1] for price in prices), prices

    def _node_or_reference(self, name: str) -> Node:
        node = _lookup(name, self.nodes)
        if node is not None:
            return node
        gpu = _lookup(name, self.gpus)
        if gpu is None:
            raise _unknown("GPU or node", name, (*self.gpus.values(), *self.nodes.values()))
        nodes = self.nodes_for(gpu)
        if not nodes:
            raise UserError(f"no node has {gpu.name}", hint="describe one in the file that describes the GPU")
        return nodes[0]


BUILT_IN = tuple(Path(__file__).with_name(name) for name in ("hardware.toml", "prices.toml"))


def catalogue(files: Sequence[Path] = ()) -> Catalogue:
    """The built-in catalogue; over it `hardware.toml` in COLOSSE_HOME, if it is there; over that `files`, in order.

    Raises:
        UserError: a file cannot be read or is not valid, with file, entry, key and the nearest known key.
    """
    own = load_settings().value.home / "hardware.toml"
    paths = [*([own] if own.is_file() else []), *files]
    return _load(tuple((path, path.stat().st_mtime_ns if path.is_file() else 0) for path in paths))


@lru_cache(maxsize=8)
def _load(dated: tuple[tuple[Path, int], ...]) -> Catalogue:
    """Files are read again when they have changed."""
    tables: dict[str, dict[str, dict[str, Any]]] = {section: {} for section in SECTIONS}
    origins: dict[tuple[str, str], str] = {}
    for path in (*BUILT_IN, *(path for path, _ in dated)):
        parsed = _read(path)
        for section in SECTIONS:
            for name, table in parsed.get(section, {}).items():
                known = _known(name, tables[section])
                origins[section, known] = f"{path}, {section}.{name}"
                # an entry of the user's own need not cite anybody
                default = {"name": known} if path in BUILT_IN else {"name": known, "source": str(path)}
                tables[section][known] = {**default, **tables[section].get(known, {}), **table}
        for name, prices in parsed.get("prices", {}).items():
            owners = [(section, _known(name, tables[section])) for section in ("nodes", "gpus")]
            owner = next(((section, known) for section, known in owners if known in tables[section]), None)
            if owner is None:
                raise UserError(
                    f"{path}, prices: unknown node or GPU {name!r}",
                    hint=nearest(name, [*tables["nodes"], *tables["gpus"]]),
                )
            origins[owner] = f"{path}, prices.{name}"
            tables[owner[0]][owner[1]]["prices"] = prices
    for node in tables["nodes"].values():
        node["gpu"] = _known(str(node.get("gpu")), tables["gpus"])
        for price in node.get("prices", []):
            if isinstance(price, dict):
                price.setdefault("provider", node.get("provider", "own"))
    made: dict[str, list[Any]] = {
        section: [_entry(model, table, origins[section, name]) for name, table in tables[section].items()]
        for section, model in SECTIONS.items()
    }
    try:
        return Catalogue(**made)
    except UserError as error:
        files = ", ".join(str(path) for path, _ in dated)
        raise UserError(f"{files}: {error.message}", hint=error.hint) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}", hint="check the path and its permissions") from None
    for section, content in parsed.items():
        if section not in SECTIONS and section != "prices":
            raise UserError(f"{path}: unknown section {section!r}", hint=nearest(section, [*SECTIONS, "prices"]))
        wanted = list if section == "prices" else dict
        if not isinstance(content, dict) or not all(isinstance(entry, wanted) for entry in content.values()):
            shape = "[[prices.NAME]]" if section == "prices" else f"[{section}.NAME]"
            raise UserError(f"{path}: {section} is not made of named entries", hint=f"write {shape} above each")
    return parsed


def _entry(model: type[Config], table: Mapping[str, Any], origin: str) -> Any:
    for key in table:
        if key not in model.model_fields:
            raise UserError(f"{origin}: unknown key {key!r}", hint=nearest(key, model.model_fields), param=key)
    try:
        return model.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{origin}: {where + ': ' if where else ''}{reason}", param=where or None) from None


def _known(name: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The name under which `tables` has the entry that `name` means; `name` itself if it has none."""
    for known, table in tables.items():
        aliases = table.get("aliases", [])
        if _plain(name) in map(_plain, (known, *(aliases if isinstance(aliases, list) else ()))):
            return known
    return name


def _plain(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _names(entry: Gpu | Node | Fabric | Storage) -> list[str]:
    return [entry.name, *getattr(entry, "aliases", [])]


def _lookup(name: str, entries: Mapping[str, EntryT]) -> EntryT | None:
    plain = _plain(name)
    return next((entry for entry in entries.values() if plain in map(_plain, _names(entry))), None)


def _find(what: str, name: str, entries: Mapping[str, EntryT]) -> EntryT:
    found: EntryT | None = _lookup(name, entries)
    if found is None:
        raise _unknown(what, name, entries.values())
    return found


def _unknown(what: str, name: str, entries: Iterable[Gpu | Node | Fabric | Storage]) -> NotFoundError:
    hint = nearest(name, {known for entry in entries for known in _names(entry)})
    many = len(hint) > 120  # nothing is close, and the list of all would bury the message
    return NotFoundError(
        f"unknown {what} {name!r}", hint="`colosse plan hardware` lists what is known" if many else hint
    )
