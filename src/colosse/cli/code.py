"""`colosse code`: write, fix and optimise code. Nothing is run: what was checked is said, and no more is claimed."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colosse.cli import skill
from colosse.cli.connect import ModelOption
from colosse.cli.inputs import piped, read_text
from colosse.cli.output import JsonFlag, note, print_json
from colosse.core.errors import ColosseError, UserError

if TYPE_CHECKING:
    from colosse.assistant.skill import Listener, Result
    from colosse.engines.client import Client

app = typer.Typer(help="Write, fix and optimise code.", no_args_is_help=True)

FileArgument = Annotated[str, typer.Argument(metavar="FILE|-", help="The file, or - for standard input.")]
LanguageOption = Annotated[
    str, typer.Option("--lang", help="Programming language.", show_default="by the file's suffix, else python")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the code to this file.", show_default=False)
]
InPlaceFlag = Annotated[bool, typer.Option("--in-place", "-i", help="Put the result in place of the file.")]
DiffFlag = Annotated[bool, typer.Option("--diff", help="Print the changes instead of the code.")]


@app.command()
def write(
    task: Annotated[
        list[str] | None,
        typer.Argument(help="What the code should do; piped text is put below it.", show_default=False),
    ] = None,
    lang: LanguageOption = "",
    output: OutputOption = None,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Write code for a task."""
    from colosse.assistant import code

    language = code.parse_code_language(lang) if lang else code.language_of_file(str(output or "")) or "python"
    text = "\n\n".join(part for part in (" ".join(task or []).strip(), piped().strip("\n")) if part)
    if not text:
        raise UserError("there is no task", hint='colosse code write "..."')
    _writable(output)

    async def work(client: Client, listener: Listener) -> Result:
        return await code.write(client, text, language=language, model=model or "", listener=listener)

    _hand_over(skill.run("writing", model, work), output=output, json=json)


@app.command()
def fix(
    file: FileArgument,
    error: Annotated[
        str, typer.Option("--error", "-e", metavar="LOG|-", help="What goes wrong: a log file or standard input.")
    ] = "",
    lang: LanguageOption = "",
    output: OutputOption = None,
    in_place: InPlaceFlag = False,
    diff: DiffFlag = False,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Find and mend the bugs of a file."""
    from colosse.assistant import code

    if file == "-" and error == "-":
        raise UserError("the file and the log cannot both come from standard input")
    language, source, target = _given(file, lang, output, in_place=in_place, diff=diff)
    log = read_text(error) if error else ""

    async def work(client: Client, listener: Listener) -> Result:
        return await code.fix(client, source, language=language, error=log, model=model or "", listener=listener)

    result = skill.run("fixing", model, work)
    _hand_over(result, before=source, name=file, output=target, diff=diff, in_place=in_place, json=json)


@app.command()
def optimize(
    file: FileArgument,
    lang: LanguageOption = "",
    output: OutputOption = None,
    in_place: InPlaceFlag = False,
    diff: DiffFlag = False,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Make a file faster without changing what it does.

    Neither is measured: read the changes.
    """
    from colosse.assistant import code

    language, source, target = _given(file, lang, output, in_place=in_place, diff=diff)

    async def work(client: Client, listener: Listener) -> Result:
        return await code.optimize(client, source, language=language, model=model or "", listener=listener)

    result = skill.run("optimising", model, work)
    _hand_over(result, before=source, name=file, output=target, diff=diff, in_place=in_place, json=json)


def _given(file: str, lang: str, output: Path | None, *, in_place: bool, diff: bool) -> tuple[str, str, Path | None]:
    """(language, text, where the result goes) of a file to work on; options that contradict each other are refused."""
    from colosse.assistant import code

    if (output is not None) + in_place + diff > 1:
        raise UserError("--output, --in-place and --diff exclude each other")
    if in_place and file == "-":
        raise UserError("--in-place needs a file", hint="leave it out: the code goes to standard output")
    language = code.parse_code_language(lang) if lang else code.language_of_file(file)
    if not language and file == "-":
        language = "python"
    source = read_text(file)
    target = Path(file) if in_place else output
    _writable(target)
    return language, source, target


def _writable(path: Path | None) -> None:
    """Refuse at once what would fail after the work."""
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{path} is a folder", hint="name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"no such folder: {path.parent}")


def _hand_over(
    result: Result,
    *,
    before: str = "",
    name: str = "",
    output: Path | None = None,
    diff: bool = False,
    in_place: bool = False,
    json: bool = False,
) -> None:
    changes = _changes(before, result.answer, name) if before else ""
    broken = [check for check in result.failed if check.name != "changed"]
    if output is not None and not (in_place and broken):
        _write(output, result.answer)
    if json:
        print_json({**result.model_dump(), "diff": changes} if before else result)
    elif diff:
        print(_coloured(changes), end="")
    elif output is None:
        print(result.answer, end="")
    elif changes:
        sys.stderr.write(_coloured(changes))
    if not json:
        if result.note:
            note(result.note)
        skill.report(result.checks)
        passed = [check.name for check in result.checks if check.passed]
        note(f"not run, so not verified; checked: {', '.join(passed) or 'nothing'}")
    if in_place and broken:
        raise ColosseError(f"{name} is left as it was: the result did not pass its checks")
    skill.leave(result)


def _write(path: Path, text: str) -> None:
    """Put `text` in place of a file at once; a link stays one, and the file keeps its permissions."""
    from colosse.core.files import write_atomic

    path = path.resolve()
    mode = path.stat().st_mode if path.exists() else None
    write_atomic(path, text.encode())
    if mode is not None:
        path.chmod(mode)


def _changes(before: str, after: str, name: str) -> str:
    name = "stdin" if name == "-" else name
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _coloured(changes: str) -> str:
    """Red and green on a terminal."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return changes
    colours = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}
    lines = changes.splitlines(keepends=True)
    return "".join(f"{colours[line[0]]}{line[:-1]}\033[0m\n" if line[0] in colours else line for line in lines)
