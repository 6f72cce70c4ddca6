"""The report of a plan: one HTML file that shows a layout, what it costs, and what would change that.

Everything is drawn into the file (`core/page.py`), `report.css` too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

from colosse.core.chart import Chart, Series, render, write
from colosse.core.files import format_bytes, write_atomic
from colosse.core.numbers import big, count, dollars, duration, share, time_of
from colosse.core.page import Facts, fact_groups, head, page, pairs, stats
from colosse.plan import report_figures as figures
from colosse.plan.bill import Bill
from colosse.plan.costs import Amount
from colosse.plan.estimate import Band, Estimate, Task
from colosse.plan.reliability import LOSSES, Reliability
from colosse.plan.search import Found, summary, training_dollars, training_seconds
from colosse.plan.whatif import KNEE, Effect, knee
from colosse.plan.words import Words
from colosse.spec.counts import params


@dataclass(frozen=True)
class Plan:
    """What a report is made of; what is empty is left out."""

    name: str
    """Of the model."""
    estimate: Estimate
    tokens: float = 0.0
    """Of the whole training."""
    price: Amount | None = None
    """Dollars per GPU and hour."""
    tasks: Sequence[Task] = ()
    """The pipeline's timeline."""
    found: Found | None = None
    """The search that the layout comes from."""
    curve: Sequence[Estimate] = ()
    """Of `whatif.scaling`."""
    effects: Sequence[Effect] = ()
    """Of `whatif.sensitivity`."""
    recipe: str = ""
    """TOML."""
    reliability: Reliability | None = None
    bill: Bill | None = None
    """Of renting the cluster for it."""


def write_report(plan: Plan, path: Path) -> Path:
    """Write the page to a file."""
    write_atomic(path, render_report(plan).encode())
    return path


def render_report(plan: Plan) -> str:
    """The page."""
    one = plan.estimate
    cluster = one.job.cluster
    title = f"{plan.name} on {count(cluster.gpus)} {cluster.gpu.name}"
    body = [
        head("plan", title, _fit(one), f"{summary(one.job.layout)}."),
        stats(_headline(plan)),
        _cautions(one),
        _section("Layout", figures.ranks_on_nodes(one) if one.job.layout.world_size > 1 else ""),
        _section("Memory of a GPU", figures.memory_bars(one)),
        _section("The pipeline in a step", figures.timeline(plan.tasks, one.job.layout.pp)),
        _section("Where a step goes", figures.breakdown(one)),
        _section("More or fewer GPUs", _scaling(plan)),
        _section("If things are not as assumed", _sensitivity(plan)),
        _section("Failures", _failures(plan.reliability) if plan.reliability else ""),
        _section("The bill", _bill(plan.bill) if plan.bill else ""),
        _section("Other layouts", _others(plan)),
        f"<h2>Facts</h2>{fact_groups(_facts(plan))}",
    ]
    if plan.recipe:
        body.append(f'<details class="recipe"><summary>Recipe</summary><pre>{escape(plan.recipe)}</pre></details>')
    style = (resources.files("colosse.plan") / "report.css").read_text(encoding="utf-8")
    return page(title, body, style=style)


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}" if content else ""


def _fit(one: Estimate) -> str:
    """Whether it does, for the chip beside the title."""
    most = one.memory_band[1] * one.peak_memory.total
    return "does not fit" if not one.fits else "tight" if most > one.job.cluster.gpu.memory_gb * 1e9 else "fits"


def _headline(plan: Plan) -> Facts:
    one = plan.estimate
    seconds, money = training_seconds(one, plan.tokens), training_dollars(one, plan.tokens, plan.price)
    rate = one.tokens_per_s_per_gpu.value * one.job.cluster.gpus
    have = one.job.cluster.gpu.memory_gb * 1e9
    low, high = (write(end, "seconds") for end in (one.step_s.low, one.step_s.high))
    return [
        (f"a step: {low} to {high}", write(one.step_s.value, "seconds")),
        ("MFU", share(one.mfu)),
        ("tokens per second", big(rate)),
        ("of memory", share(one.peak_memory.total / have)),
        (f"for {big(plan.tokens)} tokens{_interrupted(plan)}", time_of(seconds.value) if seconds else ""),
        (f"rent of the GPUs{_kept(plan, money)}" if money else "", dollars(money.value) if money else ""),
    ]


def _interrupted(plan: Plan) -> str:
    found = plan.reliability
    return f"; {found.days.value:.0f} days with failures" if found else ", uninterrupted"


def _kept(plan: Plan, money: Band) -> str:
    low, high, found = dollars(money.low), dollars(money.high), plan.reliability
    more = f"; {dollars(money.value * found.days.value / found.ideal_days)} with failures" if found else ""
    return f": {low} to {high}{more}"


