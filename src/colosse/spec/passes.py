"""The order in which a pipeline place runs its passes, as torch's schedules have it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Pass(NamedTuple):
    """One micro batch on one stage."""

    kind: str
    """`forward`, `backward` (of inputs and weights), or `input` or `weight`, one of both."""
    stage: int
    micro_batch: int


@lru_cache(maxsize=32)
def passes(schedule: str, pp: int, stages_per_rank: int, micro_batches: int) -> list[list[Pass]]:
    """The order of passes at each place.

    As `torch.distributed.pipelining` has them: 1F1B and interleaved 1F1B (arXiv:2104.04473; Megatron's order too where
    `pp` divides `micro_batches`), interleaved zero bubble (arXiv:2401.10241, ZB1P) and ZB-V (its section 6).
    Interleaved schedules go in rounds of at least `pp` micro batches; where these are no multiple, some rounds are one
    longer.

    Args:
        schedule: as `Layout.schedule`.
        pp: places.
        stages_per_rank: stages of each.
        micro_batches: of a step.
    """
    if schedule == "zbv_zero_bubble":
        return [_zbv(place, pp, micro_batches) for place in range(pp)]
    return [_alternating(schedule, place, pp, stages_per_rank, micro_batches) for place in range(pp)]


def _alternating(schedule: str, place: int, pp: int, stages_per_rank: int, micro_batches: int) -> list[Pass]:
    """Forwards first, then forward and backward in turn, then the backwards that are left."""
    rounds = max(1, micro_batches // pp) if stages_per_rank > 1 else 1
    sizes = [micro_batches // rounds + (n < micro_batches % rounds) for n in range(rounds)]
    forwards, backwards = [], []
    begin = 0
    for size in sizes:
        for stage in range(place, pp * stages_per_rank, pp):
            forwards += [(stage, begin + n) for n in range(size)]
        for stage in reversed(range(place, pp * stages_per_rank, pp)):
            backwards += [(stage, begin + n) for n in range(size)]
        begin += size
    split = schedule == "interleaved_zero_bubble"
    hops = pp - 1 - place
    warm_up = (stages_per_rank - 1) * sizes[0] + (hops if split or schedule == "1f1b" else 2 * hops)
    warm_up = min(warm_up, len(forwards))
    order = [Pass("forward", *one) for one in forwards[:warm_up]]
    for n, one in enumerate(backwards):
        if warm_up + n < len(forwards):
            order.append(Pass("forward", *forwards[warm_up + n]))
        order.append(Pass("input" if split else "backward", *one))
        if split and n >= place:  # weights' gradients stay behind by as many passes as the place is far
            order.append(Pass("weight", *backwards[n - place]))
    if split:
        order += [Pass("weight", *one) for one in backwards[max(len(backwards) - place, 0) :]]
    return order


def _zbv(place: int, pp: int, micro_batches: int) -> list[Pass]:
    """ZB-V: each place has the stage on the way there (`down`) and the one on the way back (`up`)."""
    down, up = place, 2 * pp - 1 - place
    planned = max(2 * pp - 1, micro_batches)  # the pattern needs so many; those too many are left out in the end
    order: list[Pass] = []
    done: dict[tuple[str, int], int] = {}

    def add(stage: int, *kinds: str) -> None:
        for kind in kinds:
            n = done.get((kind, stage), 0)
            done[kind, stage] = n + 1
            order.append(Pass(kind, stage, n))

    for _ in range(2 * (pp - place) - 1):
        add(down, "forward")
    for _ in range(place):
        add(up, "forward")
        add(down, "forward")
    for _ in range(pp - place):
        add(up, "forward", "input", "weight")
    while done["forward", up] < planned:
        if done["forward", down] < planned:
            add(down, "forward")
        add(down, "input", "weight")
        add(up, "forward", "input", "weight")
    for _ in range(place):
        add(down, "input")
        add(up, "input")
    for _ in range(pp - place):
        add(down, "input", "weight")
    for stage in (up, down):
        while done.get(("weight", stage), 0) < planned:
            add(stage, "weight")
    return [one for one in order if one.micro_batch < micro_batches]
