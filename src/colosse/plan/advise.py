"""From a budget to a plan: what model to train on how many tokens, on how many GPUs, and what loss to expect.

The method, its sources and its limits are in docs/plan/advise.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from colosse.core.errors import UserError, nearest
from colosse.core.numbers import big
from colosse.plan.costs import Amount
from colosse.plan.estimate import Band, Estimate
from colosse.plan.fleet import Demand, output_cost
from colosse.plan.hardware import Catalogue, Cluster
from colosse.plan.job import Job
from colosse.plan.reliability import reliability
from colosse.plan.search import MOST_GPUS, batch_for, gpus_needed, quickest
from colosse.spec.counts import params
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec
from colosse.spec.presets import names, preset
from colosse.spec.scaling import LAWS, Optimum, compute_optimal, learning_rate, shape

HOUR_S, DAY_S = 3600, 86_400

USUAL_DAYS = 30
"""Of a training where neither a deadline nor a number of GPUs is given."""

SEQ_LEN = 4096

NEAR = 0.12
"""A preset is taken in place of a shape of our own where its size is as near as this to the one wanted."""

OVERTRAINED = (4.0, 16.0)
"""Tokens per parameter, over the optimum's, of the alternatives for the same budget."""

SMALLER = (2.0, 3.0)
"""By how much smaller the alternatives of the same loss are."""

LEAST = 1e6
"""Parameters of the smallest model that is advised."""

GRID = (24, *range(32, 289, 16))
"""Settings of the dial whose heads tensor ranks can share: widths of larger models; their layers are then as many as
make the size."""

WIDE = 5e8
"""Parameters from which on widths are of `GRID`."""

DEAREST = 4.0
"""GPU-hours over the advice's up to which a smaller model of the same loss is shown."""

TOLERATED = 1.10
"""Cost over the cheapest cluster's up to which a larger one is still called efficient."""

PUBLIC_TOKENS = 15e12
"""FineWeb (arXiv:2406.17557): filtered and deduplicated English web text."""

FIT = (1.8172, 482.01, 0.3478, 2085.43, 0.3658)
"""E, A, alpha, B, beta of E + A / params^alpha + B / tokens^beta: arXiv:2404.10102."""

ORIGINAL_FIT = (1.69, 406.4, 0.34, 410.7, 0.28)
"""The same of arXiv:2203.15556, which it replaces: how far two fits of the same runs can be apart."""

LOSS_ERROR = 0.05
"""Half a band: 1.645 standard errors of E in arXiv:2404.10102 (0.03; from memory)."""

LOSS_OF = "nats per token of MassiveText in a 32,000-token SentencePiece vocabulary"
"""What the loss is a loss of: comparable with itself only, not with another tokenizer or corpus."""


@dataclass(frozen=True)
class Trained:
    """A model, what it is trained on and what comes of it."""

    name: str
    """A preset, or the fields of a recipe's `model`: `depth` is the dial of `spec.scaling.shape`."""
    model: ModelSpec
    params: float
    tokens: float
    loss: Band
    """`LOSS_OF`."""
    gpu_hours: float
    days: float
    """Failures included."""
    usd: Amount | None
    usd_per_m_output: float | None
    """To serve a million tokens of answers at full load, `Demand`'s prompts and targets; None: not on one replica."""
    served_tokens: float | None = None
    """Tokens of answers after which it is cheaper than the advice, training and serving together; None: it is from the
    begin, or never, or has another loss."""

    @property
    def tokens_per_param(self) -> float:
        """20 is about Chinchilla's."""
        return self.tokens / self.params


@dataclass(frozen=True)
class Size:
    """The same training on another number of GPUs."""

    gpus: int
    days: float
    mfu: float
    usd: Amount | None
    efficient: bool
    """Whether its cost is within `TOLERATED` of the cheapest."""


@dataclass(frozen=True)
class Advice:
    """What a budget buys."""

    law: str
    gpu: str
    gpus: int
    gpu_hours: Band
    """With the range of prices, where the budget was money."""
    optimum: Optimum
    """By the law, before a shape was chosen."""
    best: Trained
    days: Band
    mfu: float
    goodput: Band
    estimate: Estimate
    tokens_per_step: int
    learning_rate: float
    same_budget: list[Trained]
    """Smaller and trained on more, for the same GPU-hours: cheaper to serve, a little worse."""
    same_loss: list[Trained]
    """Smaller and trained on so much more that the loss is the same."""
    sizes: list[Size]
    cautions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Run:
    """A model on a cluster for a number of GPU-hours."""

    name: str
    model: ModelSpec
    estimate: Estimate
    goodput: Band

    @property
    def tokens_per_gpu_hour(self) -> float:
        return HOUR_S * self.estimate.tokens_per_s_per_gpu.value * self.goodput.value


