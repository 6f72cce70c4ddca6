"""Options that several verbs of `colosse plan` have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HardwareOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--hardware",
        help="TOML with hardware and prices of your own, over the catalogue; may be given again.",
        show_default=False,
    ),
]
