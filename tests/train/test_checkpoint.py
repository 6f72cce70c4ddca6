import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402

from colosse.core.errors import UnavailableError, UserError  # noqa: E402
from colosse.core.files import DiskFullError  # noqa: E402
from colosse.train.checkpoint import Checkpoints  # noqa: E402
from colosse.train.manifest import candidates, folder_of, read_manifest, temporary_of  # noqa: E402
from tests.train.ranks import run_ranks  # noqa: E402

pytestmark = pytest.mark.torch


def state_of(value: float) -> dict[str, Any]:
    """A state that can be told from that of every other value."""
    value = float(value)
    model = {"layers.0.weight": torch.full((64, 32), value), "scale": torch.tensor(value, dtype=torch.float64)}
    return {"model": model, "optim": {"step": torch.tensor(value), "groups": {"lr": value}}}


def value_of(state: dict[str, Any]) -> float:
    """The value of a state all of whose parts agree on it."""
    value = float(state["model"]["scale"])
    assert torch.equal(state["model"]["layers.0.weight"], torch.full((64, 32), value))
    assert float(state["optim"]["step"]) == state["optim"]["groups"]["lr"] == value
    return value


@pytest.fixture(params=[False, True], ids=["synchronous", "asynchronous"])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", keep=2, asynchronous=request.param)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk on which no file can grow beyond `size` bytes: what a full one answers, without filling one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_what_is_loaded_is_what_was_saved(checkpoints: Checkpoints) -> None:
    extra = {"step": 7, "tokens": 1 << 40, "schedule": {"peak": 3e-4}, "losses": [2.5, float("inf")], "rng": ["0af3"]}
    assert checkpoints.newest() is None
    assert checkpoints.load_newest(state_of(0)) is None
    assert checkpoints.save(7, state_of(0.125), extra) >= 0
    checkpoints.wait()
    state = state_of(0)
    assert checkpoints.newest() == 7
    assert checkpoints.load(7, state) == extra
    assert value_of(state) == 0.125
    assert checkpoints.load_newest(state) == (7, extra)


def test_a_part_of_the_state_can_be_loaded(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, state_of(3), {}, wait=True)
    state = {"model": state_of(0)["model"]}
    checkpoints.load(1, state)
    assert float(state["model"]["scale"]) == 3


def test_training_goes_on_while_the_copy_is_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=9, asynchronous=True)
    state = state_of(0)
    for step in range(1, 5):
        state["model"]["scale"].fill_(step)
        state["model"]["layers.0.weight"].fill_(step)
        state["optim"]["step"].fill_(step)
        state["optim"]["groups"]["lr"] = float(step)
        checkpoints.save(step, state, {})
        state["model"]["layers.0.weight"].fill_(-1)
        state["optim"]["groups"]["lr"] = -1.0
    checkpoints.wait()
    for step in range(1, 5):
        checkpoints.load(step, loaded := state_of(0))
        assert value_of(loaded) == step


def test_the_newest_are_kept(checkpoints: Checkpoints) -> None:
    for step in (1, 2, 3, 10):
        checkpoints.save(step, state_of(step), {}, wait=True)
    assert [step for step, _ in candidates(checkpoints.folder)] == [10, 3]


def test_a_history_that_was_given_up_goes_with_the_next_save(checkpoints: Checkpoints) -> None:
    for step in (1, 2, 3):
        checkpoints.save(step, state_of(step), {}, wait=True)
    checkpoints.save(2, state_of(20), {}, wait=True)
    assert [step for step, _ in candidates(checkpoints.folder)] == [2]
    checkpoints.load(2, state := state_of(0))
    assert value_of(state) == 20


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[random.Random(0).randrange(len(content))] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("harm", [flip, cut, os.remove])
@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", "manifest.json", "complete"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, name: str, harm: Callable[[Path], None]) -> None:
    said: list[str] = []
    checkpoints = Checkpoints(tmp_path, keep=3, asynchronous=False, say=said.append)
    for step in (1, 2):
        checkpoints.save(step, state_of(step), {"step": step})
    harm(folder_of(tmp_path, 2) / name)

    found = checkpoints.load_newest(state := state_of(0))
    assert found == (1, {"step": 1, "rng": None})
    assert value_of(state) == 1
    assert len(said) == 1
    assert said[0].startswith("passing over the checkpoint step-00000002: ")
    with pytest.raises(UserError, match="step-00000002 cannot be used"):
        checkpoints.load(2, state_of(0))

    harm(folder_of(tmp_path, 1) / name)
    with pytest.raises(UserError, match=r"none of the 2 checkpoints in .* is intact"):
        checkpoints.load_newest(state_of(0))

    checkpoints.save(3, state_of(3), {})
    assert checkpoints.newest() == 3


