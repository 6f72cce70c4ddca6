"""`colosse data`: corpora prepared for training, what became of them, what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from colosse.data.config import DataConfig
    from colosse.data.manifest import Manifest

app = typer.Typer(help="Prepare text for training, and look at what was prepared.", no_args_is_help=True)

Prepared = Annotated[str, typer.Argument(help="Its folder, or the beginning of its name in COLOSSE_HOME/data.")]


@app.command()
def prepare(
    recipe: Annotated[
        str, typer.Argument(metavar="[RECIPE]", help="A recipe whose [data] to prepare.", show_default=False)
    ] = "",
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings such as data.steps.pii=true.", show_default=False),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="A file, folder, pattern, hub:OWNER/NAME or python, in place of a recipe.", show_default=False
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per processor.")] = 0,
    json: JsonFlag = False,
) -> None:
    """Clean a corpus, learn its tokenizer and write its tokens; prints the folder. Done work is not done again."""
    from colosse.core.progress import reporting
    from colosse.core.settings import load_settings
    from colosse.data.manifest import read_manifest
    from colosse.data.prepare import prepare as run

    settings = list(overrides or [])
    if "=" in recipe:
        recipe, settings = "", [recipe, *settings]
    config = _config(recipe, source or [], settings)
    with reporting() as progress:
        folder = run(config, load_settings().value.home, progress=progress, workers=workers)
    manifest = read_manifest(folder)
    if json:
        print_json({"folder": str(folder), **_summary(manifest)})
        return
    print(folder)
    for row in _rows(manifest):
        note(f"{row['source']}: {row['train_tokens']:,} tokens to train on, {row['val_tokens']:,} held out")


@app.command()
def stats(
    prepared: Prepared,
    verify: Annotated[bool, typer.Option("--verify", help="Read every shard and check its hash.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show what became of each source: documents, tokens, what each step dropped."""
    from colosse.core.progress import reporting
    from colosse.data.manifest import read_manifest
    from colosse.data.manifest import verify as verify_shards

    folder = _folder(prepared)
    if verify:
        with reporting() as progress:
            progress.begin("checking", sum(file.stat().st_size for file in folder.glob("*/*.*") if file.is_file()))
            manifest = verify_shards(folder, progress.advance)
    else:
        manifest = read_manifest(folder)
    if json:
        print_json({"folder": str(folder), **_summary(manifest)})
        return

    from rich.console import Console

    console = Console()
    console.print(_table(list(_rows(manifest)), ["source", "weight", "read", "kept", "train_tokens", "val_tokens"]))
    drops = [
        {"source": s.name, "dropped by": d.rule, "documents": d.documents, "bytes": d.bytes}
        for s in manifest.sources
        for d in s.dropped
    ]
    if drops:
        console.print()
        console.print(_table(drops, list(drops[0])))
    tokens = sum(s.train.tokens + s.val.tokens for s in manifest.sources)
    size = sum(s.train.bytes + s.val.bytes for s in manifest.sources)
    print(f"\n{size / tokens:.2f} bytes per token, vocabulary of {manifest.vocab_size}; {folder}")


@app.command()
def inspect(
    prepared: Prepared,
    source: Annotated[str, typer.Option(help="Only this source.", show_default=False)] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Documents of each source.")] = 3,
    split: Annotated[str, typer.Option(help="train or val.")] = "train",
    tokens: Annotated[bool, typer.Option("--tokens", help="Show where one token ends and the next begins.")] = False,
    dropped: Annotated[
        str, typer.Option(help="Show what this step let fall instead, such as gopher.", show_default=False)
    ] = "",
    json: JsonFlag = False,
) -> None:
    """Show documents as a model will see them, or examples of those that were dropped."""
    from colosse.core.errors import UserError
    from colosse.data.manifest import read_manifest

    if split not in ("train", "val"):
        raise UserError(f"there is no split {split!r}", hint="train or val")
    folder = _folder(prepared)
    manifest = read_manifest(folder)
    names = [manifest.source(source).name] if source else [s.name for s in manifest.sources]
    found = (
        _examples(manifest, names, dropped) if dropped else _documents(folder, manifest, names, split, count, tokens)
    )
    if json:
        print_json(list(found))
        return
    for item in found:
        title = " · ".join(str(value) for key, value in item.items() if key != "text" and value != "")
        print(f"── {title}\n{_printable(item['text'])}\n")


