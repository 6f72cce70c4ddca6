"""Bytes of training: slices are exact, activations are what autograd keeps, pipelines hold what torch schedules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from colosse.spec import counts, presets
from colosse.spec.layout import Layout
from colosse.spec.memory import LOGITS_AT_ONCE, activation_bytes_per_token, memory, rank_memory, stages_in_flight
from colosse.spec.presets import ModelChoice

LLAMA = presets.preset("llama3.1-8b").spec
SMALL = {"num_layers": 2, "vocab_size": 512, "dim": 256, "num_heads": 8, "head_dim": 64, "ffn_dim": 704}
MIXTRAL = presets.preset("mixtral-8x7b").spec


def _memory(layout: Layout, spec: Any = LLAMA, optimizer: str = "adamw") -> Any:
    return memory(spec, layout, seq_len=1024, micro_batches=8, optimizer=optimizer)


def test_one_rank_has_everything_in_float32() -> None:
    one = _memory(Layout(precision="float32"))
    total = counts.params(LLAMA).total
    assert (one.weights, one.gradients, one.optimizer, one.gathered) == (4 * total, 4 * total, 8 * total, 0)
    assert one.total > 16 * total


def test_slices_go_with_the_axes() -> None:
    total = 4 * counts.params(LLAMA).total
    assert _memory(Layout(dp_shard=8)).weights == total // 8
    assert _memory(Layout(dp_shard=4, cp=2)).weights == total // 8
    assert _memory(Layout(dp_replicate=8)).weights == total
    assert _memory(Layout(tp=8)).weights == pytest.approx(total / 8, rel=1e-3)  # norms are whole
    assert _memory(Layout(pp=4)).weights > total / 4  # the ends have embedding and head
    assert _memory(Layout(dp_shard=8, ep=8), MIXTRAL).weights == 4 * counts.params(MIXTRAL).total // 8


def test_muon_keeps_one_value_per_matrix_of_the_blocks() -> None:
    count = counts.params(LLAMA)
    few = _memory(Layout(precision="float32"), optimizer="muon").optimizer
    assert few == 4 * (count.attention + count.ffn) + 8 * (count.embedding + count.head + count.norms)


def test_what_saves_memory_does() -> None:
    none, selective, full = (
        _memory(Layout(dp_shard=8, recompute=mode)).activations for mode in ("none", "selective", "full")
    )
    assert none > selective > full
    kept, given_back = (_memory(Layout(dp_shard=8, reshard_after_forward=flag)).gathered for flag in (False, True))
    assert kept > 2 * counts.params(LLAMA).total > 2 * given_back
    whole, spread = (_memory(Layout(dp_shard=8, ep=ep), MIXTRAL).gathered for ep in (1, 8))
    assert whole > 4 * spread
    share = _memory(Layout(cp=4)).activations / _memory(Layout(cp=1, dp_shard=4)).activations
    assert 0.25 < share < 0.3  # what is exchanged is there before and after
    assert _memory(Layout(tp=4)).activations < _memory(Layout(dp_shard=4)).activations / 2


def test_first_stage_of_a_pipeline_holds_most_activations() -> None:
    layout = Layout(pp=4, dp_shard=2)
    ranks = [rank_memory(LLAMA, layout, seq_len=8192, micro_batches=8, stage_rank=place) for place in range(4)]
    assert [round(rank.activations / ranks[2].activations, 1) for rank in ranks[:3]] == [1.9, 1.5, 1.0]
    assert ranks[3].logits
    assert not any(rank.logits for rank in ranks[:3])
    assert memory(LLAMA, layout, seq_len=8192, micro_batches=8).total == max(rank.total for rank in ranks)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("preset", "fields"),
    [
        ("14m", {}),
        ("llama3.2-1b", SMALL),
        ("qwen3-0.6b", SMALL),
        ("olmo2-1b", SMALL),
        ("deepseek-moe-16b", {**SMALL, "moe": {"num_experts": 8, "ffn_dim": 128, "shared_ffn_dim": 256}}),
    ],
)
def test_activations_are_those_that_autograd_keeps(preset: str, fields: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    from colosse.model.init import initialize
    from colosse.model.transformer import Transformer

    tokens = 128
    spec = ModelChoice.model_validate({"preset": preset, **fields}).spec
    model = Transformer(spec, first=False, last=False)
    initialize(model, spec, seed=0)
    held = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in held:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(torch.randn(1, tokens, spec.dim, requires_grad=True))
    del out
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / tokens
    layout = Layout(precision="float32")
    ours = sum(activation_bytes_per_token(spec, layer, layout) for layer in range(spec.num_layers))
    # On a CPU norms are made of several operations, which keep their normalised input besides.
    norms = spec.num_layers * 4 * (2 * spec.dim + (0 if spec.qk_norm == "none" else 2 * spec.dim))
    assert ours * 0.98 < measured < (ours + norms) * 1.1


@pytest.mark.torch
@pytest.mark.parametrize(("pp", "micro_batches"), [(2, 4), (4, 8), (4, 16), (4, 6), (8, 16)])
@pytest.mark.parametrize(
    ("schedule", "stages_per_rank"),
    [("interleaved_1f1b", 2), ("interleaved_1f1b", 3), ("interleaved_zero_bubble", 2), ("zbv_zero_bubble", 2)],
)
def test_stages_in_flight_are_those_of_torchs_schedules(
    pp: int, micro_batches: int, schedule: Any, stages_per_rank: int
) -> None:
    pytest.importorskip("torch")
    from torch.distributed.pipelining import schedules

    layout = Layout(pp=pp, schedule=schedule, stages_per_rank=stages_per_rank)
    name = "Schedule" + {"interleaved_1f1b": "Interleaved1F1B", "interleaved_zero_bubble": "InterleavedZeroBubble"}.get(
        schedule, "ZBVZeroBubble"
    )
    numbers = [0, 2 * pp - 1] if schedule == "zbv_zero_bubble" else range(0, layout.num_stages, pp)
    common = {"group": None, "group_size": pp, "group_rank": 0, "num_stages": layout.num_stages, "has_backward": True}
    common |= {"submod": None}
    stages: Any = [
        SimpleNamespace(stage_index=n, is_first=n == 0, is_last=n == layout.num_stages - 1, **common) for n in numbers
    ]
    order = getattr(schedules, name)(stages, micro_batches, loss_fn=lambda out, target: out).pipeline_order
    for rank in range(pp):
        now = most = 0
        for kind in (action.computation_type.name for action in order[rank] if action is not None):
            now += {"FORWARD": 1, "FULL_BACKWARD": -1, "BACKWARD_WEIGHT": -1}.get(kind, 0)
            most = max(most, now)
        ours = stages_in_flight(layout, rank, micro_batches)
        assert most == ours or (schedule == "zbv_zero_bubble" and most < ours and micro_batches < 2 * pp)


@pytest.mark.torch
@pytest.mark.parametrize("vocab_size", [8192, 128256])
def test_the_heads_chunk_is_the_models(vocab_size: int) -> None:
    torch = pytest.importorskip("torch")
    from colosse.model.loss import chunk_tokens

    logits = chunk_tokens(vocab_size, torch.device("cuda")) * vocab_size
    assert 0.8 * LOGITS_AT_ONCE < logits <= LOGITS_AT_ONCE
