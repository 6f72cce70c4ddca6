"""`colosse keys`: API keys, in the database, whether or not a server runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colosse.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")] = "default",
    scope: Annotated[str, typer.Option(help="read: look; chat: use the assistant; admin: everything.")] = "chat",
    user: Annotated[str, typer.Option(help="Whose threads the key sees; made if new.")] = "local",
    json: JsonFlag = False,
) -> None:
    """Make a key and print it, this once."""
    from colosse.store import keys

    async def run() -> dict[str, Any]:
        async with _session() as session:
            key, secret = await keys.create_key(session, name, user=user, scope=scope)
            return {"id": key.id, "name": name, "user": user, "scopes": key.scopes, "key": secret}

    made = asyncio.run(run())
    if json:
        print_json(made)
        return
    print(made["key"])
    note(f"key {made['id']} for {user}: {', '.join(made['scopes'])}. It is shown only now; keep it.")


@app.command("list")
def list_keys(json: JsonFlag = False) -> None:
    """Show every key: its beginning, its owner, what it may do, when it was used."""
    from colosse.store import keys

    async def run() -> list[dict[str, Any]]:
        async with _session() as session:
            return [
                {
                    "id": key.id,
                    "name": key.name,
                    "prefix": key.prefix,
                    "user": user.name,
                    "scopes": key.scopes,
                    "created_at": key.created_at.isoformat(),
                    "last_used_at": key.last_used_at and key.last_used_at.isoformat(),
                    "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
                }
                for key, user in await keys.list_keys(session)
            ]

    rows = asyncio.run(run())
    if json:
        print_json(rows)
        return
    if not rows:
        note("there is no key; `colosse keys create` makes one")
        return

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "name", "begins", "user", "scopes", "created", "last used", ""):
        table.add_column(column, no_wrap=column in ("id", "begins"))
    for row in rows:
        used = row["last_used_at"] or "never"
        cells = (row["id"], row["name"], row["prefix"] + "…", row["user"], " ".join(row["scopes"]))
        state = "revoked" if row["revoked_at"] else ""
        style = "dim" if state else None
        table.add_row(*map(Text, (*cells, row["created_at"][:16], used[:16], state)), style=style)
    Console().print(table)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, its beginning or its name.")], json: JsonFlag = False
) -> None:
    """Make a key useless from now on; browsers that logged in with it are logged out."""
    from colosse.store import keys

    async def run() -> dict[str, Any]:
        async with _session() as session:
            revoked = await keys.revoke_key(session, key)
            return {"id": revoked.id, "name": revoked.name}

    gone = asyncio.run(run())
    if json:
        print_json(gone)
    else:
        print(f"revoked: {gone['name']} ({gone['id']})")


@asynccontextmanager
async def _session() -> AsyncIterator[AsyncSession]:
    """A transaction on the database of this installation."""
    from colosse.core.settings import load_settings
    from colosse.store import keys, open_store

    async with open_store(load_settings().value.database_url) as store, store.write() as session:
        await keys.ensure_user(session, keys.LOCAL_USER)
        yield session
