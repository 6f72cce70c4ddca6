"""The page of a validation: predicted against measured, the distribution of errors, tables, and the worst rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from colosse.core.files import write_atomic
from colosse.core.page import head, page, stats
from colosse.plan.validate import Checked, Summary, Validation

WORST = 25
BY = {
    "source": "source",
    "gpu": "GPU",
    "model": "kind of model",
    "precision": "precision",
    "gpus": "number of GPUs",
}
"""Words for the keys of `Validation.by`."""
SIZE, MARGIN = 560, 46

STYLE = """
.plots { margin: 1.25rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.25rem; }
.plots figure { margin: 0; padding: 1rem; background: var(--surface); border: 1px solid var(--line); }
.plots figure { border-radius: 10px; }
.plots svg { width: 100%; height: auto; display: block; }
.plots text { fill: var(--soft); font: 12px var(--sans); }
.plots line, .plots path { stroke: var(--grid); }
.plots .even { stroke: var(--ink); } .plots .near { stroke: var(--soft); stroke-dasharray: 4 4; }
.plots circle { fill: var(--accent); fill-opacity: .45; }
.plots rect { fill: var(--accent); } .plots rect.far { fill: var(--danger); }
.plots figcaption { color: var(--soft); font-size: .9rem; margin-top: .5rem; }
table.checked { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
table.checked th, table.checked td { text-align: right; padding: .3rem .5rem; border-bottom: 1px solid var(--line); }
table.checked th, table.checked td { white-space: nowrap; }
table.checked th:first-child, table.checked td:first-child { text-align: left; white-space: normal; min-width: 9rem; }
table.checked td:first-child { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
"""


def write_page(found: Validation, path: Path, title: str) -> Path:
    """Write the page to a file."""
    timed = [row for row in found.rows if row.measured_s]
    how = "each source predicted with parameters from the others" if found.held_out else "with the parameters shipped"
    body = [
        head("plan validate", title, "", f"{len(timed)} published step times, {how}."),
        stats(_headline(found)),
        f'<div class="plots">{_scatter(timed)}{_histogram(timed)}</div>' if timed else "",
        *(_table(f"By {BY[name]}", rows) for name, rows in found.by.items()),
        _worst(timed),
        _left_out(found),
    ]
    write_atomic(path, page(title, body, style=STYLE).encode())
    return path


def _headline(found: Validation) -> list[tuple[str, str]]:
    one, memory, ranking = found.overall, found.memory, found.ranking
    facts = [
        ("median error", percent(one.median)),
        ("nine of ten within", percent(one.p90)),
        ("bias", f"{100 * one.bias:+.1f} %"),
        ("in the band", percent(one.inside)),
    ]
    if memory.rows:
        facts.append(("memory, median", percent(memory.median)))
    if ranking.groups:
        facts.append(("chosen layout behind the best", percent(ranking.loss)))
    return facts


def percent(value: float) -> str:
    """`7.9 %`."""
    return f"{100 * value:.1f}\u202f%"


def _scatter(rows: Sequence[Checked]) -> str:
    low = math.floor(math.log10(min(min(row.measured_s, row.predicted_s) for row in rows)))
    high = math.ceil(math.log10(max(max(row.measured_s, row.predicted_s) for row in rows)))

    def at(seconds: float) -> float:
        return MARGIN + (math.log10(seconds) - low) / max(high - low, 1) * (SIZE - 2 * MARGIN)

    grid = "".join(
        f'<path d="M{at(10.0**n):.1f} {MARGIN}V{SIZE - MARGIN}M{MARGIN} {SIZE - at(10.0**n):.1f}H{SIZE - MARGIN}"/>'
        f'<text x="{at(10.0**n):.1f}" y="{SIZE - MARGIN + 18}" text-anchor="middle">{10.0**n:g} s</text>'
        f'<text x="{MARGIN - 6}" y="{SIZE - at(10.0**n) + 4:.1f}" text-anchor="end">{10.0**n:g}</text>'
        for n in range(low, high + 1)
    )
    lines = "".join(
        _diagonal(at, low, high, factor, name) for factor, name in ((1, "even"), (1.2, "near"), (1 / 1.2, "near"))
    )
    dots = "".join(
        f'<circle cx="{at(row.measured_s):.1f}" cy="{SIZE - at(row.predicted_s):.1f}" r="3.2"><title>'
        f"{escape(row.id)}: {row.measured_s:.4g} s measured, {100 * row.error:+.1f} %</title></circle>"
        for row in rows
    )
    return _figure(grid + lines + dots, "Predicted (up) against measured step time (right); dashed: 20 % off.")


def _diagonal(at: object, low: int, high: int, factor: float, name: str) -> str:
    assert callable(at)  # noqa: S101 - a function of this module
    begin, end = max(10.0**low, 10.0**low / factor), min(10.0**high, 10.0**high / factor)
    return (
        f'<line class="{name}" x1="{at(begin):.1f}" y1="{SIZE - at(begin * factor):.1f}" '
        f'x2="{at(end):.1f}" y2="{SIZE - at(end * factor):.1f}"/>'
    )


BINS = 24
EDGE = 0.6


def _histogram(rows: Sequence[Checked]) -> str:
    counts = [0] * BINS
    for row in rows:
        place = (min(max(row.error, -EDGE), EDGE - 1e-9) + EDGE) / (2 * EDGE) * BINS
        counts[int(place)] += 1
    width = (SIZE - 2 * MARGIN) / BINS
    tall = (SIZE - 2 * MARGIN) / max(counts)
    bars = ""
    for n, count in enumerate(counts):
        far = "far" if abs((n + 0.5) / BINS * 2 * EDGE - EDGE) > 0.2 else ""
        at, height = MARGIN + n * width + 1, count * tall
        bars += f'<rect class="{far}" x="{at:.1f}" y="{SIZE - MARGIN - height:.1f}" width="{width - 2:.1f}" '
        bars += f'height="{height:.1f}"><title>{count}</title></rect>'
    ticks = "".join(
        f'<text x="{MARGIN + (value + EDGE) / (2 * EDGE) * (SIZE - 2 * MARGIN):.1f}" y="{SIZE - MARGIN + 18}" '
        f'text-anchor="middle">{100 * value:+.0f} %</text>'
        for value in (-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6)
    )
    return _figure(bars + ticks, "Rows by error of their step time; red: more than 20 % off.")


def _figure(drawing: str, caption: str) -> str:
    svg = f'<svg viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="{caption}">{drawing}</svg>'
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _table(title: str, rows: Sequence[Summary]) -> str:
    cells = "".join(
        f"<tr><td>{escape(row.name)}</td><td>{row.rows}</td><td>{percent(row.median)}</td><td>{percent(row.p90)}</td>"
        f"<td>{100 * row.bias:+.1f} %</td><td>{percent(row.inside)}</td></tr>"
        for row in rows
    )
    heads = "".join(f"<th>{name}</th>" for name in ("", "rows", "median", "90th", "bias", "in band"))
    return f'<h2>{title}</h2><div class="wide"><table class="checked"><tr>{heads}</tr>{cells}</table></div>'


def _worst(rows: Sequence[Checked]) -> str:
    worst = sorted(rows, key=lambda row: -abs(math.log1p(row.error)))[:WORST]
    cells = "".join(
        f"<tr><td>{escape(row.id)} <small>{escape(row.source)}</small></td><td>{row.measured_s:.4g}</td>"
        f"<td>{row.predicted_s:.4g}</td><td>{100 * row.error:+.1f} %</td></tr>"
        for row in worst
    )
    heads = "".join(f"<th>{name}</th>" for name in ("row", "measured s", "predicted s", "error"))
    return f'<h2>Worst rows</h2><div class="wide"><table class="checked"><tr>{heads}</tr>{cells}</table></div>'


def _left_out(found: Validation) -> str:
    if not found.left_out:
        return ""
    items = "".join(f"<li>{count} × {escape(reason)}</li>" for reason, count in found.reasons.items())
    return f"<h2>Left out</h2><ul>{items}</ul>"
