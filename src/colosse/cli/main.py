"""Entry point of the `colosse` command."""

from __future__ import annotations

from typing import Annotated

import typer

from colosse import __version__
from colosse.cli import (
    ask,
    chat,
    code,
    config,
    data,
    docs,
    doctor,
    export,
    keys,
    models,
    plan,
    runs,
    sandbox,
    search,
    serve,
    summarize,
    train,
    translate,
)
from colosse.cli.output import fail
from colosse.core.errors import ColosseError, UnavailableError

app = typer.Typer(
    name="colosse",
    help="The whole machine behind a ChatGPT: models, engines, chat, translation, summaries, code.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("chat")(chat.chat)
app.command("ask")(ask.ask)
app.command("translate")(translate.translate)
app.command("summarize")(summarize.summarize)
app.add_typer(code.app, name="code")
app.command("search")(search.search)
app.add_typer(docs.app, name="docs")
app.command("serve")(serve.serve)
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.add_typer(plan.app, name="plan")
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)
app.add_typer(config.app, name="config")
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(runs.app, name="runs")
app.add_typer(sandbox.app, name="sandbox")


def _version(show: bool) -> None:
    if show:
        print(f"colosse {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Options of every verb; `colosse VERB --help` shows a verb's own."""


def main() -> None:
    """Run the command; a failure that we know is one line and an exit code, never a traceback.

    Typer itself leaves quietly on Ctrl-C (130) and when nobody reads the output any more (1).
    """
    try:
        app()
    except ColosseError as error:
        fail(error)
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            fail(UnavailableError(f"the disk is full: {error.filename or error}", hint="free some space and try again"))
        raise


if __name__ == "__main__":
    main()
