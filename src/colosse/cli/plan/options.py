"""Options that several verbs of `colosse plan` have."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in a line that a file cannot be written where somebody wants it.

    Raises:
        UserError: it is a folder, below a file, or not ours to write.
    """
    from colosse.core.errors import UserError

    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(f"cannot write {path}: {error.strerror or error}", hint="choose another file") from None
