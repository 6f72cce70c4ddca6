"""AdamW and Muon against torch's own, on one process."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.train.muon import orthogonalise  # noqa: E402
from colosse.train.optim import Optimizer  # noqa: E402
from colosse.train.recipe import OptimizerConfig  # noqa: E402

pytestmark = pytest.mark.torch

SHAPES = {
    "embed.weight": (20, 8),
    "layers.0.attention.q.weight": (8, 8),
    "layers.0.attention_norm.weight": (8,),
    "layers.0.ffn.up.weight": (24, 8),
    "layers.0.ffn.down.weight": (8, 24),
    "layers.1.moe.router.weight": (4, 8),
    "layers.1.moe.experts.up": (4, 24, 8),
    "head.weight": (20, 8),
}


def parameters() -> dict[str, torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def train(model: dict[str, torch.nn.Parameter], optimizer: Optimizer, steps: range, fraction: float = 1.0) -> None:
    for step in steps:
        set_gradients(model, step)
        optimizer.step(fraction)
        optimizer.zero_grad()


def set_gradients(model: dict[str, torch.nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step + 1)
    for parameter in model.values():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_adamw_is_torchs_and_decays_matrices_only() -> None:
    ours, theirs = parameters(), parameters()
    config = OptimizerConfig(weight_decay=0.3, eps=1e-6)
    optimizer = Optimizer(ours.items(), config, lr=0.01)
    plain = {"embed.weight", "layers.0.attention_norm.weight"}
    reference = torch.optim.AdamW(
        [
            {"params": [p for n, p in theirs.items() if n not in plain], "weight_decay": 0.3},
            {"params": [p for n, p in theirs.items() if n in plain], "weight_decay": 0.0},
        ],
        lr=0.005,
        betas=config.betas,
        eps=1e-6,
        fused=True,
    )
    train(ours, optimizer, range(4), fraction=0.5)
    for step in range(4):
        set_gradients(theirs, step)
        reference.step()
    assert all(torch.equal(ours[name], theirs[name]) for name in SHAPES)


def test_muon_is_torchs_for_the_matrices_of_blocks_and_adamw_for_the_rest() -> None:
    ours, theirs, adamw = parameters(), parameters(), parameters()
    train(ours, Optimizer(ours.items(), OptimizerConfig(kind="muon"), lr=0.01), range(3))
    train(adamw, Optimizer(adamw.items(), OptimizerConfig(), lr=0.01), range(3))
    up = theirs.pop("layers.1.moe.experts.up").detach()
    for expert in range(4):  # torch's takes matrices only
        theirs[f"layers.1.moe.experts.up.{expert}"] = torch.nn.Parameter(up[expert].clone())
    names = [name for name in theirs if name.startswith("layers.") and theirs[name].ndim == 2 and "router" not in name]
    reference = torch.optim.Muon([theirs[n] for n in names], lr=0.01, adjust_lr_fn="match_rms_adamw")
    whole = parameters()
    for step in range(3):
        set_gradients(whole, step)
        for name in names:
            grad = whole[name].grad if name in whole else whole["layers.1.moe.experts.up"].grad[int(name[-1])]
            theirs[name].grad = grad.clone()
        reference.step()
    for name in names:
        mine = ours[name] if name in ours else ours["layers.1.moe.experts.up"][int(name[-1])]
        # theirs iterates in bfloat16, ours in float32
        assert torch.allclose(mine, theirs[name], atol=2e-3), name
    rest = [name for name in SHAPES if name not in names and "experts" not in name]
    assert len(rest) == 4
    assert all(torch.equal(ours[name], adamw[name]) for name in rest)


def test_orthogonalising_brings_every_singular_value_near_one() -> None:
    matrices = torch.randn(3, 40, 16, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.5 and values.max() < 1.3
    assert torch.allclose(orthogonalise(matrices.mT), orthogonalise(matrices).mT, atol=1e-5)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_state_goes_on_bitwise(kind: str) -> None:
    config = OptimizerConfig.model_validate({"kind": kind})
    whole, first = parameters(), parameters()
    train(whole, Optimizer(whole.items(), config, lr=0.01), range(6))
    stopped = Optimizer(first.items(), config, lr=0.01)
    train(first, stopped, range(3))
    second = {name: torch.nn.Parameter(p.detach().clone()) for name, p in first.items()}
    resumed = Optimizer(second.items(), config, lr=0.01)
    resumed.load_state_dict({name: tensor.clone() for name, tensor in stopped.state_dict().items()})
    train(second, resumed, range(3, 6))
    assert all(torch.equal(whole[name], second[name]) for name in SHAPES)


def test_a_parameter_without_gradient_only_decays() -> None:
    model = parameters()
    before = {name: p.detach().clone() for name, p in model.items()}
    Optimizer(model.items(), OptimizerConfig(weight_decay=0.5), lr=0.1).step(1.0)
    assert torch.equal(model["embed.weight"], before["embed.weight"])
    assert torch.allclose(model["head.weight"], before["head.weight"] * 0.95)
