"""The report, from an estimate made by hand and from a real one."""

import itertools
import re
from pathlib import Path

import pytest

from colosse.plan.costs import Amount
from colosse.plan.estimate import Band, Estimate, StageMemory, Task
from colosse.plan.hardware import catalogue
from colosse.plan.job import Job
from colosse.plan.pipeline import simulate
from colosse.plan.recipe_text import recipe_text
from colosse.plan.report import Plan, render_report, write_report
from colosse.plan.report_figures import AXIS_COLORS, TASKS_SHOWN, peer_axis, percent, ranks_on_nodes, timeline
from colosse.plan.search import search
from colosse.plan.whatif import Effect
from colosse.spec.layout import AXES, Layout
from colosse.spec.presets import preset
from colosse.train.recipe import load_recipe, resolve
from tests.train.test_report import Outline

KINDS = ("products", "attention", "tensor_parallel", "pipeline_bubble", "fixed")


def made(layout: Layout, *, gpu: str = "h100", total: float = 60e9, model: str = "llama3-8b") -> Estimate:
    job = Job(
        model=preset(model).spec,
        layout=layout,
        cluster=catalogue().cluster(gpu, layout.world_size),
        seq_len=4096,
        global_batch_size=layout.data_ranks * 16,
    )
    return Estimate(
        job=job,
        step_s=Band(2.0, 1.8, 2.3),
        tokens_per_s_per_gpu=Band(9000.0, 8000.0, 10000.0),
        breakdown={kind: 2.0 / len(KINDS) for kind in KINDS},
        model_flops=1e18,
        mfu=0.41,
        memory=[StageMemory(p, *[(total - p * 1e9) / 7] * 7) for p in range(layout.pp)],
        memory_band=(0.95, 1.05),
        fits=total < 85e9,
        cautions=["a <caution>"],
    )


def test_a_page_stands_alone() -> None:
    one = made(Layout(pp=2, dp_shard=4, tp=8))
    tasks = simulate("1f1b", 2, 1, 16, [1.0] * 2, [1.0] * 2, [1.0] * 2, 0.1).tasks
    effects = [Effect("network <x>", (("halves", 0.04), ("doubles", -0.02)))]
    page = render_report(Plan("a & b", one, 1e12, Amount.of(2, 4), tasks, effects=effects, recipe='name = "x"'))
    outline = Outline(page)
    assert outline.addresses == ["data:,"]
    assert "://" not in page.replace("http://www.w3.org", "")
    for words in ("a & b on 64 H100-SXM-80GB", "a <caution>", "network <x>", "+4.0\u202f%", "−2.0\u202f%", "Place 1"):
        assert words in outline.text, words
    assert "tight" not in outline.text
    assert "41 %" in outline.text
    assert 'name = "x"' in outline.text


def test_what_does_not_fit_says_so() -> None:
    assert "does not fit" in Outline(render_report(Plan("m", made(Layout(), total=90e9)))).text
    assert "tight" in Outline(render_report(Plan("m", made(Layout(), total=84e9)))).text


@pytest.mark.parametrize(
    ("layout", "gpu"),
    [
        (Layout(), "h100"),
        (Layout(tp=2, dp_shard=2), "h100"),
        (Layout(dp_shard=512), "h100"),
        (Layout(pp=4, dp_replicate=2, dp_shard=4, cp=2, tp=8), "h100"),
        (Layout(dp_shard=9, tp=8), "gb200"),
        (Layout(pp=32, dp_shard=64, tp=8), "h100"),
    ],
)
def test_gpus_are_drawn_in_their_boxes(layout: Layout, gpu: str) -> None:
    drawn = ranks_on_nodes(made(layout, gpu=gpu))
    Outline(drawn)
    assert drawn.count('class="self"') == 1
    for axis in AXES:
        assert (f">{axis} " in drawn) == (getattr(layout, axis) > 1)
    inner = layout.tp
    if 1 < inner <= 8:
        assert drawn.count(f"peer c{AXIS_COLORS['tp']}") == inner - 1


def test_peers_are_those_that_differ_on_one_axis() -> None:
    layout = Layout(pp=2, dp_replicate=2, dp_shard=3, cp=2, tp=4)
    found: dict[str, int] = {}
    for rank in range(layout.world_size):
        axis = peer_axis(layout, rank)
        found[axis] = found.get(axis, 0) + 1
    assert {axis: found[axis] for axis in AXES} == {axis: getattr(layout, axis) - 1 for axis in AXES}
    places = itertools.product(*(range(getattr(layout, axis)) for axis in AXES))
    one_axis = [sum(place > 0 for place in at) == 1 for at in places]
    assert [bool(peer_axis(layout, rank)) for rank in range(layout.world_size)] == one_axis


def test_a_long_timeline_shows_its_beginning_and_its_end() -> None:
    tasks = [Task(n % 4, "forward", n, n % 4, float(n), n + 1.0) for n in range(3 * TASKS_SHOWN)]
    drawn = timeline(tasks, 4)
    assert drawn.count("<svg") == 2
    assert len(drawn) < 100_000
    assert timeline(tasks[:100], 4).count("<svg") == 1
    places = [float(x) for x in re.findall(r"M([\d.]+) ", drawn)]
    assert 0 <= min(places) <= max(places) <= 1000
    assert timeline([], 4) == ""


def test_shares_are_written_with_their_sign() -> None:
    assert [percent(share) for share in (0.123, -0.0421, 0.0)] == ["+12\u202f%", "−4.2\u202f%", "0.0\u202f%"]


def test_of_a_search_and_with_its_recipe(tmp_path: Path) -> None:
    job = Job(
        model=preset("llama3-70b").spec,
        layout=Layout(),
        cluster=catalogue().cluster("h100", 256),
        seq_len=8192,
        global_batch_size=512,
    )
    found = search(job, tokens=1e12, price=Amount.of(2, 4))
    text = recipe_text(found.best, name="a", model={"preset": "llama3-70b"}, tokens=1e12, checkpoint_s=900)
    (tmp_path / "recipe.toml").write_text(text)
    recipe = load_recipe(tmp_path / "recipe.toml")
    resolved = resolve(recipe)
    assert recipe.layout == found.best.job.layout
    assert resolved.global_batch_size == 512
    assert resolved.total_tokens == pytest.approx(1e12, rel=1e-3)
    assert recipe.checkpoint.interval_s == 900
    path = write_report(Plan("llama3-70b", found.best, 1e12, found=found, recipe=text), tmp_path / "report.html")
    outline = Outline(path.read_text(encoding="utf-8"))
    assert "Why all others lose" in outline.text
    assert found.losers[-1].reason in outline.text
