"""What the network between servers is made of: switches by tier, links, optics and cables, counted.

Fat trees of switches with `radix` ports: one level joins `radix` ports, two join radix^2 / 2, three radix^3 / 4, four
radix^4 / 8 (Al-Fares et al., SIGCOMM 2008). Rail-optimised ones have the same tiers, but a leaf joins the GPUs of one
number in many servers. A taper (oversubscription) thins the links above the pod. Cards and switches inside servers and
NVLink domains are not counted: they come with the servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from colosse.core.errors import UserError
from colosse.plan.hardware import Cluster


@dataclass(frozen=True)
class Generation:
    """Switches and links of a speed."""

    gbps: int
    """Of one port, one way."""
    name: str
    radix: int
    """Ports of a switch."""
    watts: float
    """Of a switch with its optics."""
    ports_per_optic: int
    """That one module in the switch serves; 0: cables are active and have their optics in them."""


GENERATIONS = (
    Generation(100, "EDR", 36, 240, 0),
    Generation(200, "HDR", 40, 500, 0),
    Generation(400, "NDR", 64, 1300, 2),
    Generation(800, "XDR", 144, 5000, 2),
)
"""InfiniBand and the Ethernet of the same speed. Watts and radix: NVIDIA's data sheets of SB7800, QM8700, QM9700 and
Q3400, from memory; a twin-port module of 400 Gb/s takes 17 W (docs.nvidia.com, MMS4X00)."""

CUBE = 64
"""Chips of a TPU cube of 4 x 4 x 4, whose inner links are copper (arXiv:2304.01433)."""
CUBE_LINKS = 144
"""Inside one: 3 x 4 x 4 x 3."""
CUBE_FACES = 96
"""Ends of links that leave one through optical switches of 128 ports: 48 switches for 64 cubes, as published there."""
OPTICAL_PORTS = 128


@dataclass(frozen=True)
class Topology:
    """The parts list."""

    generation: Generation | None
    """None: a torus."""
    levels: int
    """Of switches."""
    ports_per_server: float
    leaf_switches: int = 0
    spine_switches: int = 0
    core_switches: int = 0
    """Above the spines, of both tiers where there are four."""
    optical_switches: int = 0
    server_links: int = 0
    """From servers to leaves; in a torus those inside cubes."""
    switch_links: int = 0
    """Between switches; in a torus those between cubes."""

    @property
    def switches(self) -> int:
        """Of all tiers."""
        return self.leaf_switches + self.spine_switches + self.core_switches

    @property
    def switch_optics(self) -> int:
        """Modules in switches: one for each group of ports in use."""
        per = self.generation.ports_per_optic if self.generation else 0
        return ceil((self.server_links + 2 * self.switch_links) / per) if per else 0

    @property
    def server_optics(self) -> int:
        """Modules in servers."""
        return self.server_links if self.switch_optics else 0

    @property
    def torus_optics(self) -> int:
        """Modules at the ends of a torus' links between cubes."""
        return 0 if self.generation else 2 * self.switch_links

    @property
    def watts(self) -> float:
        """Of the switches."""
        return self.switches * self.generation.watts if self.generation else 0.0


def generation(gbps: float) -> Generation:
    """Of a speed.

    Raises:
        UserError: nobody builds it.
    """
    for known in GENERATIONS:
        if known.gbps == round(gbps):
            return known
    speeds = ", ".join(str(known.gbps) for known in GENERATIONS)
    raise UserError(f"no switches of {gbps:g} Gb/s are known", hint=f"known: {speeds}", param="link")


