"""`colosse sandbox`: run a program in isolation, and say what isolation there is."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from colosse.cli.output import JsonFlag, note, print_json
from colosse.core.errors import NotFoundError, UserError

app = typer.Typer(help="Run programs that nobody read, in isolation.", no_args_is_help=True)


@app.command("run")
def run_(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="The program and its arguments.")],
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="PATH[:NAME]", help="Put a file into its folder.", show_default=False),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", "-k", metavar="GLOB", help="Hand back what it wrote.", show_default=False),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where what is handed back goes.")
    ] = Path(),
    cpu_s: Annotated[float, typer.Option("--cpu-s", min=0.1, help="Seconds of CPU.")] = 20,
    wall_s: Annotated[float, typer.Option("--wall-s", min=0.1, help="Seconds on the clock.")] = 30,
    memory_mb: Annotated[int, typer.Option("--memory-mb", min=16, help="MiB of memory.")] = 1024,
    json: JsonFlag = False,
) -> None:
    """Run a program without network, without the files of this machine, and with limits.

    Its output and its exit code are the command's own; 124 when a limit ended it.
    """
    import asyncio
    from dataclasses import asdict

    from colosse.assistant.sandbox import Limits, run

    limits = Limits(cpu_s=cpu_s, wall_s=wall_s, memory_mb=memory_mb)
    files = dict(_given(source) for source in file or [])
    stdin = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    ran = asyncio.run(run(command, files=files, stdin=stdin, keep=keep or [], limits=limits))
    kept = {name: data for name, data in ran.files.items() if data != files.get(name) and _asked_for(name, keep or [])}
    written = [_write(output, name, data) for name, data in kept.items()]
    if json:
        print_json({**asdict(ran), "files": written})
    else:
        sys.stdout.write(ran.stdout)
        sys.stderr.write(ran.stderr)
        for path in written:
            note(f"wrote {str(path)!r}")
        if ran.stopped:
            note(f"stopped: over the limit of {ran.stopped}")
    raise SystemExit(124 if ran.stopped else ran.exit_code)


@app.command()
def check(json: JsonFlag = False) -> None:
    """Say whether programs can be isolated here, and which languages can be run.

    The exit code is 1 when they cannot.
    """
    from colosse.assistant.sandbox import require, toolchains
    from colosse.core.errors import ColosseError

    try:
        require()
        problem = None
    except ColosseError as error:
        problem = error
    languages = toolchains()
    if json:
        print_json(
            {
                "isolated": problem is None,
                "problem": str(problem or ""),
                "languages": {name: tool.missing for name, tool in languages.items()},
            }
        )
    else:
        print(f"✗ {problem}" if problem else "✓ programs are isolated: namespaces, system calls filtered, no network")
        for name, tool in languages.items():
            print(f"- {name}: {tool.missing}" if tool.missing else f"✓ {name}")
    raise SystemExit(problem is not None)


def _given(source: str) -> tuple[str, bytes]:
    """(name inside, content) of `PATH` or `PATH:NAME`."""
    path, _, name = source.partition(":")
    try:
        return name or PurePosixPath(path).name, Path(path).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path!r}", hint="give --file PATH or PATH:NAME-INSIDE") from None
    except OSError as error:
        raise UserError(f"cannot read {path!r}: {error.strerror}", hint="give --file a readable file") from None


def _asked_for(name: str, patterns: list[str]) -> bool:
    """Whether a file may be written here: hidden ones, such as `.git/config`, must be asked for, as in a shell."""
    hidden = any(part.startswith(".") for part in PurePosixPath(name).parts)
    return not hidden or any(pattern.startswith(".") or "/." in pattern for pattern in patterns)


def _write(folder: Path, name: str, data: bytes) -> Path:
    """Write one file that the program handed back; refuses to go through links out of the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{path} is a link that leads out of {folder}", hint="give --output an empty folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}", hint="give --output a folder of yours") from None
    return path
