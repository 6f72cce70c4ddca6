"""`colosse plan`: what a cluster will do, before anybody pays for it. One module a verb, importing lazily."""

from __future__ import annotations

import typer

from colosse.cli.plan import advise, bill, dryrun, estimate, hardware, reliability, search, serve, validate

app = typer.Typer(help="Plan a training run or a fleet: fit, speed, layout, failures, the bill.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Plan a training run or a fleet: fit, speed, layout, failures, the bill."""


app.command("search")(search.search)
app.command("estimate")(estimate.estimate)
app.command("reliability")(reliability.reliability)
app.command("hardware")(hardware.hardware)
app.command("bill")(bill.bill)
app.command("advise")(advise.advise)
app.command("serve")(serve.serve)
app.command("dryrun")(dryrun.dryrun)
app.command("validate")(validate.validate)
