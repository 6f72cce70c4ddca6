"""Curves on a terminal, drawn with braille dots: two across and four down to a character."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot by row and column (Unicode block U+2800)."""


def plot(xs: Sequence[float], ys: Sequence[float], *, width: int, height: int) -> list[str]:
    """Lines of text with the curve through the points, and its scale.

    Args:
        xs: rising; at least two.
        ys: as many finite values.
        width: characters across, without the scale's eight.
        height: lines, without the one below the curve.
    """
    across, down = 2 * width, 4 * height
    columns: list[list[float]] = [[] for _ in range(across)]
    for x, y in zip(xs, ys, strict=True):
        columns[round((x - xs[0]) / (xs[-1] - xs[0]) * (across - 1))].append(y)
    means = _filled([sum(values) / len(values) if values else None for values in columns])
    low, high = min(means), max(means)
    cells = [[0] * width for _ in range(height)]
    before: int | None = None
    for column, mean in enumerate(means):
        row = round((high - mean) / (high - low) * (down - 1)) if high > low else down // 2
        # Steep parts are joined, so that the curve is one.
        for dot in range(
            min(row, row if before is None else before + 1), max(row, -1 if before is None else before - 1) + 1
        ):
            cells[dot // 4][column // 2] |= DOTS[dot % 4][column % 2]
        before = row
    scale = {0: high, height // 2: (low + high) / 2, height - 1: low}
    lines = [
        f"{f'{scale[number]:.3g}' if number in scale else '':>7} {''.join(chr(0x2800 + cell) for cell in row)}".rstrip()
        for number, row in enumerate(cells)
    ]
    first, last = f"{xs[0]:,.0f}".replace(",", " "), f"{xs[-1]:,.0f}".replace(",", " ")
    return [*lines, f"{'':8}{first}{last:>{max(1, width - len(first))}}"]


def _filled(values: Sequence[float | None]) -> list[float]:
    """Straight lines over the gaps; the first and the last value are none."""
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    filled = [known[0][1]]
    for (left, start), (right, end) in pairwise(known):
        filled += [start + (end - start) * step / (right - left) for step in range(1, right - left + 1)]
    return filled
