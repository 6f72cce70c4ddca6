"""The loss-spike guard: notices a step whose loss is far above what the run has seen lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

WINDOW = 64
"""Losses that "lately" means."""
ENOUGH = 16
"""Losses that must have been seen before any is judged."""
PATIENCE = 8
"""Spikes in a row after which the new height is no spike but the new level."""
SMALLEST_DEVIATION = 1e-3
"""Relative to the median: a run of almost equal losses must not turn rounding into spikes."""


class SpikeGuard:
    """Judges losses against the running median and the median absolute deviation, both robust to the spikes themselves.

    Args:
        factor: deviations above the median from which a loss is a spike; 0 judges none.
        losses: what an earlier part of the run had seen.
        spikes: how many spikes in a row it ended with.

    Attributes:
        in_a_row: spikes since the last step that was none.
    """

    def __init__(self, factor: float, losses: Sequence[float] = (), spikes: int = 0) -> None:
        self.factor = factor
        self._losses = deque(losses, maxlen=WINDOW)
        self.in_a_row = spikes

    def limit(self) -> float:
        """Loss above which a step is a spike; infinite where none is judged."""
        if not self.factor or len(self._losses) < ENOUGH or self.in_a_row >= PATIENCE:
            return float("inf")
        middle = median(self._losses)
        deviation = median(abs(loss - middle) for loss in self._losses)
        return middle + self.factor * max(deviation, SMALLEST_DEVIATION * abs(middle))

    def is_spike(self, loss: float) -> bool:
        """Judge a step's loss (nats per token) and remember it unless it is a spike; not a number always is one."""
        if not loss <= self.limit() or loss == float("inf"):
            self.in_a_row += 1
            return True
        if self.in_a_row >= PATIENCE:
            self._losses.clear()
        self.in_a_row = 0
        self._losses.append(loss)
        return False

    def state(self) -> dict[str, list[float] | int]:
        """What the constructor takes, for a checkpoint."""
        return {"losses": list(self._losses), "spikes": self.in_a_row}
