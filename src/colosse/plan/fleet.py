"""From users and what they ask to the GPUs that answer them in time: `fleet`. docs/plan/serve.md has the method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from colosse.core.errors import UserError
from colosse.plan.costs import Amount
from colosse.plan.estimate import Band
from colosse.plan.fleet_engine import Engine, Split, Weights
from colosse.plan.fleet_load import MAX_SEQUENCES, Steady, at_rate, steady
from colosse.plan.hardware import Cluster
from colosse.spec.counts import params
from colosse.spec.model import ModelSpec

Quantize = Literal["auto", "none", "fp8", "int4", "nvfp4"]

SPEED = (0.72, 1.25)
"""Measured throughput of nine published results of ten, over ours: `benchmarks/planner_serve.py`."""

SURE = 0.95
"""Share of requests (time to first token) and of moments (time per token) that are to meet the targets."""

CHUNKS = (512, 1024, 2048, 4096, 8192, 16384)
"""Most tokens of a step, among which the fleet chooses: fewer for even steps, more for quick prompts."""

POWER = (0.5, 0.7, 0.95)
"""Of the board's limit, low, expected and high, while serving: reading weights draws less than training."""

LARGEST_SPREAD = 64
"""GPUs of the largest replica considered."""


@dataclass(frozen=True)
class Demand:
    """What users ask for."""

    users: float
    requests_per_user_hour: float = 6.0
    """In the mean."""
    prompt: int = 1500
    """Tokens, with what was said before."""
    answer: int = 400
    ttft_s: float = 1.0
    """Target of time to first token."""
    tpot_s: float = 0.05
    """Target of time per token after it."""
    peak: float = 2.0
    """Requests of the busiest minutes over the mean."""
    cached: float = 0.0
    """Share of the prompts' tokens that a prefix cache has (the system prompt, earlier turns)."""

    @property
    def requests_per_s(self) -> float:
        """In the mean."""
        return self.users * self.requests_per_user_hour / 3600

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UserError: names the number.
        """
        for name in ("users", "requests_per_user_hour", "prompt", "answer", "ttft_s", "tpot_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} = {getattr(self, name)} is not above 0", param=name)
        if not 1 <= self.peak < math.inf:
            raise UserError(f"peak = {self.peak} is below the mean", hint="2 is usual", param="peak")
        if not 0 <= self.cached < 1:
            raise UserError(f"cached = {self.cached} is no share of the prompt", hint="from 0 to 0.99", param="cached")


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU of a replica."""

    total: float
    weights: float
    cache: float
    """Keys and values at the peak."""
    cache_room: float
    """What keys and values could have."""
    working: float
    """Activations, graphs, the device's context."""


@dataclass(frozen=True)
class Option:
    """A way to build replicas."""

    gpus_per_replica: int
    split: Split
    step_tokens: int
    replicas: int
    gpus: int
    requests_per_s: float
    """That one replica takes within the targets."""


@dataclass(frozen=True)
class Fleet:
    """What serves the demand."""

    demand: Demand
    engine: Engine
    step_tokens: int
    """Most tokens of a step (`max_num_batched_tokens`)."""
    max_sequences: int
    """Running answers to allow (`max_num_seqs`)."""
    replicas: int
    gpus: Band
    """At the ends of the band the best fleet for that speed, which may have other replicas; infinite: there is none."""
    memory: Memory
    sequences: float
    """Answers that run at once on a replica at the peak."""
    utilisation: float
    """Requests at the peak, of what the replicas take within the targets."""
    ttft_s: Band
    """At the peak, for 95 requests of 100; infinite where replicas as slow as the band allows cannot keep up."""
    ttft_mean_s: float
    tpot_s: Band
    """At the peak, mean."""
    output_tokens_per_s_per_gpu: Band
    """Within the targets, at full load."""
    usd_per_hour: Amount | None
    """None where no price is known."""
    usd_per_m_input: Amount | None
    """A million tokens of prompts at the mean load, the fleet running all day."""
    usd_per_m_output: Amount | None
    usd_per_m_output_full: Amount | None
    """The same at full load."""
    kw: Band
    """Of the GPUs and their servers, without cooling."""
    options: list[Option]
    """The best of every size and split, fewest GPUs first; the first is the fleet's."""
    cautions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    """An engine with the most that it takes."""

    engine: Engine
    step_tokens: int
    most: Steady

    def replicas(self, demand: Demand) -> int:
        return max(1, math.ceil(demand.requests_per_s * demand.peak / self.most.requests_per_s))

    def gpus(self, demand: Demand) -> int:
        return self.replicas(demand) * self.engine.gpus


