"""Muon on matrices that are spread over a mesh equals Muon on whole ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor  # noqa: E402
from torch.distributed.tensor.parallel import (  # noqa: E402
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from colosse.train.optim import Optimizer  # noqa: E402
from colosse.train.recipe import OptimizerConfig  # noqa: E402
from tests.train.ranks import run_ranks  # noqa: E402

pytestmark = pytest.mark.torch


class Feed(torch.nn.Module):
    """Two matrices that tensor parallelism cuts differently."""

    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.Linear(12, 20, bias=False)
        self.down = torch.nn.Linear(20, 12, bias=False)
        self.norm = torch.nn.RMSNorm(12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.tanh(self.up(self.norm(x))))


class Blocks(torch.nn.Module):
    """Three, so that two ranks cannot share them evenly."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.ModuleDict({str(i): Feed() for i in range(3)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers.values():
            x = layer(x)
        return x


def three_steps(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    optimizer = Optimizer(model.named_parameters(), OptimizerConfig(kind="muon"), lr=0.02)
    for step in range(3):
        x = torch.randn(4, 12, generator=torch.Generator().manual_seed(step))
        model(x).pow(2).sum().backward()  # the same batch on every rank: gradients are means of equal ones
        optimizer.step(1.0)
        optimizer.zero_grad()
    return {n: p.full_tensor() if isinstance(p, DTensor) else p for n, p in model.named_parameters()}


def same_as_alone(rank: int, sizes: dict[str, int]) -> None:
    alone = three_steps(Blocks())
    mesh = init_device_mesh("cpu", tuple(sizes.values()), mesh_dim_names=tuple(sizes))
    model = Blocks()
    data = tuple(name for name in sizes if name.startswith("dp"))
    for layer in model.layers.values():
        if "tp" in sizes:
            parallelize_module(layer, mesh["tp"], {"up": ColwiseParallel(), "down": RowwiseParallel()})
        if data:
            fully_shard(layer, mesh=mesh[data])
    if data:
        fully_shard(model, mesh=mesh[data])
    spread = three_steps(model)
    for name, parameter in alone.items():
        assert torch.allclose(spread[name], parameter, atol=2e-6), (rank, name)


def experts_are_cut_by_nothing(rank: int) -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp_shard", "ep"))
    whole = torch.randn(4, 10, 6, generator=torch.Generator().manual_seed(0))
    gradient = torch.randn(4, 10, 6, generator=torch.Generator().manual_seed(1))
    results = []
    for placements in ([Shard(1), Shard(0)], [Shard(2), Shard(0)], [Shard(0), Shard(0)], [Replicate(), Shard(0)], None):
        parameter = whole.clone() if placements is None else distribute_tensor(whole.clone(), mesh, placements)
        parameter = torch.nn.Parameter(parameter)
        parameter.grad = gradient.clone() if placements is None else distribute_tensor(gradient, mesh, placements)
        Optimizer({"layers.0.moe.experts.up": parameter}.items(), OptimizerConfig(kind="muon"), lr=0.1).step(1.0)
        results.append(parameter.detach() if placements is None else parameter.detach().full_tensor())
    for result in results[:-1]:
        assert torch.allclose(result, results[-1], atol=2e-6), rank


def on_two(rank: int) -> None:
    same_as_alone(rank, {"dp_shard": 2})
    same_as_alone(rank, {"tp": 2})


def on_four(rank: int) -> None:
    same_as_alone(rank, {"dp_shard": 2, "tp": 2})
    same_as_alone(rank, {"dp_replicate": 2, "dp_shard": 2})
    same_as_alone(rank, {"dp_shard": 4})  # one rank more than matrices
    experts_are_cut_by_nothing(rank)


@pytest.mark.parametrize(("world_size", "checks"), [(2, on_two), (4, on_four)])
def test_spread_as_alone(tmp_path: Path, world_size: int, checks: Callable[[int], None]) -> None:
    run_ranks(checks, world_size, tmp_path)
