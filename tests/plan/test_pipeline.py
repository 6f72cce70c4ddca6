"""Pipelines: the order is torch's, the times those of the papers, and the closed form follows the simulation."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.plan.pipeline import simulate, stage_place, step_span
from colosse.plan.points import SCHEDULES, Points
from colosse.spec.layout import STAGES_PER_RANK
from colosse.spec.passes import Pass, passes

TORCH = {
    "interleaved_1f1b": "ScheduleInterleaved1F1B",
    "interleaved_zero_bubble": "ScheduleInterleavedZeroBubble",
    "zbv_zero_bubble": "ScheduleZBVZeroBubble",
}
KINDS = {"F": "forward", "B": "backward", "I": "input", "W": "weight"}


def columns(**values):
    return Points(
        {name: np.atleast_1d(np.asarray(value, dtype=float)) for name, value in ({"dim": 1} | values).items()}
    )


def even(schedule, pp, v, m, transfer=0.0, *, overlap=True):
    ones = [1.0] * (pp * v)
    return simulate(schedule, pp, v, m, ones, ones, ones, transfer, overlap=overlap)


@pytest.mark.parametrize("schedule", TORCH)
@pytest.mark.parametrize(("pp", "m"), [(2, 2), (3, 5), (4, 4), (4, 10), (4, 3), (3, 9)])
def test_order_is_that_of_torch(schedule, pp, m):
    schedules = pytest.importorskip("torch.distributed.pipelining.schedules")
    v = STAGES_PER_RANK.get(schedule, 3)
    theirs = getattr(schedules, TORCH[schedule])
    for place, order in enumerate(passes(schedule, pp, v, m)):
        mine = theirs.__new__(theirs)
        mine.pp_group_size, mine.n_local_stages, mine._n_microbatches, mine._num_stages = pp, v, m, pp * v
        mine.num_stages, mine.rank = pp * v, place
        mine.number_of_rounds = max(1, m // pp)
        mine.microbatches_per_round = m // mine.number_of_rounds
        expected = [one for one in mine._calculate_single_rank_operations(place) if one is not None]
        assert order == [Pass(KINDS[one[1].value], one[0], one[2]) for one in expected]


def test_1f1b_warms_up_by_the_distance_from_the_end():
    first, last = passes("1f1b", 3, 1, 4)[0], passes("1f1b", 3, 1, 4)[-1]
    assert "".join(one.kind[0] for one in first) == "fffbfbbb"
    assert "".join(one.kind[0] for one in last) == "fbfbfbfb"


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(pp=st.integers(1, 6), v=st.integers(2, 4), m=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_each_pass_runs_once_and_after_what_it_needs(schedule, pp, v, m):
    v = STAGES_PER_RANK.get(schedule, v)
    line = even(schedule, pp, v, m, transfer=0.3)
    end = {(task.kind, task.stage, task.micro_batch): task.end for task in line.tasks}
    assert len(end) == len(line.tasks) == m * pp * v * (3 if "zero" in schedule else 2)
    back = "input" if "zero" in schedule else "backward"
    for task in line.tasks:
        assert task.place == stage_place(schedule, pp, task.stage)
        if task.kind == "forward" and task.stage:
            assert task.start >= end["forward", task.stage - 1, task.micro_batch]
        elif task.kind == back:
            assert task.start >= end["forward", task.stage, task.micro_batch]
            if task.stage < pp * v - 1:
                assert task.start >= end[back, task.stage + 1, task.micro_batch]
        elif task.kind == "weight":
            assert task.start >= end["input", task.stage, task.micro_batch]
    for place in range(pp):
        mine = sorted((task.start, task.end) for task in line.tasks if task.place == place)
        assert all(one[1] <= two[0] + 1e-9 for one, two in pairwise(mine))


def test_bubbles_are_those_of_the_papers():
    # (pp - 1) passes forward and backward, and 1 / stages_per_rank of them interleaved (arXiv:2104.04473, section 2.2);
    # a third of it is left where weights' gradients wait (arXiv:2401.10241, section 2), as long as the other passes.
    assert even("1f1b", 8, 1, 16).makespan == 3 * (16 + 7)
    assert even("interleaved_1f1b", 8, 4, 16).makespan == 3 * (16 * 4 + 7)
    assert even("interleaved_zero_bubble", 8, 4, 16).makespan == 3 * 16 * 4 + 7
    assert even("zbv_zero_bubble", 8, 2, 16).makespan == 3 * 16 * 2 + 7
    assert even("1f1b", 8, 1, 16).bubbles == [21.0] * 8


def test_sending_that_is_not_hidden_takes_the_senders_time():
    assert even("1f1b", 4, 1, 1, 0.1, overlap=False).makespan == pytest.approx(3 * 4 + 2 * 3 * 0.1)
    hidden, exposed = (even("interleaved_1f1b", 4, 2, 8, 0.1, overlap=overlap) for overlap in (True, False))
    assert max(hidden.bubbles) < 3 * 3 + 2 * 8 * 0.1
    assert exposed.makespan > hidden.makespan


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_critical_path_leads_from_the_first_pass_to_the_last(schedule):
    line = even(schedule, 4, STAGES_PER_RANK.get(schedule, 2), 6)
    path = line.critical_path
    assert path[0].start == 0
    assert path[-1].end == line.makespan
    assert all(one.end == two.start for one, two in pairwise(path))


def test_many_micro_batches_need_no_multiple_of_the_places():
    assert even("interleaved_1f1b", 4, 2, 11).makespan >= 3 * 2 * 11


# Closed form.


def spans(schedule, pp, v, m, first, last, ratio, transfer, overlap, share=0.45):
    """By simulation and in closed form; stages between take a second forward and `ratio` backward."""
    stages = pp * v
    f = np.array([first, *[1.0] * (stages - 2), last])
    line = simulate(schedule, pp, v, m, f, ratio * (1 - share) * f, ratio * share * f, transfer, overlap=overlap)
    points = columns(
        pp=pp,
        stages_per_rank=v,
        schedule=SCHEDULES.index(schedule),
        overlap_pipeline=overlap,
        batch=m,
        micro_batch=1,
        dp_replicate=1,
        dp_shard=1,
    )
    forward = tuple(np.array([x]) for x in (first, 1.0, last))
    backward = tuple(ratio * x for x in forward)
    return line.makespan, step_span(points, forward, backward, np.array([transfer]), share)[0]


CASES = {
    "pp": st.integers(2, 12),
    "v": st.integers(2, 5),
    "rounds": st.integers(1, 6),
    "ratio": st.floats(1.7, 2.6),
    "overlap": st.booleans(),
}


@pytest.mark.parametrize(("schedule", "within"), list(zip(SCHEDULES, (1e-9, 0.012, 0.02, 0.03), strict=True)))
@given(transfer=st.floats(0, 0.1), **CASES)
@settings(max_examples=60, deadline=None)
def test_closed_form_of_even_stages(schedule, within, pp, v, rounds, ratio, overlap, transfer):
    # without hidden transfer 1F1B is exact; ZB-V wants twice as many micro batches as places
    v = STAGES_PER_RANK.get(schedule, v)
    m = pp * (rounds + (schedule == "zbv_zero_bubble"))
    overlap = overlap and schedule != "1f1b"
    simulated, closed = spans(schedule, pp, v, m, 1.0, 1.0, ratio, transfer, overlap)
    sides = 0.015 if transfer and not overlap else 0.0  # the ends send less
    assert closed == pytest.approx(simulated, rel=within + sides)


@pytest.mark.parametrize(("schedule", "within"), list(zip(SCHEDULES, (0.04, 0.04, 0.05, 0.075), strict=True)))
@given(
    m_more=st.integers(0, 40), first=st.floats(0.7, 1.3), last=st.floats(0.7, 1.6), transfer=st.floats(0, 0.1), **CASES
)
@settings(max_examples=60, deadline=None)
def test_closed_form_of_uneven_stages(schedule, within, pp, v, rounds, m_more, first, last, ratio, overlap, transfer):
    v = STAGES_PER_RANK.get(schedule, v)
    simulated, closed = spans(schedule, pp, v, pp * rounds + m_more, first, last, ratio, transfer, overlap)
    assert closed == pytest.approx(simulated, rel=within)


def test_closed_form_of_many_jobs_is_close_on_the_whole():
    rng = np.random.default_rng(0)
    for schedule in SCHEDULES:
        errors = []
        for _ in range(100):
            v = STAGES_PER_RANK.get(schedule, int(rng.integers(2, 5)))
            pp = int(rng.integers(2, 13))
            m = int(rng.integers(pp, 8 * pp))
            first, last, ratio, transfer = rng.uniform([0.7, 0.7, 1.7, 0], [1.3, 1.6, 2.6, 0.1])
            simulated, closed = spans(schedule, pp, v, m, first, last, ratio, transfer, bool(rng.integers(2)))
            errors.append(abs(closed / simulated - 1))
        assert np.quantile(errors, 0.9) < 0.03
        assert np.median(errors) < 0.01


def test_one_place_computes_the_whole_model_for_every_micro_batch():
    points = columns(
        pp=1,
        stages_per_rank=1,
        schedule=0,
        overlap_pipeline=1,
        batch=12,
        micro_batch=2,
        dp_replicate=1,
        dp_shard=3,
    )
    whole = (np.array([2.0]),) * 3
    assert step_span(points, whole, (np.array([4.0]),) * 3, np.array([1.0])) == [12.0]
