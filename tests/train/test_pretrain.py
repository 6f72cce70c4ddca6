"""A train run from beginning to end, interrupted, resumed, spiked; in this process."""

from __future__ import annotations

import json
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys  # noqa: E402

from colosse.core.errors import NotFoundError, UserError  # noqa: E402
from colosse.data.prepare import prepare  # noqa: E402
from colosse.train import loop  # noqa: E402
from colosse.train.checkpoint import Checkpoints  # noqa: E402
from colosse.train.live import View  # noqa: E402
from colosse.train.loop import DivergedError, Trainer  # noqa: E402
from colosse.train.pretrain import Outcome, pretrain  # noqa: E402
from colosse.train.recipe import load_recipe  # noqa: E402
from tests.train.corpus import write_recipe  # noqa: E402

pytestmark = pytest.mark.torch

Train = Callable[..., Outcome]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(recipe, prepared data), made once."""
    folder = tmp_path_factory.mktemp("corpus")
    recipe = write_recipe(folder)
    return recipe, prepare(load_recipe(recipe).data, folder / "home", workers=1)


@pytest.fixture
def train(prepared: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train the tiny recipe, with overrides."""
    monkeypatch.setattr("colosse.train.pretrain.peak_flops", lambda *_: (1e12, "a test"))  # measuring takes time

    def run(*overrides: str, runs: str = "runs", **options: Any) -> Outcome:
        path, data = prepared
        return pretrain(load_recipe(path, overrides), prepared=data, runs_dir=tmp_path / runs, view=View(), **options)

    return run


def lines(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]


def losses(run: Path) -> dict[int, float]:
    return {row["step"]: row["train_loss"] for row in lines(run, "metrics") if "train_loss" in row}


def weights(run: Path) -> dict[str, Any]:
    """Everything that the newest checkpoint holds."""
    checkpoints = Checkpoints(run / "checkpoints", keep=2, asynchronous=False)
    step = checkpoints.newest()
    assert step is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is one process
        return _load_state_dict_from_keys(checkpoint_id=run / "checkpoints" / f"step-{step:08}")


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM for this process while that step is computed."""
    original = Trainer.step

    def notice(self: Trainer, fed: Any) -> bool:
        if self.position.step + 1 == step:
            signal.raise_signal(signal.SIGTERM)
        return original(self, fed)

    monkeypatch.setattr(Trainer, "step", notice)


def test_loss_falls_and_the_folder_tells_it(train: Train) -> None:
    done = train("train.steps=40", "eval.prompts=['the ship']", "eval.sample_tokens=4", "eval.interval_steps=20")
    assert done.finished and done.step == 40 and done.tokens == 40 * 256
    found = losses(done.run)
    assert list(found) == list(range(1, 41))
    assert found[40] < 0.8 * found[1]
    evaluations = [row for row in lines(done.run, "metrics") if "val_loss" in row]
    assert [row["step"] for row in evaluations] == [20, 40]
    last = evaluations[-1]
    assert last["val_loss.sea"] == done.val_loss["sea"] and last["bpb.sea2"] == done.bpb["sea2"]
    assert last["bpb.sea"] < last["val_loss.sea"]  # tokens of more than 1.44 bytes
    first = lines(done.run, "metrics")[0]
    assert first["tokens"] == 256 and first["sequences"] == 8 and first["mfu"] > 0 and first["memory_bytes"] > 1e6
    events = [row["event"] for row in lines(done.run, "events")]
    assert events.count("evaluation") == 2 and events.count("sample") == 2 and events[0] == "started"
    status = json.loads((done.run / "status.json").read_text())
    assert status["state"] == "finished" and status["step"] == 40 and status["total_steps"] == 40
    assert (done.run / "tokenizer" / "tokenizer.json").is_file()


def test_a_seed_is_a_run_bit_for_bit(train: Train) -> None:
    first, second, other = train(runs="a"), train(runs="b"), train("seed=1", runs="c")
    assert losses(first.run) == losses(second.run) != losses(other.run)
    assert same(weights(first.run), weights(second.run))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_interrupted_and_resumed_is_the_same_run(
    train: Train, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = train(f"optimizer.kind={kind}", runs="whole")
    with monkeypatch.context() as patch:
        stop_after(6, patch)
        stopped = train(f"optimizer.kind={kind}")
    assert not stopped.finished and stopped.step == 6
    assert json.loads((stopped.run / "status.json").read_text())["state"] == "interrupted"
    resumed = train(f"optimizer.kind={kind}")
    assert resumed.run == stopped.run and resumed.finished
    assert losses(resumed.run) == losses(whole.run)
    assert same(weights(resumed.run), weights(whole.run))
    assert resumed.bpb == whole.bpb


def test_steps_behind_the_checkpoint_are_done_again(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(runs="whole")
    original = Trainer.step

    def dies(self: Trainer, fed: Any) -> bool:
        if self.position.step == 6:
            raise RuntimeError("the power is gone")
        return original(self, fed)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power"):
        patch.setattr(Trainer, "step", dies)
        train()
    (run,) = (whole.run.parent.parent / "runs").iterdir()
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "failed" and "power" in status["message"] and status["step"] == 6
    assert max(losses(run)) == 6
    resumed = train()
    assert resumed.run == run
    rows = [row["step"] for row in lines(run, "metrics") if "train_loss" in row]
    assert rows == list(range(1, 13))
    assert losses(run) == losses(whole.run)
    assert [row["event"] for row in lines(run, "events")].count("resumed") == 1


def test_which_run_goes_on(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        stopped = train()
        assert train(new=True).run != stopped.run
        with pytest.raises(UserError, match=r"another model.*--new"):
            train("model.num_layers=1", resume=stopped.run.name)
    with pytest.raises(UserError, match=r"another train\.seq_len"):
        train("train.seq_len=64", resume="auto")
    assert train("train.steps=5").run.name not in {stopped.run.name}  # another recipe: another run
    longer = train("train.steps=14", resume=stopped.run.name)
    assert longer.run == stopped.run and longer.step == 14
    assert "steps = 14" in (stopped.run / "recipe.toml").read_text()
    with pytest.raises(UserError, match="finished"):
        train("train.steps=14", resume=stopped.run.name)
    with pytest.raises(NotFoundError):
        train(resume="tinny")


def spike_at(steps: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses a hundred times as high when a run comes to these steps, the first time only."""
    original, left = loop.ParallelModel.reduce, set(steps)
    count = {"step": 0}

    def reduce(self: Any, values: Any) -> Any:
        values = original(self, values)
        count["step"] += 1
        if count["step"] in left:
            values[1] *= 100
        return values

    monkeypatch.setattr(loop.ParallelModel, "reduce", reduce)


