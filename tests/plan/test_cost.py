"""The cost model: parts that add up, directions that must hold, and published runs that it must reproduce."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.core.errors import UserError
from colosse.plan.cost import KINDS, estimate, estimate_many, step_times, timeline
from colosse.plan.hardware import catalogue
from colosse.plan.job import Job, Software
from colosse.plan.points import Points
from colosse.spec.layout import Layout
from colosse.spec.presets import preset

MEGATRON = Software(
    zero=1,
    precision="bfloat16",
    fusion="kernels",
    flash_generation=3,
    fused_accumulation=True,
    cuda_graphs=True,
    overlap_tensor=True,
)


def job(
    name: str = "llama3-8b",
    gpu: str = "h100",
    gpus: int = 64,
    batch: int = 256,
    software: Software | None = None,
    **layout: object,
) -> Job:
    spread = {"dp_shard": gpus} | layout
    return Job(
        model=preset(name).spec,
        layout=Layout.model_validate(spread),
        cluster=catalogue().cluster(gpu, gpus),
        seq_len=8192,
        global_batch_size=batch,
        software=software or Software(),
    )


CASES = [
    job(),
    job(recompute="full", micro_batch_size=2),
    job("llama3-70b", gpus=512, dp_shard=16, tp=8, pp=4, recompute="selective"),
    job("llama3-70b", gpus=512, dp_shard=8, tp=8, pp=8, schedule="interleaved_1f1b", stages_per_rank=5),
    job("llama3-70b", gpus=512, dp_shard=8, tp=8, pp=8, schedule="zbv_zero_bubble", stages_per_rank=2),
    job("qwen3-30b-a3b", gpus=64, dp_shard=64, ep=8),
    job("llama3-8b", gpus=64, dp_shard=16, cp=4),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.layout.pp}x{one.layout.tp}x{one.layout.ep}")
def test_the_parts_add_up_to_the_step(one: Job) -> None:
    found = estimate(one)
    assert list(found.breakdown) == list(KINDS)
    assert sum(found.breakdown.values()) == pytest.approx(found.step_s.value)
    assert min(found.breakdown.values()) > -0.02 * found.step_s.value
    assert found.step_s.low < found.step_s.value < found.step_s.high
    tokens = one.global_batch_size * one.seq_len / one.layout.world_size
    assert found.tokens_per_s_per_gpu.value == pytest.approx(tokens / found.step_s.value)
    assert 0.05 < found.mfu < 0.8
    assert len(found.memory) == one.layout.pp


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    together = estimate_many(CASES)
    for one, found in zip(CASES, together, strict=True):
        assert found.step_s.value == pytest.approx(estimate(one).step_s.value)


@pytest.mark.parametrize("one", [case for case in CASES if case.layout.pp > 1], ids=lambda one: one.layout.schedule)
def test_the_closed_form_is_close_to_the_simulation(one: Job) -> None:
    closed = step_times(Points.of([one])).total[0]
    assert closed == pytest.approx(estimate(one).step_s.value, rel=0.03)
    assert timeline(one).makespan < closed


@given(factor=st.sampled_from([2, 4, 8]), micro_batch=st.sampled_from([1, 2, 4]))
@settings(max_examples=12, deadline=None)
def test_more_work_takes_longer(factor: int, micro_batch: int) -> None:
    small, large = job(micro_batch_size=micro_batch), job(batch=256 * factor, micro_batch_size=micro_batch)
    one, other = estimate(small).step_s.value, estimate(large).step_s.value
    assert one < other < 1.01 * factor * one


def test_directions() -> None:
    base = estimate(job(batch=512)).step_s.value
    assert estimate(job(batch=512, recompute="full")).step_s.value > 1.15 * base
    assert estimate(job(batch=512, precision="float8")).step_s.value < base
    assert estimate(job(batch=512, gpu="a100")).step_s.value > 1.5 * base
    assert estimate(job(batch=512, software=Software(fusion="none"))).step_s.value > base
    assert estimate(job(batch=512, dp_shard=8, tp=8)).step_s.value > base  # small products, exposed sums


def test_a_slow_network_hurts_most_where_weights_travel() -> None:
    fast = job("llama3-70b", gpus=512, batch=512, dp_shard=512, recompute="full")
    slow = fast.model_copy(
        update={
            "cluster": fast.cluster.model_copy(
                update={"node": fast.cluster.node.model_copy(update={"nic_gb_per_s": 5.0})}
            )
        }
    )
    assert estimate(slow).breakdown["data_parallel"] > 5 * estimate(fast).breakdown["data_parallel"]


def test_llama3_405b_on_16384_h100_as_published() -> None:
    """arXiv:2407.21783, table 4: TP 8, PP 16, DP 128, sequences of 8,192, 16 M tokens a step: 400 TFLOP/s per GPU."""
    one = job(
        "llama3-405b",
        gpus=16_384,
        batch=2048,
        software=MEGATRON.model_copy(update={"zero": 2, "overlap_tensor": False}),
        dp_shard=128,
        tp=8,
        pp=16,
        schedule="interleaved_1f1b",
        stages_per_rank=8,
        reshard_after_forward=False,
    )
    found = estimate(one)
    published = found.model_flops / 16_384 / 400e12
    assert found.step_s.low < published < found.step_s.high
    assert found.step_s.value == pytest.approx(published, rel=0.12)


def test_gpt3_on_10000_v100_as_published() -> None:
    """arXiv:2104.10350, table 4: 24.6 TFLOP/s per V100, 14.8 days for 300 B tokens; a layout of Megatron's time.

    400 Gb/s per server of eight, as the machine of 2020 had.
    """
    cluster = catalogue().cluster("v100", 10_000)
    slow = cluster.node.model_copy(update={"nic_gb_per_s": 6.25})
    then = Software(
        zero=1,
        precision="float16",
        flash_attention=False,
        fusion="kernels",
        sequence_parallel=False,
        overlap_data=False,
        overlap_pipeline=False,
        gradient_bytes=2,
    )
    one = Job(
        model=preset("gpt3-175b").spec,
        layout=Layout(tp=8, pp=16, dp_shard=78, recompute="full"),
        cluster=cluster.model_copy(update={"node": slow}),
        seq_len=2048,
        global_batch_size=1560,
        software=then,
    )
    found = estimate(one)
    days = 300e9 / (found.tokens_per_s_per_gpu.value * 9984) / 86_400
    assert days == pytest.approx(14.8, rel=0.15)
    assert found.fits


def test_deepseek_v3_takes_its_published_gpu_hours() -> None:
    """arXiv:2412.19437, section 1: 180 K H800 GPU-hours for each trillion tokens, 2,048 GPUs, PP 16, EP 64, float8."""
    model = preset("deepseek-v3").spec
    one = Job(
        model=model,
        layout=Layout(dp_shard=128, pp=16, ep=64, schedule="zbv_zero_bubble", stages_per_rank=2),
        cluster=catalogue().cluster("h800", 2048),
        seq_len=4096,
        global_batch_size=15_360,
        software=MEGATRON.model_copy(
            update={"precision": "float8", "hierarchical_experts": True, "fused_experts": True}
        ),
    )
    hours = 1e12 / (estimate(one).tokens_per_s_per_gpu.value * 3600)
    assert hours == pytest.approx(180_000, rel=0.25)


def test_a_gpu_without_the_precision_is_refused() -> None:
    with pytest.raises(UserError, match=r"A100.*has no float8"):
        estimate(job(gpu="a100", precision="float8"))


def test_what_was_never_validated_says_so() -> None:
    assert any("MI300X" in line for line in estimate(job(gpu="mi300x")).cautions)
    wide, known = (estimate(job(gpu=gpu)).step_s for gpu in ("mi300x", "h100"))
    assert wide.high / wide.value > known.high / known.value


def test_columns_and_rows_agree() -> None:
    """The search replaces columns; the same job built as a row must give the same number."""
    base = Points.of([job(dp_shard=64)])
    swept = base.with_columns(dp_shard=np.array([8.0, 16.0]), tp=np.array([8.0, 4.0]))
    rows = Points.of([job(dp_shard=8, tp=8), job(dp_shard=16, tp=4)])
    assert step_times(swept).total == pytest.approx(step_times(rows).total)