def advise(
    known: Catalogue,
    gpu: str = "h100",
    *,
    usd: float = 0.0,
    gpu_hours: float = 0.0,
    deadline_s: float = 0.0,
    gpus: int = 0,
    law: str = "chinchilla",
    overtrain: float = 1.0,
    price: Amount | None = None,
) -> Advice:
    """The best training for a budget.

    Args:
        known: hardware.
        gpu: a GPU or a node.
        usd: dollars for GPUs; or
        gpu_hours: of GPUs; or neither, and
        deadline_s: seconds in which it is to be done, on
        gpus: so many; without it as many as the deadline, or a month, asks for.
        law: a key of `scaling.LAWS`.
        overtrain: tokens per parameter, over the optimum's.
        price: dollars per GPU and hour; needed for `usd`.

    Raises:
        UserError: too little or too much is said, or nothing can be trained with it.
    """
    if law not in LAWS:
        raise UserError(f"unknown scaling law {law!r}", hint=nearest(law, LAWS), param="law")
    if not 0.1 <= overtrain <= 1000:
        raise UserError(f"--overtrain {overtrain:g} is not between 0.1 and 1000", hint="4 is usual", param="overtrain")
    hours = _hours(usd, gpu_hours, deadline_s, gpus, price)
    cautions: list[str] = []
    cluster = known.cluster(gpu, gpus) if gpus else _cluster(known, gpu, hours.value, deadline_s)
    if deadline_s and hours.value * HOUR_S / cluster.gpus > 1.02 * deadline_s:
        most = deadline_s / HOUR_S * cluster.gpus
        cautions.append(
            f"{cluster.gpus} GPUs spend {most:,.0f} GPU-hours until the deadline, not {hours.value:,.0f}: "
            "the plan is for those"
        )
        hours = Band(most, min(most, hours.low), min(most, hours.high))
    run, optimum = _optimal(cluster, hours.value, law, overtrain)
    best = _trained(run, hours.value * run.tokens_per_gpu_hour, price)
    if optimum.extrapolated:
        low, high = LAWS[law].fitted
        cautions.append(f"{optimum.flops:.2g} FLOPs are outside of the law's runs ({low:.0e} to {high:.0e})")
    if best.tokens > PUBLIC_TOKENS:
        cautions.append("more tokens than the 15 T of filtered English web text that are public (arXiv:2406.17557)")
    cautions += run.estimate.cautions
    others = {}
    for factor in OVERTRAINED:
        if optimum.params / math.sqrt(overtrain * factor) >= LEAST:
            other = _optimal(cluster, hours.value, law, overtrain * factor)[0]
            others[other.name] = _trained(other, hours.value * other.tokens_per_gpu_hour, price)
    seconds = run.estimate.tokens_per_s_per_gpu
    days = best.days
    return Advice(
        law=law,
        gpu=cluster.gpu.name,
        gpus=cluster.gpus,
        gpu_hours=hours,
        optimum=optimum,
        best=best,
        days=Band(days, days * seconds.value / seconds.high, days * seconds.value / seconds.low),
        mfu=run.estimate.mfu,
        goodput=run.goodput,
        estimate=run.estimate,
        tokens_per_step=run.estimate.job.global_batch_size * run.estimate.job.seq_len,
        learning_rate=learning_rate(optimum.flops, run.estimate.job.global_batch_size * run.estimate.job.seq_len),
        same_budget=[other for other in others.values() if other.params < 0.95 * best.params],
        same_loss=list(_same_loss(cluster, best, price)),
        sizes=_sizes(known, gpu, run, best.tokens, price),
        cautions=cautions,
    )


def loss(params: float, tokens: float) -> Band:
    """Of a model of so many parameters after so many tokens (`LOSS_OF`); embeddings count.

    The band holds the standard error of the fit's floor and the fit that it replaced.
    """
    value, other = (e + a / params**alpha + b / tokens**beta for e, a, alpha, b, beta in (FIT, ORIGINAL_FIT))
    return Band(value, min(value - LOSS_ERROR, other), max(value + LOSS_ERROR, other))


