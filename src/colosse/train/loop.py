"""The training loop: steps, and between them evaluations, checkpoints and the wish to stop.

All ranks run it alike. What one of them decides alone (it was asked to stop; rank 0's clock says that a checkpoint is
due) they agree on at the beginning of a step and act on at its end. Numbers come back one step late from a device that
works on its own, so that it never waits for us.
"""

from __future__ import annotations

import base64
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from textwrap import indent
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from colosse.core.errors import ColosseError
from colosse.parallel.apply import ParallelModel
from colosse.parallel.mesh import Mesh
from colosse.spec.counts import mfu
from colosse.train.checkpoint import Checkpoints
from colosse.train.evaluate import Evaluator, Loss
from colosse.train.feed import Fed, Feed, Sequences
from colosse.train.guard import PATIENCE, SpikeGuard
from colosse.train.memory import memory_in_use
from colosse.train.optim import Optimizer
from colosse.train.recipe import Recipe, Resolved
from colosse.train.record import Record
from colosse.train.schedule import lr_fraction
from colosse.train.signals import StopRequest


class DivergedError(ColosseError):
    """The loss is not a number any more."""

    code = "diverged"


@dataclass
class Position:
    """How far a run has come.

    Attributes:
        step: optimiser steps done, skipped ones included.
        sequences: number of the next sequence of the global order.
        tokens: that were trained on.
        seconds: of training, over all parts of the run.
    """

    step: int = 0
    sequences: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Trainer:
    """One rank's part in one train run.

    Args:
        recipe: what to do.
        resolved: the numbers that follow from it.
        model: on its mesh.
        sequences: to train on.
        evaluator: of the same model.
        checkpoints: of this run.
        record: where it is written what happens.
        peak: FLOP/s of one rank that count as 100% (see `peak.peak_flops`).
        sample: continues the recipe's prompts with the model as it is; collective.
    """

    def __init__(
        self,
        recipe: Recipe,
        resolved: Resolved,
        model: ParallelModel,
        *,
        sequences: Sequences,
        evaluator: Evaluator,
        checkpoints: Checkpoints,
        record: Record,
        peak: float,
        sample: Callable[[], list[tuple[str, str]]],
    ) -> None:
        self.recipe = recipe
        self.resolved = resolved
        self.model = model
        self.mesh = model.mesh
        self.position = Position()
        self.losses: dict[str, Loss] = {}
        self._sequences = sequences
        self._evaluator = evaluator
        self._checkpoints = checkpoints
        self._record = record
        self._peak = peak
        self._sample = sample
        self._optimizer = Optimizer(model.named_parameters(), recipe.optimizer, resolved.lr)
        self._guard = SpikeGuard(recipe.optimizer.spike_factor)
        self._unread: deque[_Unread] = deque()
        self._saved_step = -1
        self._saved_at = time.monotonic()
        self._clock = time.perf_counter()
        self._stall_s = 0.0

    def train(self, stop: StopRequest) -> bool:
        """Go on from the newest checkpoint, or begin, until the end of the recipe or until asked to stop.

        Returns:
            Whether it came to the end; both ways there is a checkpoint of the last step.

        Raises:
            DivergedError: the loss became infinite or not a number and no guard was set.
            ColosseError: data or checkpoints cannot be read or written; older checkpoints are intact.
        """
        torch.manual_seed(self.recipe.seed + self.mesh.rank)
        self._restore()
        feed = self._feed()
        try:
            while self.position.step < self.resolved.total_steps:
                wish = _Wish(self.mesh, lambda: stop.received, self._checkpoint_time_has_come)
                if not self.step(feed.next()):
                    feed.close()
                    feed = self._feed()
                    continue
                if self._stops_after_step(*wish.granted()):
                    return False
        finally:
            feed.close()
        self._evaluate()
        self._checkpoints.wait()
        return True

    def _stops_after_step(self, stopping: bool, checkpoint: bool) -> bool:
        """What comes between two steps. Returns whether the run ends early."""
        self._read_metrics(behind=0 if self.mesh.device.type == "cpu" else 1)
        step, interval = self.position.step, self.recipe.checkpoint.interval_steps
        last = step == self.resolved.total_steps
        if stopping or last or checkpoint or (interval and step % interval == 0):
            self._save()
        if stopping and not last:
            self._checkpoints.wait()
            return True
        if not last and step % self.resolved.eval_interval_steps == 0:
            self._evaluate()
        return False

    def _restart_clock(self) -> None:
        """What was done since the last numbers came is no part of a step."""
        self._clock = time.perf_counter()

    def _feed(self) -> Feed:
        return Feed(
            self._sequences,
            first=self.position.sequences,
            global_batch_size=self.resolved.global_batch_size,
            data_rank=self.mesh.data_rank,
            data_ranks=self.mesh.data_ranks,
            micro_batch_size=self.recipe.layout.micro_batch_size,
            device=self.mesh.device,
        )

    def step(self, fed: Fed) -> bool:
        """Forward, backward and update. False if a spike has taken the run back to its last checkpoint."""
        position, config = self.position, self.recipe.optimizer
        sums = self.model.train_step(fed.batches)
        # Filled on the device: a copy from here would wait for all of its work.
        targets = torch.full((1,), fed.num_targets, dtype=sums.dtype, device=sums.device)
        totals = self.model.reduce(torch.cat([sums, targets]))
        norm = self.model.finish_gradients(totals[2], config.max_grad_norm)
        fraction = lr_fraction(position.step, self.resolved.total_steps, config)
        spike = self._guard.factor > 0 and self._is_spike(totals, norm)
        if spike and config.spike_action == "rollback" and self._roll_back():
            return False
        if not spike:
            self._optimizer.step(fraction)
        self._optimizer.zero_grad()
        position.step += 1
        position.sequences += self.resolved.global_batch_size
        position.tokens += self.resolved.tokens_per_step
        numbers = {
            "lr": self._optimizer.lr * fraction,
            "data_wait_s": round(fed.wait_s, 6),
            "checkpoint_stall_s": round(self._stall_s, 6),
        }
        self._stall_s = 0.0
        values = torch.stack((totals[1] / totals[2], norm.double()))
        self._unread.append(_Unread(Position(**asdict(position)), numbers, HostCopy(values)))
        return True

    def _is_spike(self, totals: Tensor, norm: Tensor) -> bool:
        """Whether this step's update must not be made. Looking at the loss waits for the device: the guard's price."""
        loss, limit = float(totals[1] / totals[2]), self._guard.limit()
        if not self._guard.is_spike(loss if math.isfinite(float(norm)) else math.nan):
            return False
        if not math.isfinite(loss + float(norm)) and self._guard.in_a_row > PATIENCE:
            raise _diverged(self.position.step + 1, loss, float(norm))
        text = f"step {self.position.step + 1}: loss {loss:.4g} is a spike (limit {limit:.4g})"
        action = self.recipe.optimizer.spike_action
        self._record.event(
            "spike", self.position.step + 1, text, loss=_number(loss), limit=_number(limit), action=action
        )
        return True

    def _roll_back(self) -> bool:
        """Load the newest checkpoint and go on behind the sequences of the spike. False where there is none yet."""
        self._checkpoints.wait()
        behind = self.position.sequences + self.resolved.global_batch_size
        spike_step, guard = self.position.step + 1, self._guard
        if self._checkpoints.newest() is None:
            return False
        self._optimizer.zero_grad()
        self._unread.clear()
        self._restore()
        skipped = behind - self.position.sequences
        self.position.sequences = behind
        self._guard = guard
        text = f"back from step {spike_step} to step {self.position.step}; {skipped} sequences are left out"
        self._record.event("rollback", self.position.step, text, sequences=behind, from_step=spike_step)
        return True

    def _read_metrics(self, behind: int) -> None:
        """Record the steps whose numbers have come, all but the newest `behind`.

        A step took the time from when the numbers before its own came, without evaluations and checkpoints: on a device
        that works on its own, the time in which it is given work says nothing.
        """
        while len(self._unread) > behind:
            unread = self._unread.popleft()
            loss, norm = unread.values.read()
            seconds = time.perf_counter() - self._clock
            self._clock += seconds
            self.position.seconds += seconds
            step = unread.position.step
            if not (math.isfinite(loss) and math.isfinite(norm)) and not self._guard.factor:
                raise _diverged(step, loss, norm)
            speed = self.resolved.tokens_per_step / seconds
            per_rank = speed / self.mesh.world_size
            self._record.step(
                {
                    "step": step,
                    "tokens": unread.position.tokens,
                    "sequences": unread.position.sequences,
                    "train_loss": loss,
                    "grad_norm": norm,
                    **unread.numbers,
                    "tokens_per_second": round(speed, 1),
                    "tokens_per_second_per_gpu": round(per_rank, 1),
                    "mfu": round(mfu(self.resolved.spec, self.recipe.train.seq_len, per_rank, self._peak), 4),
                    "memory_bytes": memory_in_use(self.mesh.device),
                    "seconds": round(self.position.seconds, 3),
                }
            )

    def _evaluate(self) -> None:
        self._read_metrics(behind=0)
        self.losses = self._evaluator.losses()
        step = self.position.step
        if self.losses:  # a very small corpus may have nothing to hold out
            self._tell_losses(step)
        for prompt, continued in self._sample():
            text = indent(prompt + continued, "  | ", lambda line: True)
            self._record.event("sample", step, text, prompt=prompt, sample=continued)
        self._restart_clock()

    def _tell_losses(self, step: int) -> None:
        every = sum(self.losses.values(), Loss(0.0, 0, 0))
        metrics: dict[str, float] = {"val_loss": every.per_token, "bpb": every.bpb}
        for name, loss in self.losses.items():
            metrics |= {f"val_loss.{name}": loss.per_token, f"bpb.{name}": loss.bpb}
        self._record.evaluation({"step": step, "tokens": self.position.tokens, **metrics})
        text = f"step {step}: held-out loss {every.per_token:.4f}, {every.bpb:.4f} bits per byte"
        if len(self.losses) > 1:
            text += f" ({', '.join(f'{name} {loss.bpb:.3f}' for name, loss in self.losses.items())})"
        self._record.event("evaluation", step, text, **metrics)

    def _checkpoint_time_has_come(self) -> bool:
        """By rank 0's clock, where checkpoints go by time."""
        config = self.recipe.checkpoint
        late = time.monotonic() - self._saved_at >= config.interval_s
        return self.mesh.rank == 0 and not config.interval_steps and late

    def _save(self) -> None:
        """Metrics first: a step whose loss is not a number must not become a checkpoint."""
        self._read_metrics(behind=0)
        step = self.position.step
        if step != self._saved_step:
            extra = {
                "position": asdict(self.position),
                "guard": self._guard.state(),
                "rng": base64.b64encode(bytes(torch.get_rng_state().tolist())).decode(),
            }
            self._stall_s += self._checkpoints.save(step, self.state(), extra)
            self._saved_step, self._saved_at = step, time.monotonic()
            self._record.status("running", step)
        self._restart_clock()

    def _restore(self) -> None:
        state = self.state()
        found = self._checkpoints.load_newest(state)
        if found is not None:
            step, extra = found
            self._optimizer.load_state_dict(state["optimizer"])
            self.position = Position(**extra["position"])
            self._guard = SpikeGuard(self.recipe.optimizer.spike_factor, **extra["guard"])
            if "rng" in extra:
                torch.set_rng_state(torch.tensor(list(base64.b64decode(extra["rng"])), dtype=torch.uint8))
            self._saved_step = step
            self._record.event("restored", step, f"going on after step {step}")
        self._saved_at = time.monotonic()
        self._record.begin(self.position.step, self.resolved.total_steps)
        self._restart_clock()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: parameters, buffers and the optimiser's state."""
        return {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}