def _config(recipe: str, sources: list[str], overrides: list[str]) -> DataConfig:
    from colosse.core.config import load
    from colosse.core.errors import UserError
    from colosse.data.config import DataConfig

    if recipe and sources:
        raise UserError("give a recipe or --source, not both", hint="a recipe lists its sources in [data]")
    if recipe:
        from colosse.train.recipe import load_recipe

        return load_recipe(Path(recipe), overrides).data
    settings: dict[str, object] = {}
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"{item!r} changes nothing", hint="write data.key=value, such as data.steps.pii=true")
        settings[key.strip().removeprefix("data.")] = value.strip()
    if sources:
        settings["sources"] = [_source(text, number) for number, text in enumerate(sources)]
    return load(DataConfig, overrides=settings, override_origin="command").value


def _source(text: str, number: int) -> dict[str, Any]:
    """A source as `--source` names it; its own name is made from the last part of the path."""
    import re

    name = re.sub(r"[^a-z0-9_.-]+", "-", Path(text).name.lower()).strip("-._")[:48] or "source"
    name = f"{name}-{number + 1}" if number else name
    if text == "python":
        return {"name": name, "kind": "python"}
    if text.startswith("hub:"):
        return {"name": name, "kind": "hub", "dataset": text.removeprefix("hub:")}
    return {"name": name, "paths": [str(Path(text).expanduser().absolute())]}


def _folder(prepared: str) -> Path:
    """A prepared folder by its path or by the beginning of its name."""
    from colosse.core.errors import NotFoundError
    from colosse.core.settings import load_settings

    if Path(prepared).is_dir():
        return Path(prepared)
    parent = load_settings().value.home / "data"
    names = sorted(path.name for path in parent.glob("*/") if not path.name.startswith("."))
    found = [name for name in names if name.startswith(prepared)]
    if len(found) != 1:
        raise NotFoundError(
            f"{'more than one' if found else 'no'} prepared data in {parent} begins with {prepared!r}",
            hint="there is: " + ", ".join(names) if names else "`colosse data prepare` makes some",
        )
    return parent / found[0]


def _summary(manifest: Manifest) -> dict[str, Any]:
    """The manifest without its lists of files."""
    left_out = {"shards": True}
    return manifest.model_dump(mode="json", exclude={"sources": {"__all__": {"train": left_out, "val": left_out}}})


def _rows(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for source in manifest.sources:
        yield {
            "source": source.name,
            "weight": source.weight or "by tokens",
            "read": source.read_documents,
            "kept": source.read_documents - sum(d.documents for d in source.dropped if d.rule != "unreadable"),
            "train_tokens": source.train.tokens,
            "val_tokens": source.val.tokens,
        }


def _table(rows: list[dict[str, Any]], columns: list[str]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        number = isinstance(rows[0][column], int | float)
        table.add_column(column.replace("_", " "), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(f"{row[c]:,}" if isinstance(row[c], int) else str(row[c])) for c in columns))
    return table


def _documents(
    folder: Path, manifest: Manifest, names: list[str], split: str, count: int, tokens: bool
) -> Iterator[dict[str, Any]]:
    """Documents of each source, evenly spread over it."""
    from colosse.data.shards import Stream
    from colosse.data.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder / "tokenizer")
    for name in names:
        stream = Stream(folder, manifest, name, split)
        shown = min(count, stream.documents)
        for number in (place * stream.documents // shown for place in range(shown)):
            ids = stream.document(number).tolist()
            text = "|".join(tokenizer.decode([i]) for i in ids) if tokens else tokenizer.decode(ids, specials=False)
            yield {"source": name, "document": number, "tokens": len(ids), "text": text}


def _examples(manifest: Manifest, names: list[str], step: str) -> Iterator[dict[str, Any]]:
    from colosse.core.errors import NotFoundError, nearest

    rules = {drop.rule for name in names for drop in manifest.source(name).dropped}
    if not any(rule == step or rule.startswith(f"{step}/") for rule in rules):
        raise NotFoundError(f"nothing was dropped by {step!r}", hint=nearest(step, rules))
    for name in names:
        for drop in manifest.source(name).dropped:
            if drop.rule == step or drop.rule.startswith(f"{step}/"):
                for example in drop.examples:
                    yield {"source": name, "rule": drop.rule, **example.model_dump()}


def _printable(text: str) -> str:
    """A text without what a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)