def test_newest_looks_at_markers_and_sizes(tmp_path: Path) -> None:
    said: list[str] = []
    checkpoints = Checkpoints(tmp_path, keep=3, asynchronous=False, say=said.append)
    for step in (1, 2, 3):
        checkpoints.save(step, state_of(step), {})
    cut(folder_of(tmp_path, 3) / "__0_0.distcp")
    (folder_of(tmp_path, 2) / "complete").unlink()
    assert checkpoints.newest() == 1
    assert "instead of" in said[0]
    assert "never completed" in said[1]
    (folder_of(tmp_path, 1) / "complete").unlink()
    with pytest.raises(UserError, match="is intact"):
        checkpoints.newest()


def test_what_a_dead_writer_left_is_never_read_and_swept(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, state_of(1), {}, wait=True)
    torn = temporary_of(checkpoints.folder, 5)
    folder_of(checkpoints.folder, 1).rename(torn)
    assert checkpoints.newest() is None
    assert checkpoints.load_newest(state_of(0)) is None
    checkpoints.save(2, state_of(2), {}, wait=True)
    assert not torn.exists()
    assert checkpoints.newest() == 2


def test_a_model_of_another_shape_or_name_is_refused(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, state_of(1), {}, wait=True)
    with pytest.raises(UserError, match=r"does not hold this model.*Size mismatch.*scale"):
        checkpoints.load(1, {"model": {"scale": torch.zeros(2)}})
    with pytest.raises(UserError, match=r"does not hold this model.*head"):
        checkpoints.load_newest({"model": {"head": torch.zeros(2)}})
    with pytest.raises(UserError, match="step-00000009 cannot be used"):
        checkpoints.load(9, state_of(0))


def test_no_room_is_noticed_before_anything_is_written(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(1, state_of(1), {}, wait=True)
    monkeypatch.setattr("colosse.core.files.free_bytes", lambda path: 1000)
    with pytest.raises(DiskFullError, match=r"72\.8 MB|67\.1 MB"):
        checkpoints.save(2, state_of(2), {}, wait=True)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]


def test_a_disk_that_fills_up_costs_nothing_that_was_complete(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, state_of(1), {}, wait=True)
    with largest_file(4096), pytest.raises(DiskFullError, match="older ones are intact"):
        checkpoints.save(2, state_of(2), {}, wait=True)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]
    checkpoints.save(2, state_of(2), {}, wait=True)
    assert checkpoints.load_newest(state := state_of(0)) is not None
    assert value_of(state) == 2


def test_what_the_background_met_is_raised_by_the_next_call(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "file" / "checkpoints", keep=1, asynchronous=True)
    (tmp_path / "file").write_text("no folder")
    checkpoints.save(1, state_of(1), {})
    with pytest.raises(UnavailableError, match="could not be written"):
        checkpoints.save(2, state_of(2), {})
    checkpoints.wait()


KILLED_WRITER = """
import os, sys
from pathlib import Path
import torch
from colosse.train.checkpoint import Checkpoints

torch.set_num_threads(1)
folder, steps = Path(sys.argv[1]), sys.argv[2]
CHANGES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"}

def state(value):
    return {"model": {"weight": torch.full((2000,), float(value))}, "optim": {"step": torch.tensor(float(value))}}

def die_at(change):
    left = change
    def hook(event, arguments):
        nonlocal left
        if event in CHANGES and (event != "open" or (arguments[2] & (os.O_WRONLY | os.O_RDWR))):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), 9)
    sys.addaudithook(hook)

checkpoints = Checkpoints(folder, keep=1, asynchronous=True)
good = value = 1
checkpoints.save(good, state(value), {"value": value}, wait=True)
deaths, outcomes = 0, set()
while True:
    step = good if steps == "same" else good + 1
    child = os.fork()
    if not child:
        die_at(deaths + 1)
        Checkpoints(folder, keep=1, asynchronous=deaths % 2 == 0).save(
            step, state(value + 1), {"value": value + 1}, wait=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    loaded = state(0)
    good, extra = checkpoints.load_newest(loaded)
    assert extra["value"] in (value, value + 1), (extra, value)
    assert torch.equal(loaded["model"]["weight"], state(extra["value"])["model"]["weight"])
    assert loaded["optim"]["step"] == extra["value"]
    outcomes.add(extra["value"] - value)
    value = extra["value"]
    if status == 0:
        break
    assert os.waitstatus_to_exitcode(status) == -9
    deaths += 1
assert outcomes == {0, 1}
assert [path.name for path in folder.iterdir()] == [f"step-{good:08d}"], list(folder.iterdir())
print(deaths)
"""


