"""`colosse plan serve`: how many GPUs answer how many users in time, and what a million tokens costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from colosse.cli.output import JsonFlag, print_json
from colosse.cli.plan import jobs
from colosse.cli.plan.options import HardwareOption

if TYPE_CHECKING:
    from colosse.plan.costs import Amount
    from colosse.plan.estimate import Band
    from colosse.plan.fleet import Fleet

SHOWN = 6
"""Ways to build it that are shown."""


def serve(
    model: jobs.ModelOption,
    users: Annotated[str, typer.Option(help="People who use it in the same hour, such as 1000 or 20k.")],
    requests_per_user_hour: Annotated[float, typer.Option(help="Of each of them.")] = 6.0,
    prompt: Annotated[str, typer.Option(help="Tokens of a request, with what was said before.")] = "1500",
    answer: Annotated[str, typer.Option(help="Tokens of an answer.")] = "400",
    ttft: Annotated[str, typer.Option(help="Until the first token, for 95 requests of 100.")] = "1s",
    tpot: Annotated[str, typer.Option(help="Per token after it, in 95 moments of 100.")] = "50ms",
    gpu: jobs.GpuOption = "h100",
    quantize: Annotated[
        Literal["auto", "none", "fp8", "int4", "nvfp4"],
        typer.Option(help="Weights; auto: fp8 where the GPU computes in it. With fp8 and nvfp4 the cache is fp8 too."),
    ] = "auto",
    peak: Annotated[float, typer.Option(help="Requests of the busiest minutes over the hour's mean.")] = 2.0,
    cached: Annotated[
        float, typer.Option(help="Share of the prompts that a prefix cache has: system prompt, earlier turns.")
    ] = 0.0,
    price: jobs.PriceOption = "",
    hardware: HardwareOption = None,
    json: JsonFlag = False,
) -> None:
    """Plan an inference fleet: replicas and GPUs that keep the targets, memory, cost per million tokens, power."""
    jobs.check_installed()
    from colosse.plan.fleet import Demand, fleet
    from colosse.plan.hardware import catalogue
    from colosse.plan.quantities import parse_count, parse_duration

    known = catalogue(hardware or [])
    cluster = known.cluster(gpu, 1)
    name, _, spec = jobs.model_of(model)
    demand = Demand(
        users=parse_count(users, name="--users"),
        requests_per_user_hour=requests_per_user_hour,
        prompt=max(1, round(parse_count(prompt, name="--prompt"))),
        answer=max(1, round(parse_count(answer, name="--answer"))),
        ttft_s=parse_duration(ttft, name="--ttft"),
        tpot_s=parse_duration(tpot, name="--tpot"),
        peak=peak,
        cached=cached,
    )
    found = fleet(spec, cluster, demand, quantize=quantize, price=jobs.price_of(price, cluster, known))
    if json:
        print_json(_fields(name, found))
    else:
        _show(name, found)


def _fields(name: str, found: Fleet) -> dict[str, Any]:
    from dataclasses import asdict

    engine = found.engine
    fields = {key: value for key, value in vars(found).items() if key != "engine"}
    nested = {key: asdict(value) if hasattr(value, "__dataclass_fields__") else value for key, value in fields.items()}
    plain: dict[str, Any] = _finite(
        {
            "model": name,
            "gpu": engine.gpu.name,
            "gpus_per_replica": engine.gpus,
            "split": engine.split,
            "weights": engine.weights,
            "cache_bytes_per_value": engine.cache_bytes,
            **nested,
            "options": [asdict(option) for option in found.options],
        }
    )
    return plain


def _finite(value: Any) -> Any:
    """JSON has no infinity: null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if value == float("inf") else value


def _show(name: str, found: Fleet) -> None:
    from colosse.core.numbers import count, share

    demand, engine, memory = found.demand, found.engine, found.memory
    split = {"tensor": "tensor parallel", "expert": "data-parallel attention, experts spread"}[engine.split]
    cache = "fp8" if engine.cache_bytes == 1 else "16-bit"
    gb = 1e9
    print(
        f"{name} for {count(demand.users)} users: {demand.requests_per_s:.3g} requests/s, "
        f"{demand.requests_per_s * demand.peak:.3g} at the peak, of {count(demand.prompt)} + {count(demand.answer)} "
        "tokens\n"
    )
    for key, value in (
        ("GPUs", f"{_whole(found.gpus)} {engine.gpu.name}"),
        (
            "replicas",
            f"{count(found.replicas)}, each on {engine.gpus} ({split}); {engine.weights} weights, {cache} cache",
        ),
        ("load", f"{share(found.utilisation)} at the peak; {found.sequences:.0f} answers at once on each"),
        ("first token", f"{_ms(found.ttft_s)} for 95 of 100, {1e3 * found.ttft_mean_s:.0f} ms mean"),
        ("each token", f"{_ms(found.tpot_s)} mean"),
        ("engine", f"max_num_seqs {found.max_sequences}, max_num_batched_tokens {found.step_tokens}"),
        (
            "memory",
            f"{memory.weights / gb:.1f} GB weights, {memory.cache / gb:.1f} of {memory.cache_room / gb:.1f} GB cache, "
            f"{memory.working / gb:.1f} GB working; {memory.total / gb:.0f} GB on each GPU",
        ),
        (
            "throughput",
            f"{_band(found.output_tokens_per_s_per_gpu)} output tokens/s on a GPU, full, within the targets",
        ),
        ("cost", f"{_dollars(found.usd_per_hour)} an hour"),
        ("per million", f"{_dollars(found.usd_per_m_input)} of input, {_dollars(found.usd_per_m_output)} of output"),
        ("  when full", f"{_dollars(found.usd_per_m_output_full)} of output"),
        ("power", f"{_band(found.kw)} kW, cooling apart"),
    ):
        if "None" not in value:
            print(f"{key:<13}{value}")
    if found.usd_per_hour is None:
        print(f"{'cost':<13}no price is known for {engine.gpu.name}; --price gives one")
    print("\nin brackets: where nine of ten published results lie, and the range of prices\n")
    rows = [
        [
            f"{option.replicas} x {option.gpus_per_replica}",
            option.split,
            count(option.gpus),
            f"{option.requests_per_s:.3g}",
            str(option.step_tokens),
        ]
        for option in found.options[:SHOWN]
    ]
    _table(["replicas x GPUs", "split", "GPUs", "requests/s each", "tokens a step"], rows)
    print("\n- one replica more keeps the targets while one is down or replaced")
    for sentence in found.cautions:
        print(f"! {sentence}")


def _whole(band: Band) -> str:
    return _band(band) if band.low < band.high else _number(band.value)


def _band(band: Band) -> str:
    return f"{_number(band.value)} ({_number(band.low)} to {_number(band.high)})"


def _ms(band: Band) -> str:
    value, low, high = (_number(1e3 * end) for end in (band.value, band.low, band.high))
    return f"{value} ms ({low} to {high})"


def _number(value: float) -> str:
    from colosse.core.numbers import count

    return "no limit" if value == float("inf") else f"{value:.3g}" if value < 1000 else count(value)


def _dollars(amount: Amount | None) -> str:
    from colosse.core.numbers import dollars

    if amount is None:
        return "None"
    high = dollars(amount.high) if amount.high < float("inf") else "no limit"
    return f"{dollars(amount.central)} ({dollars(amount.low)} to {high})"


def _table(names: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place > 1 else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
