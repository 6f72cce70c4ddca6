"""What every verb prints: results to standard output (text or `--json`), the rest to standard error."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, NoReturn

import typer

from colosse.core.errors import ColosseError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")]


def print_json(value: Any) -> None:
    """Print `value` (JSON types, pydantic models, paths) as one JSON document."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_encode))


def note(text: str) -> None:
    """Print a line for the person at the terminal; never part of a result."""
    print(text, file=sys.stderr, flush=True)


def fail(error: ColosseError) -> NoReturn:
    """Print one line on standard error and leave with the error's exit code."""
    note(f"colosse: {error}")
    raise SystemExit(error.exit_code)


def _encode(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)