class HostCopy:
    """Numbers on their way from the device, to be read without waiting for work that was queued after them."""

    def __init__(self, values: Tensor) -> None:
        self._values = values.detach().to("cpu", non_blocking=values.is_cuda)
        self._event: torch.cuda.Event | None = None
        if values.is_cuda:
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def read(self) -> list[float]:
        """The numbers."""
        if self._event is not None:
            self._event.synchronize()
        return [float(value) for value in self._values.tolist()]


@dataclass
class _Unread:
    """A step whose numbers are on their way."""

    position: Position
    numbers: dict[str, float]
    values: HostCopy


class _Wish:
    """What some rank wants, made everybody's while the step is computed: to stop, to write a checkpoint."""

    def __init__(self, mesh: Mesh, *wishes: Callable[[], bool]) -> None:
        self._mine = wishes
        self._all: HostCopy | None = None
        if mesh.world_size > 1:
            values = torch.stack([torch.full((), float(wish()), device=mesh.device) for wish in wishes])
            dist.all_reduce(values, dist.ReduceOp.MAX)
            self._all = HostCopy(values)

    def granted(self) -> list[bool]:
        """For each wish, whether any rank has it."""
        return [wish() for wish in self._mine] if self._all is None else [value > 0 for value in self._all.read()]


def _diverged(step: int, loss: float, norm: float) -> DivergedError:
    return DivergedError(
        f"step {step} has loss {loss:.4g} and gradient norm {norm:.4g}: training has diverged",
        hint="the checkpoints from before are intact; lower optimizer.lr, or set optimizer.spike_factor = 8",
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
