"""Losses on held-out text: which of it, over which ranks, in which units."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from colosse.data.loader import Batch  # noqa: E402
from colosse.train.evaluate import Evaluator, HeldOut, Loss  # noqa: E402

pytestmark = pytest.mark.torch


class Numbered:
    """Sequences of four tokens that are their number; the last asks for nothing."""

    def batch(self, first: int, count: int) -> Batch:
        tokens = torch.arange(first, first + count).unsqueeze(1).expand(-1, 4).contiguous()
        targets = tokens.clone()
        targets[:, -1] = -100
        positions = torch.arange(4).expand(count, -1)
        return Batch(tokens, targets, torch.zeros_like(tokens), positions)


class CountingModel:
    """Whose loss on a token is the token; one of `data_ranks` ranks, which adds up for the others."""

    def __init__(self, data_ranks: int, size: int) -> None:
        layout = SimpleNamespace(micro_batch_size=size)
        self.mesh = SimpleNamespace(layout=layout, data_ranks=data_ranks, data_rank=0, device=torch.device("cpu"))
        self.shapes: set[tuple[int, ...]] = set()
        self.sums = torch.zeros(3, dtype=torch.float64)

    def evaluate(self, batch: Batch) -> Any:
        self.shapes.add(tuple(batch.tokens.shape))
        nats = float(batch.targets[batch.targets != -100].sum())
        return torch.tensor([0.0, nats], dtype=torch.float64)

    def reduce(self, values: Any) -> Any:
        self.sums = self.sums + values
        return self.sums


@pytest.mark.parametrize(("data_ranks", "size"), [(1, 1), (1, 4), (3, 2), (4, 4)])
def test_every_layout_looks_at_the_same_sequences_each_once(data_ranks: int, size: int) -> None:
    model = CountingModel(data_ranks, size)
    held_out = {"a": HeldOut(Numbered(), total=30, count=10)}
    evaluator = Evaluator(model, held_out, torch.full((40,), 2))  # type: ignore[arg-type]
    for rank in range(data_ranks):
        model.mesh.data_rank = rank
        loss = evaluator.losses()["a"]
    assert loss == Loss(nats=3 * sum(range(0, 30, 3)), tokens=30, bytes=60)
    assert model.shapes == {(size, 4)}


def test_units() -> None:
    loss = Loss(nats=math.log(2) * 8, tokens=2, bytes=4)
    assert loss.bpb == pytest.approx(2.0) and loss.per_token == pytest.approx(4 * math.log(2))
    both = loss + Loss(nats=0.0, tokens=2, bytes=4)
    assert both.bpb == pytest.approx(1.0)


def test_a_source_with_less_than_a_round_is_whole() -> None:
    model = CountingModel(1, 8)
    loss = Evaluator(model, {"a": HeldOut(Numbered(), 3, 3)}, torch.ones(4)).losses()["a"]  # type: ignore[arg-type]
    assert loss.tokens == 9 and loss.nats == 9