SPIKES = ("train.steps=30", "optimizer.spike_factor=50", "eval.interval_steps=100")


def test_a_spike_is_skipped(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    spike_at({22}, monkeypatch)
    done = train(*SPIKES)
    (event,) = [row for row in lines(done.run, "events") if row["event"] == "spike"]
    assert event["step"] == 22 and event["loss"] > event["limit"] and event["action"] == "skip"
    assert done.finished and max(losses(done.run).values()) == losses(done.run)[22]
    assert losses(done.run)[23] < 10


def test_a_spike_takes_the_run_back_and_its_sequences_are_left_out(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    spike_at({22}, monkeypatch)
    done = train(*SPIKES, "optimizer.spike_action=rollback")
    (event,) = [row for row in lines(done.run, "events") if row["event"] == "rollback"]
    assert event["step"] == 20 and event["from_step"] == 22 and event["sequences"] == 22 * 8
    rows = [row for row in lines(done.run, "metrics") if "train_loss" in row]
    assert [row["step"] for row in rows] == list(range(1, 31))
    assert rows[20]["sequences"] == 23 * 8 and rows[-1]["sequences"] == 32 * 8


def test_a_loss_that_is_no_number_stops_the_run_with_its_checkpoints_intact(train: Train) -> None:
    with pytest.raises(DivergedError, match=r"step \d+ has .*(inf|nan).*diverged.*lower optimizer.lr"):
        train("optimizer.lr=1e30", "train.steps=40", "optimizer.warmup_steps=30", "checkpoint.interval_steps=1")


def test_a_vocabulary_that_is_too_small_is_refused(train: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.vocab_size = 256 is less than the \d+ tokens"):
        train("model.vocab_size=256")
    assert not (tmp_path / "runs").exists()
