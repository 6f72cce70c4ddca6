from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.core.errors import UserError  # noqa: E402
from colosse.parallel.mesh import Mesh, start, stop  # noqa: E402
from colosse.spec.layout import Layout  # noqa: E402
from tests.fixtures.ranks import RankFailedError, Ranks  # noqa: E402

pytestmark = pytest.mark.torch


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    mesh = start(Layout(), device_type="cpu")
    assert (mesh.rank, mesh.world_size, mesh.data_rank, mesh.data_ranks) == (0, 1, 0, 1)
    assert not torch.distributed.is_initialized()
    assert mesh.group("tp") is None
    assert mesh.sum_data(mesh.sum(torch.ones(2), "cp", "pp")).tolist() == [1, 1]
    stop()


def test_another_number_of_ranks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "6")
    with pytest.raises(UserError, match=r"for 4 ranks .* and 6 were started"):
        start(Layout(dp_shard=2, tp=2), device_type="cpu")


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="local rank 1 has no GPU: this node has 1"):
        start(Layout(dp_shard=2), device_type="cuda")


def _places(layout: Layout) -> dict[str, object]:
    mesh = Mesh(layout, torch.device("cpu"))
    alone = torch.full((1,), 10.0**mesh.rank)
    axes = ("pp", "dp_replicate", "fsdp", "cp", "tp")
    return {
        "place": (mesh.stage_rank, mesh.data_rank, mesh.context_rank),
        **{axis: int(mesh.sum(alone.clone(), axis).item()) for axis in axes},
        "data": mesh.sum_data(torch.tensor([1.0 + mesh.data_rank])).item(),
    }


def test_neighbours_differ_along_the_inner_axes(four_ranks: Ranks) -> None:
    def members(axis: str) -> list[str]:
        return [f"{rank[axis]:04d}" for rank in ranks]

    ranks = four_ranks.run(_places, Layout(pp=2, tp=2))
    assert [rank["place"] for rank in ranks] == [(0, 0, 0), (0, 0, 0), (1, 0, 0), (1, 0, 0)]
    assert members("tp") == ["0011", "0011", "1100", "1100"]
    assert members("pp") == ["0101", "1010", "0101", "1010"]
    ranks = four_ranks.run(_places, Layout(dp_shard=2, cp=2))
    assert [rank["place"] for rank in ranks] == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)]
    assert members("cp") == ["0011", "0011", "1100", "1100"]
    assert members("fsdp") == ["1111"] * 4
    assert [rank["data"] for rank in ranks] == [3.0] * 4
    ranks = four_ranks.run(_places, Layout(dp_replicate=2, dp_shard=2))
    assert [rank["place"] for rank in ranks] == [(0, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0)]
    assert members("dp_replicate") == ["0101", "1010", "0101", "1010"]
    assert [rank["data"] for rank in ranks] == [10.0] * 4


def test_a_failing_rank_ends_the_group(two_ranks: Ranks) -> None:
    with pytest.raises(RankFailedError, match="ValueError"):
        two_ranks.run(_fail)
    assert two_ranks.run(_rank) == [0, 1]


def _fail() -> None:
    if torch.distributed.get_rank() == 1:
        raise ValueError
    torch.distributed.barrier()


def _rank() -> int:
    return torch.distributed.get_rank()
