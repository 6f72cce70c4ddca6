"""Memory of a place: Colosse's own as `spec.memory` has it, others' as papers and measurements have it."""

from typing import Any

import numpy as np
import pytest

from colosse.plan import memory
from colosse.plan.hardware import catalogue
from colosse.plan.job import Job, Software
from colosse.plan.points import Points
from colosse.spec.layout import Layout
from colosse.spec.memory import rank_memory
from colosse.spec.model import MLASpec, ModelSpec, MoESpec
from colosse.spec.presets import preset

GIB = 2**30
DENSE = preset("llama3.1-8b").spec
EXPERTS = preset("mixtral-8x7b").spec
TIED = ModelSpec(
    dim=512, num_layers=9, num_heads=8, num_kv_heads=2, ffn_dim=1536, vocab_size=8192, tied_embeddings=True
)
SOME = EXPERTS.model_copy(update={"moe": EXPERTS.moe.model_copy(update={"num_dense_layers": 3})})  # type: ignore[union-attr]
MEGATRON = Software(zero=1, fusion="kernels", fused_accumulation=True, chunked_loss=False)


def job(spec: ModelSpec, layout: Layout, *, seq_len: int = 4096, batch: int = 64, **more: Any) -> Job:
    cluster = catalogue().cluster(more.pop("gpu", "h100"), layout.world_size)
    return Job(model=spec, layout=layout, cluster=cluster, seq_len=seq_len, global_batch_size=batch, **more)


def places(one: Job) -> list[Any]:
    return memory.stages(Points.of([one]))