def tokens_for(params: float, wanted: float) -> float:
    """Tokens after which a model of so many parameters has a loss; infinite where it never has."""
    e, a, alpha, b, beta = FIT
    rest = wanted - e - a / params**alpha
    return float((b / rest) ** (1 / beta)) if rest > 0 else math.inf


def _hours(usd: float, gpu_hours: float, deadline_s: float, gpus: int, price: Amount | None) -> Band:
    if usd and gpu_hours:
        raise UserError("a budget in money and in GPU-hours at once", hint="give one of them", param="budget")
    if usd:
        if price is None or not price.low:
            raise UserError("no price is known for this GPU", hint="--price 2.5 or 2-4.5", param="price")
        return Band(usd / price.central, usd / price.high, usd / price.low)
    hours = gpu_hours or deadline_s / HOUR_S * gpus
    if not hours:
        raise UserError(
            "how much may it take?", hint="--budget 100k$, --gpu-hours 50k, or --deadline 30d with --gpus 64"
        )
    return Band(hours, hours, hours)


def _cluster(known: Catalogue, gpu: str, hours: float, deadline_s: float) -> Cluster:
    """Whole nodes that spend the GPU-hours until the deadline, 2^n or 3 x 2^n of them, so that they divide well."""
    node = known.cluster(gpu, 1).node
    wanted = hours * HOUR_S / (deadline_s or USUAL_DAYS * DAY_S)
    if wanted > MOST_GPUS:
        raise UserError(
            f"{hours:.3g} GPU-hours until then take {wanted:.3g} GPUs, more than there are", hint="a later --deadline"
        )
    if wanted <= node.gpus:
        part = 1 << max(0, math.ceil(math.log2(wanted)))
        return known.cluster(gpu, part if part < node.gpus else node.gpus)
    nodes = min(n for k in range(24) for n in (1 << k, 3 << k) if n * node.gpus >= 0.99 * wanted)
    return known.cluster(gpu, nodes * node.gpus)


def _optimal(cluster: Cluster, hours: float, law: str, overtrain: float) -> tuple[_Run, Optimum]:
    """The model whose tokens in these GPU-hours are the law's, or `overtrain` times as many for each parameter."""
    peak = max(cluster.gpu.tflops.get("bfloat16", 0), cluster.gpu.tflops.get("float16", 0)) * 1e12
    budget, tried = 0.4 * peak * hours * HOUR_S, dict[str, _Run]()
    while True:  # speed depends on the model and the model on speed
        optimum = compute_optimal(flops=budget, law=law)
        name, model = _shape_near(optimum.params / math.sqrt(overtrain))
        seen = name in tried
        if not seen:
            tried[name] = _run(name, model, cluster, optimum.tokens * math.sqrt(overtrain))
        run = tried[name]
        budget = 6 * params(model).total * hours * run.tokens_per_gpu_hour
        if seen:
            break
    return run, compute_optimal(flops=budget, law=law)


def _run(name: str, model: ModelSpec, cluster: Cluster, tokens: float) -> _Run:
    batch = batch_for(model, seq_len=SEQ_LEN, tokens=tokens, gpus=cluster.gpus)
    job = Job(model=model, layout=Layout(), cluster=cluster, seq_len=SEQ_LEN, global_batch_size=batch)
    found = quickest(job)
    total = params(model).total
    if found is None:
        least = gpus_needed(job)
        if least and least <= cluster.gpus:
            raise UserError(
                f"{big(batch * SEQ_LEN)} tokens of a step are too few for {cluster.gpus} GPUs",
                hint="fewer GPUs, or a later --deadline",
                param="gpus",
            )
        raise UserError(
            f"the {big(total)} parameters that this budget calls for do not fit on {cluster.gpus} {cluster.gpu.name}",
            hint=f"--gpus {least} do, or --overtrain 4 for a smaller model" if least else "--overtrain 4",
            param="gpus",
        )
    days = tokens / (found.tokens_per_s_per_gpu.value * cluster.gpus) / DAY_S
    kept = reliability(cluster, params=total, ideal_days=days, replicas=found.job.layout.dp_replicate).ettr
    return _Run(name, model, found, kept)