@pytest.mark.parametrize("steps", ["next", "same"])
def test_a_writer_killed_before_any_of_its_changes_leaves_the_old_or_the_new(tmp_path: Path, steps: str) -> None:
    """A child process for each change that a save makes to the folder, killed by SIGKILL just before making it."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, str(tmp_path / "checkpoints"), steps],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 8


def network(seed: int) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(16, 24), torch.nn.ReLU(), torch.nn.Linear(24, 5))


def spread(kind: str, seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A network over all ranks, and its optimiser."""
    model = network(seed)
    if kind == "fsdp":
        fully_shard(model)
    elif kind == "hsdp":
        fully_shard(model, mesh=init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard")))
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> list[float]:
    """Losses of steps `first` to `last`; every rank sees the whole batch, so that layouts can be compared."""
    losses = []
    for step in range(first, last + 1):
        inputs = torch.randn(8, 16, generator=torch.Generator().manual_seed(step))
        loss = model(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def go_on(rank: int, folder: str, kind: str, first: int, last: int, expected: list[float]) -> None:
    """Load step first - 1 if there is one, train to `last` as the uninterrupted run did, save."""
    model, optimizer = spread(kind, seed=first - 1)
    checkpoints = Checkpoints(Path(folder), keep=2, asynchronous=True)
    if first > 1:
        weights, moments = get_state_dict(model, optimizer)
        state = {"model": weights, "optim": moments}
        found = checkpoints.load_newest(state)
        assert found is not None
        assert found[0] == first - 1
        assert found[1].get("rng", {"rank": rank}) == {"rank": rank}
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optim"])
    assert train(model, optimizer, first, last) == pytest.approx(expected[first - 1 : last], rel=1e-6)
    weights, moments = get_state_dict(model, optimizer)
    checkpoints.save(last, {"model": weights, "optim": moments}, {"rng": {"rank": rank}})
    checkpoints.wait()


def test_another_number_of_ranks_go_on_with_the_same_curve(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    model = network(seed=0)
    expected = train(model, torch.optim.AdamW(model.parameters(), lr=0.01), 1, 9)
    run_ranks(go_on, 2, folder.parent, str(folder), "fsdp", 1, 3, expected)
    assert set(read_manifest(folder_of(folder, 3)).files) == {".metadata", "__0_0.distcp", "__1_0.distcp"}
    (tmp_path / "rendezvous").unlink(missing_ok=True)
    go_on(0, str(folder), "plain", 4, 6, expected)
    run_ranks(go_on, 4, folder.parent, str(folder), "hsdp", 7, 9, expected)


def fail_on_rank_1(rank: int, folder: str) -> None:
    checkpoints = Checkpoints(Path(folder), keep=2, asynchronous=True)
    whole = {"rows": torch.arange(20_000.0)}
    model = torch.nn.Linear(200, 200)
    fully_shard(model)
    state = {"model": model.state_dict(), "more": whole}
    checkpoints.save(1, state, {}, wait=True)
    with largest_file(4096 if rank == 1 else 1 << 30), pytest.raises(DiskFullError, match="older ones are intact"):
        checkpoints.save(2, state, {}, wait=True)
    assert checkpoints.newest() == 1
    checkpoints.save(2, state, {}, wait=True)
    assert checkpoints.newest() == 2
    if rank == 0:
        assert sorted(path.name for path in Path(folder).iterdir()) == ["step-00000001", "step-00000002"]
        flip(folder_of(Path(folder), 2) / "__1_0.distcp")
    torch.distributed.barrier()
    found = checkpoints.load_newest(state)
    assert found is not None
    assert found[0] == 1


def test_what_one_rank_meets_is_told_to_all(tmp_path: Path) -> None:
    run_ranks(fail_on_rank_1, 2, tmp_path, str(tmp_path / "checkpoints"))
