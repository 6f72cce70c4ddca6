"""The search: it finds what trying everything finds, ranks it, and says why the rest lose."""

import numpy as np
import pytest

from colosse.core.errors import UserError
from colosse.plan import space as space_module
from colosse.plan.calibration import calibration
from colosse.plan.candidates import job_of, layouts, points_of, ways
from colosse.plan.cost import estimate
from colosse.plan.costs import Amount
from colosse.plan.hardware import catalogue
from colosse.plan.job import Job
from colosse.plan.search import (
    MEMORY_SLACK,
    batch_for,
    gpus_needed,
    quickest,
    round_batch,
    search,
    summary,
    training_dollars,
    training_seconds,
)
from colosse.plan.whatif import KNEE, knee, scaling, sensitivity
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec, MoESpec
from colosse.spec.presets import preset

PRICE = Amount(2.0, 3.0, 4.5)

SMALL = ModelSpec(dim=2048, num_layers=12, num_heads=16, num_kv_heads=4, ffn_dim=6144, vocab_size=32768)


def job(spec: ModelSpec, gpus: int, batch: int, *, seq_len: int = 4096, gpu: str = "h100") -> Job:
    cluster = catalogue().cluster(gpu, gpus)
    return Job(model=spec, layout=Layout(), cluster=cluster, seq_len=seq_len, global_batch_size=batch)


def test_the_first_is_as_fast_as_any_of_all_layouts() -> None:
    asked = job(SMALL, 16, 64)
    found = search(asked)
    found_ways = ways(asked, most_tp=8)
    points = points_of(asked, layouts(asked, found_ways, np.arange(len(found_ways))))
    rows = np.random.default_rng(0).integers(len(points), size=200)
    others = [estimate(job_of(asked, points, int(row))) for row in rows]
    assert found.considered == len(points)
    room = calibration().memory[1]
    memory = asked.cluster.gpu.memory_gb * 1e9
    fitting = [one for one in others if one.peak_memory.total * room <= memory]
    assert len(fitting) > 20
    assert found.best.step_s.value <= 1.005 * min(one.step_s.value for one in fitting)


def test_branch_and_bound_leaves_nothing_out_that_could_be_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = job(preset("llama3-8b").spec, 64, 256)
    monkeypatch.setattr(space_module, "BATCH", 50)
    quick = search(asked)
    monkeypatch.setattr(space_module, "WORTH", 1e9)
    monkeypatch.setattr(space_module, "BATCH", 10**9)
    whole = search(asked)
    assert quick.considered == whole.considered
    assert quick.timed < whole.timed
    assert [one.estimate.job.layout for one in quick.ranked] == [one.estimate.job.layout for one in whole.ranked]


def test_no_layout_is_faster_than_the_bound_of_its_way() -> None:
    asked = job(SMALL, 16, 64)
    found = space_module.space(asked, everything=True)
    chosen = np.setdiff1d(np.arange(len(found.ways)), found.unseen)
    for way in chosen[:50]:
        rows = found.ways.columns
        mine = np.ones(len(found.timed), dtype=bool)
        for name in ("pp", "tp", "cp", "dp_shard", "ep", "micro_batch"):
            mine &= getattr(found.points, name)[found.timed] == rows[name][way]
        assert (found.steps.total[mine] >= found.bound[way]).all()


def test_what_fits_has_room_for_the_error_of_the_estimate() -> None:
    found = search(job(preset("llama3-8b").spec, 8, 64))
    high = calibration().memory[1]
    assert all(
        one.estimate.peak_memory.total * high <= one.estimate.job.cluster.gpu.memory_gb * 1e9 for one in found.ranked
    )


def test_answers_are_ranked_fit_and_say_why() -> None:
    found = search(job(preset("llama3-8b").spec, 64, 256), top=8)
    times = [one.estimate.step_s.value for one in found.ranked]
    assert len(times) == 8
    assert times == sorted(times)
    assert all(one.estimate.fits and one.headroom > 0 for one in found.ranked)
    assert found.ranked[0].why == ""
    assert found.ranked[0].behind == 0
    for one in found.ranked[1:]:
        assert one.behind == pytest.approx(one.estimate.step_s.value / times[0] - 1)
        assert one.why or one.behind < 2e-3
    distinct = {summary(one.estimate.job.layout).replace("keep weights", "") for one in found.ranked}
    assert len(distinct) == 8


def test_every_layout_is_accounted_for() -> None:
    asked = job(preset("llama3-70b").spec, 64, 256)
    found = search(asked)
    refused = ways(asked, most_tp=8).refused
    lost = [one for one in found.losers if one.reason not in refused]
    assert sum(one.layouts for one in lost) + 1 == found.considered
    slower = sum(one.layouts for one in lost if one.reason.startswith("slower: "))
    assert slower + 1 == found.timed
    assert any(one.reason.startswith("needs ") for one in lost)
    assert all(one.nearest is None or one.nearest >= 0 for one in lost)


def test_each_setting_shows_its_values() -> None:
    found = search(job(preset("llama3-8b").spec, 64, 256))
    layout = found.best.job.layout
    by = {(one.setting, one.value): one for one in found.options}
    assert by["tp", str(layout.tp)].behind == 0
    assert by["recompute", layout.recompute].behind == 0
    assert {value for setting, value in by if setting == "recompute"} == {"none", "selective", "full"}
    for one in found.options:
        assert one.behind is not None or one.why


