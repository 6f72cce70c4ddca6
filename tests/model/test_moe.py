from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch.utils.checkpoint import checkpoint  # noqa: E402

from colosse.model.moe import Experts, MoE  # noqa: E402
from colosse.spec.model import ModelSpec, MoESpec  # noqa: E402
from tests.model import reference  # noqa: E402

pytestmark = pytest.mark.torch

DIM = 12


def make(seed: int = 0, **options: object) -> tuple[MoE, ModelSpec]:
    moe = MoESpec(**{"num_experts": 5, "top_k_experts": 2, "ffn_dim": 8, "balance": "none", **options})
    spec = ModelSpec(dim=DIM, num_layers=1, num_heads=2, ffn_dim=8, vocab_size=8, moe=moe)
    module = MoE(DIM, moe)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return module.double(), spec


def tokens(n: int = 9) -> torch.Tensor:
    return torch.randn(2, n, DIM, generator=torch.Generator().manual_seed(1)).double().requires_grad_()


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k_experts": 1},
        {"top_k_experts": 5},
        {"shared_ffn_dim": 6, "route_scale": 2.5},
        {"balance": "bias"},
        {"num_experts": 16},  # some without any token
    ],
)
def test_equals_a_mixture_in_which_every_expert_sees_every_token(
    score: str, normalize: bool, options: dict[str, object]
) -> None:
    module, spec = make(score=score, normalize=normalize, **options)
    if spec.moe.balance == "bias":
        module.bias.copy_(torch.tensor([0.3, -0.3, 0.0, 0.2, 0.0]))
    x = tokens(3)
    weights = {f"moe.{n}": t for n, t in (*module.named_parameters(), *module.named_buffers())}
    wanted = reference.mixture(x.flatten(0, 1), weights, spec).view_as(x)
    torch.testing.assert_close(module(x), wanted)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(5)).double()
    inputs = [x, *module.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((module(x) * upstream).sum(), inputs),
        torch.autograd.grad((wanted * upstream).sum(), inputs),
    )


def test_experts_take_sorted_tokens_and_counts() -> None:
    experts = Experts(4, 6, 3)
    for p in experts.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(5, 4)
    out = experts(x, torch.tensor([2, 0, 3]))
    wanted = [
        reference.swiglu(x[i], experts.gate[e], experts.up[e], experts.down[e]) for i, e in enumerate((0, 0, 2, 2, 2))
    ]
    torch.testing.assert_close(out, torch.stack(wanted))


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_the_classic_loss_adds_its_gradient_and_nothing_else(score: str) -> None:
    module, _ = make(balance="loss", balance_rate=0.1, score=score)
    plain, _ = make(score=score)
    x = tokens()
    assert torch.equal(module(x), plain(x))
    got = torch.autograd.grad(module(x).sum(), (x, module.router.weight))

    logits = x.flatten(0, 1) @ plain.router.weight.T
    scores = logits.softmax(-1) if score == "softmax" else logits.sigmoid() / logits.sigmoid().sum(-1, keepdim=True)
    chosen = logits.topk(2).indices
    load = torch.nn.functional.one_hot(chosen, 5).sum((0, 1)) * 5 / chosen.numel()
    objective = plain(x).sum() + 0.1 * (scores.mean(0) * load).sum() * scores.shape[0]
    torch.testing.assert_close(got, torch.autograd.grad(objective, (x, plain.router.weight)))


@pytest.mark.parametrize("balance", ["none", "bias", "loss"])
def test_tokens_are_counted_once_for_each_backward(balance: str) -> None:
    module, _ = make(balance=balance)
    x = tokens()
    module(x)
    with torch.no_grad():
        module(x)
    assert module.counts.sum() == 0
    for _ in range(2):
        checkpoint(module, x, use_reentrant=False).sum().backward()
    assert module.counts.sum() == 2 * 2 * 18
    module.update_balance()
    assert module.counts.sum() == 0


def test_the_bias_evens_the_load() -> None:
    module, _ = make(balance="bias", balance_rate=0.005)
    module.router.weight.data *= 0.1
    x = tokens(200).detach() + 1

    def spread() -> float:
        module(x).sum().backward()
        load = module.counts / module.counts.mean()
        module.update_balance()
        return float(load.max() - load.min())

    before = spread()
    for _ in range(100):
        after = spread()
    assert after < 0.2 * before
    assert not module.bias.requires_grad


def test_only_the_bias_is_saved() -> None:
    assert "bias" in make(balance="bias")[0].state_dict()
    names = set(make(balance="loss", shared_ffn_dim=4)[0].state_dict())
    experts = {f"experts.{m}" for m in ("gate", "up", "down")}
    assert names == {"router.weight", *experts, *(f"shared.{m}.weight" for m in ("gate", "up", "down"))}


def test_autocast_routes_in_float32() -> None:
    module, _ = make()
    module.float()
    x = tokens().detach().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(x)
        assert module.route(x.flatten(0, 1))[1].dtype == torch.float32
    torch.testing.assert_close(out.float(), module(x), rtol=0.1, atol=1.0)
