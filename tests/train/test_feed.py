"""Batches read ahead: the right sequences for each rank, and failures where they are asked for."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.core.errors import UserError  # noqa: E402
from colosse.data.loader import Batch  # noqa: E402
from colosse.train.feed import Feed  # noqa: E402

pytestmark = pytest.mark.torch


class Numbered:
    """Sequences whose tokens are their number; the first target of each is not to be learnt."""

    def __init__(self, end: int = 1 << 30) -> None:
        self.end = end

    def batch(self, first: int, count: int) -> Batch:
        if first + count > self.end:
            raise UserError("a shard was cut")
        tokens = torch.arange(first, first + count).unsqueeze(1).expand(-1, 5).contiguous()
        targets = tokens.clone()
        targets[:, 0] = -100
        return Batch(tokens, targets, None, None)


def feed(data_rank: int = 0, data_ranks: int = 1, first: int = 0, end: int = 1 << 30) -> Feed:
    return Feed(
        Numbered(end),
        first=first,
        global_batch_size=8,
        data_rank=data_rank,
        data_ranks=data_ranks,
        micro_batch_size=2,
        device=torch.device("cpu"),
    )


def numbers(feeding: Feed) -> list[list[int]]:
    return [batch.tokens[:, 0].tolist() for batch in feeding.next().batches]


@pytest.mark.parametrize("first", [0, 80])
def test_every_step_takes_the_next_sequences(first: int) -> None:
    feeding = feed(first=first)
    for step in range(3):
        start = first + 8 * step
        assert numbers(feeding) == [[start + i, start + i + 1] for i in (0, 2, 4, 6)]
    assert feeding.next().num_targets == 8 * 4
    feeding.close()


def test_ranks_share_a_step_without_gap_or_overlap() -> None:
    feeds = [feed(rank, 2) for rank in range(2)]
    for step in range(3):
        found = [number for feeding in feeds for batch in numbers(feeding) for number in batch]
        assert found == list(range(8 * step, 8 * step + 8))
    for feeding in feeds:
        feeding.close()


def test_a_failure_comes_with_the_batch_that_met_it() -> None:
    feeding = feed(end=20)
    assert numbers(feeding)[0] == [0, 1] and numbers(feeding)[0] == [8, 9]
    with pytest.raises(UserError, match="cut"):
        feeding.next()
    feeding.close()


def test_closing_ends_the_thread_whatever_it_is_doing() -> None:
    for asked in range(3):
        feeding = feed()
        for _ in range(asked):
            feeding.next()
        feeding.close()
        assert not feeding._thread.is_alive()
