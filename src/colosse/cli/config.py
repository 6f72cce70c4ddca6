"""`colosse config`: what the settings are and where each value came from."""

from __future__ import annotations

import typer

from colosse.cli.output import JsonFlag, print_json

app = typer.Typer(help="Show the settings and where each value came from.", no_args_is_help=True)


@app.command()
def show(json: JsonFlag = False) -> None:
    """Print every setting with its value and origin."""
    from rich.console import Console
    from rich.table import Table

    from colosse.core.settings import load_settings

    rows = list(load_settings().rows())
    if json:
        print_json([{"key": key, "value": value, "origin": origin} for key, value, origin in rows])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("setting", "value", "from"):
        table.add_column(name)
    for key, value, origin in rows:
        table.add_row(key, str(value), origin, style="dim" if origin == "default" else None)
    Console().print(table)
