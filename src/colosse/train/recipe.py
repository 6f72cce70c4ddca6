"""The recipe: everything that a train run is, in one validated file. Free of torch, so that plan and launch read it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from colosse.core.config import Config
from colosse.data.config import DataConfig
from colosse.spec.layout import Layout
from colosse.spec.presets import ModelChoice

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class TrainConfig(Config):
    """How much to train, in which steps."""

    seq_len: Annotated[int, Field(ge=8)] = 1024
    tokens_per_step: Annotated[int, Field(ge=0)] = 0
    """Tokens of one optimiser step over all ranks, a multiple of seq_len; 0: by scaling law."""
    total_tokens: Annotated[int, Field(ge=0)] = 0
    """0: tokens_per_param."""
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
