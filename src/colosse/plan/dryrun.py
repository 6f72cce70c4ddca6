"""The dry run: the real trainer's step on a device that is not there, measured and compared with what the model claims.

One rank of a layout runs in this process with nobody else; thousands of ranks cost no more than one. Places along a
pipeline are different programs, so its first, its middle and its last are run, each from the beginning.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup

from colosse.core.errors import UserError
from colosse.data.loader import Batch
from colosse.parallel import apply
from colosse.parallel.apply import ParallelModel
from colosse.parallel.mesh import Mesh
from colosse.parallel.pieces import local
from colosse.plan.dryrun_device import DEVICE, pretended
from colosse.plan.dryrun_ledger import Ledger
from colosse.plan.traffic import Collective, axis_of, claims
from colosse.spec.memory import Memory, rank_memory
from colosse.train.checkpoint import Checkpoints
from colosse.train.evaluate import Evaluator
from colosse.train.feed import Fed
from colosse.train.loop import Trainer
from colosse.train.recipe import Recipe, Resolved, resolve
from colosse.train.record import Record


@dataclass(frozen=True)
class RankRun:
    """One rank's step: measured, and claimed.

    Attributes:
        rank: which.
        stage_rank: its place along `pp`.
        peak_bytes: most memory in use at once.
        at_peak: of what it consisted then: weights, gradients, optimizer, gathered, activations (made by forward
            passes), backward (recomputed activations, gradients of activations and of whole weights).
        claimed: what `spec.memory` says.
        collectives: of the step, measured.
        claimed_collectives: what `plan.traffic` says.
        seconds: that the dry run took.
    """

    rank: int
    stage_rank: int
    peak_bytes: int
    at_peak: dict[str, int]
    claimed: Memory
    collectives: list[Collective]
    claimed_collectives: list[Collective]
    seconds: float

    @property
    def memory_error(self) -> float:
        """By what fraction the claim exceeds the measured peak."""
        return self.claimed.total / self.peak_bytes - 1

    @property
    def traffic_error(self) -> float:
        """By what fraction the claimed bytes of all collectives exceed the measured ones; 0 where there are none."""
        measured = sum(collective.bytes for collective in self.collectives)
        return sum(collective.bytes for collective in self.claimed_collectives) / measured - 1 if measured else 0.0


def dry_run(recipe: Recipe, rank: int | None = None) -> list[RankRun]:
    """Run one step of a recipe's training on some of its ranks.

    `layout.compile` is taken as off, and float8 products as bfloat16 ones, which keep the same.

    Args:
        recipe: what would be trained. Its data is not looked at.
        rank: which; None for the first of the first, middle and last place of the pipeline.

    Raises:
        UserError: the recipe cannot run, or has no such rank.
    """
    layout = recipe.layout.model_copy(
        update={"compile": "off"} | ({"precision": "bfloat16"} if recipe.layout.precision == "float8" else {})
    )
    recipe = recipe.model_copy(update={"layout": layout})
    resolved = resolve(recipe)
    resolved.spec.check_trainable()
    if resolved.spec.moe is not None and layout.precision == "float32":
        raise UserError(
            "torch's product of experts is only known in bfloat16 without a device, and layout.precision is float32",
            hint='layout.precision = "bfloat16" can be run dry',
        )
    if rank is not None and not 0 <= rank < layout.world_size:
        raise UserError(f"there is no rank {rank}", hint=f"the layout has ranks 0 to {layout.world_size - 1}")
    a_place = layout.world_size // layout.pp
    ranks = [place * a_place for place in sorted({0, layout.pp // 2, layout.pp - 1})] if rank is None else [rank]
    return [_run(recipe, resolved, number) for number in ranks]


def _run(recipe: Recipe, resolved: Resolved, rank: int) -> RankRun:
    began = time.perf_counter()
    layout, train = recipe.layout, recipe.train
    ledger = Ledger(lambda ranks: axis_of(layout, ranks))
    with pretended(layout, rank):
        place = Mesh(layout, DEVICE)
        model = apply.build(resolved.spec, layout, place, seq_len=train.seq_len, seed=recipe.seed, z_loss=train.z_loss)
        trainer = Trainer(
            recipe,
            resolved,
            model,
            sequences=_NoData(),
            evaluator=Evaluator(model, {}, torch.zeros(0, dtype=torch.int64)),
            checkpoints=_NoCheckpoints(),
            record=Record(),
            peak=1.0,
            sample=list,
        )
        fed = _fed(recipe, resolved)
        with _watched(ledger, model, trainer):
            trainer.step(fed)
        stage_rank = place.stage_rank
    optimizer, micro_batches = recipe.optimizer.kind, resolved.grad_accum_steps
    return RankRun(
        rank=rank,
        stage_rank=stage_rank,
        peak_bytes=ledger.peak,
        at_peak=ledger.at_peak,
        claimed=rank_memory(
            resolved.spec,
            layout,
            seq_len=train.seq_len,
            micro_batches=micro_batches,
            stage_rank=stage_rank,
            optimizer=optimizer,
        ),
        collectives=[Collective(*key, count, ledger.bytes[key]) for key, count in sorted(ledger.counts.items())],
        claimed_collectives=claims(
            resolved.spec,
            layout,
            seq_len=train.seq_len,
            micro_batches=micro_batches,
            stage_rank=stage_rank,
            optimizer=optimizer,
        ),
        seconds=time.perf_counter() - began,
    )


class _NoData:
    """Nothing is read: a step is given its batches."""

    def batch(self, first: int, count: int) -> Batch:
        """Not called."""
        raise AssertionError(f"sequences {first} to {first + count - 1} of a dry run")


class _NoCheckpoints(Checkpoints):
    """Nothing is written."""

    def __init__(self) -> None: ...


def _fed(recipe: Recipe, resolved: Resolved) -> Fed:
    """A step's batches, without what is in them."""
    layout, train = recipe.layout, recipe.train

    def ids() -> torch.Tensor:
        return torch.empty(layout.micro_batch_size, train.seq_len, dtype=torch.int64, device=DEVICE)

    masked = train.mask_documents
    batches = [
        Batch(tokens=ids(), targets=ids(), documents=ids() if masked else None, positions=ids() if masked else None)
        for _ in range(resolved.grad_accum_steps)
    ]
    return Fed(batches, resolved.tokens_per_step // layout.data_ranks, wait_s=0.0)


@contextlib.contextmanager
def _watched(ledger: Ledger, model: ParallelModel, trainer: Trainer) -> Iterator[None]:
    """Count what happens, from the trainer's state before its first step on."""
    resize = torch.UntypedStorage.resize_

    def resize_(storage: torch.UntypedStorage, size: int) -> Any:
        result = resize(storage, size)
        ledger.resized(storage)
        return result

    def gathering(method: str) -> Any:
        """A method of FSDP during which new storages are gathered weights, or gradients on their way."""
        original = getattr(FSDPParamGroup, method)

        def wrapped(group: FSDPParamGroup, *args: Any, **kwargs: Any) -> Any:
            outer, ledger.kind = ledger.kind, "gathered"
            try:
                return original(group, *args, **kwargs)
            finally:
                ledger.kind = outer

        return mock.patch.object(FSDPParamGroup, method, wrapped)

    def gradient_came(parameter: torch.Tensor) -> None:
        if parameter.grad is not None:
            ledger.hold(local(parameter.grad), "gradients")

    for _, parameter in model.named_parameters():
        ledger.hold(local(parameter), "weights")
        parameter.register_post_accumulate_grad_hook(gradient_came)  # type: ignore[no-untyped-call]
    for state in trainer.state()["optimizer"].values():
        ledger.hold(local(state), "optimizer")
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.UntypedStorage, "resize_", resize_))
        for method in ("unshard", "wait_for_unshard", "post_backward"):
            stack.enter_context(gathering(method))
        stack.enter_context(ledger)
        yield