def topology(cluster: Cluster, link_gbps: float = 0) -> Topology:
    """Count the network of a cluster.

    Args:
        cluster: with its fabric.
        link_gbps: of one link; 0: the slowest that a GPU's share of its server's network fits into.

    Raises:
        UserError: an unknown speed, or more ports than four levels join.
    """
    node, fabric = cluster.node, cluster.fabric
    nodes = ceil(cluster.gpus / node.gpus)
    if fabric.kind == "torus":
        return _torus(cluster.gpus)
    if not link_gbps:
        share = 8 * node.nic_gb_per_s
        link_gbps = next((g.gbps for g in GENERATIONS if g.gbps >= share - 1e-9), GENERATIONS[-1].gbps)
    kind = generation(link_gbps)
    ports = max(1, round(8 * node.nic_gb_per_s * node.gpus / kind.gbps)) if node.nic_gb_per_s else 0
    if not ports or nodes == 1:
        return Topology(kind, 0, ports)
    total = nodes * ports
    if total <= kind.radix:
        return Topology(kind, 1, ports, leaf_switches=1, server_links=total)
    rails = ports if fabric.kind == "rail_optimized" else 1
    pod = min(total, ceil(fabric.pod_gpus / node.gpus) * ports) if fabric.pod_gpus else total
    return _tree(kind, ports, total, rails=rails, taper=fabric.oversubscription, pod=pod)


def _tree(kind: Generation, ports: int, total: int, *, rails: int, taper: float, pod: int) -> Topology:
    half = kind.radix // 2
    down = _down(kind.radix, taper)
    thin = taper if pod < total else 1.0
    if pod <= down and thin > 1 and ceil(total / down) <= kind.radix:  # the leaf is the pod
        leaves = _leaves(total, rails, down)
        links = ceil(total / thin)
        return Topology(kind, 2, ports, leaves, ceil(links / kind.radix), 0, 0, total, links)
    if total <= half * kind.radix and pod == total:
        leaves = _leaves(total, rails, half)
        links = leaves * half
        return Topology(kind, 2, ports, leaves, ceil(links / kind.radix), 0, 0, total, links)
    inside = _down(kind.radix, thin)
    if thin == 1:
        pod = half**2 if total <= half**2 * kind.radix else half**3
    deep = pod > half * inside  # the pod itself needs three tiers
    largest = half * inside * (half if deep else 1)
    if pod > largest or total > largest * kind.radix:
        raise UserError(
            f"{total} ports of {kind.gbps} Gb/s are more than four levels of {kind.radix}-port switches join",
            hint="fewer GPUs, faster links or a smaller pod",
            param="gpus",
        )
    leaves = spines = cores = between = up = 0
    for size in _pods(total, pod):
        pod_leaves = ceil(size / half)
        links = pod_leaves * half
        leaves += pod_leaves
        if deep:
            pod_spines = ceil(links / half)
            between += links
            spines += pod_spines
            links = pod_spines * half
            cores += ceil(links / inside)
        else:
            spines += ceil(links / inside)
        between += links
        up += ceil(links / thin)
    cores += ceil(up / kind.radix)
    return Topology(kind, 4 if deep else 3, ports, leaves, spines, cores, 0, total, between + up)


def _down(radix: int, taper: float) -> int:
    """Ports down of a switch with `taper` times as much bandwidth below it as above."""
    return radix - max(1, int(radix / (1 + taper)))


def _leaves(ports: int, rails: int, down: int) -> int:
    """Leaves for `ports` ports; with rails each rail fills its own."""
    return rails * ceil(ports / rails / down)


def _pods(total: int, pod: int) -> list[int]:
    whole, rest = divmod(total, pod)
    return [pod] * whole + ([rest] if rest else [])


def _torus(chips: int) -> Topology:
    cubes = ceil(chips / CUBE)
    if cubes == 1:
        return Topology(None, 0, 0, server_links=round(CUBE_LINKS * chips / CUBE))
    switches = ceil(cubes * CUBE_FACES / OPTICAL_PORTS)
    return Topology(
        None,
        1,
        0,
        optical_switches=switches,
        server_links=cubes * CUBE_LINKS,
        switch_links=cubes * CUBE_FACES // 2,
    )
