"""A server process: uvicorn, our application, and the signals that end them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable, Generator

import uvicorn
from fastapi import FastAPI

from colosse.core.settings import Settings
from colosse.server.lifecycle import announced, server_file
from colosse.server.services import Services

GRACE_S = 5
"""Seconds that open connections get when the server stops."""


class _Server(uvicorn.Server):
    """Leaves the signals to us, and tells when requests are answered."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def serve(
    app: FastAPI, settings: Settings, listener: socket.socket, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Serve `app` until told to stop: the first signal saves what is running and ends it, the second just ends.

    Args:
        app: made by `create_app` for `settings`.
        settings: with the port that `listener` has.
        listener: made by `bind`.
        on_ready: called when requests are answered.
    """
    config = uvicorn.Config(
        app,
        lifespan="off",  # we enter it, so that its failures are ours to tell
        log_config=None,
        access_log=False,
        proxy_headers=False,  # who asks is who connects (see `auth`)
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(app, settings, listener, _Server(config, on_ready)))


async def _serve(app: FastAPI, settings: Settings, listener: socket.socket, server: _Server) -> None:
    services: Services = app.state.services

    def on_signal() -> None:
        if server.should_exit:
            server_file(settings).unlink(missing_ok=True)
            os._exit(130)  # engines end with us: each watches for that
        server.should_exit = True
        services.close()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    async with app.router.lifespan_context(app):
        with announced(settings, services.instance, services.started_at.isoformat()):
            # What start-up made stays: looking through it at every collection would only cost time.
            gc.collect()
            gc.freeze()
            await server.serve(sockets=[listener])
