"""Counts: equal to what is published, and to what torch counts on the real modules."""

from __future__ import annotations

import pytest

from colosse.spec import counts, presets
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec
from colosse.spec.presets import ModelChoice

SMALL = {"num_layers": 3, "vocab_size": 512}
FAMILIES = ["5m", "llama3.2-1b", "qwen3-0.6b", "qwen2.5-0.5b", "mistral-7b-v0.1", "olmo2-1b", "olmo2-32b"]
EXPERTS = ["mixtral-8x7b", "qwen3-30b-a3b", "deepseek-moe-16b"]


def _small(preset: str, **fields: object) -> ModelSpec:
    return ModelChoice.model_validate({"preset": preset, **SMALL, **fields}).spec


@pytest.mark.parametrize("name", presets.names())
def test_parameters_are_as_published(name: str) -> None:
    preset = presets.preset(name)
    total = counts.params(preset).total
    if preset.params:
        assert total == preset.params
    else:
        size = float(name.rpartition("-")[2].rstrip("mb")) * {"m": 1e6, "b": 1e9}[name[-1]]
        assert total == pytest.approx(size, rel=0.08)


@pytest.mark.parametrize(
    ("name", "active", "non_embedding"),
    [("qwen3-30b-a3b", 3.3e9, 29.9e9), ("qwen3-235b-a22b", 22e9, 234e9), ("mixtral-8x7b", 12.9e9, 46.4e9)],
)
def test_active_parameters_are_as_published(name: str, active: float, non_embedding: float) -> None:
    count = counts.params(presets.preset(name))
    assert count.active == pytest.approx(active, rel=0.02)
    assert count.non_embedding == pytest.approx(non_embedding, rel=0.002)
    assert count.active_non_embedding == count.active - count.embedding - count.head


@pytest.mark.parametrize("name", ["5m", "deepseek-moe-16b"])
def test_stages_add_up(name: str) -> None:
    spec = presets.preset(name).model_copy(update={"tied_embeddings": False})
    stages = Layout(pp=3).stage_layers(spec.num_layers)
    parts = [
        counts.params(spec, layers=layers, first=number == 0, last=number == 2) for number, layers in enumerate(stages)
    ]
    assert parts[0] + parts[1] + parts[2] == counts.params(spec)


@pytest.mark.torch
@pytest.mark.parametrize("name", [*FAMILIES, *EXPERTS])
def test_parameters_are_those_of_the_module(name: str) -> None:
    torch = pytest.importorskip("torch")
    from colosse.model.transformer import Transformer

    spec = _small(name)
    untied = spec.model_copy(update={"tied_embeddings": False})
    with torch.device("meta"):
        whole = Transformer(spec)
        stage = Transformer(untied, layers=range(1, 3), first=False, last=True)
    assert counts.params(spec).total == sum(p.numel() for p in whole.parameters())
    assert counts.params(untied, layers=range(1, 3), first=False).total == sum(p.numel() for p in stage.parameters())


@pytest.mark.torch
@pytest.mark.parametrize("name", FAMILIES)
def test_flops_are_those_that_torch_counts(name: str) -> None:
    torch = pytest.importorskip("torch")
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from colosse.model.transformer import Transformer

    tokens = 64
    spec = _small(name)
    forward, backward = FlopCounterMode(display=False), FlopCounterMode(display=False)
    with FakeTensorMode(), sdpa_kernel(SDPBackend.MATH):  # whose products torch counts on any device
        with forward:
            logits = Transformer(spec)(torch.zeros(1, tokens, dtype=torch.int64))
        with backward:
            logits.sum().backward()
    ours = counts.flops(spec, [tokens])
    # torch counts the whole square of attention; the rest must be equal.
    square = ours.attention // counts.attended_pairs(tokens) * tokens**2
    assert forward.get_total_flops() == ours.forward - ours.attention + square
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


def test_flops_of_six_per_parameter_and_attention() -> None:
    spec = presets.preset("llama3.1-405b").spec
    work = counts.flops(spec, [8192])
    count = counts.params(spec)
    assert work.train == work.forward + work.backward == 3 * work.forward
    assert (work.train - 3 * work.attention) / 8192 == pytest.approx(6 * (count.total - count.embedding), rel=1e-4)
    # 12 layers dim seq_len per token is the whole square; causal is half of it.
    assert 3 * work.attention / 8192 == pytest.approx(6 * spec.num_layers * spec.dim * 8192, rel=2e-4)
    # arXiv:2407.21783: 3.8e25 FLOPs for 15.6 T tokens.
    assert counts.flops_per_token(spec, 8192) * 15.6e12 == pytest.approx(3.8e25, rel=0.05)


def test_experts_count_the_chosen_ones() -> None:
    spec = presets.preset("deepseek-moe-16b").spec
    work, count = counts.flops(spec, [1]), counts.params(spec)
    products = count.active - count.embedding - count.norms
    assert work.forward - work.attention == 2 * products


@pytest.mark.parametrize("length", [1, 2, 5, 9])
@pytest.mark.parametrize("window", [0, 1, 3, 20])
def test_attended_pairs_by_counting(length: int, window: int) -> None:
    seen = sum(0 <= q - k < (window or length) for q in range(length) for k in range(length))
    assert counts.attended_pairs(length, window) == seen


def test_packed_documents_attend_less() -> None:
    spec = presets.preset("5m").spec
    packed, whole = counts.flops(spec, [100, 28]), counts.flops(spec, [128])
    assert packed.attention == whole.attention * (100 * 101 + 28 * 29) // (128 * 129)
    assert packed.forward - packed.attention == whole.forward - whole.attention


def test_utilisation() -> None:
    spec = presets.preset("llama3.1-8b").spec
    speed = 1e15 / counts.flops_per_token(spec, 8192)
    assert counts.mfu(spec, 8192, speed, 2e15) == pytest.approx(0.5)
    assert counts.hfu(spec, Layout(), 8192, speed, 2e15) == pytest.approx(0.5)
    assert 0.62 < counts.hfu(spec, Layout(recompute="full"), 8192, speed, 2e15) < 2 / 3


def test_kv_cache() -> None:
    assert counts.kv_cache_bytes(presets.preset("llama3.1-8b"), 1) == 131_072  # 128 KiB a token, as is well known
    assert counts.kv_cache_bytes(presets.preset("mistral-7b-v0.1"), 10_000) == 4096 * 131_072
