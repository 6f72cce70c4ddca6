"""Times of single operations: bounds that physics sets, and shapes that must matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.plan import ops
from colosse.plan.hardware import catalogue
from colosse.plan.job import Job, Software
from colosse.plan.parameters import Parameters
from colosse.plan.points import Points
from colosse.spec.layout import Layout
from colosse.spec.presets import preset

PAR = Parameters()


def points(gpu: str = "h100", **software: object) -> Points:
    cluster = catalogue().cluster(gpu, 8)
    job = Job(
        model=preset("llama3-8b").spec,
        layout=Layout(dp_shard=8),
        cluster=cluster,
        seq_len=8192,
        global_batch_size=64,
        software=Software(**software),
    )
    return Points.of([job])


def seconds(p: Points, m: float, n: float, k: float) -> float:
    return float(ops.product(p, PAR, *(np.array([float(size)]) for size in (m, n, k)))[0])


@given(m=st.integers(1, 20_000), n=st.integers(1, 20_000), k=st.integers(1, 20_000))
@settings(max_examples=60, deadline=None)
def test_a_product_is_never_faster_than_the_matrix_units_or_the_memory(m: int, n: int, k: int) -> None:
    p = points()
    took = seconds(p, m, n, k)
    assert took >= 2 * m * n * k / p.peak[0]
    assert took >= 2 * (m * k + k * n + m * n) / p.memory_rate[0]


def test_a_large_product_comes_close_to_the_best_measured() -> None:
    p = points("a100", fusion="kernels")
    rate = 2 * 8192.0**3 / seconds(p, 8192, 8192, 8192)
    assert 0.8 * PAR.product_rate <= rate / p.achievable[0] <= PAR.product_rate


def test_a_product_that_just_misses_a_wave_wastes_the_next() -> None:
    p = points("a100", fusion="kernels")
    sms = int(p.sms[0])
    full, over = seconds(p, 128, 256 * sms, 4096), seconds(p, 128, 256 * sms + 256, 4096)
    assert over > 1.2 * full


def test_nothing_takes_no_time() -> None:
    assert seconds(points(), 0, 128, 128) == 0.0


def test_older_attention_is_slower_on_newer_gpus_only() -> None:
    pairs = np.array([8192.0**2 / 2])

    def attention(gpu: str, generation: int) -> float:
        return float(ops.attention(points(gpu, flash_generation=generation), PAR, pairs)[0])

    assert attention("h100", 1) > attention("h100", 2) > attention("h100", 3)
    assert attention("a100", 2) == attention("a100", 3)


def test_a_window_costs_what_it_sees() -> None:
    p = points().with_columns(window=np.array([1024.0]), windowed_layers=np.array([32.0]))
    whole, seen = ops.attended(p, False)[0], ops.attended(p, True)[0]
    assert seen == pytest.approx(1024 * 1152 / 2 + (8192 - 1024) * 1024)
    assert seen < whole / 4


def test_written_scores_grow_with_the_square() -> None:
    p = points("a100", flash_attention=False)
    twice = p.with_columns(seq_len=2 * p.seq_len)
    none = np.array([0.0])
    assert ops.attention(twice, PAR, none)[0] == pytest.approx(4 * ops.attention(p, PAR, none)[0])
