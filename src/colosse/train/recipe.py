"""The recipe: everything that a train run is, in one validated file. Free of torch, so that plan and launch read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from colosse.core.config import Config, load
from colosse.core.errors import UserError
from colosse.data.config import DataConfig
from colosse.spec import scaling
from colosse.spec.counts import Params, flops, params
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec
from colosse.spec.presets import ModelChoice
from colosse.train.schedule import warmup_steps

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class TrainConfig(Config):
    """How much to train, in which steps."""

    seq_len: Annotated[int, Field(ge=8)] = 1024
    tokens_per_step: Annotated[int, Field(ge=0)] = 0
    """Tokens of one optimiser step over all ranks, a multiple of seq_len; 0: by scaling law."""
    total_tokens: Annotated[int, Field(ge=0)] = 0
    """0: the model's budget if it was chosen by one, else tokens_per_param."""
    tokens_per_param: Positive = 20.0
    """Training tokens per parameter without embeddings (20: Chinchilla, arXiv:2203.15556)."""
    steps: Annotated[int, Field(ge=0)] = 0
    """Optimiser steps; not 0 overrides total_tokens."""
    z_loss: NonNegative = 0.0
    mask_documents: bool = True
    """Whether packed documents are hidden from each other."""


class OptimizerConfig(Config):
    """AdamW (arXiv:1711.05101), or Muon (arXiv:2502.16982) for the matrices of the blocks and AdamW for the rest."""

    kind: Literal["adamw", "muon"] = "adamw"
    lr: NonNegative = 0.0
    """Peak learning rate of AdamW; 0: by scaling law."""
    muon_lr: NonNegative = 0.0
    """Of Muon; 0: the same, because its updates are scaled to the size of those of AdamW."""
    weight_decay: NonNegative = 0.1
    """Of matrices; not of norms, biases and embeddings."""
    betas: tuple[float, float] = (0.9, 0.95)
    eps: Positive = 1e-8
    muon_momentum: NonNegative = 0.95
    max_grad_norm: NonNegative = 1.0
    """0 does not clip."""
    schedule: Literal["wsd", "cosine", "constant"] = "wsd"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """0: two hundredths of the steps, at least 10."""
    decay_fraction: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Last share of the steps in which `wsd` falls linearly."""
    min_lr_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    spike_factor: NonNegative = 0.0
    """A step whose loss exceeds the running median by so many median deviations counts as a spike; 0: no guard."""
    spike_action: Literal["skip", "rollback"] = "skip"


class EvalConfig(Config):
    """What is looked at while training."""

    interval_steps: Annotated[int, Field(ge=0)] = 0
    """0: ten times a run."""
    tokens: Annotated[int, Field(ge=1)] = 65_536
    """Held-out tokens per source."""
    prompts: list[str] = []
    """Continued at every evaluation."""
    sample_tokens: Annotated[int, Field(ge=1)] = 64


class CheckpointConfig(Config):
    """What is kept to go on from."""

    interval_steps: Annotated[int, Field(ge=0)] = 0
    """0: by time."""
    interval_s: Positive = 300.0
    """Seconds between checkpoints where interval_steps is 0."""
    keep: Annotated[int, Field(ge=1)] = 2
    """Newest complete checkpoints that stay."""
    asynchronous: bool = True


class Recipe(Config):
    """One train run."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    note: str = ""
    seed: int = 0
    model: ModelChoice
    layout: Layout = Layout()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    eval: EvalConfig = EvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    loggers: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = ["tensorboard"]
    """Besides `metrics.jsonl`; one that is not installed is said once and left out."""
    runs_dir: Path | None = None
    """Where run folders go; None: `$COLOSSE_HOME/runs`."""