def fleet(
    model: ModelSpec, cluster: Cluster, demand: Demand, *, quantize: Quantize = "auto", price: Amount | None = None
) -> Fleet:
    """The fewest GPUs that serve a demand.

    Args:
        model: what is served.
        cluster: GPU and node; its number of GPUs does not count.
        demand: users, their requests and targets.
        quantize: weights; `auto`: fp8 where the GPU computes in it, else 16 bits.
        price: dollars per GPU and hour.

    Raises:
        UserError: the model fits on no replica, or none meets the targets; with what would help.
    """
    demand.check()
    weights = _weights(quantize, cluster)
    engines = list(_engines(model, cluster, weights))
    fitting = _fitting(engines, demand)
    if not fitting:
        raise _does_not_fit(engines, weights)
    found = _ranked(fitting, demand)
    if not found:
        raise _too_slow(fitting, demand)
    first = found[0]
    options = [
        Option(
            one.engine.gpus,
            one.engine.split,
            one.step_tokens,
            one.replicas(demand),
            one.gpus(demand),
            one.most.requests_per_s,
        )
        for one in found
    ]
    slow, fast = (_ranked([replace(engine, speed=speed) for engine in fitting], demand) for speed in SPEED)
    gpus = Band(
        first.gpus(demand),
        min(one.gpus(demand) for one in [*fast, first]),
        slow[0].gpus(demand) if slow else math.inf,
    )
    return _fleet(first, gpus, cluster, demand, price, options)


def output_cost(model: ModelSpec, cluster: Cluster, demand: Demand, price: Amount) -> Amount | None:
    """Dollars for a million tokens of answers on the cheapest kind of replica, full; None: there is none.

    Args: as `fleet` has them; of the demand only the shape of requests and the targets count.
    """
    engines = list(_engines(model, cluster, _weights("auto", cluster)))
    costs = [_full_cost(one, demand, price) for one in _ranked(_fitting(engines, demand), demand)]
    return min(costs, key=lambda cost: cost.central, default=None)


def _full_cost(one: _Found, demand: Demand, price: Amount) -> Amount:
    """Of a million tokens of answers, whose share prompts do not bear."""
    full = one.most.requests_per_s * demand.answer / one.engine.gpus
    return price / 3600 / Amount(full * SPEED[0], full, full * SPEED[1]) * ((1 - one.most.prompt_share) * 1e6)


def _fitting(engines: list[Engine], demand: Demand) -> list[Engine]:
    return [engine for engine in engines if engine.max_sequences(demand.prompt + demand.answer, CHUNKS[0]) >= 1]


def _fleet(
    first: _Found, gpus: Band, cluster: Cluster, demand: Demand, price: Amount | None, options: list[Option]
) -> Fleet:
    engine, chunk = first.engine, first.step_tokens
    replicas = first.replicas(demand)
    cautions = _cautions(engine)
    if not gpus.high < math.inf:
        cautions.append("at the slow end of the band no replica meets the targets: measure before you buy")
    rate = demand.requests_per_s
    each = rate * demand.peak / replicas
    now, hot, cool = (
        at_rate(
            replace(engine, speed=speed),
            demand.prompt,
            demand.answer,
            each,
            cached=demand.cached,
            step_tokens=chunk,
        )
        for speed in (1.0, *SPEED)
    )
    kept = hot.requests_per_s > 0.99 * each
    context = demand.prompt + demand.answer / 2
    full = first.most.requests_per_s * demand.answer / engine.gpus
    hourly = price * Amount(gpus.low, gpus.value, gpus.high) if price else None
    per_s = Amount(0, 0, 0) if hourly is None else hourly / 3600
    shares = first.most.prompt_share
    server = cluster.node.cpu_watts / cluster.node.gpus
    watts = [gpus.value * (share * cluster.gpu.watts + server) for share in POWER]
    return Fleet(
        demand=demand,
        engine=engine,
        step_tokens=chunk,
        max_sequences=math.ceil(_swollen(first.most.sequences)),
        replicas=replicas,
        gpus=gpus,
        memory=Memory(
            total=cluster.gpu.memory_gb * 1e9,
            weights=engine.weight_bytes,
            cache=now.sequences * engine.cached_sequence(context),
            cache_room=engine.cache_capacity(chunk),
            working=engine.working_bytes(chunk),
        ),
        sequences=now.sequences,
        utilisation=each / first.most.requests_per_s,
        ttft_s=Band(now.ttft_s(SURE), cool.ttft_s(SURE), hot.ttft_s(SURE) if kept else math.inf),
        ttft_mean_s=now.ttft_s(),
        tpot_s=Band(now.tpot_s, cool.tpot_s, hot.tpot_s if kept else math.inf),
        output_tokens_per_s_per_gpu=Band(full, full * SPEED[0], full * SPEED[1]),
        usd_per_hour=hourly,
        usd_per_m_input=per_s * (shares / (rate * demand.prompt) * 1e6) if hourly else None,
        usd_per_m_output=per_s * ((1 - shares) / (rate * demand.answer) * 1e6) if hourly else None,
        usd_per_m_output_full=_full_cost(first, demand, price) if price else None,
        kw=Band(watts[1] / 1e3, watts[0] / 1e3, watts[2] / 1e3),
        options=options,
        cautions=cautions,
    )


