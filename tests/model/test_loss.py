from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from colosse.model import loss  # noqa: E402
from colosse.model.loss import IGNORE, Head, Shard  # noqa: E402

pytestmark = pytest.mark.torch


def make(vocab: int = 50, dtype: torch.dtype = torch.float64) -> tuple[Head, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    head = Head(8, vocab).to(dtype)
    torch.nn.init.normal_(head.weight, generator=generator)
    x = torch.randn(2, 7, 8, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(0, vocab, (2, 7), generator=generator)
    targets[0, 2] = targets[1, 6] = IGNORE
    return head, x, targets


def whole(head: Head, x: torch.Tensor, targets: torch.Tensor, z_loss: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Objective and cross-entropy from logits that exist whole."""
    logits = F.linear(x, head.weight).flatten(0, 1).double()
    ce = F.cross_entropy(logits, targets.flatten(), reduction="sum", ignore_index=IGNORE)
    valid = targets.flatten() != IGNORE
    return ce + z_loss * (logits.logsumexp(-1).square() * valid).sum(), ce


@pytest.fixture(params=[3, 7, 1000])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(loss, "chunk_tokens", lambda *_: request.param)
    return int(request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_sums_and_gradients(z_loss: float, scale: float) -> None:
    head, x, targets = make()
    head.z_loss = z_loss
    objective, ce = whole(head, x, targets, z_loss)
    wanted = torch.autograd.grad(objective * scale, (x, head.weight))
    out = head(x, targets)
    torch.testing.assert_close(out, torch.stack((objective, ce)))
    got = torch.autograd.grad(out[0] * scale, (x, head.weight))
    torch.testing.assert_close(got, wanted)


@pytest.mark.usefixtures("chunk")
def test_each_target() -> None:
    head, x, targets = make()
    wanted = F.cross_entropy(head(x).flatten(0, 1), targets.flatten(), reduction="none", ignore_index=IGNORE)
    each = head(x, targets, per_target=True)
    assert not each.requires_grad
    torch.testing.assert_close(each, wanted.view_as(targets))


def test_without_gradients_none_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    head, x, targets = make()
    asked = []

    def kernel(*args: object) -> object:
        asked.append(args[-1])
        return loss.cross_entropy(*args)

    head.kernel = kernel
    with torch.no_grad():
        evaluated = head(x, targets)
    assert asked == [False]
    torch.testing.assert_close(evaluated, head(x, targets).detach())
    assert asked == [False, True]


def test_gradients_accumulate_in_the_parameter() -> None:
    head, x, targets = make()
    for _ in range(2):
        head(x.detach(), targets)[0].backward()
    once = torch.autograd.grad(head(x, targets)[0], head.weight)[0]
    torch.testing.assert_close(head.weight.grad, 2 * once)


def test_the_cross_entropy_sum_has_no_gradient() -> None:
    head, x, targets = make()
    head(x, targets)[1].backward()
    assert head.weight.grad.abs().max() == 0


def test_softmax_is_in_float32() -> None:
    head, x, targets = make(vocab=4096, dtype=torch.bfloat16)
    head.z_loss = 0.1
    objective, ce = whole(head, x, targets, 0.1)
    out = head(x, targets)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), torch.stack((objective, ce)), rtol=1e-3, atol=0)


def test_large_logits_are_finite() -> None:
    head, x, targets = make(dtype=torch.float32)
    out = head(x.detach() * 1e4, targets)
    assert out.isfinite().all()
    out[0].backward()
    assert head.weight.grad.isfinite().all()


def test_everything_ignored_is_zero() -> None:
    head, x, targets = make()
    out = head(x, torch.full_like(targets, IGNORE))
    assert out.tolist() == [0, 0]
    out[0].backward()
    assert x.grad.abs().max() == 0


def test_a_vocabulary_spread_over_a_group(tmp_path: object) -> None:
    """Two ranks, each with half of the rows, see the same losses and their own rows' gradients."""
    torch.multiprocessing.spawn(_one_of_two, (f"file://{tmp_path}/store",), nprocs=2)


def _one_of_two(rank: int, store: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    head, x, targets = make()
    head.z_loss = 0.1
    out = head(x, targets)
    wanted = torch.autograd.grad(out[0], (x, head.weight))
    part = Head(8, 25).double()
    part.z_loss = 0.1
    part.weight.data.copy_(head.weight[25 * rank : 25 * (rank + 1)])
    part.shard = Shard(torch.distributed.group.WORLD, 25 * rank)
    spread = part(x, targets)
    torch.testing.assert_close(spread, out)
    got = torch.autograd.grad(spread[0], (x, part.weight))
    torch.testing.assert_close(got, (wanted[0], wanted[1][25 * rank : 25 * (rank + 1)]))
    torch.testing.assert_close(part(x, targets, per_target=True), head(x, targets, per_target=True))
    torch.distributed.destroy_process_group()
