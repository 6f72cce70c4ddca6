"""`colosse plan bill`: what a training run costs, rented or built, line by line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.output import JsonFlag, note, print_json
from colosse.cli.plan.options import writing

if TYPE_CHECKING:
    from colosse.plan.bill import Bill
    from colosse.plan.charges import Line
    from colosse.plan.order import Order
    from colosse.plan.words import Words

WIDE = 110
"""Columns from which on unit prices and notes are shown."""
NARROW = 14
"""Letters of a quantity from which on its unit has a line of its own where there are fewer columns."""


def bill(
    order: Annotated[
        str,
        typer.Argument(help="A known run, such as microsoft-openai-2020, or a TOML file; options win over it."),
    ] = "",
    model: Annotated[str, typer.Option(help="A preset, such as llama3-405b.", show_default=False)] = "",
    gpu: Annotated[str, typer.Option("--gpu", "--node", help="A GPU or a node.  [default: h100]")] = "",
    gpus: Annotated[int | None, typer.Option(help="How many.  [default: 8]", show_default=False)] = None,
    tokens: Annotated[str, typer.Option(help="Trained on, such as 15.6T.", show_default=False)] = "",
    days: Annotated[str, typer.Option(help="Of training without failures: 54, 12h.", show_default=False)] = "",
    gpu_hours: Annotated[str, typer.Option(help="That the run held, in place of --days.", show_default=False)] = "",
    step_seconds: Annotated[
        float | None, typer.Option(help="Of one step, with --tokens-per-step.", show_default=False)
    ] = None,
    tokens_per_step: Annotated[str, typer.Option(help="Of all GPUs, such as 16M.", show_default=False)] = "",
    mfu: Annotated[
        float | None,
        typer.Option(help="Share of the peak reached, where nothing else says the speed.", show_default=False),
    ] = None,
    goodput: Annotated[
        float | None, typer.Option(help="Productive time over elapsed time.", show_default=False)
    ] = None,
    build: Annotated[bool, typer.Option("--build", help="Build the machine in place of renting it.")] = False,
    kind: Annotated[
        str, typer.Option(help="Of rental: on_demand, reserved or spot.  [default: on_demand]", show_default=False)
    ] = "",
    region: Annotated[str, typer.Option(help="Of the electricity.  [default: us]", show_default=False)] = "",
    year: Annotated[int | None, typer.Option(help="Of the prices.  [default: the newest]", show_default=False)] = None,
    fabric: Annotated[str, typer.Option(help="Of the hardware catalogue.", show_default=False)] = "",
    price: Annotated[
        list[str] | None,
        typer.Option(help="What you know better: KEY=VALUE or KEY=LOW-HIGH; repeatable.", show_default=False),
    ] = None,
    hardware: Annotated[
        list[Path] | None, typer.Option(help="Your own GPUs, nodes and prices (TOML).", show_default=False)
    ] = None,
    language: Annotated[str, typer.Option(help="en or fr.")] = "en",
    paper: Annotated[str, typer.Option(help="a4 or letter.")] = "a4",
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.", show_default=False)] = None,
    pdf: Annotated[Path | None, typer.Option(help="Write a PDF to this file.", show_default=False)] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a table to this file.", show_default=False)] = None,
    json: JsonFlag = False,
) -> None:
    """Show what a training run costs, line by line: rented, or on a machine that is built for it.

    Every line has a low, a central and a high end and its source.
    """
    try:
        from colosse.plan.invoice import as_csv, compose
        from colosse.plan.invoice import html as as_html
        from colosse.plan.invoice_pdf import PAPERS
        from colosse.plan.invoice_pdf import pdf as as_pdf
        from colosse.plan.order import parse_prices
        from colosse.plan.quantities import parse_count, parse_duration
        from colosse.plan.words import Words
        from colosse.spec.presets import preset
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    from colosse.core.errors import UserError, nearest
    from colosse.plan.hardware import catalogue

    if paper not in PAPERS:
        raise UserError(f"no paper is called {paper!r}", hint=nearest(paper, PAPERS), param="paper")
    if model:
        preset(model)
    for option, number in (("--mfu", mfu), ("--step-seconds", step_seconds)):
        if number is not None and not number > 0:
            raise UserError(f"{option}: {number:g} is not above 0", param=option)
    speeds = {"--days": days, "--gpu-hours": gpu_hours, "--step-seconds": step_seconds, "--mfu": mfu}
    if len(said := [option for option, value in speeds.items() if value]) > 1:
        raise UserError(f"{' and '.join(said)} both say how long it takes", hint="give one of them")
    given: dict[str, object] = {
        "model": model,
        "gpu": gpu,
        "gpus": gpus,
        "tokens": parse_count(tokens, name="--tokens") if tokens else "",
        "days": parse_duration(days, name="--days", unit="d") / 86_400 if days else "",
        "gpu_hours": parse_count(gpu_hours, name="--gpu-hours") if gpu_hours else "",
        "step_seconds": step_seconds,
        "tokens_per_step": parse_count(tokens_per_step, name="--tokens-per-step") if tokens_per_step else "",
        "mfu": mfu,
        "goodput": goodput,
        "kind": kind,
        "region": region,
        "year": year,
        "fabric": fabric,
    }
    overrides = {key: value for key, value in given.items() if value not in (None, "")}
    if build:
        overrides["mode"] = "build"
    wanted = _order(order, overrides, parse_prices(price or []))
    known = catalogue(hardware or ())
    words = Words(language)
    made = wanted.bill(known)
    remarks = wanted.remarks(known, words)
    invoice = compose(made, language=language, note=remarks)
    if html:
        _write(html, as_html(invoice, paper=paper).encode())
    if pdf:
        _write(pdf, as_pdf(invoice, paper=paper))
    if csv:
        _write(csv, as_csv(made, language).encode())
    if json:
        print_json(made.to_json(language) | {"note": remarks})
    else:
        _show(made, words, remarks)


def _write(path: Path, data: bytes) -> None:
    from colosse.core.files import write_atomic

    with writing(path):
        write_atomic(path, data)
    note(f"written: {path}")


def _missing(error: ModuleNotFoundError) -> Exception:
    from colosse.core.errors import UserError

    return UserError(f"the planner needs {error.name}", hint="pip install 'colosse[plan]'")


def _order(name: str, overrides: dict[str, object], prices: dict[str, Any]) -> Order:
    """The order that is named, or one of options alone; a speed on the command line replaces the order's."""
    from colosse.core.config import load
    from colosse.plan.order import Order, load_order

    speeds = ("days", "gpu_hours", "step_seconds", "mfu")
    if any(speed in overrides for speed in speeds):
        overrides = dict.fromkeys(speeds, 0) | overrides
    if not name:
        return load(Order, overrides=overrides | {f"prices.{key}": value for key, value in prices.items()}).value
    found = load_order(name, overrides)
    return found.model_copy(update={"prices": found.prices | prices})


