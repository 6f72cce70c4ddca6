from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402

from colosse.parallel.context import ExchangingAttend, context_part  # noqa: E402
from tests.fixtures.ranks import Ranks  # noqa: E402

pytestmark = pytest.mark.torch


def _attend(heads: int, kv_heads: int) -> float:
    """Largest difference between attention of parts, and the part of attention; forward and backward."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(0)
    whole = [torch.randn(2, 8, n, 4, generator=generator, requires_grad=True) for n in (heads, kv_heads, kv_heads)]
    grad = torch.randn(2, 8, heads, 4, generator=generator)
    expected = _plain(*whole, None)
    expected.backward(grad)
    parts = [x.detach().chunk(ranks, dim=1)[rank].clone().requires_grad_() for x in whole]
    out = ExchangingAttend(Plain(), dist.group.WORLD)(*parts, None)
    out.backward(grad.chunk(ranks, dim=1)[rank])
    pairs = [(out, expected), *((part.grad, x.grad) for part, x in zip(parts, whole, strict=True))]
    return max((mine - theirs.chunk(ranks, dim=1)[rank]).abs().max().item() for mine, theirs in pairs)


def _plain(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, _context: object) -> torch.Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)


class Plain(torch.nn.Module):
    forward = staticmethod(_plain)


@pytest.mark.parametrize("kv_heads", [8, 4, 2, 1])
def test_heads_are_exchanged_for_sequence(four_ranks: Ranks, kv_heads: int) -> None:
    assert max(four_ranks.run(_attend, 8, kv_heads)) < 1e-6


def test_parts_are_contiguous() -> None:
    mesh = SimpleNamespace(layout=SimpleNamespace(cp=2), context_rank=1)
    assert context_part(torch.arange(8)[None], mesh).tolist() == [[4, 5, 6, 7]]
