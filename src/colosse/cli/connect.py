"""Whom a command talks to: the server of this COLOSSE_HOME when one runs, else engines started for the occasion."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from colosse.cli.output import note

if TYPE_CHECKING:
    from colosse.core.settings import Settings
    from colosse.engines.client import Client
    from colosse.engines.engines import Engines

KEY_VARIABLE = "COLOSSE_API_KEY"
"""Environment variable with the key for a running server that wants one."""
SILENT_S = 2.0
"""Seconds that loading a model may take before it is said."""

ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Model to ask; pulled if it is not here.", show_default=False)
]


def settings_for(model: str | None) -> Settings:
    """The settings of this installation with the model of the command line; logs of warnings and worse only."""
    from colosse.core import log
    from colosse.core.settings import load_settings

    settings = load_settings({"model": model} if model else {}).value
    log.configure(settings.log.model_copy(update={"level": "error"}) if settings.log.level == "info" else settings.log)
    return settings


@asynccontextmanager
async def connect(settings: Settings, model: str | None = None) -> AsyncIterator[Client]:
    """A client that has `model` ready.

    Args:
        settings: made by `settings_for(model)`.
        model: asked for on the command line; None: the default of the server, or of this machine.

    Raises:
        NotFoundError: no such model; names the nearest.
        ColosseError: the model cannot be pulled or loaded, or the server refuses the key.
    """
    from colosse.core.errors import AuthenticationError, ColosseError
    from colosse.engines.client import RemoteClient
    from colosse.engines.engines import Engines
    from colosse.server.lifecycle import find_server

    server = await asyncio.to_thread(find_server, settings)
    if server is None:
        async with Engines(settings) as engines:
            await pull_if_missing(engines)
            await load(engines, model or "")
            yield engines
        return
    key = os.environ.get(KEY_VARIABLE, "")
    try:
        async with RemoteClient(f"{server.url}/v1", key) as remote:
            await load(remote, model or "")
            yield remote
    except ColosseError as error:
        if error.code != "endpoint_key":
            raise
        what = f"refuses the key in {KEY_VARIABLE}" if key else f"wants an API key in {KEY_VARIABLE}"
        raise AuthenticationError(
            f"the server at {server.url} {what}", hint="`colosse keys create` makes one"
        ) from None


async def load(client: Client, model: str) -> None:
    """Make `model` ready; when that takes a while, say so."""
    from colosse.engines.schema import ModelInfo

    task: asyncio.Task[ModelInfo] = asyncio.create_task(client.ensure(model))
    try:
        await asyncio.wait([task], timeout=SILENT_S)
        if not task.done():
            text = f"loading {model or client.default_model} ..."
            if sys.stderr.isatty():
                from rich.console import Console

                with Console(stderr=True).status(text):
                    await asyncio.wait([task])
            else:
                note(text)
        await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def pull_if_missing(engines: Engines) -> None:
    """Bring the model that the settings name, unless it is here or an endpoint offers it.

    Raises:
        NotFoundError: nobody knows it; names the nearest of all that could be pulled.
    """
    from colosse.core.progress import reporting
    from colosse.engines.fit import AUTO, resolve_auto

    name = engines.settings.model
    offered = {info.id for info in engines.models()}
    if name == AUTO and not offered and not engines.settings.endpoints:
        name = resolve_auto(engines.settings, engines.store)
    known = engines.store.catalogue.find(name) is not None
    if name in {AUTO, *offered} or (engines.settings.endpoints and not known):
        return  # here, or perhaps an endpoint's own
    if not known:
        engines.store.get(name)
    note(f"{name} is not here yet: pulling it")
    with reporting() as progress:
        await engines.store.pull(name, progress)
