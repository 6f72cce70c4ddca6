"""Every candidate passes the checks that the trainer makes, and none that it would pass is missing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colosse.core.errors import UserError
from colosse.plan.candidates import Ways, count_layouts, divisors, job_of, layouts, plainest, points_of, ways
from colosse.plan.cost import step_times
from colosse.plan.hardware import catalogue
from colosse.plan.job import Job
from colosse.plan.memory import peak_memory
from colosse.plan.points import RECOMPUTE, Points
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec, MoESpec
from colosse.spec.presets import preset

SMALL = ModelSpec(dim=2048, num_layers=12, num_heads=16, num_kv_heads=4, ffn_dim=6144, vocab_size=32768)
COLUMNS = ("pp", "dp_replicate", "dp_shard", "cp", "tp", "ep", "micro_batch", "schedule", "stages_per_rank")


def job(spec: ModelSpec, gpus: int, *, batch: int, seq_len: int = 4096, gpu: str = "h100") -> Job:
    cluster = catalogue().cluster(gpu, gpus)
    return Job(model=spec, layout=Layout(), cluster=cluster, seq_len=seq_len, global_batch_size=batch)


def every(asked: Job) -> tuple[Ways, Points, np.ndarray]:
    """All layouts, and the numbers of those that are the same but for recomputation and resharding."""
    found = ways(asked, most_tp=asked.model.num_heads)
    rows = layouts(asked, found, np.arange(len(found)))
    assert len(rows["pp"]) == count_layouts(asked, found, np.arange(len(found)))
    return found, points_of(asked, rows), rows["same"]


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
    _, found, _ = every(asked)
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
    _, found, _ = every(asked)
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
            if cp % 2 == 0 and micro_batch % 2 == 0:
                continue  # twice the data ranks with half of both do the same with less traffic
            zero_bubble = schedule.endswith("zero_bubble")
            if reshard if zero_bubble else not reshard and shard * cp == 1:
                continue  # nothing is resharded
            made = asked.model_copy(update={"layout": layout})
            columns = Points.of([made])
            expected.add(tuple(int(getattr(columns, name)[0]) for name in (*COLUMNS, "recompute", "zero")))
    assert rows == expected


def test_rows_with_one_number_differ_in_recomputation_and_resharding_alone() -> None:
    _, points, numbers = every(job(preset("llama3-8b").spec, 16, batch=64))
    order = np.argsort(numbers, kind="stable")
    same = numbers[order]
    for name in COLUMNS:
        column = getattr(points, name)[order]
        assert (column[1:] == column[:-1])[same[1:] == same[:-1]].all()
    assert len(np.unique(numbers)) >= len(points) / 6


def test_tied_embeddings_have_no_pipeline() -> None:
    found = ways(job(preset("llama3.2-1b").spec, 16, batch=64), most_tp=8)
    assert set(found.columns["pp"]) == {1.0}


def test_what_cannot_take_the_batch_is_counted() -> None:
    found = ways(job(preset("llama3-8b").spec, 64, batch=3), most_tp=8)
    assert found.refused["the batch does not divide among the data ranks"] > 0
    none = ways(job(preset("smollm2-135m").spec, 64, batch=1), most_tp=1)
    assert len(none) == 0
    assert len(layouts(job(SMALL, 64, batch=1), none, np.arange(0))["pp"]) == 0


def test_context_ranks_give_way_to_data_ranks_that_do_the_same_faster() -> None:
    """Those left out are slower than what replaces them, and need no less memory."""
    asked = job(SMALL, 16, batch=64)
    replaced = asked.model_copy(update={"layout": Layout(dp_shard=4, cp=2, tp=2, micro_batch_size=4)})
    instead = asked.model_copy(update={"layout": Layout(dp_shard=8, cp=1, tp=2, micro_batch_size=2)})
    both = Points.of([replaced, instead])
    slow, fast = step_times(both).total
    assert slow > fast
    more, less = peak_memory(both)
    assert more >= less
    found = ways(asked, most_tp=8).columns
    assert not ((found["cp"] % 2 == 0) & (found["micro_batch"] % 2 == 0)).any()


def test_the_plainest_of_a_way_is_one_of_its_layouts_or_as_fast() -> None:
    asked = job(preset("llama3-8b").spec, 16, batch=64)
    found = ways(asked, most_tp=8)
    bare = plainest(asked, found)
    assert len(bare) == len(found)
    assert set(bare.recompute) == {float(RECOMPUTE.index("none"))}


@given(st.integers(1, 100_000))
def test_divisors(number: int) -> None:
    found = divisors(number)
    assert found == sorted(set(found))
    assert all(number % n == 0 for n in found)
    assert {1, number} <= set(found)
    if number < 1000:
        assert found == [n for n in range(1, number + 1) if number % n == 0]