def load_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: a TOML file; relative paths in it are relative to its folder.
        overrides: `dotted.key=value`, which win; relative paths in them are relative to where we are.

    Raises:
        UserError: no such file, an unknown key (with the nearest known one), an invalid value.
    """
    if not path.is_file():
        raise UserError(f"there is no recipe {path}", hint="recipes/ of the source has some to begin with")
    loaded = load(Recipe, files=[path], overrides=dict(_split(item) for item in overrides), override_origin="command")

    def base(key: str) -> Path:
        return Path.cwd() if loaded.origins.get(key) == "command" else path.absolute().parent

    recipe = loaded.value
    data = recipe.data
    sources = [
        source.model_copy(update={"paths": [_absolute(item, base("data.sources")) for item in source.paths]})
        for source in data.sources
    ]
    decontaminate = [_absolute(item, base("data.steps.decontaminate")) for item in data.steps.decontaminate]
    tokenizer = data.tokenizer.path and _absolute(data.tokenizer.path, base("data.tokenizer.path"))
    data = data.model_copy(
        update={
            "sources": sources,
            "steps": data.steps.model_copy(update={"decontaminate": decontaminate}),
            "tokenizer": data.tokenizer.model_copy(update={"path": tokenizer}),
        }
    )
    runs_dir = recipe.runs_dir and _absolute(recipe.runs_dir, base("runs_dir"))
    return recipe.model_copy(update={"data": data, "runs_dir": runs_dir})


def dump(recipe: Recipe) -> str:
    """The recipe as TOML, every value written out: what a run keeps, and what reading it gives back."""
    import tomli_w  # here: plan and launch read recipes where it is not installed

    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


@dataclass(frozen=True)
class Resolved:
    """The numbers that follow from a recipe.

    Attributes:
        spec: the model.
        params: its parameters.
        tokens_per_step: of one optimiser step over all ranks.
        global_batch_size: sequences of a step.
        grad_accum_steps: micro batches that each data rank computes for a step.
        total_steps: of the run.
        total_tokens: of the run.
        warmup_steps: in which the learning rate rises.
        lr: peak learning rate.
        eval_interval_steps: steps between evaluations.
        total_flops: of the run, by the convention of `spec.counts`.
    """

    spec: ModelSpec
    params: Params
    tokens_per_step: int
    global_batch_size: int
    grad_accum_steps: int
    total_steps: int
    total_tokens: int
    warmup_steps: int
    lr: float
    eval_interval_steps: int
    total_flops: float

    def rows(self) -> Iterator[tuple[str, Any]]:
        """(name, value) for a person or a JSON document."""
        yield "params", self.params.total
        if self.params.active != self.params.total:
            yield "params_active", self.params.active
        yield "params_non_embedding", self.params.non_embedding
        for name in (
            "tokens_per_step",
            "global_batch_size",
            "grad_accum_steps",
            "total_steps",
            "total_tokens",
            "warmup_steps",
            "lr",
            "eval_interval_steps",
            "total_flops",
        ):
            yield name, getattr(self, name)


def resolve(recipe: Recipe) -> Resolved:
    """Work out what the recipe leaves open, and refuse what cannot run.

    Raises:
        UserError: the layout does not fit the model or the batch, or a length does not divide.
    """
    spec, train = recipe.model.spec, recipe.train
    counted = params(spec)
    work = flops(spec, [train.seq_len])
    per_token = work.train / train.seq_len
    law_per_token = (work.train - 3 * work.head) / train.seq_len  # the laws count without embeddings and head
    budget = recipe.model.tokens or recipe.model.flops / per_token
    tokens = train.total_tokens or round(budget or train.tokens_per_param * counted.active_non_embedding)
    per_step = train.tokens_per_step or _lawful_batch(law_per_token * tokens, recipe)
    if per_step % train.seq_len:
        near = max(1, round(per_step / train.seq_len)) * train.seq_len
        raise UserError(
            f"train.tokens_per_step = {per_step} is not a multiple of train.seq_len = {train.seq_len}",
            hint=f"{near} is",
            param="train.tokens_per_step",
        )
    batch = per_step // train.seq_len
    recipe.layout.check(spec, seq_len=train.seq_len, global_batch_size=batch)
    steps = train.steps or max(1, round(tokens / per_step))
    return Resolved(
        spec=spec,
        params=counted,
        tokens_per_step=per_step,
        global_batch_size=batch,
        grad_accum_steps=recipe.layout.micro_batches(batch),
        total_steps=steps,
        total_tokens=steps * per_step,
        warmup_steps=warmup_steps(steps, recipe.optimizer),
        lr=recipe.optimizer.lr or scaling.learning_rate(law_per_token * steps * per_step, per_step),
        eval_interval_steps=recipe.eval.interval_steps or max(1, steps // 10),
        total_flops=per_token * steps * per_step,
    )


def _lawful_batch(total_flops: float, recipe: Recipe) -> int:
    """Tokens of a step by scaling law, to the nearest number that the layout can share out evenly."""
    at_once = recipe.train.seq_len * recipe.layout.data_ranks * recipe.layout.micro_batch_size
    return max(1, round(scaling.tokens_per_step(total_flops) / at_once)) * at_once


def _split(override: str) -> tuple[str, str]:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise UserError(f"{override!r} changes nothing", hint="write dotted.key=value, such as train.steps=200")
    return key.strip(), value.strip()


def _absolute(path: Path, base: Path) -> Path:
    return base / path.expanduser()
