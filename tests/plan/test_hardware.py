from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colosse.core.errors import NotFoundError, UserError
from colosse.plan.hardware import BUILT_IN, KINDS, PRECISIONS, Catalogue, Gpu, Node, catalogue


@pytest.fixture
def known(home: Any) -> Catalogue:
    return catalogue()


def test_gpus_are_consistent(known: Catalogue) -> None:
    assert len(known.gpus) >= 25
    for gpu in known.gpus.values():
        wide = gpu.tflops.get("bfloat16") or gpu.tflops["float16"]
        assert set(gpu.tflops) <= set(PRECISIONS), gpu.name
        assert gpu.vector_tflops < wide, gpu.name
        assert gpu.tflops.get("float16", wide) == wide, gpu.name
        if "float8" in gpu.tflops:
            assert gpu.tflops["float8"] / wide == pytest.approx(2, rel=0.02), gpu.name
        if "mxfp8" in gpu.tflops:
            assert gpu.tflops["mxfp8"] == gpu.tflops["float8"], gpu.name
        if "nvfp4" in gpu.tflops:
            assert 3.9 < gpu.tflops["nvfp4"] / wide <= 8.1, gpu.name
        for name, reached in gpu.achievable_tflops.items():
            assert 0.45 < reached / gpu.tflops[name] < 0.95, gpu.name
        assert 30 < wide * 1e3 / gpu.memory_gb_per_s < 700, f"{gpu.name}: operations a byte"
        assert gpu.link_gb_per_s < gpu.memory_gb_per_s, gpu.name
        assert gpu.source, gpu.name


@pytest.mark.parametrize(
    ("name", "multiprocessors", "link", "memory_gib"),
    [
        ("v100", 80, 150, 31.73),
        ("a100", 108, 300, 79.25),
        ("h100", 132, 450, 79.18),
        ("h200", 132, 450, 139.80),
        ("b200", 148, 900, 178.35),
        ("gb200", 152, 900, 184.31),
        ("b300", 148, 900, 267.69),
        ("gb300", 152, 900, 276.50),
        ("mi300x", 304, 448, 191.98),
    ],
)
def test_gpus_are_as_they_are(
    known: Catalogue, name: str, multiprocessors: int, link: float, memory_gib: float
) -> None:
    gpu = known.gpu(name)
    assert (gpu.multiprocessors, gpu.link_gb_per_s) == (multiprocessors, link)
    assert gpu.memory_gb == pytest.approx(memory_gib * 2**30 / 1e9, rel=0.002)
    assert gpu.in_network_reduction == (name not in ("v100", "a100", "mi300x"))  # NVLink SHARP came with Hopper


def test_nodes_are_consistent(known: Catalogue) -> None:
    assert all(node.gpu in known.gpus for node in known.nodes.values())
    for gpu in known.gpus.values():
        assert known.nodes_for(gpu), f"no node has {gpu.name}"
    for node in known.nodes.values():
        assert node.source
        assert node.domain >= node.gpus, node.name
        assert node.nic_gb_per_s > 0, node.name
        low, _ = node.price_usd
        assert not low or low > known.gpus[node.gpu].price_usd[0] * node.gpus * 0.9, node.name
    for fabric in known.fabrics.values():
        assert fabric.source
    for storage in known.storages.values():
        assert storage.source


def test_prices_are_consistent(known: Catalogue) -> None:
    seen = 0
    for gpu in known.gpus.values():
        for price in known.prices_of(gpu):
            seen += 1
            low, high = price.usd_per_gpu_hour
            assert 0 < low <= high < 30, price
            assert price.source
            assert price.provider
            assert price.kind in KINDS
            assert "2020" < price.date < "2027", price
    assert seen > 80


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("h100", "H100-SXM-80GB"),
        ("H100 SXM 80GB", "H100-SXM-80GB"),
        ("A100-SXM-80GB", "A100-SXM-80GB"),
        ("a100_sxm4_80gb", "A100-SXM-80GB"),
        ("H800-80GB", "H800-SXM-80GB"),
        ("MI300X", "MI300X"),
        ("H100-SXM-96GB-HBM2e-500W", "H100-SXM-96GB-HBM2e-500W"),
    ],
)
def test_names_are_found_as_people_type_them(known: Catalogue, typed: str, meant: str) -> None:
    assert known.gpu(typed).name == meant
    assert known.find(typed).name == meant


def test_unknown_names_get_the_nearest(known: Catalogue) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'h100'"):
        known.gpu("h10o")
    with pytest.raises(NotFoundError, match="colosse plan hardware"):
        known.cluster("quantum", 8)
    with pytest.raises(NotFoundError, match="did you mean 'llama3'"):
        known.fabric("lama3")
    with pytest.raises(NotFoundError, match="tectonic"):
        known.storage("tape")


def test_clusters(known: Catalogue) -> None:
    llama = known.cluster("h100", 16_384, fabric="llama3", storage="tectonic")
    assert (llama.node.name, llama.gpus, llama.fabric.oversubscription) == ("DGX-H100", 16_384, 7)
    assert llama.storage.write_gb_per_s == 2000
    rack = known.cluster("GB200-NVL72", 72)
    assert (rack.gpu.name, rack.node.domain, rack.node.gpus) == ("GB200-186GB", 72, 4)
    assert known.cluster("gb200", 144, domain=36).node.domain == 36
    assert known.cluster("nd96isr_h100_v5", 4).node.provider == "azure"


