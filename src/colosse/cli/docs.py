"""`colosse docs`: one's own documents, searched and asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from colosse.cli import skill
from colosse.cli.connect import ModelOption
from colosse.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from colosse.assistant.documents.answer import DocumentAnswer
    from colosse.assistant.documents.search import Found
    from colosse.assistant.skill import Listener
    from colosse.engines.client import Client
    from colosse.store import Store
    from colosse.store.tables import Document

app = typer.Typer(help="Keep documents, search them, ask them.", no_args_is_help=True)

DocumentsOption = Annotated[
    list[str] | None, typer.Option("--in", help="Only in this document, by id or name; may be repeated.")
]
_SHOWN_CHARS = 300


class _Given(NamedTuple):
    name: str
    data: bytes
    url: str = ""


@app.command()
def add(
    sources: Annotated[list[str], typer.Argument(metavar="FILE|DIR|URL...", help="What to read and keep.")],
    json: JsonFlag = False,
) -> None:
    """Read documents and keep them: PDF, docx, pptx, xlsx, HTML, Markdown, text, CSV, code.

    Of a folder every file that can be read, hidden ones left out. The same file again changes nothing.
    """
    import asyncio

    from colosse.assistant.documents.library import add_document
    from colosse.core.errors import ColosseError
    from colosse.store import keys

    async def run() -> tuple[list[dict[str, Any]], list[tuple[str, ColosseError]]]:
        added, failed = [], []
        async with _store() as store:
            with skill.listening("reading") as listener:
                paths = [path for source in sources for path in _within(source)]
                for index, path in enumerate(paths):
                    listener.parts(index, len(paths))
                    try:
                        given = await _load(path)
                        done = await add_document(store, keys.LOCAL_USER, given.name, given.data, url=given.url)
                    except ColosseError as error:
                        failed.append((path, error))
                        continue
                    added.append({**_shown(done.document), "new": done.new})
                    if done.num_orders:
                        note(f"colosse: {given.name} gives orders to machines ({done.num_orders} paragraphs left out)")
                listener.parts(len(paths), len(paths))
        return added, failed

    added, failed = asyncio.run(run())
    for _, error in failed:
        note(f"colosse: {error}")
    if json:
        print_json({"documents": added, "failed": [{"source": p, "error": str(error)} for p, error in failed]})
    for row in [] if json else added:
        state = f"{row['num_passages']} passages" if row["new"] else "is there already"
        print(f"{row['id']}  {row['name']}: {state}")
    if failed:
        raise SystemExit(1 if added else failed[0][1].exit_code)


@app.command("list")
def list_(json: JsonFlag = False) -> None:
    """Show the documents that are kept."""
    import asyncio

    from colosse.assistant.documents.library import list_documents
    from colosse.store import keys

    async def run() -> list[Document]:
        async with _store() as store:
            return await list_documents(store, keys.LOCAL_USER)

    rows = [_shown(document) for document in asyncio.run(run())]
    if json:
        print_json(rows)
        return
    if not rows:
        note("there is no document; `colosse docs add` reads one")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "name", "title", "pages", "passages", "added"):
        table.add_column(column, no_wrap=column == "id")
    for row in rows:
        cells = (row["id"], row["name"], row["title"], row["num_pages"] or "", row["num_passages"])
        table.add_row(*(Text(str(cell)) for cell in (*cells, row["created_at"][:16])))
    Console().print(table)


@app.command()
def remove(
    document: Annotated[str, typer.Argument(metavar="ID|NAME", help="As `colosse docs list` shows it.")],
    json: JsonFlag = False,
) -> None:
    """Forget a document and its passages; the file it came from stays."""
    import asyncio

    from colosse.assistant.documents.library import remove_document
    from colosse.store import keys

    async def run() -> Document:
        async with _store() as store:
            return await remove_document(store, keys.LOCAL_USER, document)

    row = _shown(asyncio.run(run()))
    if json:
        print_json(row)
    else:
        print(f"removed: {row['name']} ({row['id']})")


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="Words, or a question.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=50, help="Passages to show.")] = 8,
    within: DocumentsOption = None,
    json: JsonFlag = False,
) -> None:
    """Find passages by their words and by their meaning."""
    import asyncio

    from colosse.assistant.documents.search import search_passages
    from colosse.store import keys

    async def run() -> list[Found]:
        async with _store() as store:
            ids = await _ids(store, within)
            return await search_passages(store, keys.LOCAL_USER, query, limit=limit, documents=ids)

    found = asyncio.run(run())
    if json:
        print_json(found)
        return
    if not found:
        note("nothing was found")
    for one in found:
        text = " ".join(one.text.split())
        print(f"[{one.id}] {_place(one)}\n    {text[:_SHOWN_CHARS]}{'…' if len(text) > _SHOWN_CHARS else ''}")


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="In any language; it is answered in the same.")],
    within: DocumentsOption = None,
    model: ModelOption = None,
    json: JsonFlag = False,
) -> None:
    """Answer a question from the documents, each sentence with a passage that supports it."""
    from colosse.assistant.documents.answer import answer, checked
    from colosse.store import keys

    question = checked(question)  # before a model is loaded

    async def work(client: Client, listener: Listener) -> DocumentAnswer:
        async with _store() as store:
            ids = await _ids(store, within)
            return await answer(
                client, store, question, owner_id=keys.LOCAL_USER, documents=ids, model=model or "", listener=listener
            )

    result = skill.run("asking the documents", model, work)
    if json:
        print_json(result)
    else:
        print(result.answer)
        for one in result.sources:
            print(f"[{one.id}] {_place(one)}")
        skill.report(result.checks)
    skill.leave(result)


@asynccontextmanager
async def _store() -> AsyncIterator[Store]:
    """The database of this installation, with its user."""
    from colosse.core.settings import load_settings
    from colosse.store import keys, open_store

    async with open_store(load_settings().value.database_url) as store:
        async with store.write() as session:
            await keys.ensure_user(session, keys.LOCAL_USER)
        yield store


async def _ids(store: Store, within: list[str] | None) -> list[str]:
    from colosse.assistant.documents.library import find_document
    from colosse.store import keys

    return [(await find_document(store, keys.LOCAL_USER, which)).id for which in within or []]


def _within(source: str) -> Iterator[str]:
    """A file or an address itself; of a folder its files that are not hidden, in order."""
    path = Path(source)
    if "://" in source or not path.is_dir():
        yield source
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts):
            yield str(file)


async def _load(source: str) -> _Given:
    """The bytes of a file or of a page."""
    if source.startswith(("http://", "https://")):
        from colosse.assistant.search.fetch import fetch

        fetched = await fetch(source)
        return _Given(fetched.url, fetched.data, fetched.url)
    return _read(Path(source))


def _read(path: Path) -> _Given:
    from colosse.assistant.documents.read import MAX_BYTES
    from colosse.core.errors import NotFoundError, TooLargeError, UserError

    try:
        if path.stat().st_size > MAX_BYTES:
            raise TooLargeError(f"{path} is longer than {MAX_BYTES >> 20} MiB", hint="give it in parts")
        return _Given(path.name, path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}", hint="check its path") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", hint="check its permissions") from None


def _shown(document: Document) -> dict[str, Any]:
    names = ("id", "name", "title", "url", "media_type", "language", "num_bytes", "num_pages", "num_passages")
    return {**{name: getattr(document, name) for name in names}, "created_at": document.created_at.isoformat()}


def _place(one: Found) -> str:
    page = f"page {one.page}" if one.page else ""
    return ", ".join(part for part in (one.document, page, one.section) if part)
