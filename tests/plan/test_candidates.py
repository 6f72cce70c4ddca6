"""Every candidate passes the checks that the trainer makes, and none that it would pass is missing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colosse.core.errors import UserError
from colosse.plan.candidates import candidates, divisors, job_of
from colosse.plan.hardware import catalogue
from colosse.plan.job import Job
from colosse.plan.points import Points
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec, MoESpec
from colosse.spec.presets import preset

COLUMNS = ("pp", "dp_replicate", "dp_shard", "cp", "tp", "ep", "micro_batch", "schedule", "stages_per_rank")


def job(spec: ModelSpec, gpus: int, *, batch: int, seq_len: int = 4096, gpu: str = "h100") -> Job:
    cluster = catalogue().cluster(gpu, gpus)
    return Job(model=spec, layout=Layout(), cluster=cluster, seq_len=seq_len, global_batch_size=batch)


@pytest.mark.parametrize(
    ("model", "gpus", "batch"),
    [
        ("llama3-405b", 16384, 2048),
        ("qwen3-30b-a3b", 128, 256),
        ("mixtral-8x7b", 96, 192),
        ("deepseek-moe-16b", 64, 100),
        ("smollm2-135m", 8, 64),
        ("llama3-8b", 4, 30),
    ],
)
def test_every_candidate_is_one_that_the_trainer_takes(model: str, gpus: int, batch: int) -> None:
    asked = job(preset(model).spec, gpus, batch=batch)
    found = candidates(asked, most_tp=asked.model.num_heads).points
    rows = np.random.default_rng(0).integers(len(found), size=100)
    made = [job_of(asked, found, int(row)) for row in rows]
    for one in made:
        one.layout.check_world(gpus)
        one.layout.check(one.model, seq_len=one.seq_len, global_batch_size=batch)
    columns = Points.of(made)
    for name in vars(columns)["_columns"]:
        assert (getattr(columns, name) == getattr(found, name)[rows]).all(), name


def test_no_layout_is_missing() -> None:
    """Against all combinations of a small model on eight GPUs, tried one by one."""
    spec = ModelSpec(
        dim=64,
        num_layers=6,
        num_heads=4,
        num_kv_heads=2,
        ffn_dim=128,
        vocab_size=96,
        moe=MoESpec(num_experts=4, top_k_experts=2, ffn_dim=64, num_dense_layers=1),
    )
    asked = job(spec, 8, batch=16, seq_len=64)
    found = candidates(asked, most_tp=8).points
    rows = {
        tuple(int(getattr(found, name)[row]) for name in (*COLUMNS, "recompute", "zero")) for row in range(len(found))
    }
    assert len(rows) == len(found)
    expected = set()
    powers = (1, 2, 4, 8)
    kinds = [("1f1b", 1), ("zbv_zero_bubble", 2)]
    kinds += [(name, n) for name in ("interleaved_1f1b", "interleaved_zero_bubble") for n in (2, 3)]
    for pp, replicate, shard, cp, tp in itertools.product(powers, repeat=5):
        if pp * replicate * shard * cp * tp != 8:
            continue
        for ep, micro_batch, (schedule, stages), recompute, reshard in itertools.product(
            (1, 2, 4), (1, 2, 4, 8, 16), kinds, ("none", "selective", "full"), (True, False)
        ):
            layout = Layout.model_validate(
                {"pp": pp, "dp_replicate": replicate, "dp_shard": shard, "cp": cp, "tp": tp, "ep": ep}
                | {"micro_batch_size": micro_batch, "schedule": schedule, "stages_per_rank": stages}
                | {"recompute": recompute, "reshard_after_forward": reshard}
            )
            try:
                layout.check(spec, seq_len=64, global_batch_size=16)
            except UserError:
                continue
            if pp == 1 and schedule != "1f1b":
                continue  # the schedule of one place means nothing
            zero_bubble = schedule.endswith("zero_bubble")
            if reshard if zero_bubble else not reshard and shard * cp == 1:
                continue  # nothing is resharded
            made = asked.model_copy(update={"layout": layout})
            columns = Points.of([made])
            expected.add(tuple(int(getattr(columns, name)[0]) for name in (*COLUMNS, "recompute", "zero")))
    assert rows == expected


def test_rows_with_one_number_differ_in_recomputation_and_resharding_alone() -> None:
    found = candidates(job(preset("llama3-8b").spec, 16, batch=64), most_tp=8)
    order = np.argsort(found.same, kind="stable")
    same = found.same[order]
    for name in COLUMNS:
        column = getattr(found.points, name)[order]
        assert (column[1:] == column[:-1])[same[1:] == same[:-1]].all()


def test_tied_embeddings_have_no_pipeline() -> None:
    found = candidates(job(preset("llama3.2-1b").spec, 16, batch=64), most_tp=8)
    assert set(found.points.pp) == {1.0}


def test_what_cannot_take_the_batch_is_counted() -> None:
    found = candidates(job(preset("llama3-8b").spec, 64, batch=3), most_tp=8)
    assert found.refused["the batch does not divide among the data ranks"] > 0
    none = candidates(job(preset("smollm2-135m").spec, 64, batch=1), most_tp=1)
    assert len(none.points) == 0


@given(st.integers(1, 100_000))
def test_divisors(number: int) -> None:
    found = divisors(number)
    assert found == sorted(set(found))
    assert all(number % n == 0 for n in found)
    assert {1, number} <= set(found)
    if number < 1000:
        assert found == [n for n in range(1, number + 1) if number % n == 0]