def test_memory_is_ranked_among_those_that_are_nearly_as_fast() -> None:
    asked = job(preset("llama3-8b").spec, 16, 64)
    fastest = search(asked).best.step_s.value
    ranked = search(asked, by="memory").ranked
    rooms = [one.headroom for one in ranked]
    assert rooms == sorted(rooms, reverse=True)
    assert all(one.estimate.step_s.value < (1 + MEMORY_SLACK) * fastest * 1.02 for one in ranked)
    assert rooms[0] >= search(asked).ranked[0].headroom


def test_cost_looks_at_smaller_clusters_too() -> None:
    found = search(job(preset("llama3-8b").spec, 256, 1024), by="cost", tokens=1e12, price=PRICE)
    costs = [one.dollars.value for one in found.ranked if one.dollars]
    assert costs == sorted(costs)
    assert len({one.estimate.job.cluster.gpus for one in found.ranked}) > 1
    with pytest.raises(UserError, match="needs tokens and a price"):
        search(job(SMALL, 8, 64), by="cost")


def test_totals_of_a_training() -> None:
    one = search(job(SMALL, 8, 64)).best
    tokens = 1e9
    seconds, dollars = training_seconds(one, tokens), training_dollars(one, tokens, PRICE)
    assert seconds is not None and dollars is not None
    steps = -(-tokens // (64 * 4096))
    assert seconds.value == pytest.approx(steps * one.step_s.value)
    assert dollars.value == pytest.approx(seconds.value * 8 / 3600 * 3.0)
    assert dollars.low <= dollars.value <= dollars.high
    assert training_seconds(one, 0) is None
    assert training_dollars(one, tokens, None) is None


def test_a_model_that_is_too_large_says_how_many_gpus_would_do() -> None:
    asked = job(preset("llama3-405b").spec, 16, 256)
    need = gpus_needed(asked)
    assert need is not None and 64 <= need <= 512
    with pytest.raises(UserError, match=rf"does not fit on 16 .*\({need} GPUs would do\)"):
        search(asked)
    enough = asked.model_copy(update={"cluster": catalogue().cluster("h100", need)})
    assert quickest(enough) is not None
    fewer = asked.model_copy(update={"cluster": catalogue().cluster("h100", need // 2)})
    assert quickest(fewer) is None


def test_a_model_larger_than_any_cluster() -> None:
    giant = ModelSpec(dim=2**20, num_layers=2, num_heads=8, num_kv_heads=1, ffn_dim=2**23, vocab_size=1001)
    with pytest.raises(UserError, match="not even 1048576 GPUs would do"):
        search(job(giant, 8, 8))


def test_a_batch_that_no_layout_divides() -> None:
    with pytest.raises(UserError, match=r"batch of 3 sequences among 64 GPUs \(a batch of 262144 tokens works\)"):
        search(job(preset("smollm2-135m").spec, 64, 3))


def test_experts_are_spread() -> None:
    spec = SMALL.model_copy(update={"moe": MoESpec(num_experts=64, top_k_experts=4, ffn_dim=1024)})
    found = search(job(spec, 32, 128))
    assert {one.value for one in found.options if one.setting == "ep"} == {"1", "2", "4", "8", "16", "32"}


@pytest.mark.parametrize(("wanted", "gpus"), [(1953.1, 16384), (1, 8), (0.2, 8), (100, 1), (777, 96), (64, 1000)])
def test_a_batch_is_rounded_to_what_divides(wanted: float, gpus: int) -> None:
    found = round_batch(wanted, gpus)
    assert found >= 1
    assert found == 1 or abs(found / wanted - 1) <= 1 / 8
    assert round_batch(1953.1, 16384) == 2048


def test_the_batch_by_law_grows_with_the_training() -> None:
    spec = preset("llama3-8b").spec
    sizes = [batch_for(spec, seq_len=4096, tokens=tokens, gpus=64) for tokens in (1e9, 1e11, 1e13)]
    assert sizes == sorted(sizes)
    assert batch_for(spec, seq_len=4096, tokens=0, gpus=64) in range(sizes[0], sizes[2] + 1)


def test_scaling_has_a_knee_and_sensitivity_a_direction() -> None:
    asked = job(preset("llama3-8b").spec, 64, 256)
    one = search(asked).best
    curve = scaling(asked, one)
    sizes = [each.job.cluster.gpus for each in curve]
    assert sizes == sorted(sizes)
    assert one in curve
    at = knee(curve)
    best = max(each.tokens_per_s_per_gpu.value for each in curve)
    assert at.tokens_per_s_per_gpu.value >= KNEE * best
    effects = {effect.name: dict(effect.cases) for effect in sensitivity(one, PRICE)}
    assert effects["matrix products"]["a tenth slower"] > 0.01 > effects["matrix products"]["a tenth faster"]
    assert effects["price"] == {"$4.50 per GPU-hour": pytest.approx(0.5), "$2.00 per GPU-hour": pytest.approx(-1 / 3)}


def test_a_line_for_a_layout() -> None:
    assert summary(Layout()) == "one GPU · mb 1"
    layout = Layout(
        pp=4, dp_replicate=2, dp_shard=8, tp=8, schedule="interleaved_1f1b", stages_per_rank=2, recompute="full"
    )
    assert summary(layout) == "pp 4 · dp 2×8 · tp 8 · mb 1 · interleaved×2 · recompute full"
    kept = Layout(dp_shard=4, ep=4, micro_batch_size=2, reshard_after_forward=False)
    assert summary(kept) == "dp 4 · ep 4 · mb 2 · keep weights"
