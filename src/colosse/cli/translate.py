"""`colosse translate`: a document in another language, with its structure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colosse.cli import skill
from colosse.cli.connect import ModelOption
from colosse.cli.inputs import read_text, read_text_or_words
from colosse.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from colosse.assistant.skill import Listener
    from colosse.assistant.translate import Translation
    from colosse.engines.client import Client


def translate(
    source: Annotated[str, typer.Argument(metavar="FILE|-|TEXT", help="A file, - for standard input, or the text.")],
    to: Annotated[str, typer.Option("--to", "-t", help="Wanted language: fr, French, français ...")],
    origin: Annotated[str, typer.Option("--from", "-f", help="Language of the text.")] = "auto",
    format: Annotated[
        str, typer.Option(help="text, markdown, html, srt, vtt, po, json, xliff, docx; by the suffix when not given.")
    ] = "",
    glossary: Annotated[Path | None, typer.Option(help="CSV of source,target[,note]: terms to use.")] = None,
    tone: Annotated[str, typer.Option(help="formal, informal, neutral, technical or simple.")] = "",
    candidates: Annotated[int, typer.Option(min=0, max=16, help="Answers to sample where checks fail.")] = 2,
    back_translate: Annotated[
        bool, typer.Option("--back-translate", help="Translate each segment back and compare.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the translation to this file.")] = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Print each segment beside its translation.")
    ] = False,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Translate a text or a document, keeping its structure.

    Every segment is checked; those that pass are remembered, so that the same command after an interruption goes on.
    """
    from colosse.assistant.languages import parse_language
    from colosse.assistant.translate import read_glossary
    from colosse.assistant.translate import translate as run
    from colosse.assistant.translate.formats import format_of
    from colosse.cli.connect import settings_for
    from colosse.core.errors import UserError
    from colosse.store import keys, open_store

    target = parse_language(to)
    spoken = "" if origin == "auto" else parse_language(origin)
    terms = read_glossary(read_text(str(glossary))) if glossary else []
    text, name = _document(source, format)
    if name.endswith("docx") and not (output or side_by_side or json):
        raise UserError("a Word document cannot be printed", hint="give --output FILE.docx", param="output")
    if output is not None:
        _check_writable(output)
    format_of(name, "")

    async def work(client: Client, listener: Listener) -> Translation:
        async with open_store(settings_for(model).database_url) as store:
            async with store.write() as session:
                await keys.ensure_user(session, keys.LOCAL_USER)
            return await run(
                client,
                text,
                target,
                source=spoken,
                format=name,
                glossary=terms,
                tone=tone,
                candidates=candidates,
                back_translate=back_translate,
                model=model or "",
                store=store,
                owner_id=keys.LOCAL_USER,
                listener=listener,
            )

    try:
        result = skill.run("translating", model, work)
    except KeyboardInterrupt:
        note("stopped: finished segments are remembered, and the same command goes on from there")
        raise SystemExit(130) from None
    if output is not None:
        try:
            output.write_bytes(result.data)
        except OSError as error:
            raise UserError(f"cannot write {output}: {error.strerror}", param="output") from None
    _show(result, json=json, side_by_side=side_by_side, printed=output is None)
    skill.leave(result)


def _check_writable(path: Path) -> None:
    """Said before the work, which may take hours."""
    import os

    from colosse.core.errors import UserError

    if not path.absolute().parent.is_dir():
        raise UserError(f"no such folder: {path.parent}", param="output")
    if path.is_dir():
        raise UserError(f"{path} is a folder", hint="name a file in it", param="output")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise UserError(f"cannot write {path}: permission denied", param="output")


def _document(source: str, format: str) -> tuple[str | bytes, str]:
    """The document, bytes where it is a file, and the name that tells its format."""
    from colosse.cli.inputs import MAX_BYTES
    from colosse.core.errors import TooLargeError

    if source == "-":
        if format != "docx":
            return read_text(source), format
        return sys.stdin.buffer.read(), format
    path = Path(source)
    if " " not in source.strip() and path.is_file():
        if path.stat().st_size > MAX_BYTES:
            raise TooLargeError(f"{source} is longer than {MAX_BYTES >> 20} MiB", hint="give it in parts")
        if path.suffix.lower() != ".docx" and format != "docx":
            read_text(source)  # says what is wrong with a file that is not text, by its name
        return path.read_bytes(), format or path.name
    return read_text_or_words(source), format


def _show(result: Translation, *, json: bool, side_by_side: bool, printed: bool) -> None:
    if json:
        print_json(result)
        return
    if side_by_side:
        _print_table(result)
    elif printed:
        answer = result.answer.removeprefix("\ufeff")
        print(answer, end="" if answer.endswith("\n") else "\n")
    if result.note:
        note(result.note)
    if len(result.segments) < 2:
        skill.report(result.checks)
        return
    for segment in result.segments:
        for check in segment.checks:
            if not check.passed:
                note(f"not right ({check.name}{': ' if check.detail else ''}{check.detail}): {segment.source[:60]!r}")
    skill.report([check for check in result.checks if check.name in ("structure", "distinct")])
    remembered = sum(segment.from_memory for segment in result.segments)
    wrong = sum(any(not check.passed for check in segment.checks) for segment in result.segments)
    note(f"{len(result.segments)} segments, {remembered} remembered, {wrong} with failed checks")


def _print_table(result: Translation) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(result.source_language or "source", result.target_language, "", show_lines=True)
    for segment in result.segments:
        failed = ", ".join(check.name for check in segment.checks if not check.passed)
        table.add_row(Text(segment.source), Text(segment.target), Text(failed or "✓"))
    Console().print(table)