def _weights(quantize: Quantize, cluster: Cluster) -> Weights:
    gpu = cluster.gpu
    if quantize == "auto":
        return "fp8" if "float8" in gpu.tflops else "bf16"
    if quantize == "nvfp4" and "nvfp4" not in gpu.tflops:
        raise UserError(f"{gpu.name} does not compute in nvfp4", hint="--quantize int4 or fp8", param="quantize")
    return "bf16" if quantize == "none" else quantize


def _engines(model: ModelSpec, cluster: Cluster, weights: Weights) -> Iterator[Engine]:
    """Replicas of every size: tensor ranks inside a scale-up domain; experts also over more."""
    gpu, node = cluster.gpu, cluster.node
    cache = 1 if weights in ("fp8", "nvfp4") else 2
    n = 1
    while n <= LARGEST_SPREAD:
        if n <= node.domain and model.num_heads % n == 0:
            yield Engine(model, gpu, n, "tensor", weights, cache, node.nic_gb_per_s, node.domain)
        spread = model.moe is not None and n > 1 and model.moe.num_experts % n == 0
        if spread and (n <= node.domain or node.nic_gb_per_s):
            yield Engine(model, gpu, n, "expert", weights, cache, node.nic_gb_per_s, node.domain)
        n *= 2


def _ranked(engines: Iterable[Engine], demand: Demand) -> list[_Found]:
    """Those that meet the targets, fewest GPUs first, then those that take most."""
    found = [best for engine in engines if (best := _most(engine, demand)) is not None]
    return sorted(found, key=lambda one: (one.gpus(demand), -one.replicas(demand) * one.most.requests_per_s))


def _most(engine: Engine, demand: Demand) -> _Found | None:
    """The most that an engine takes within the targets, over sizes of chunks; None: nothing."""
    best: _Found | None = None
    for chunk in CHUNKS:
        if not _meets(engine, demand, 1.0, chunk):
            continue
        low, high = 1.0, float(MAX_SEQUENCES)
        for _ in range(14):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if _meets(engine, demand, middle, chunk) else (low, middle)
        state = steady(engine, demand.prompt, demand.answer, low, cached=demand.cached, step_tokens=chunk)
        if state and (best is None or state.requests_per_s > best.most.requests_per_s):
            best = _Found(engine, chunk, state)
    return best


def _meets(engine: Engine, demand: Demand, sequences: float, chunk: int) -> bool:
    """Whether that many answers at once, and more for a moment, fit and meet the targets."""
    if _swollen(sequences) > engine.max_sequences(demand.prompt + demand.answer / 2, chunk):
        return False
    state = steady(engine, demand.prompt, demand.answer, sequences, cached=demand.cached, step_tokens=chunk)
    if state is None or state.ttft_s(SURE) > demand.ttft_s:
        return False
    busy = steady(engine, demand.prompt, demand.answer, _swollen(sequences), cached=demand.cached, step_tokens=chunk)
    return busy is not None and busy.tpot_s <= demand.tpot_s


def _swollen(sequences: float) -> float:
    """Answers at once that a Poisson stream exceeds in 1 moment of 20."""
    return sequences + 1.645 * math.sqrt(sequences)


def _does_not_fit(engines: list[Engine], weights: Weights) -> UserError:
    largest = engines[-1]
    total = params(largest.model).total
    need = largest.weight_bytes + largest.working_bytes(CHUNKS[0])
    smaller = {"bf16": "--quantize fp8 or int4, or ", "fp8": "--quantize int4, or "}.get(weights, "")
    return UserError(
        f"{total / 1e9:.3g} B parameters in {weights} do not fit: {need / 1e9:.0f} GB on each of {largest.gpus} "
        f"{largest.gpu.name}, which have {largest.gpu.memory_gb:.0f} GB",
        hint=f"{smaller}a GPU with more memory or a larger scale-up domain",
        param="gpu",
    )


def _too_slow(engines: list[Engine], demand: Demand) -> UserError:
    alone = [
        (state, engine)
        for engine in engines
        for chunk in CHUNKS
        if (state := steady(engine, demand.prompt, demand.answer, 1.0, cached=demand.cached, step_tokens=chunk))
    ]
    quick, engine = min(alone, key=lambda one: one[0].tpot_s)
    first = min(state.ttft_s(SURE) for state, _ in alone)
    return UserError(
        f"no replica of up to {max(one.gpus for one in engines)} {engine.gpu.name} meets {_time(demand.ttft_s)} to "
        f"the first token and {_time(demand.tpot_s)} a token: one user waits {_time(first)} and {_time(quick.tpot_s)}",
        hint="relax --ttft or --tpot, quantise, or take a faster GPU",
        param="tpot",
    )


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _cautions(engine: Engine) -> list[str]:
    said = []
    if engine.gpu.vendor != "NVIDIA":
        said.append(f"{engine.gpu.vendor}: compared with a single published source, of 2024")
    if engine.gpus > engine.domain:
        said.append("replicas of several servers are compared with two published systems only")
    if engine.weights == "int4":
        said.append("int4 has been compared with no published measurement")
    return said