LAYOUTS = [
    Layout(),
    Layout(dp_shard=8),
    Layout(dp_shard=8, reshard_after_forward=False, recompute="selective"),
    Layout(dp_replicate=2, dp_shard=2, cp=2, tp=2, recompute="full"),
    Layout(dp_shard=4, ep=4, tp=2, recompute="selective", micro_batch_size=2),
    Layout(cp=8, dp_shard=8, precision="float32"),
    Layout(pp=4, dp_shard=2, tp=2, micro_batch_size=2),
    Layout(pp=2, dp_shard=4, ep=4, recompute="selective"),
    Layout(pp=4, dp_shard=8, recompute="full", reshard_after_forward=False),
    Layout(pp=2, stages_per_rank=3, schedule="interleaved_1f1b", dp_shard=4),
    Layout(pp=4, stages_per_rank=2, schedule="interleaved_1f1b", dp_shard=4, recompute="selective"),
    Layout(pp=2, stages_per_rank=2, schedule="interleaved_zero_bubble", dp_shard=2),
    Layout(pp=4, stages_per_rank=2, schedule="interleaved_1f1b", dp_shard=2, recompute="selective"),
    Layout(pp=4, stages_per_rank=2, schedule="zbv_zero_bubble", dp_shard=2, tp=2),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("spec", [DENSE, EXPERTS, TIED, SOME], ids=["dense", "experts", "tied", "some"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_our_trainer_is_as_spec_memory_counts_it(spec: ModelSpec, layout: Layout, optimizer: str) -> None:
    if layout.ep > 1 and not spec.moe:
        layout = layout.model_copy(update={"ep": 1})
    one = job(spec, layout, optimizer=optimizer, batch=16 * layout.dp_replicate * layout.dp_shard)
    expected = [
        rank_memory(
            spec,
            layout,
            seq_len=one.seq_len,
            micro_batches=layout.micro_batches(one.global_batch_size),
            stage_rank=place,
            optimizer=optimizer,
        )
        for place in range(layout.pp)
    ]
    found = places(one)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.weights, mine.optimizer) == pytest.approx((theirs.weights, theirs.optimizer), rel=1e-3)
    largest = max(place.total - place.workspace for place in found)
    assert largest == pytest.approx(max(place.total for place in expected), rel=0.01 if layout.pp == 1 else 0.08)


# arXiv:2205.05198, figure 1, as Calculon's authors read it off: selective recomputation with sequence
# parallelism, float16, no data parallelism. Embeddings, which they leave out, are taken off.
FIGURE_1 = [
    (48, 6144, 64, 4, 1, 1, 45.56, 9.56),
    (96, 12288, 96, 1, 8, 3, 45.56, 12.35),
    (105, 20480, 128, 1, 35, 3, 31.64, 23.08),
    (128, 25600, 160, 1, 64, 1, 32.96, 26.56),
]


@pytest.mark.parametrize(("layers", "dim", "heads", "size", "pp", "v", "states", "activations"), FIGURE_1)
def test_megatrons_paper(
    layers: int, dim: int, heads: int, size: int, pp: int, v: int, states: float, activations: float
) -> None:
    spec = ModelSpec(
        dim=dim,
        num_layers=layers,
        num_heads=heads,
        ffn_dim=4 * dim,
        gated=False,
        vocab_size=51200,
        tied_embeddings=True,
    )
    layout = Layout(
        tp=8,
        pp=pp,
        stages_per_rank=v,
        micro_batch_size=size,
        schedule="interleaved_1f1b" if v > 1 else "1f1b",
    )
    software = MEGATRON.model_copy(update={"zero": 0, "flash_attention": False, "recompute_attention": True})
    first = places(job(spec, layout, seq_len=2048, batch=size * max(pp, 1) * 8, software=software, gpu="a100"))[0]
    table = 18 * 51200 * dim / 8
    assert (first.weights + first.gradients + first.optimizer - table) / GIB == pytest.approx(states, rel=0.002)
    scores = 5 * heads / 8 * 2048 * 2048 * size  # of one layer, while they are computed again
    again = max(scores - first.logits, 0)  # which are gone by then
    assert (first.activations - again) / GIB == pytest.approx(activations, rel=0.002)


# SimuMax (MooreThreads/SimuMax, docs/b200/b200_release_v1.2_summary.md): most bytes allocated, in GiB, on 8 B200 with
# Megatron Core, bfloat16, distributed optimizer, no recomputation, 4 micro batches of one sequence.
LLAMA = {"vocab_size": 128256, "num_layers": 12, "dim": 8192, "num_heads": 64, "num_kv_heads": 8, "ffn_dim": 28672}
LARGER = LLAMA | {"num_layers": 4, "dim": 16384, "num_heads": 128, "num_kv_heads": 16, "ffn_dim": 53248}
LATENT = {
    "num_layers": 4,
    "num_heads": 128,
    "head_dim": 128,
    "mla": MLASpec(q_rank=1536, kv_rank=512, qk_nope_dim=128, qk_rope_dim=64, v_dim=128),
}
V2 = LATENT | {
    "dim": 5120,
    "ffn_dim": 12288,
    "vocab_size": 102400,
    "moe": MoESpec(num_experts=160, top_k_experts=6, ffn_dim=1536, shared_ffn_dim=3072, num_dense_layers=1),
}
V3 = LATENT | {
    "dim": 7168,
    "ffn_dim": 18432,
    "vocab_size": 129280,
    "moe": MoESpec(num_experts=256, top_k_experts=8, ffn_dim=2048, shared_ffn_dim=2048, num_dense_layers=1),
}
B200 = [
    (LLAMA, {"pp": 2, "dp_shard": 4}, 4096, 66.55),
    (LLAMA, {"tp": 2, "dp_shard": 4}, 4096, 60.68),
    (LLAMA, {"tp": 4, "dp_shard": 2}, 4096, 39.07),
    (LLAMA, {"tp": 8}, 4096, 28.29),
    (LLAMA, {"tp": 2, "cp": 4}, 32768, 68.43),
    (LLAMA, {"cp": 8}, 32768, 104.51),
    (LLAMA, {"tp": 2, "cp": 4}, 131072, 112.67),
    (LLAMA, {"cp": 8}, 131072, 147.99),
    (LARGER, {"pp": 2, "dp_shard": 4}, 4096, 87.08),
    (LARGER, {"tp": 2, "dp_shard": 4}, 4096, 81.59),
    (LARGER, {"tp": 4, "dp_shard": 2}, 4096, 52.89),
    (LARGER, {"tp": 8}, 4096, 38.57),
    (LARGER, {"tp": 2, "cp": 4}, 32768, 87.03),
    (LARGER, {"cp": 8}, 32768, 139.22),
    (LARGER, {"tp": 2, "cp": 4}, 131072, 118.13),
    (V2, {"ep": 8, "dp_shard": 8}, 4096, 45.63),
    (V2, {"ep": 4, "pp": 2, "dp_shard": 4}, 4096, 44.70),
    (V3, {"ep": 8, "dp_shard": 8}, 4096, 104.30),
    (V3, {"ep": 4, "pp": 2, "dp_shard": 4}, 4096, 114.00),
]


def test_measured_with_megatron_on_b200() -> None:
    errors = []
    for fields, axes, seq_len, measured in B200:
        layout = Layout(**axes)
        spec = ModelSpec(**fields)
        one = job(spec, layout, seq_len=seq_len, batch=4 * layout.dp_shard, software=MEGATRON, gpu="b200")
        errors.append(max(place.total - place.workspace for place in places(one)) / (measured * GIB) - 1)
    assert np.median(np.abs(errors)) < 0.01
    assert -0.015 < min(errors) <= max(errors) < 0.035


def test_what_other_programs_do_costs_what_it_should() -> None:
    layout = Layout(dp_shard=8)

    def peak(**changes: Any) -> Any:
        software = MEGATRON.model_copy(update=changes)
        return max(places(job(DENSE, layout, software=software)), key=lambda place: place.total)

    total = 8.03e9
    assert [round(peak(zero=zero).optimizer / total) for zero in (0, 1)] == [12, 2]
    assert peak(zero=3).weights == pytest.approx(4 * total / 8, rel=0.01)
    assert peak(flash_attention=False).activations > 2 * peak().activations
    assert peak(chunked_loss=True).logits < peak().logits < peak(fused_accumulation=False).logits
    short = peak(gradient_bytes=2, fused_accumulation=False)
    apart = peak(fused_accumulation=False)
    assert (round(short.gradients / total), round(peak().gradients / total), round(apart.gradients / total)) == (
        2,
        4,
        6,
    )
    assert peak(precision="float8").activations < peak().activations


def test_every_second_product_kept_is_between_all_and_none() -> None:
    software = Software(fusion="none", chunked_loss=False)
    layout = Layout(dp_shard=8, recompute="selective")
    every = places(job(DENSE, layout, software=software))[0].activations
    half = places(job(DENSE, layout, software=software.model_copy(update={"selective_products": 0.5})))[0].activations
    full = places(job(DENSE, layout.model_copy(update={"recompute": "full"}), software=software))[0].activations
    assert full < half < every


def test_lora_keeps_no_gradients_of_the_base() -> None:
    whole, few = (places(job(DENSE, Layout(dp_shard=8), task=task))[0] for task in ("pretrain", "lora"))
    assert few.weights == whole.weights
    assert few.gradients < 0.02 * whole.gradients


def test_many_jobs_at_once_are_each_as_alone() -> None:
    jobs = [job(DENSE, layout) for layout in LAYOUTS]
    together = memory.peak_memory(Points.of(jobs))
    alone = [max(place.total for place in places(one)) for one in jobs]
    assert together == pytest.approx(alone, rel=0.02)
    assert len(places(jobs[6])) == 4


def test_only_groups_of_several_ranks_have_buffers() -> None:
    sizes = memory.outside(
        Points.of([job(DENSE, Layout()), job(DENSE, Layout(dp_shard=2)), job(DENSE, Layout(tp=2, pp=2))])
    )
    assert list((sizes - memory.CONTEXT_BYTES) / memory.COMMUNICATOR_BYTES) == pytest.approx([0, 1, 2])