def _cautions(one: Estimate) -> str:
    if not one.cautions:
        return ""
    return f'<ul class="cautions">{"".join(f"<li>{escape(text)}</li>" for text in one.cautions)}</ul>'


def _scaling(plan: Plan) -> str:
    curve = plan.curve
    if len(curve) < 2:
        return ""
    sizes = [each.job.cluster.gpus for each in curve]
    rates = [each.tokens_per_s_per_gpu.value * each.job.cluster.gpus for each in curve]
    per_gpu = max(each.tokens_per_s_per_gpu.value for each in curve)
    at = knee(curve)
    days = [training_seconds(each, plan.tokens) for each in curve]
    money = [training_dollars(each, plan.tokens, plan.price) for each in curve]
    ideal = Series("if no GPU slowed down", sizes, [per_gpu * size for size in sizes], 2)
    speed = [Series("best layout", sizes, rates, dots=True), ideal]
    if all(money):
        rent = Series("rent", sizes, [each.value for each in money if each], 1, dots=True)
        other = Chart("Rent", "of the whole training", [rent], kind="dollars", zero=True, x="GPUs", log_x=True)
    else:
        mfu = Series("MFU", sizes, [each.mfu for each in curve], 1, dots=True)
        other = Chart("MFU", "share of the peak", [mfu], kind="percent", zero=True, x="GPUs", log_x=True)
    charts = [Chart("Speed", "tokens per second", speed, log=True, x="GPUs", log_x=True), other]
    rows = "".join(
        _row(
            [
                (count(each.job.cluster.gpus), "number"),
                (summary(each.job.layout), "wrap"),
                (write(each.step_s.value, "seconds"), "number"),
                (share(each.mfu), "number"),
                (time_of(took.value) if took else "", "number"),
                (dollars(cost.value) if cost else "", "number"),
            ]
        )
        for each, took, cost in zip(curve, days, money, strict=True)
    )
    where = f"The knee is at {count(at.job.cluster.gpus)} GPUs: up to there"
    if at is curve[-1]:
        where = f"There is no knee up to {count(sizes[-1])} GPUs:"
    text = (
        f"The same batch on other clusters, each with its own best layout. {where} each GPU does at least "
        f"{share(KNEE)} of what it does at best."
    )
    return (
        f'<p class="lead">{text}</p><div class="charts pair">{"".join(map(render, charts))}</div>'
        '<div class="scroll"><table><tr><th class="number">GPUs</th><th>layout</th><th class="number">step</th>'
        '<th class="number">MFU</th><th class="number">time</th><th class="number">rent</th></tr>'
        f"{rows}</table></div>"
    )


def _sensitivity(plan: Plan) -> str:
    if not plan.effects:
        return ""
    text = "By how much the training would cost more or less, with this layout; a new search would win a part back."
    return f'<p class="lead">{text}</p>{figures.tornado(plan.effects)}'


def _failures(found: Reliability) -> str:
    losses = {key: value for key, value in found.losses.items() if value > 5e-5}
    rows = "".join(
        _row([(LOSSES[key], ""), (share(value), "number")])
        for key, value in sorted(losses.items(), key=lambda i: -i[1])
    )
    ettr = found.ettr
    text = (
        f"{share(ettr.value)} of the time is training that is kept ({share(ettr.low)} to {share(ettr.high)}): "
        f"{found.days.value:.1f} days in place of {found.ideal_days:.1f}, with {count(found.failures)} failures, "
        f"one every {duration(found.mtbf_s)}."
    )
    facts = [
        ("checkpoint every", duration(found.interval_s)),
        ("a checkpoint", format_bytes(found.checkpoint_bytes)),
        ("stops training for", f"{found.checkpoint_stall_s:.1f} s"),
        ("written in", f"{found.checkpoint_write_s:.1f} s"),
        ("start after a failure", duration(found.restart_s)),
        ("spare nodes", f"{found.spares} beside {found.nodes}"),
    ]
    advice = "".join(f"<li>{escape(sentence)}</li>" for sentence in found.advice)
    return (
        f'<p class="lead">{text}</p><div class="two"><table><tr><th>lost</th><th class="number">of the time</th></tr>'
        f'{rows}</table><div class="facts one"><dl>{pairs(facts)}</dl></div></div><ul class="advice">{advice}</ul>'
    )