def _trained(run: _Run, tokens: float, price: Amount | None) -> Trained:
    total, cluster = params(run.model).total, run.estimate.job.cluster
    hours = tokens / run.tokens_per_gpu_hour
    return Trained(
        name=run.name,
        model=run.model,
        params=total,
        tokens=tokens,
        loss=loss(total, tokens),
        gpu_hours=hours,
        days=hours / cluster.gpus / 24,
        usd=price * hours if price else None,
        usd_per_m_output=_serving(run.model, cluster, price),
    )


def _same_loss(cluster: Cluster, best: Trained, price: Amount | None) -> Iterable[Trained]:
    """Smaller models with the advice's loss, and when they pay (arXiv:2401.00448)."""
    smaller = dict(_shape_near(max(best.params / factor, LEAST)) for factor in SMALLER)
    for name, model in smaller.items():
        tokens = tokens_for(params(model).total, best.loss.value)
        if name == best.name or not math.isfinite(tokens):
            continue
        one = _trained(_run(name, model, cluster, tokens), tokens, price)
        if one.gpu_hours > DEAREST * best.gpu_hours:
            continue
        served = None
        if one.usd and best.usd and one.usd_per_m_output and best.usd_per_m_output:
            saved = best.usd_per_m_output - one.usd_per_m_output
            extra = one.usd.central - best.usd.central
            served = extra / saved * 1e6 if saved > 0 and extra > 0 else None
        yield Trained(**(vars(one) | {"served_tokens": served}))


def _sizes(known: Catalogue, gpu: str, run: _Run, tokens: float, price: Amount | None) -> list[Size]:
    """Half, twice and so on as many GPUs, for the same tokens."""
    here = run.estimate.job.cluster
    found = []
    for factor in (0.25, 0.5, 1, 2, 4, 8):
        gpus, node = int(here.gpus * factor), here.node.gpus
        if gpus < 1 or (gpus % node and node % gpus):
            continue
        try:
            one = run if gpus == here.gpus else _run(run.name, run.model, known.cluster(gpu, gpus), tokens)
        except UserError:  # it does not fit there
            continue
        found.append((gpus, one, tokens / one.tokens_per_gpu_hour))
    cheapest = min(hours for _, _, hours in found)
    return [
        Size(
            gpus=gpus,
            days=hours / gpus / 24,
            mfu=one.estimate.mfu,
            usd=price * hours if price else None,
            efficient=hours <= TOLERATED * cheapest,
        )
        for gpus, one, hours in found
    ]


def _serving(model: ModelSpec, cluster: Cluster, price: Amount | None) -> float | None:
    cost = output_cost(model, cluster, Demand(users=1000), price) if price else None
    return cost.central if cost else None


def _shape_near(wanted: float) -> tuple[str, ModelSpec]:
    """The trainable dense preset, or else the depth, whose parameters are nearest."""
    if wanted < LEAST:
        raise UserError(
            f"the budget is for a model of {wanted:,.0f} parameters", hint="give it more: a million are the least"
        )
    near = [(abs(math.log(total / wanted)), name, spec) for name, spec, total in _presets()]
    distance, name, spec = min(near, key=lambda entry: entry[0])
    if distance <= NEAR:
        return name, spec
    if wanted < WIDE:
        depth = min(range(1, GRID[0]), key=lambda d: abs(math.log(_total(d) / wanted)))
        return f"depth {depth}", _shape(depth)
    depth = min(GRID, key=lambda d: abs(math.log(_total(d, d) / wanted)))
    one, two = _total(depth, 1), _total(depth, 2)
    layers = max(1, round((wanted - one) / (two - one)) + 1)
    model = _shape(depth, layers)
    return f"depth {depth}, num_layers {layers}, num_kv_heads {model.num_kv_heads}", model


@cache
def _presets() -> list[tuple[str, ModelSpec, int]]:
    """Dense ones that the trainer builds, with their parameters."""
    found = [(name, preset(name).spec) for name in names()]
    return [
        (name, spec, params(spec).total)
        for name, spec in found
        if spec.moe is None and spec.mla is None and spec.gated and not spec.full_attention_every
    ]


@cache
def _shape(depth: int, layers: int = 0) -> ModelSpec:
    """The dial's shape; given layers, with so many and at most 8 heads of keys and values, to be cheap to serve."""
    fields = shape(depth) | {"max_seq_len": SEQ_LEN}
    if layers:
        fields |= {"num_layers": layers, "num_kv_heads": math.gcd(fields["num_heads"], 8)}
    return ModelSpec(**fields)


@cache
def _total(depth: int, layers: int = 0) -> int:
    return params(_shape(depth, layers)).total
