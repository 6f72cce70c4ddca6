"""`colosse serve`: the assistant at an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from colosse.cli.connect import pull_if_missing
from colosse.cli.output import note

if TYPE_CHECKING:
    from colosse.core.settings import Settings


def serve(
    model: Annotated[
        str | None, typer.Option(help="Model to serve; it is pulled if it is not here.", show_default=False)
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to serve on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes any free one.", show_default="8420")] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """Serve the web page and the APIs until Ctrl-C."""
    import asyncio

    from colosse.core import log
    from colosse.core.settings import load_settings
    from colosse.server import lifecycle

    flags: dict[str, object] = {"model": model, "host": host, "port": port, "open_browser": False if no_open else None}
    settings = load_settings({key: value for key, value in flags.items() if value is not None}).value
    with lifecycle.bind(settings) as listener:
        # The rest sees the port that was taken.
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        asyncio.run(_prepare(settings))
        from colosse.server import process
        from colosse.server.app import create_app

        log.configure(settings.log)
        app = create_app(settings)
        url = lifecycle.url_of(settings.host, settings.port)

        def on_ready() -> None:
            client = app.state.services.client
            names = [info.id for info in client.models()]
            what = client.default_model if names else "no model yet: `colosse models list` shows what there is"
            note(f"Colosse is at {url}  ·  {what}  ·  Ctrl-C stops it")
            if settings.open_browser:
                _open(url)

        process.serve(app, settings, listener, on_ready)


async def _prepare(settings: Settings) -> None:
    """Refuse an address that needs a key; then bring the model if it is missing, before anybody waits for it."""
    from colosse.engines.engines import Engines
    from colosse.server.auth import is_loopback, refuse_without_key
    from colosse.store import open_store

    if not is_loopback(settings.host):  # the server looks again, but gigabytes may lie between
        async with open_store(settings.database_url) as store, store.read() as session:
            await refuse_without_key(settings.host, session)
    async with Engines(settings) as engines:
        await pull_if_missing(engines)


def _open(url: str) -> None:
    """Open a browser where somebody would see it."""
    import os
    import sys
    import threading
    import webbrowser

    seen = sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if seen and not os.environ.get("SSH_CONNECTION"):
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