@given(name=st.sampled_from(["h100", "gb200", "dgx-2", "rtx-4090", "Azure-ND-A100-v4"]), gpus=st.integers(-5, 300))
def test_clusters_are_whole_nodes(name: str, gpus: int) -> None:
    known = catalogue()
    size = known.cluster(name, 1).node.gpus
    if gpus >= 1 and (gpus < size or gpus % size == 0):
        assert known.cluster(name, gpus).gpus == gpus
        return
    with pytest.raises(UserError) as error:
        known.cluster(name, gpus)
    for word in error.value.hint.removeprefix("the nearest are ").split(" and ") if gpus > size else ():
        assert abs(int(word) - gpus) < size
        known.cluster(name, int(word))


def test_rent(known: Catalogue) -> None:
    low, high, prices = known.rental_range("h100")
    assert low < 4 < 12 < high
    assert {price.kind for price in prices} == {"on_demand"}
    assert {"azure", "aws", "gcp", "lambda"} <= {price.provider for price in prices}
    assert [price.usd_per_gpu_hour[0] for price in prices] == sorted(price.usd_per_gpu_hour[0] for price in prices)
    # a node's own provider, as long as that one has a price
    assert known.rental_range(known.cluster("Azure-ND-H100-v5", 8))[:2] == (12.29, 12.29)
    assert known.rental_range(known.node("Azure-ND-GB300-v6"))[2] == known.rental_range("gb300")[2]
    with pytest.raises(NotFoundError, match="no spot price of gb300 is known"):
        known.rental_range("gb300", "spot")


MINE = """
[gpus.Mine-1000]
aliases = ["m1000"]
vendor = "Me"
year = 2027
tflops = { bfloat16 = 1000 }
vector_tflops = 50
multiprocessors = 100
memory_gb = 100
memory_gb_per_s = 5000
link_gb_per_s = 100
watts = 800

[nodes.Mine]
gpu = "m1000"
gpus = 4
domain = 4
nic_gb_per_s = 25

[nodes."azure nd h100 v5"]
memory_gb = 1

[fabrics.narrow]
oversubscription = 4

[[prices.h100]]
usd_per_gpu_hour = [1.5, 1.6]
kind = "reserved"
provider = "contract"
date = "2026-11"
source = "our contract"

[[prices.Mine]]
usd_per_gpu_hour = [1, 1]
kind = "on_demand"
date = "2026-11"
source = "ours"
"""


def test_users_add_and_change(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    known = catalogue([path])
    cluster = known.cluster("mine", 8, fabric="narrow")
    assert (cluster.gpu.name, cluster.node.provider, cluster.fabric.oversubscription) == ("Mine-1000", "own", 4)
    assert known.rental_range(cluster)[2][0].provider == "own"
    azure = known.node("Azure-ND-H100-v5")
    assert (azure.memory_gb, azure.gpus, len(azure.prices)) == (1, 8, 3)  # only what the file says is new
    assert "our contract" in [price.source for price in known.rental_range("h100", "reserved")[2]]
    assert "Mine" not in catalogue().nodes
    # the one in COLOSSE_HOME is always read
    home.mkdir(parents=True, exist_ok=True)
    path.rename(home / "hardware.toml")
    assert "Mine" in catalogue().nodes
    (home / "hardware.toml").unlink()
    assert "Mine" not in catalogue().nodes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gpus", "not valid TOML"),
        ("[gpu.h100]\nwatts = 1", "unknown section 'gpu'.*gpus"),
        ("gpus = 3", r"gpus is not made of named entries.*\[gpus.NAME\]"),
        ("prices.h100 = 3", r"\[\[prices.NAME\]\]"),
        ("[gpus.h100]\nwatt = 600", "gpus.h100: unknown key 'watt'.*watts"),
        ("[gpus.h100]\nwatts = -600", "gpus.h100: watts: .*greater than 0"),
        ("[gpus.h100]\nmemory_gb = inf", "gpus.h100: memory_gb: .*finite"),
        ("[gpus.h100]\nwatts = nan", "gpus.h100: watts: .*finite"),
        ("[gpus.h100]\ntflops = { bfloat61 = 1 }", "unknown precision 'bfloat61'.*bfloat16"),
        ("[gpus.h100]\nachievable_tflops = { bfloat16 = 2000 }", "above the peak 989"),
        ("[gpus.new]\nwatts = 600", "gpus.new: .*: Field required"),
        ("[gpus.h100]\naliases = ['a100']", "share a name"),
        ("[nodes.dgx-h100]\ngpu = 'h1000'", "unknown GPU 'h1000'"),
        ("[nodes.dgx-h100]\nprice_usd = [9, 2]", "nodes.dgx-h100: price_usd: low 9 is above high 2"),
        ("[[prices.h100]]\nusd_per_gpu_hour = [-1, 2]", r"prices.h100: prices.0.usd_per_gpu_hour.0: .*equal to 0"),
        ("[[prices.h1oo]]\nkind = 'spot'", "prices: unknown node or GPU 'h1oo'"),
    ],
)
def test_bad_files_are_one_line(home: Any, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        catalogue([path])
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_missing_file(home: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        catalogue([tmp_path / "none.toml"])


def test_built_in_files_are_beside_the_module() -> None:
    assert all(path.is_file() for path in BUILT_IN)


def test_two_entries_must_not_share_a_name(known: Catalogue) -> None:
    gpu = known.gpu("h100")
    twin = Gpu.model_validate(gpu.model_dump() | {"name": "Twin"})
    with pytest.raises(UserError, match="share a name"):
        Catalogue([gpu, twin])
    with pytest.raises(UserError, match="unknown GPU"):
        Catalogue([gpu], [Node(name="n", gpu="x", gpus=1, domain=1, nic_gb_per_s=1, source="s")])
