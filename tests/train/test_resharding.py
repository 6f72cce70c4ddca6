"""A run that is written on one mesh and goes on, on another: the same curve, with AdamW's and Muon's state."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from colosse.parallel.apply import build  # noqa: E402
from colosse.parallel.mesh import Mesh  # noqa: E402
from colosse.spec.layout import Layout  # noqa: E402
from colosse.spec.model import ModelSpec  # noqa: E402
from colosse.train.checkpoint import Checkpoints  # noqa: E402
from colosse.train.optim import Optimizer  # noqa: E402
from colosse.train.recipe import OptimizerConfig  # noqa: E402
from tests.parallel.training import BIASED, DENSE, SEQ_LEN, Batch, global_batch, share  # noqa: E402
from tests.train.ranks import run_ranks  # noqa: E402

pytestmark = pytest.mark.torch

STEPS_EACH = 2
"""Steps that each layout trains before it hands over."""


def layouts(*sizes: dict[str, Any]) -> list[Layout]:
    return [Layout(precision="float32", micro_batch_size=2, compile="off", **size) for size in sizes]


RUNS: list[tuple[ModelSpec, str, list[Layout]]] = [
    (DENSE, "muon", layouts({}, {"dp_shard": 2}, {"tp": 2}, {"pp": 2}, {"cp": 2}, {"dp_replicate": 2}, {})),
    (BIASED, "adamw", layouts({}, {"dp_shard": 2, "ep": 2}, {"tp": 2}, {"dp_shard": 2}, {})),
]
"""Models, optimisers, and the layouts that go on one after the other; the first and the last are one process."""


def go_on(spec: ModelSpec, layout: Layout, kind: Any, folder: Path | None, steps: int) -> list[float]:
    """Train `steps` more steps from the newest checkpoint in `folder`, if any, and save. Returns their losses."""
    mesh = Mesh(layout, torch.device("cpu"))
    model = build(spec, layout, mesh, seq_len=SEQ_LEN, seed=0)
    optimizer = Optimizer(model.named_parameters(), OptimizerConfig(kind=kind), lr=0.01)
    first, state = 0, {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    if folder is not None:
        checkpoints = Checkpoints(folder, keep=1, asynchronous=True)
        found = checkpoints.load_newest(state)
        if found is not None:
            first = found[0]
            assert found[1]["position"] == {"step": first}
            optimizer.load_state_dict(state["optimizer"])
    losses = []
    for step in range(first, first + steps):
        batch = share(global_batch(step), mesh, packed=True)
        pieces = [x.split(layout.micro_batch_size) for x in vars(batch).values()]
        sums = model.train_step([Batch(*parts) for parts in zip(*pieces, strict=True)])
        totals = model.reduce(torch.cat([sums.double(), (batch.targets >= 0).sum().double().reshape(1)]))
        model.finish_gradients(totals[2], 1.0)
        optimizer.step(1.0)
        optimizer.zero_grad()
        losses.append((totals[1] / totals[2]).item())
    if folder is not None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        checkpoints.save(first + steps, state, {"position": {"step": first + steps}})
        checkpoints.wait()
    return losses


def go_on_ranks(rank: int, folder: str, expected: list[list[float]]) -> None:
    """All layouts of two ranks in turn; `expected` are the losses of each model's uninterrupted run."""
    for number, (spec, kind, path) in enumerate(RUNS):
        for turn, layout in enumerate(path[1:-1], start=1):
            losses = go_on(spec, layout, kind, Path(folder) / str(number), STEPS_EACH)
            wanted = expected[number][turn * STEPS_EACH : (turn + 1) * STEPS_EACH]
            assert losses == pytest.approx(wanted, rel=2e-5), str(layout)


def test_every_mesh_goes_on_with_the_curve_of_the_one_before(tmp_path: Path) -> None:
    expected = []
    for number, (spec, kind, path) in enumerate(RUNS):
        expected.append(go_on(spec, path[0], kind, None, STEPS_EACH * len(path)))
        assert go_on(spec, path[0], kind, tmp_path / str(number), STEPS_EACH) == expected[-1][:STEPS_EACH]
    run_ranks(go_on_ranks, 2, tmp_path, str(tmp_path), expected)
    for number, (spec, kind, path) in enumerate(RUNS):
        losses = go_on(spec, path[-1], kind, tmp_path / str(number), STEPS_EACH)
        assert losses == pytest.approx(expected[number][-STEPS_EACH:], rel=2e-5)