def _bill(found: Bill) -> str:
    words = Words("en")
    rows = "".join(
        _row(
            [
                (line.item(words), "wrap"),
                (dollars(line.amount.central), "number"),
                (f"{dollars(line.amount.low)} to {dollars(line.amount.high)}", "number"),
                (f"{count(line.quantity)} {words.unit(line.unit, line.quantity)}", "number"),
            ]
        )
        for line in found.lines
        if line.section == "run"
    )
    total = found.run
    per_token = found.per_million_tokens
    each = f", ${per_token.central:.3g} per million tokens" if per_token else ""
    text = (
        f"Renting for {found.elapsed_days:.1f} days, failures included: {dollars(total.central)} "
        f"({dollars(total.low)} to {dollars(total.high)}){each}. {found.kwh.central / 1e6:.3g} GWh of electricity."
    )
    return (
        f'<p class="lead">{text}</p><div class="scroll"><table><tr><th>item</th><th class="number">dollars</th>'
        f'<th class="number">range</th><th class="number">quantity</th></tr>{rows}</table></div>'
    )


def _others(plan: Plan) -> str:
    found = plan.found
    if found is None:
        return ""
    rows = "".join(
        _row(
            [
                (summary(ranked.estimate.job.layout), "wrap" if n else "wrap best"),
                (write(ranked.estimate.step_s.value, "seconds"), "number"),
                (share(ranked.estimate.mfu), "number"),
                (figures.gigabytes(ranked.estimate.peak_memory.total), "number"),
                (ranked.why if n else "the first", "wrap"),
            ]
        )
        for n, ranked in enumerate(found.ranked)
    )
    losers = "".join(
        _row([(each.reason, ""), (count(each.layouts), "number"), (_behind(each.nearest), "number")])
        for each in found.losers
    )
    text = f"{count(found.considered)} layouts can run; {count(found.timed)} of them were worth timing."
    return (
        f'<p class="lead">{text}</p><div class="scroll"><table><tr><th>layout</th><th class="number">step</th>'
        '<th class="number">MFU</th><th class="number">memory</th><th>behind the first by</th></tr>'
        f"{rows}</table></div>"
        f'<div class="two"><div><h3>Why all others lose</h3><div class="scroll"><table><tr><th>reason</th>'
        f'<th class="number">layouts</th><th class="number">best of them</th></tr>{losers}</table></div></div>'
        f"<div><h3>One setting changed, all others free</h3>{figures.options(found)}</div></div>"
    )


def _row(cells: Iterable[tuple[str, str]]) -> str:
    """A table's row of (text, class)."""
    return "<tr>" + "".join(f'<td class="{look}">{escape(text)}</td>' for text, look in cells) + "</tr>"


def _behind(share_behind: float | None) -> str:
    if share_behind is None:
        return ""
    return figures.percent(share_behind) if share_behind else "best"


def _facts(plan: Plan) -> Iterable[tuple[str, Facts]]:
    one = plan.estimate
    job, spec = one.job, one.job.model
    layout, cluster, counted = job.layout, job.cluster, params(job.model)
    axes = ", ".join(f"{axis} {getattr(layout, axis)}" for axis in ("pp", "dp_replicate", "dp_shard", "cp", "tp", "ep"))
    yield (
        "Model",
        [
            ("name", plan.name),
            ("parameters", big(counted.total)),
            ("a token meets", big(counted.active) if counted.active != counted.total else ""),
            ("layers × width", f"{spec.num_layers} × {count(spec.dim)}"),
            ("vocabulary", count(spec.vocab_size)),
        ],
    )
    yield (
        "Step",
        [
            ("sequences", count(job.global_batch_size)),
            ("of", f"{count(job.seq_len)} tokens"),
            ("tokens", big(job.global_batch_size * job.seq_len)),
            ("micro batches", f"{layout.micro_batches(job.global_batch_size)} of {layout.micro_batch_size}"),
            ("work", f"{one.model_flops:.3g} FLOP"),
            ("MFU counts", "causal attention once, no recomputation"),
        ],
    )
    yield (
        "Layout",
        [
            ("axes", axes),
            ("schedule", f"{layout.schedule}, {layout.stages_per_rank} stages a rank" if layout.pp > 1 else ""),
            ("recomputation", layout.recompute),
            ("weights between passes", "given back" if layout.reshard_after_forward else "kept"),
            ("precision", job.software.precision or layout.precision),
        ],
    )
    node = cluster.node
    yield (
        "Cluster",
        [
            ("GPUs", f"{count(cluster.gpus)} {cluster.gpu.name}"),
            ("nodes", f"{count(-(-cluster.gpus // node.gpus))} {node.name}"),
            ("memory", f"{cluster.gpu.memory_gb:g} GB, {cluster.gpu.memory_gb_per_s:g} GB/s"),
            ("scale-up domain", f"{node.domain} GPUs, {cluster.gpu.link_gb_per_s:g} GB/s"),
            ("network per GPU", f"{node.nic_gb_per_s:g} GB/s"),
            ("fabric", f"{cluster.fabric.kind.replace('_', ' ')}, {cluster.fabric.oversubscription:g}:1"),
            ("price", f"${plan.price.low:.2f} to ${plan.price.high:.2f} per GPU-hour" if plan.price else ""),
        ],
    )
