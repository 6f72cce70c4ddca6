"""`colosse code`: write, fix, explain, translate and optimise code. What was run is said, and no more is claimed."""

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
    from colosse.assistant.code import CodeResult, FixResult, OptimizeResult
    from colosse.assistant.code.repository import Repository
    from colosse.assistant.skill import Listener
    from colosse.engines.client import Client

app = typer.Typer(help="Write, fix, explain, translate and optimise code.", no_args_is_help=True)

FileArgument = Annotated[str, typer.Argument(metavar="FILE|-", help="The file, or - for standard input.")]
LanguageOption = Annotated[
    str, typer.Option("--lang", help="Programming language.", show_default="by the file's suffix, else python")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the code to this file.", show_default=False)
]
InPlaceFlag = Annotated[bool, typer.Option("--in-place", "-i", help="Put the result in place of the file.")]
DiffFlag = Annotated[bool, typer.Option("--diff", help="Print the changes instead of the code.")]
CandidatesOption = Annotated[int, typer.Option("--candidates", "-n", min=1, max=32, help="Answers that are tried.")]


@app.command()
def write(
    task: Annotated[
        list[str] | None,
        typer.Argument(help="What the code should do; piped text is put below it.", show_default=False),
    ] = None,
    lang: LanguageOption = "",
    tests: Annotated[str, typer.Option("--tests", "-t", metavar="FILE", help="Tests that the code must pass.")] = "",
    candidates: CandidatesOption = 4,
    output: OutputOption = None,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Write code for a task, run it, and keep what passes."""
    from colosse.assistant import code

    language = code.parse_code_language(lang) if lang else code.language_of_file(str(output or tests)) or "python"
    text = "\n\n".join(part for part in (" ".join(task or []).strip(), piped().strip("\n")) if part)
    if not text:
        raise UserError("there is no task", hint='colosse code write "..."')
    _writable(output)
    given = read_text(tests) if tests else ""

    async def work(client: Client, listener: Listener) -> CodeResult:
        return await code.write(
            client, text, language=language, tests=given, candidates=candidates, model=model or "", listener=listener
        )

    _told(skill.run("writing", model, work), output, json=json)


@app.command()
def fix(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE|DIR|-...", help="What may be changed: files, or all code but tests in a folder."),
    ],
    run: Annotated[
        str, typer.Option("--run", "-r", metavar="COMMAND", help='What fails and must pass, such as "pytest -q".')
    ] = "",
    error: Annotated[
        str, typer.Option("--error", "-e", metavar="LOG|-", help="What goes wrong: a log file or standard input.")
    ] = "",
    candidates: CandidatesOption = 4,
    lang: LanguageOption = "",
    output: OutputOption = None,
    apply: Annotated[
        bool, typer.Option("--apply", "-i", help="Change the files, when the fix is verified and they are as read.")
    ] = False,
    diff: DiffFlag = False,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Mend what makes a command fail; the fix is believed when the command passes.

    The command runs in a sandbox over a copy of the working directory.
    """
    from colosse.assistant import code
    from colosse.assistant.code import repository

    if "-" in files and (error == "-" or len(files) > 1 or apply):
        raise UserError("code from standard input stands alone", hint="name files to use --apply or a log from there")
    if output is not None and (apply or diff or len(files) > 1):
        raise UserError("--output is for one file, without --apply and --diff")
    _writable(output)
    log = read_text(error) if error else ""
    language = code.parse_code_language(lang) if lang else "python"
    read: Repository | None = None
    given: str | dict[str, bytes] = ""
    if files == ["-"]:
        given = read_text("-")
    else:
        read = repository.read(Path(file) for file in files)
        given = read.files

    async def work(client: Client, listener: Listener) -> FixResult:
        return await code.fix(
            client,
            given,
            language=language,
            command=run,
            error=log,
            writable=read.writable if read else None,
            candidates=candidates,
            model=model or "",
            listener=listener,
        )

    result = skill.run("fixing", model, work)
    shown = bool(result.diff) and (diff or len(read.writable if read else [""]) > 1)
    _told(result, output, json=json, shown=coloured(result.diff) if shown or apply else None, quiet=apply)
    if apply and read is not None:
        if not result.verified:
            raise ColosseError("the files are left as they were: the fix is not verified")
        repository.apply(read, result.files)


@app.command()
def explain(
    file: FileArgument,
    question: Annotated[str, typer.Option("--question", "-q", help="What you want to know of it.")] = "",
    lang: LanguageOption = "",
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Explain code, with examples that were run."""
    from colosse.assistant import code

    language, source, _ = _given(file, lang, None, in_place=False, diff=False)

    async def work(client: Client, listener: Listener) -> CodeResult:
        return await code.explain(
            client, source, language=language or "python", question=question, model=model or "", listener=listener
        )

    _told(skill.run("explaining", model, work), None, json=json)


@app.command()
def translate(
    file: FileArgument,
    to: Annotated[str, typer.Option("--to", "-t", help="Wanted programming language.")],
    lang: LanguageOption = "",
    output: OutputOption = None,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Translate code to another programming language; both versions are run and must print the same."""
    from colosse.assistant import code

    language, text, _ = _given(file, lang, output, in_place=False, diff=False)
    target = code.parse_code_language(to)

    async def work(client: Client, listener: Listener) -> CodeResult:
        return await code.translate_code(
            client, text, source=language or "python", target=target, model=model or "", listener=listener
        )

    _told(skill.run("translating", model, work), output, json=json)


@app.command()
def optimize(
    file: FileArgument,
    bench: Annotated[
        str,
        typer.Option(
            "--bench",
            "-b",
            metavar="CALL|COMMAND",
            help='What is timed: "f(range(1000))", or a command with the files that it names.',
            show_default="for Python: searched for",
        ),
    ] = "",
    tests: Annotated[str, typer.Option("--tests", "-t", metavar="FILE", help="Tests that must go on passing.")] = "",
    candidates: CandidatesOption = 4,
    lang: LanguageOption = "",
    output: OutputOption = None,
    in_place: InPlaceFlag = False,
    diff: DiffFlag = False,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Make a file faster: what is taken gives equal results and is measured to be faster."""
    from colosse.assistant import code

    language, source, target = _given(file, lang, output, in_place=in_place, diff=diff)
    given = read_text(tests) if tests else ""
    beside = {word: Path(word).read_bytes() for word in bench.split() if word != file and _is_beside(word)}

    async def work(client: Client, listener: Listener) -> OptimizeResult:
        return await code.optimize(
            client,
            source,
            language=language or "python",
            bench=bench,
            tests=given,
            candidates=candidates,
            name="" if file == "-" or not _is_beside(file) else file,
            files=beside,
            model=model or "",
            listener=listener,
        )

    result = skill.run("optimising", model, work)
    changes = _changes(source, result.answer, file)
    if target is not None and (result.verified or not in_place):
        _write(target, result.answer)
    if json:
        print_json({**result.model_dump(), "diff": changes})
    elif diff:
        print(coloured(changes), end="")
    elif target is None:
        print(result.answer, end="")
    elif changes:
        sys.stderr.write(coloured(changes))
    if not json:
        _measured(result)
    if in_place and not result.verified:
        raise ColosseError(f"{file} is left as it was: no version was verified to do the same in less time")
    if not result.verified:
        raise SystemExit(1)


def _is_beside(path: str) -> bool:
    """Whether a word of a command is a file in the working directory or below it."""
    given = Path(path)
    return not given.is_absolute() and ".." not in given.parts and given.is_file()


def _measured(result: OptimizeResult) -> None:
    """What was compared and measured, for the person."""
    for tested in result.functions:
        known = f" (known by: {tested.why})" if tested.why else ""
        note(f"compared {tested.cases} calls of {tested.name}({tested.arguments}){known}")
    for name, reason in result.skipped.items():
        note(f"not compared: {name}: {reason}")
    for step in result.transcript:
        note(f"{step.attempt}: {step.command}: {'right' if not step.failed else 'no'} {step.output}".rstrip())
    if result.note:
        note(result.note)
    skill.report(result.checks)
    if result.before_s:
        low, high = result.interval
        note(f"bench   {result.bench}")
        note(f"{'':8}{'before':>12}{'after':>12}")
        rate = f"   {result.speedup:.4g} times as fast (95 %: {low:.4g} to {high:.4g})" if result.speedup != 1 else ""
        note(f"{'time':8}{result.before_s * 1e3:>9.4g} ms{result.after_s * 1e3:>9.4g} ms{rate}")
        note(f"{'memory':8}{result.before_mb:>9.4g} MB{result.after_mb:>9.4g} MB")
    note(f"{'verified' if result.verified else 'not verified'}; {result.num_cases} results compared")


def _told(
    result: CodeResult, output: Path | None, *, json: bool, shown: str | None = None, quiet: bool = False
) -> None:
    """Hand over an answer, its transcript and what is known of it; exit code 1 unless it is verified.

    Args:
        result: what came of it.
        output: where the answer goes, in place of standard output.
        json: print the result as JSON.
        shown: what is printed in place of the answer.
        quiet: leave the exit code to the caller.
    """
    if output is not None and result.answer.strip():
        _write(output, result.answer)
    if json:
        print_json(result)
    elif output is None:
        text = result.answer if shown is None else shown
        print(text, end="" if text.endswith("\n") or not text else "\n")
    if not json:
        for step in result.transcript:
            last = f": {step.output.splitlines()[-1].strip()}" if step.output else ""
            note(f"{step.attempt}: {step.command}: {step.passed} passed, {step.failed} failed{last}")
        if result.note:
            note(result.note)
        skill.report(result.checks)
        passed = [check.name for check in result.checks if check.passed]
        said = "verified" if result.verified else "not verified"
        note(f"{said}; checked: {', '.join(passed) or 'nothing'}; tests: {_TESTS_FROM[result.tests_from]}")
    if not result.verified and not quiet:
        raise SystemExit(1)


_TESTS_FROM = {
    "given": "yours",
    "examples": "the examples of the task",
    "model": "the model's own, which prove little",
    "": "none were run",
}


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


def coloured(changes: str) -> str:
    """Red and green on a terminal."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return changes
    colours = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}
    lines = changes.splitlines(keepends=True)
    return "".join(f"{colours[line[0]]}{line[:-1]}\033[0m\n" if line[0] in colours else line for line in lines)
