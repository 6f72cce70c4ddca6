"""`colosse plan advise`: from money, GPU-hours or a deadline to a model, its tokens, its loss and a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from colosse.cli.output import JsonFlag, print_json
from colosse.cli.plan import jobs
from colosse.cli.plan.options import HardwareOption

if TYPE_CHECKING:
    from colosse.plan.advise import Advice, Trained


def advise(
    budget: Annotated[str, typer.Option(help="Dollars for GPUs: 100k$, $2.5M.", show_default=False)] = "",
    gpu_hours: Annotated[str, typer.Option(help="In place of money: 50k.", show_default=False)] = "",
    deadline: Annotated[
        str,
        typer.Option(help="Until it is trained: 30d; with --gpus, or beside a budget.", show_default=False),
    ] = "",
    gpus: Annotated[
        int | None,
        typer.Option(help="How many; without it as many as the deadline, or a month, asks for.", show_default=False),
    ] = None,
    gpu: jobs.GpuOption = "h100",
    law: Annotated[
        Literal["chinchilla", "llama3"], typer.Option(help="Scaling law that shares compute out.")
    ] = "chinchilla",
    overtrain: Annotated[
        str, typer.Option(help="Tokens per parameter over the law's: 4x is a smaller model, cheaper to serve.")
    ] = "1x",
    price: jobs.PriceOption = "",
    hardware: HardwareOption = None,
    json: JsonFlag = False,
) -> None:
    """Advise what to train with a budget: model size and tokens, expected loss, cluster, and smaller alternatives."""
    jobs.check_installed()
    from colosse.core.errors import UserError
    from colosse.plan.advise import advise as advised
    from colosse.plan.hardware import catalogue
    from colosse.plan.quantities import parse_count, parse_duration, parse_money

    if gpus is not None and gpus < 1:
        raise UserError(f"--gpus {gpus} is below 1", hint="leave it out to let the plan choose", param="gpus")
    known = catalogue(hardware or [])
    found = advised(
        known,
        gpu,
        usd=parse_money(budget, name="--budget") if budget else 0.0,
        gpu_hours=parse_count(gpu_hours, name="--gpu-hours") if gpu_hours else 0.0,
        deadline_s=parse_duration(deadline, name="--deadline") if deadline else 0.0,
        gpus=gpus or 0,
        law=law,
        overtrain=parse_count(overtrain.lower().removesuffix("x"), name="--overtrain"),
        price=jobs.price_of(price, known.cluster(gpu, 1), known),
    )
    if json:
        print_json(_fields(found))
    else:
        _show(found)


def _fields(found: Advice) -> dict[str, Any]:
    from dataclasses import asdict

    from colosse.plan.advise import LOSS_OF

    def trained(one: Trained) -> dict[str, Any]:
        plain = {key: value for key, value in vars(one).items() if key not in ("model", "loss", "usd")}
        return {
            **plain,
            "model": one.model,
            "tokens_per_param": one.tokens_per_param,
            "loss": asdict(one.loss),
            "usd": asdict(one.usd) if one.usd else None,
        }

    return {
        "law": found.law,
        "loss_of": LOSS_OF,
        "gpu": found.gpu,
        "gpus": found.gpus,
        "gpu_hours": asdict(found.gpu_hours),
        "optimum": asdict(found.optimum),
        "best": trained(found.best),
        "days": asdict(found.days),
        "mfu": found.mfu,
        "goodput": asdict(found.goodput),
        "layout": found.estimate.job.layout,
        "tokens_per_step": found.tokens_per_step,
        "learning_rate": found.learning_rate,
        "same_budget": [trained(one) for one in found.same_budget],
        "same_loss": [trained(one) for one in found.same_loss],
        "sizes": [asdict(size) for size in found.sizes],
        "cautions": found.cautions,
    }


def _show(found: Advice) -> None:
    from colosse.core.numbers import big, count, dollars, share
    from colosse.plan.advise import LOSS_OF
    from colosse.spec.scaling import LAWS

    best, hours = found.best, found.gpu_hours
    layout = found.estimate.job.layout.model_dump(exclude_defaults=True)
    axes = ", ".join(f"{key} {value}" for key, value in layout.items()) or "one GPU"
    spread = f" ({_hours(hours.low)} to {_hours(hours.high)}, by price)" if hours.low < hours.high else ""
    print(f"{big(best.params)} parameters on {big(best.tokens)} tokens, on {count(found.gpus)} {found.gpu}\n")
    for key, value in (
        ("budget", f"{_hours(hours.value)} GPU-hours{spread}{f', {dollars(best.usd.central)}' if best.usd else ''}"),
        ("law", f"{found.law} ({LAWS[found.law].source}): {big(found.optimum.params)} on {big(found.optimum.tokens)}"),
        ("model", f"{best.name}; {best.tokens_per_param:.0f} tokens a parameter"),
        ("loss", f"{best.loss.value:.3f} ({best.loss.low:.3f} to {best.loss.high:.3f}) {LOSS_OF}"),
        ("days", f"{_days(found.days.value)} ({_days(found.days.low)} to {_days(found.days.high)}), failures included"),
        ("speed", f"MFU {share(found.mfu)}, effective time {share(found.goodput.value)}; {axes}"),
        ("step", f"{count(found.tokens_per_step)} tokens, learning rate {found.learning_rate:.2g}"),
    ):
        print(f"{key:<9}{value}")
    print()
    groups = (("advised", [best]), ("same budget", found.same_budget), ("same loss", found.same_loss))
    rows = [[words, *_row(one)] for words, group in groups for one in group]
    names = ["", "params", "tokens", "each", "loss", "days", "training", "serving", "pays after"]
    _table(names, rows)
    print("each: tokens a parameter; serving: dollars for a million tokens of answers, replicas full;")
    print("pays after: tokens of answers after which training and serving together are cheaper")
    others = {one.name: one.params for _, group in groups[1:] for one in group}
    print("".join(f"{big(size):>9}  {name}\n" for name, size in others.items()))
    rows = [
        [
            count(size.gpus),
            _days(size.days),
            share(size.mfu),
            dollars(size.usd.central) if size.usd else "",
            "" if size.efficient else "more than 10 % above the cheapest",
        ]
        for size in found.sizes
    ]
    _table(["GPUs", "days", "MFU", "cost", ""], rows)
    for sentence in found.cautions:
        print(f"! {sentence}")


def _row(one: Trained) -> list[str]:
    from colosse.core.numbers import big, dollars

    return [
        big(one.params),
        big(one.tokens),
        f"{one.tokens_per_param:.0f}",
        f"{one.loss.value:.3f}",
        _days(one.days),
        dollars(one.usd.central) if one.usd else "",
        dollars(one.usd_per_m_output) if one.usd_per_m_output else "",
        big(one.served_tokens) if one.served_tokens else "",
    ]


def _hours(value: float) -> str:
    from colosse.core.numbers import count

    return count(value) if value >= 100 else f"{value:.2g}"


def _days(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.1g}"


def _table(names: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
