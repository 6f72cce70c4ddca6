"""A layout that cannot run is refused with both numbers and what would work."""

from __future__ import annotations

from typing import Any

import pytest

from colosse.core.errors import UserError
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec
from colosse.spec.presets import preset

LLAMA = preset("llama3.1-8b").spec  # 32 layers, 32 heads, 8 key/value heads, ffn_dim 14,336, vocab_size 128,256
MIXTRAL = preset("mixtral-8x7b").spec
TIED = preset("5m").spec


def _check(model: ModelSpec, seq_len: int = 1024, global_batch_size: int = 64, **fields: Any) -> None:
    Layout(**fields).check(model, seq_len=seq_len, global_batch_size=global_batch_size)


def test_sizes_of_a_layout() -> None:
    layout = Layout(pp=2, dp_replicate=3, dp_shard=4, cp=2, tp=8, micro_batch_size=2, stages_per_rank=2)
    assert (layout.world_size, layout.data_ranks, layout.num_stages) == (384, 12, 4)
    assert layout.micro_batches(96) == 4


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tp": 8, "dp_shard": 8},
        {"tp": 2, "cp": 4, "dp_shard": 4},
        {"tp": 4, "cp": 4},
        {"pp": 4, "dp_shard": 4},
        {"pp": 4, "dp_shard": 4, "schedule": "interleaved_1f1b", "stages_per_rank": 2},
        {"pp": 4, "dp_shard": 4, "schedule": "interleaved_zero_bubble", "stages_per_rank": 8},
        {"pp": 4, "dp_shard": 4, "schedule": "zbv_zero_bubble", "stages_per_rank": 2},
        {"dp_replicate": 2, "dp_shard": 16, "micro_batch_size": 2},
    ],
)
def test_good_layouts_pass(fields: dict[str, Any]) -> None:
    _check(LLAMA, **fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tp": 3}, ["layout.tp = 3", "model.num_heads = 32", "tp = 2 or 4 works"]),
        ({"tp": 16}, ["layout.tp = 16", "model.num_kv_heads = 8", "tp = 8 works"]),
        ({"tp": 4, "cp": 3}, ["layout.cp = 3", "num_heads / layout.tp = 8", "cp = 2 works"]),
        ({"tp": 8, "seq_len": 1004}, ["train.seq_len = 1004", "cp 1 x layout.tp 8", "= 1000 or 1008 works"]),
        ({"cp": 4, "seq_len": 1022}, ["train.seq_len = 1022", "1020 or 1024"]),
        ({"ep": 2, "dp_shard": 2}, ["layout.ep = 2", "experts"]),
        ({"stages_per_rank": 2}, ["stages_per_rank = 2", "pp > 1"]),
        ({"dp_shard": 48}, ["64 sequences", "48 data ranks", "tokens_per_step = 49152 or 98304 works"]),
        ({"dp_shard": 32, "micro_batch_size": 4}, ["64 sequences", "micro batches of 4", "tokens_per_step = 131072"]),
        ({"global_batch_size": 0}, ["0 sequences", "tokens_per_step = 1024 works"]),
        ({"pp": 33, "global_batch_size": 66}, ["num_layers = 32", "33 stages", "pp = 32 works"]),
        ({"pp": 2, "stages_per_rank": 2}, ["stages_per_rank = 2", "1f1b", "= 1 works"]),
        ({"pp": 2, "schedule": "interleaved_1f1b"}, ["stages_per_rank = 1", "2 or more works"]),
        ({"pp": 2, "schedule": "zbv_zero_bubble", "stages_per_rank": 3}, ["stages_per_rank = 3", "= 2 works"]),
        (
            {"pp": 2, "schedule": "zbv_zero_bubble", "stages_per_rank": 2, "compile": "on"},
            ["zbv_zero_bubble", "layout.compile = 'on'", '"off"'],
        ),
        (
            {"pp": 2, "schedule": "zbv_zero_bubble", "stages_per_rank": 2, "recompute": "selective"},
            ["zbv_zero_bubble", "layout.recompute = 'selective'", '= "none"'],
        ),
        ({"pp": 8, "dp_shard": 16}, ["4 micro batches", "pp = 8", "tokens_per_step = 131072 works"]),
        (
            {"pp": 4, "schedule": "interleaved_1f1b", "stages_per_rank": 2, "global_batch_size": 11},
            ["11 micro batches", "8192 or 12288 works"],
        ),
    ],
)
def test_what_cannot_run_is_refused(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        _check(LLAMA, **fields)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("model", "fields", "words"),
    [
        (TIED, {"pp": 2}, ["tied_embeddings", "pp = 2"]),
        (MIXTRAL, {"ep": 3, "dp_shard": 4}, ["layout.ep = 3", "num_experts = 8", "ep = 2 or 4 works"]),
        (MIXTRAL, {"ep": 8, "dp_shard": 2, "cp": 2}, ["layout.ep = 8", "dp_shard x cp x tp = 4", "ep = 4 works"]),
        (TIED.model_copy(update={"ffn_dim": 702}), {"tp": 4}, ["layout.tp = 4", "ffn_dim = 702", "tp = 2 works"]),
    ],
)
def test_families_have_their_own_limits(model: ModelSpec, fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        _check(model, **fields)
    for word in words:
        assert word in str(caught.value)


def test_experts_spread_over_data_context_and_tensor_ranks() -> None:
    _check(MIXTRAL, ep=8, dp_shard=4, cp=2)
    _check(MIXTRAL, ep=8, dp_shard=2, cp=2, tp=2)


@pytest.mark.parametrize(
    ("num_layers", "fields", "sizes"),
    [
        (12, {}, [12]),
        (12, {"pp": 4}, [3, 3, 3, 3]),
        (126, {"pp": 16}, [7, *[8] * 14, 7]),
        (7, {"pp": 2}, [4, 3]),
        (9, {"pp": 2, "stages_per_rank": 2}, [2, 3, 2, 2]),
    ],
)
def test_layers_of_stages(num_layers: int, fields: dict[str, Any], sizes: list[int]) -> None:
    stages = Layout(**fields).stage_layers(num_layers)
    assert [len(stage) for stage in stages] == sizes
    assert [layer for stage in stages for layer in stage] == list(range(num_layers))


def test_places_of_stages() -> None:
    assert [Layout(pp=3, stages_per_rank=2).stage_rank(stage) for stage in range(6)] == [0, 1, 2, 0, 1, 2]
    there_and_back = Layout(pp=3, schedule="zbv_zero_bubble", stages_per_rank=2)
    assert [there_and_back.stage_rank(stage) for stage in range(6)] == [0, 1, 2, 2, 1, 0]


def test_number_of_ranks() -> None:
    Layout(tp=2, dp_shard=4).check_world(8)
    with pytest.raises(UserError, match=r"8 ranks \(pp 1 x .* tp 2\) and 6 were started \(set layout.dp_shard = 3, or"):
        Layout(tp=2, dp_shard=4).check_world(6)
    with pytest.raises(UserError, match=r"and 7 were started \(start 8\)"):
        Layout(tp=2, dp_shard=4).check_world(7)
