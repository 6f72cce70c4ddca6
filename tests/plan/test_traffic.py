"""What the trainer sends, counted by hand; `test_dryrun.py` holds it against the program."""

from __future__ import annotations

from typing import Any

import pytest

from colosse.plan.traffic import Collective, axes, axis_of, claims
from colosse.spec.counts import params
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec
from colosse.spec.presets import preset

LLAMA = preset("llama3.1-8b").spec
MIXTRAL = preset("mixtral-8x7b").spec


def sent(layout: Layout, spec: ModelSpec = LLAMA, *, micro_batches: int = 4, place: int = 0) -> dict[str, Collective]:
    every = claims(spec, layout, seq_len=4096, micro_batches=micro_batches, stage_rank=place)
    return {f"{one.operation} {one.axis}": one for one in every}


def test_a_rank_alone_sends_nothing() -> None:
    assert sent(Layout()) == {}


def test_weights_come_twice_and_gradients_go_once_for_each_micro_batch() -> None:
    found = sent(Layout(dp_shard=8))
    count = params(LLAMA)
    # Blocks and embedding come for forward and backward, the head and its norm once.
    once = count.head + LLAMA.dim
    assert found["all_gather fsdp"].bytes == 4 * 2 * (2 * (count.total - once) + once)
    assert found["all_gather fsdp"].count == 4 * (2 * 33 + 1)
    assert found["reduce_scatter fsdp"].bytes == 4 * 4 * count.total
    kept = sent(Layout(dp_shard=8, reshard_after_forward=False))
    assert kept["all_gather fsdp"].bytes == 4 * 2 * count.total


def test_copies_add_up_their_slices_once_a_step() -> None:
    found = sent(Layout(dp_shard=4, dp_replicate=2))
    assert found["all_reduce dp_replicate"].bytes == params(LLAMA).total  # 4 bytes of a quarter
    assert found["all_reduce dp_replicate"].count == 34


def test_a_pipeline_gathers_once_and_sends_hidden_states() -> None:
    layout = Layout(pp=4, dp_shard=2, reshard_after_forward=False)
    found = sent(layout, micro_batches=8, place=1)
    hidden = 4096 * LLAMA.dim * 2
    assert found["all_gather fsdp"].count == 8  # layers
    assert found["reduce_scatter fsdp"].count == 8
    assert (found["send pp"].count, found["send pp"].bytes) == (2 * 9, 2 * (8 * hidden + 4))
    assert found["recv pp"] == Collective("recv", "pp", 4, found["send pp"].count, found["send pp"].bytes)


@pytest.mark.parametrize(("recompute", "passes"), [("none", 2), ("selective", 2), ("full", 3)])
def test_tokens_travel_to_experts_and_back(recompute: Any, passes: int) -> None:
    found = sent(Layout(dp_shard=8, ep=8, recompute=recompute), MIXTRAL)
    rows = 4096 * 2 * MIXTRAL.dim * 2
    counts = 8 * 8 * (1 + (recompute != "none"))
    # Expert ranks are the data ranks here, and are called so.
    assert found["all_to_all fsdp"].bytes == 4 * 32 * (2 * passes * rows + counts)


def test_the_name_of_an_axis_is_that_of_its_ranks() -> None:
    layout = Layout(pp=2, dp_replicate=2, dp_shard=4, cp=2, tp=2, ep=8)
    assert {name: size for name, (size, _) in axes(layout).items()} == {
        "tp": 2,
        "cp": 2,
        "fsdp": 8,
        "dp_replicate": 2,
        "ep": 8,
        "expert_fsdp": 2,
        "folded": 16,
        "pp": 2,
        "world": 64,
    }
    assert axis_of(layout, [6, 7]) == "tp"
    assert axis_of(layout, [1, 3]) == "cp"
    assert axis_of(layout, range(0, 16, 2)) == "fsdp"
    assert axis_of(layout, [3, 19]) == "dp_replicate"
    assert axis_of(layout, [0, 32]) == "pp"
    assert axis_of(layout, range(64)) == "world"
