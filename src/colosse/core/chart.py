"""Charts of a report: SVG that stretches to any width, with its numbers beside it for whoever points at it.

The drawing is stretched, so lines keep their width by `vector-effect` and every word is HTML, placed in per cent. All
is drawn here; the page's script (`chart.js`) only reads the numbers out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Literal

from colosse.core.files import format_bytes
from colosse.core.numbers import big, dollars

POINTS = 480
"""Of a longer series so many means are drawn, with the smallest and largest behind them."""
LOG_RATIO = 3
"""Of the largest to the smallest value, from which a logarithmic axis shows more than a plain one."""
SIZE = 1000
"""Side of the drawing in its own units."""
X_NAMES = 5
"""Most values that a logarithmic axis of steps names."""
COLORS = 6
"""Series colours of `page.css`; after them they come again."""

Kind = Literal["number", "percent", "bytes", "seconds", "dollars"]


@dataclass(frozen=True)
class Series:
    """Numbers by step, or by another whole number.

    Attributes:
        name: in the legend.
        xs: steps, rising.
        ys: as many values.
        color: 0 to COLORS - 1.
        dots: mark each value, as they are few.
        smooth: draw a running mean over the values, which stay visible behind it.
    """

    name: str
    xs: Sequence[int]
    ys: Sequence[float]
    color: int = 0
    dots: bool = False
    smooth: bool = False


@dataclass(frozen=True)
class Chart:
    """Some series over the same steps.

    Attributes:
        title: what is shown.
        unit: of the values, said after the title.
        kind: how values are written.
        zero: whether the axis begins at nought.
        log: a logarithmic axis, where the values allow it and are far enough apart.
        wide: takes the whole width of the page.
        x: what `xs` are, in front of one of them.
        log_x: a logarithmic axis of them, from the smallest on, which names those that there are.
    """

    title: str
    unit: str
    series: Sequence[Series]
    kind: Kind = "number"
    zero: bool = False
    log: bool = False
    wide: bool = False
    x: str = "step"
    log_x: bool = False


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Place of a value between 0 and 1; beyond the axis it stays at its end."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        return min(1.0, (value - low) / (high - low)) if high > low else 0.5


def render(chart: Chart) -> str:
    """The chart as an HTML `figure`; nothing where no series has a value."""
    series = [each for each in chart.series if each.ys]
    if not series:
        return ""
    drawn = [_thin(each) for each in series]
    first = min(each.xs[0] for each in series) if chart.log_x else 0.0
    x = _Axis(first, max(each.xs[-1] for each in series), chart.log_x)
    y = _y_axis(chart, drawn)
    ticks = round_values(y.low, y.high, log=y.log)
    lines = "".join(f'<path class="grid" d="M0 {_down(y, tick)}H{SIZE}"/>' for tick in ticks)
    paths = "".join(_paths(each, points, x, y) for each, points in zip(series, drawn, strict=True))
    labels = "".join(
        f'<span style="top:{100 - 100 * y.at(tick):.2f}%">{write(tick, chart.kind)}</span>' for tick in ticks
    )
    steps = "".join(
        f'<span{" class=end" if x.at(tick) > 0.96 else ""} style="left:{100 * x.at(tick):.2f}%">'
        f"{write(tick, 'number') if tick else f'{chart.x} 0'}</span>"
        for tick in _x_ticks(series, x)
    )
    legend = ""
    if len(series) > 1:
        items = "".join(f'<li class="c{each.color % COLORS}">{escape(each.name)}</li>' for each in series)
        legend = f'<ul class="legend">{items}</ul>'
    last = "; ".join(f"{each.name} {write(each.ys[-1], chart.kind)}" for each in series)
    return (
        f'<figure class="chart{" wide" if chart.wide else ""}">'
        f"<figcaption><b>{escape(chart.title)}</b> <span>{escape(chart.unit)}</span>{legend}</figcaption>"
        f'<div class="plot"><div class="ys">{labels}</div>'
        f'<div class="area" tabindex="0" role="img" aria-label="{escape(chart.title)}, at the end: {escape(last)}">'
        f'<svg viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none" aria-hidden="true">{lines}{paths}</svg></div>'
        f'<div class="xs">{steps}</div></div>'
        f'<script type="application/json">{_numbers(chart, series, drawn, x, y)}</script></figure>'
    )


def write(value: float, kind: Kind) -> str:
    """A value for people: `12 000`, `2.4 M`, `41.5 %`, `1.2 GB`, `3.4 ms`, `$4.2 M`."""
    if kind == "dollars":
        return dollars(value).replace(" ", "\u202f")
    if kind == "bytes":
        return format_bytes(value).replace(" ", "\u202f")
    if kind == "percent":
        return f"{100 * value:.3g}\u202f%"
    if kind == "seconds":
        return f"{1000 * value:.3g}\u202fms" if 0 < abs(value) < 1 else f"{value:.3g}\u202fs"
    if value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    if abs(value) >= 1e6:
        return big(value).replace(" ", "\u202f")
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.4g}"


def round_values(low: float, high: float, *, log: bool = False, count: int = 5) -> list[float]:
    """Round values between `low` and `high`, about `count` of them."""
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            ticks = [digit * 10.0**power for power in powers for digit in digits if low <= digit * 10.0**power <= high]
            if len(ticks) >= count - 1:
                return ticks[:: -(-len(ticks) // (count + 2))]
    if high <= low:
        return [low]
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _x_ticks(series: Sequence[Series], x: _Axis) -> list[float]:
    if not x.log:
        return [tick for tick in round_values(x.low, x.high) if tick == round(tick)]
    known: list[float] = sorted({value for each in series for value in each.xs})
    return known[:: -(-len(known) // X_NAMES)]


@dataclass(frozen=True)
class _Point:
    x: float
    mean: float
    low: float
    high: float


def _thin(series: Series) -> list[_Point]:
    """At most POINTS points, each the mean and the bounds of its share of the values."""
    count = min(POINTS, len(series.xs))
    ends = [round(index * len(series.xs) / count) for index in range(count + 1)]
    points = []
    for first, last in pairwise(ends):
        values = series.ys[first:last]
        points.append(_Point(series.xs[(first + last - 1) // 2], sum(values) / len(values), min(values), max(values)))
    return points


def _smooth(points: Sequence[_Point]) -> list[float]:
    """Mean over a window of a twentieth of the points, narrower at both ends."""
    reach = max(1, len(points) // 40)
    means = []
    for index in range(len(points)):
        near = min(reach, index, len(points) - 1 - index)
        window = points[index - near : index + near + 1]
        means.append(sum(point.mean for point in window) / len(window))
    return means


def _y_axis(chart: Chart, drawn: Sequence[Sequence[_Point]]) -> _Axis:
    low = min(point.mean for points in drawn for point in points)
    high = max(point.mean for points in drawn for point in points)
    if chart.log and low > 0 and high / low > LOG_RATIO:
        return _Axis(low / 1.06, high * 1.06, log=True)
    if chart.zero:
        return _Axis(0.0, high * 1.08 or 1.0)
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return _Axis(low - pad, high + pad)


def _paths(series: Series, points: Sequence[_Point], x: _Axis, y: _Axis) -> str:
    across = [f"{SIZE * x.at(point.x):.1f}" for point in points]
    color = f"c{series.color % COLORS}"

    def line(values: Sequence[float]) -> str:
        return "M" + "L".join(f"{place} {_down(y, value)}" for place, value in zip(across, values, strict=True))

    raw = line([point.mean for point in points])
    if series.dots or len(points) == 1:
        dots = "".join(f"M{place} {_down(y, p.mean)}h0" for place, p in zip(across, points, strict=True))
        return f'<path class="line {color}" d="{raw}"/><path class="dots {color}" d="{dots}"/>'
    band = ""
    if len(series.xs) > len(points):
        back = "L".join(f"{place} {_down(y, p.low)}" for place, p in reversed(list(zip(across, points, strict=True))))
        band = f'<path class="band {color}" d="{line([point.high for point in points])}L{back}Z"/>'
    if not series.smooth:
        return f'{band}<path class="line {color}" d="{raw}"/>'
    return f'{band}<path class="faint {color}" d="{raw}"/><path class="line {color}" d="{line(_smooth(points))}"/>'


def _down(y: _Axis, value: float) -> str:
    return f"{SIZE - SIZE * y.at(value):.1f}"


def _numbers(chart: Chart, series: Sequence[Series], drawn: Sequence[Sequence[_Point]], x: _Axis, y: _Axis) -> str:
    """What the page's script needs to say the values at a place."""
    return json.dumps(
        {
            "kind": chart.kind,
            "step": chart.x,
            "x": [x.low, x.high],
            "log_x": x.log,
            "y": [y.low, y.high],
            "log": y.log,
            "series": [
                {
                    "name": each.name,
                    "color": each.color % COLORS,
                    "xs": [point.x for point in points],
                    "ys": [float(f"{value:.5g}") for value in _shown(each, points)],
                }
                for each, points in zip(series, drawn, strict=True)
            ],
        }
    ).replace("</", "<\\/")


def _shown(series: Series, points: Sequence[_Point]) -> list[float]:
    return _smooth(points) if series.smooth else [point.mean for point in points]
