"""From a recipe to a trained model: data, run folder, model, loop, report, and the model where it can be served."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from colosse.core.errors import ColosseError, UserError
from colosse.core.machine import machine
from colosse.data.loader import Loader
from colosse.data.manifest import read_manifest
from colosse.data.tokenizer import Tokenizer
from colosse.model.precision import product_dtype
from colosse.parallel import apply, mesh
from colosse.parallel.mesh import Mesh
from colosse.train.checkpoint import Checkpoints
from colosse.train.evaluate import Evaluator, HeldOut, Sampler
from colosse.train.folder import RunFolder, choose
from colosse.train.live import View
from colosse.train.loop import Trainer
from colosse.train.memory import keep_freed_memory
from colosse.train.peak import peak_flops
from colosse.train.recipe import Recipe, Resolved, dump, resolve
from colosse.train.record import FolderRecord, Record
from colosse.train.report import write_report
from colosse.train.signals import StopRequest

Value = TypeVar("Value")


@dataclass(frozen=True)
class Outcome:
    """What a call of `pretrain` came to.

    Attributes:
        run: the run's folder.
        finished: whether the recipe is done; else it was asked to stop, and goes on when started again.
        step: optimiser steps done.
        tokens: trained on.
        seconds: of training, over all parts of the run.
        val_loss: nats per token on held-out text, by source; empty if it was not looked at.
        bpb: bits per byte, likewise.
    """

    run: Path
    finished: bool
    step: int
    tokens: int
    seconds: float
    val_loss: dict[str, float]
    bpb: dict[str, float]


def pretrain(
    recipe: Recipe,
    *,
    prepared: Path,
    runs_dir: Path,
    view: View,
    resume: str = "",
    new: bool = False,
) -> Outcome:
    """Train, from wherever this recipe's run stands. Every rank of the layout calls it.

    Args:
        recipe: what to do.
        prepared: its data, from `data.prepare`.
        runs_dir: where run folders are.
        view: who watches; rank 0's counts.
        resume: name of a run to go on with, or `auto`; see `folder.choose`.
        new: begin a new run in any case.

    Raises:
        UserError: a recipe, corpus, layout or run that cannot be trained; before any work.
        ColosseError: something failed on the way; `status.json` says so and older checkpoints are intact.
    """
    resolved = resolve(recipe)
    with StopRequest() as stop, ExitStack() as cleanup:
        check_vocabulary(resolved, prepared)
        place = mesh.start(recipe.layout)
        if place.device.type == "cpu":
            keep_freed_memory()
        cleanup.callback(mesh.stop)
        folder = _first(place, partial(choose, recipe, runs_dir, resume=resume, new=new))
        cleanup.callback(folder.close)
        record = Record()
        if place.rank == 0:
            read_tokenizer(prepared).save(folder.path / "tokenizer")
            record = cleanup.enter_context(
                FolderRecord(folder.path, loggers=recipe.loggers, recipe=tomllib.loads(dump(recipe)), view=view)
            )
        trainer: Trainer | None = None
        try:
            _announce(record, folder, resolved, prepared)
            trainer = make_trainer(recipe, resolved, prepared, place, folder.path, record)
            finished = trainer.train(stop)
        except BaseException as error:
            step = trainer.position.step if trainer else 0
            with suppress(ColosseError):  # such as a disk that is full: the error itself says it
                _say_how_it_ended(record, step, error)
            raise
        step = trainer.position.step
        if not finished:
            record.event("interrupted", step, f"stopped after step {step}; the same command goes on from there")
        record.status("finished" if finished else "interrupted", step)
        if place.rank == 0:
            write_report(folder.path)
        return Outcome(
            run=folder.path,
            finished=finished,
            step=step,
            tokens=trainer.position.tokens,
            seconds=trainer.position.seconds,
            val_loss={name: loss.per_token for name, loss in trainer.losses.items()},
            bpb={name: loss.bpb for name, loss in trainer.losses.items()},
        )


def _say_how_it_ended(record: Record, step: int, error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt):
        record.status("interrupted", step, message="ended at once by a second Ctrl-C")
        return
    text = str(error) or type(error).__name__
    record.event("failed", step, f"failed after step {step}: {text}")
    record.status("failed", step, message=text)


def make_trainer(
    recipe: Recipe, resolved: Resolved, prepared: Path, place: Mesh, folder: Path, record: Record
) -> Trainer:
    """Everything that the loop works with.

    Raises:
        UserError: the data holds no whole sequence.
    """
    train, layout = recipe.train, recipe.layout
    read = partial(Loader, prepared, seq_len=train.seq_len, seed=recipe.seed, mask_documents=train.mask_documents)
    sequences = read()
    held_out = {}
    for source in read_manifest(prepared).sources:
        if source.val.tokens > 1:
            text = read(split="val", source=source.name)
            total = text.num_sequences
            held_out[source.name] = HeldOut(text, total, min(total, -(-recipe.eval.tokens // train.seq_len)))
    peak, origin = peak_flops(place.device, product_dtype(layout.precision, place.device))
    record.event("peak", 0, f"MFU counts {peak / 1e12:.3g} TFLOP/s per rank as 100%: {origin}", flops=peak)
    model = apply.build(resolved.spec, layout, place, seq_len=train.seq_len, seed=recipe.seed, z_loss=train.z_loss)
    tokenizer = Tokenizer.load(prepared / "tokenizer")
    token_bytes = torch.zeros(resolved.spec.vocab_size, dtype=torch.int64)
    token_bytes[: tokenizer.vocab_size] = torch.from_numpy(tokenizer.token_bytes())
    return Trainer(
        recipe,
        resolved,
        model,
        sequences=sequences,
        evaluator=Evaluator(model, held_out, token_bytes),
        checkpoints=Checkpoints(
            folder / "checkpoints",
            keep=recipe.checkpoint.keep,
            asynchronous=recipe.checkpoint.asynchronous,
            say=lambda text: record.event("checkpoint", 0, text),
        ),
        record=record,
        peak=peak,
        sample=Sampler(model, tokenizer, recipe.eval),
    )


def check_vocabulary(resolved: Resolved, prepared: Path) -> None:
    """Refuse a model with fewer tokens than the tokenizer of its data.

    Raises:
        UserError: with both numbers.
    """
    size = read_tokenizer(prepared).vocab_size
    if size > resolved.spec.vocab_size:
        raise UserError(
            f"model.vocab_size = {resolved.spec.vocab_size} is less than the {size} tokens of the data's tokenizer",
            hint=f"set model.vocab_size = {size}",
            param="model.vocab_size",
        )


def read_tokenizer(prepared: Path) -> Tokenizer:
    """The tokenizer of prepared data."""
    return Tokenizer.load(prepared / "tokenizer")


def _announce(record: Record, folder: RunFolder, resolved: Resolved, prepared: Path) -> None:
    numbers: dict[str, Any] = dict(resolved.rows())
    doing = "going on with" if folder.resumed else "training"
    here = machine()
    numbers["hardware"] = ", ".join(gpu.name for gpu in here.gpus) or f"{here.cpus} processors, {here.cpu}"
    record.event(
        "resumed" if folder.resumed else "started", 0, f"{doing} {folder.path}", prepared=str(prepared), **numbers
    )


def _first(place: Mesh, work: Callable[[], RunFolder]) -> RunFolder:
    """Let rank 0 choose; the others get its choice, or its refusal."""
    outcome: list[Any] = [None, None]
    folder: RunFolder | None = None
    if place.rank == 0:
        try:
            folder = work()
            outcome[0] = (folder.path, folder.resumed)
        except Exception as error:
            outcome[1] = error
    if place.world_size > 1:
        dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    if folder is not None:
        return folder
    path, resumed = outcome[0]
    return RunFolder(path, None, resumed=resumed)
