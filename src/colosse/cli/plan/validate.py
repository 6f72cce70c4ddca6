"""`colosse plan validate`: the cost model against published results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colosse.cli.output import JsonFlag, note, print_json
from colosse.cli.plan.options import HardwareOption, writing

if TYPE_CHECKING:
    from colosse.plan.validate import Validation


def validate(
    table: Annotated[
        Path | None,
        typer.Argument(
            help="A table (CSV) with the columns of Colosse's own; without it that one.", show_default=False
        ),
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Predict each source with parameters fitted to all the others.")
    ] = False,
    fit: Annotated[
        Path | None, typer.Option("--fit", help="Fit the parameters to this table and write them.", show_default=False)
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Write a page with plots and tables to this file.", show_default=False),
    ] = None,
    hardware: HardwareOption = None,
    json: JsonFlag = False,
) -> None:
    """Compare predicted with published step times and memory: by row, source, GPU, kind of model and scale."""
    from colosse.cli.plan.jobs import check_installed

    check_installed()
    from colosse.plan import published
    from colosse.plan import validate as checking
    from colosse.plan.hardware import catalogue

    rows, left_out = published.read(table, hardware=catalogue(hardware or []))
    if fit:
        from colosse.plan.calibrate import calibrate, write

        note("fitting, once for each source left out ...")
        fitted = calibrate(rows)
        with writing(fit):
            write(fitted, fit)
        note(f"written: {fit}")
    if held_out:
        note("fitting, once for each source left out ...")
    found = checking.validate(rows, left_out, hold_out=held_out)
    if report:
        from colosse.plan.validate_page import write_page

        with writing(report):
            write_page(found, report, table.name if table else "Published results")
        note(f"written: {report}")
    if json:
        print_json(found.as_json())
    else:
        _show(found)


def _show(found: Validation) -> None:
    from rich.console import Console
    from rich.table import Table

    from colosse.plan.validate_page import BY, percent

    console = Console(markup=False)  # names and reasons hold what the table holds
    one, memory, ranking = found.overall, found.memory, found.ranking
    how = "each source predicted with parameters from the others" if found.held_out else "parameters as shipped"
    console.print(f"{one.rows} published step times ({how}); {len(found.left_out)} rows left out\n")
    errors = f"nine of ten within {percent(one.p90)}, bias {100 * one.bias:+.1f} %"
    if one.rows:
        console.print(f"step time   median error {percent(one.median)}, {errors}")
        console.print(f"bands       {percent(one.inside)} of the measured times lie in theirs")
    if memory.rows:
        errors = f"nine of ten within {percent(memory.p90)}, bias {100 * memory.bias:+.1f} %"
        console.print(f"memory      median error {percent(memory.median)}, {errors} ({memory.rows} rows)")
        ran = f"{memory.fitting_found} of {memory.fitting} that ran"
        console.print(
            f"fit         {ran}, {memory.out_of_memory_found} of {memory.out_of_memory} that ran out of memory"
        )
    if ranking.groups:
        behind = f"the layout chosen is {percent(ranking.loss)} behind the best"
        console.print(f"ranking     {behind}, rank correlation {ranking.spearman:.2f} ({ranking.groups} groups)")
    for name, rows in found.by.items():
        table = Table(box=None, pad_edge=False, title=f"\nby {BY[name]}", title_justify="left")
        table.add_column("", overflow="fold")
        for column in ("rows", "median", "90th", "bias", "in band"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(
                row.name,
                str(row.rows),
                percent(row.median),
                percent(row.p90),
                f"{100 * row.bias:+.1f} %",
                percent(row.inside),
            )
        console.print(table)
    if found.left_out:
        console.print("\nleft out")
        for reason, count in found.reasons.items():
            console.print(f"{count:>5}  {reason}", highlight=False, soft_wrap=True)
