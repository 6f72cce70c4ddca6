"""Switches, links and optics, counted: against published parts lists, and what must hold for every size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.core.errors import UserError
from colosse.plan.hardware import Cluster, Fabric, catalogue
from colosse.plan.topology import GENERATIONS, generation, topology


def cluster(gpus: int, node: str = "DGX-H100", **fabric: object) -> Cluster:
    made = catalogue().cluster(node, gpus)
    return made.model_copy(update={"fabric": Fabric.model_validate(fabric)})


@pytest.mark.parametrize(
    ("gpus", "switches"),
    [(1024, 48), (2048, 96), (32_768, 2560), (65_536, 5120)],
)
def test_fat_trees_of_h100_have_the_switches_of_a_published_list(gpus: int, switches: int) -> None:
    """tech-talk-cto.com, H100 Freakonomics, 2024-08: 64-port NDR switches."""
    assert topology(cluster(gpus)).switches == switches


@pytest.mark.parametrize("kind", GENERATIONS, ids=lambda kind: kind.name)
def test_full_trees_are_the_textbook_s(kind: object) -> None:
    """Al-Fares et al.: k^3/4 hosts, k^2/2 edge, as many aggregation and k^2/4 core switches."""
    radix = kind.radix  # type: ignore[attr-defined]
    node = catalogue().node("DGX-H100").model_copy(update={"gpus": 1, "domain": 1, "nic_gb_per_s": kind.gbps / 8})  # type: ignore[attr-defined]
    made = cluster(8).model_copy(update={"node": node, "gpus": radix**3 // 4})
    net = topology(made)
    assert (net.levels, net.leaf_switches, net.spine_switches, net.core_switches) == (
        3,
        radix**2 // 2,
        radix**2 // 2,
        radix**2 // 4,
    )


def test_optical_switches_of_a_tpu_pod_as_published() -> None:
    """arXiv:2304.01433: 48 for 4,096 chips."""
    assert topology(cluster(4096, "TPU-v4-host", kind="torus")).optical_switches == 48


def test_small_clusters() -> None:
    assert topology(cluster(8)).switches == 0
    assert topology(cluster(64)).levels == 1
    assert topology(cluster(64)).switch_optics == 32  # twin-port modules


def test_a_taper_saves_above_the_pods_only() -> None:
    full = topology(cluster(24_576, kind="fat_tree", pod_gpus=1536))
    thin = topology(cluster(24_576, kind="fat_tree", pod_gpus=1536, oversubscription=7))
    assert thin.leaf_switches == full.leaf_switches
    assert thin.core_switches < full.core_switches / 5
    assert thin.switch_links < full.switch_links
    two = topology(cluster(2048, kind="fat_tree", pod_gpus=32, oversubscription=2))
    assert (two.levels, two.leaf_switches, two.spine_switches) == (2, 48, 16)


def test_pods_larger_than_two_levels_get_a_third_inside() -> None:
    assert topology(cluster(24_576, kind="fat_tree", pod_gpus=3072, oversubscription=7)).levels == 4
    assert topology(cluster(131_072)).levels == 4


def test_what_cannot_be_built() -> None:
    with pytest.raises(UserError, match="four levels"):
        topology(cluster(8_000_000))
    with pytest.raises(UserError, match="250 Gb/s"):
        generation(250)


@settings(deadline=None, max_examples=50)
@given(nodes=st.integers(2, 6000), rail=st.booleans(), taper=st.sampled_from([1, 2, 3.5, 7]))
def test_every_port_has_its_place(nodes: int, rail: bool, taper: float) -> None:
    kind = "rail_optimized" if rail else "fat_tree"
    net = topology(cluster(8 * nodes, kind=kind, pod_gpus=1024, oversubscription=taper))
    assert net.generation is not None
    assert net.server_links == 8 * nodes
    ports = net.switches * net.generation.radix
    assert net.server_links + 2 * net.switch_links <= ports
    assert net.server_optics == net.server_links
    assert 2 * net.switch_optics >= net.server_links + 2 * net.switch_links
    more = topology(cluster(8 * (nodes + 1), kind=kind, pod_gpus=1024, oversubscription=taper))
    assert more.leaf_switches >= net.leaf_switches
