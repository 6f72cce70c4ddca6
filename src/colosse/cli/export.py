"""`colosse export`: the weights of a train run, or weights in another format, for Colosse and others to serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colosse.cli.output import JsonFlag, print_json

if TYPE_CHECKING:
    from colosse.core.progress import Progress
    from colosse.train.export import Format, Weights


def export(
    source: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A train run, a Hugging Face folder or a .gguf file.", show_default=False),
    ],
    to: Annotated[str, typer.Option("--to", help="hf (a folder of safetensors) or gguf (one file).")] = "gguf",
    step: Annotated[
        int | None, typer.Option(help="The checkpoint after this step; the newest without it.", show_default=False)
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(help="float32, bfloat16, float16, or q8_0 (gguf); without it 16 bits.", show_default=False),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where to write. Without it a .gguf becomes an installed model, a folder goes to the current one.",
            show_default=False,
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Write a trained model, or convert one between Hugging Face and GGUF."""
    from importlib.util import find_spec

    from colosse.core.errors import UserError, nearest
    from colosse.core.progress import reporting

    if find_spec("torch") is None:
        raise UserError("exporting needs the training extra", hint="pip install 'colosse[train]'")
    from colosse.train.export import FORMATS, from_files

    form = next((known for known in FORMATS if known == to), None)
    if form is None:
        raise UserError(f"no format {to!r}", hint=nearest(to, FORMATS), param="to")
    path = Path(source).expanduser()
    is_weights = path.suffix == ".gguf" or ((path / "config.json").is_file() and not (path / "recipe.toml").is_file())
    if is_weights and step is not None:
        raise UserError("--step is for train runs", param="step")
    with reporting() as progress:
        if is_weights:
            with from_files(path) as weights:
                _write(weights, form, out, dtype, progress, json=json)
        else:
            _write(_of_run(source, step, progress), form, out, dtype, progress, json=json)


def _of_run(text: str, step: int | None, progress: Progress) -> Weights:
    from colosse.core.settings import load_settings
    from colosse.train.export import from_run
    from colosse.train.runs import find_run

    return from_run(find_run(load_settings().value.home / "runs", text).folder, step, progress)


def _write(weights: Weights, form: Format, out: Path | None, dtype: str, progress: Progress, *, json: bool) -> None:
    from colosse.core.files import format_bytes
    from colosse.core.settings import load_settings
    from colosse.train.export import default_place, install, write

    model = ""
    if form == "gguf" and out is None:
        installed = install(weights, load_settings().value, dtype, progress)
        path, model = installed.path, installed.id
    else:
        path = out or default_place(weights, form)
        write(weights, form, path, dtype, progress)
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()))
    if json:
        print_json({"path": str(path), "model": model, "format": form, "size_bytes": size})
        return
    print(f"{path}: {format_bytes(size)}")
    if model:
        print(f"colosse chat --model {model}")