def _show(bill: Bill, words: Words, remarks: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from colosse.plan.invoice import headline

    console = Console()
    wide = console.width >= WIDE
    for section, total in bill.sections.items():
        table = Table(title=words.text("sections", section), title_justify="left", title_style="bold", box=None)
        table.add_column(words.label("item"), ratio=1, overflow="fold")
        names = ["quantity", "price"] if wide else ["quantity"]
        for name in (*names, "low", "central", "high"):
            table.add_column(words.label(name), justify="right", no_wrap=True)
        for line in bill.lines:
            if line.section == section:
                table.add_row(*_cells(line, words, wide=wide))
        ends = [words.money(end) for end in (total.low, total.central, total.high)]
        table.add_section()
        table.add_row(words.label("total"), *[""] * len(names), *ends, style="bold")
        console.print(table)
        console.print()
    for key, value, spread in headline(bill, words):
        console.print(f"{key:<34}{value}{f'  ({spread})' if spread else ''}", highlight=False)
    if remarks:
        console.print(f"\n{remarks}", style="dim", highlight=False)


def _cells(line: Line, words: Words, *, wide: bool) -> list[str]:
    quantity = words.number(line.quantity)
    item = line.item(words)
    if wide and (remark := line.remark(words)):
        item += f"\n[dim]{remark}[/dim]"
    price = words.money_range(line.price) if line.unit not in ("lot", "year") else ""
    unit = words.unit(line.unit, line.quantity)
    apart = " " if wide or len(f"{quantity} {unit}") <= NARROW else "\n"
    cells = [item, f"{quantity}{apart}{unit}", *([price] if wide else [])]
    return cells + [words.money(end) for end in (line.amount.low, line.amount.central, line.amount.high)]
