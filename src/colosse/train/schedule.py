"""Learning rates as pure functions of the step, so that a resumed run needs to remember nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colosse.train.recipe import OptimizerConfig


def warmup_steps(total_steps: int, config: OptimizerConfig) -> int:
    """Steps in which the rate rises from almost 0: as configured, else 2% of the run and at least 10 (or all of it)."""
    return min(config.warmup_steps or max(10, total_steps // 50), total_steps)


def lr_fraction(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Share of the peak learning rate at `step`.

    All schedules warm up linearly. Then `constant` stays, `cosine` falls along half a cosine (arXiv:1608.03983), and
    `wsd` (warm-up, stable, decay; arXiv:2404.06395) stays until the last `decay_fraction` of the steps and then falls
    in a straight line (arXiv:2405.18392). Both end at `min_lr_fraction`.

    Args:
        step: from 0; the first step already has a rate above 0.
        total_steps: of the whole run.
        config: which schedule.

    Returns:
        Between 0 and 1.
    """
    warmup = warmup_steps(total_steps, config)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    floor = config.min_lr_fraction
    if config.schedule == "cosine":
        done = (step - warmup) / max(1, total_steps - warmup)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    decay = min(round(total_steps * config.decay_fraction), total_steps - warmup)
    left = total_steps - step
    return 1.0 if left > decay else floor + (1 - floor) * max(0, left) / max(1, decay + 1)
