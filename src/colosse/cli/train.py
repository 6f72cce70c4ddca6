"""`colosse train`: from a recipe to a model that can be talked to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from colosse.train.pretrain import Outcome
    from colosse.train.recipe import Recipe, Resolved

NAMES = {
    "params": "parameters",
    "params_active": "  of which a token meets",
    "params_non_embedding": "  without embeddings",
    "tokens_per_step": "tokens per step",
    "global_batch_size": "sequences per step",
    "grad_accum_steps": "micro batches per rank",
    "total_steps": "steps",
    "total_tokens": "tokens",
    "warmup_steps": "warm-up steps",
    "lr": "peak learning rate",
    "eval_interval_steps": "steps between evaluations",
    "total_flops": "FLOPs",
}


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML).", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Settings that differ, such as train.steps=200.", show_default=False
        ),
    ] = None,
    resume: Annotated[
        str,
        typer.Option(
            help="Go on with this run, also with another layout; auto: the newest unfinished one.", show_default=False
        ),
    ] = "",
    new: Annotated[
        bool, typer.Option("--new", help="Begin a new run even if one of this recipe is unfinished.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the recipe and show its numbers; do nothing.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Train a model from a recipe: prepare its data, train, evaluate, and make it ready to be served.

    A run that was interrupted goes on when the same command is given again.
    """
    import os
    import sys

    from colosse.core.process import SLEEPING_THREADS
    from colosse.train.recipe import load_recipe, resolve

    wanted = load_recipe(recipe, overrides or [])
    resolved = resolve(wanted)
    quiet = int(os.environ.get("RANK", "0")) > 0
    if dry_run:
        _show(wanted, resolved, json=json)
        return
    _need_torch()
    os.environ.update(SLEEPING_THREADS | os.environ)
    from colosse.train.local import ranks_are_needed, run_ranks

    if ranks_are_needed(wanted.layout.world_size):
        # Each rank is this very command; only rank 0 speaks.
        flags = [*(["--resume", resume] if resume else []), *(["--new"] if new else []), *(["--json"] if json else [])]
        command = [sys.executable, "-m", "colosse.cli.main", "train", *flags, str(recipe), *(overrides or [])]
        raise SystemExit(run_ranks(command, wanted.layout.world_size))
    if not quiet and not json:
        _show(wanted, resolved, json=False)
    outcome, model = _run(wanted, resume=resume, new=new, quiet=quiet)
    if not quiet:
        _report(outcome, model, json=json)


def _run(wanted: Recipe, *, resume: str, new: bool, quiet: bool) -> tuple[Outcome, str]:
    """Train, and put the model where it is served. Returns the model's name too; empty where there is none yet."""
    from contextlib import nullcontext
    from time import sleep

    from colosse.core.errors import ColosseError
    from colosse.core.progress import Progress, reporting
    from colosse.core.settings import load_settings
    from colosse.data.prepare import prepare
    from colosse.train.export import publish_run
    from colosse.train.live import View, watching
    from colosse.train.pretrain import pretrain

    home = load_settings().value.home
    runs_dir = wanted.runs_dir or home / "runs"
    with nullcontext(Progress()) if quiet else reporting() as progress:
        prepared = prepare(wanted.data, home, progress=progress)
    try:
        with nullcontext(View()) if quiet else watching() as view:
            outcome = pretrain(wanted, prepared=prepared, runs_dir=runs_dir, view=view, resume=resume, new=new)
    except ColosseError:
        if quiet:
            sleep(1)  # what all ranks meet rank 0 says, and takes us with it; only what it has not met we say
        raise
    if quiet or not outcome.finished:
        return outcome, ""
    try:
        with reporting() as progress:
            return outcome, publish_run(outcome.run, progress)
    except ColosseError as error:  # the training is done whatever comes of this
        note(f"the model could not be made ready to be served: {error}; colosse export {outcome.run.name} writes it")
        return outcome, ""


def _show(recipe: Recipe, resolved: Resolved, *, json: bool) -> None:
    numbers: dict[str, Any] = dict(resolved.rows())
    if json:
        print_json({"recipe": recipe.model_dump(mode="json"), **numbers})
        return
    note(f"{recipe.name}: {recipe.note}" if recipe.note else recipe.name)
    for name, value in numbers.items():
        text = f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
        note(f"  {NAMES[name]:26} {text}")


def _report(outcome: Outcome, model: str, *, json: bool) -> None:
    if json:
        print_json({**vars(outcome), "model": model})
        return
    if not outcome.finished:
        print(f"stopped after step {outcome.step}; the same command goes on from there")
        return
    print(f"{outcome.run.name} is finished: {outcome.step} steps, {outcome.tokens:,} tokens, {outcome.seconds:.0f} s")
    for name, bpb in outcome.bpb.items():
        print(f"  {name}: {outcome.val_loss[name]:.4f} nats per token, {bpb:.4f} bits per byte on held-out text")
    print(f"  {outcome.run / 'report.html'}")
    if model:
        print(f"talk to it: colosse chat --model {model}   (or: colosse serve --model {model})")


def _need_torch() -> None:
    from importlib.util import find_spec

    from colosse.core.errors import UserError

    if find_spec("torch") is None:
        raise UserError("training needs PyTorch", hint="pip install 'colosse[train]'")
