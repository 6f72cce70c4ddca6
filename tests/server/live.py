"""The application behind a real HTTP server, for clients that need one."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import uvicorn
from fastapi import FastAPI

from colosse.core.settings import Settings
from colosse.server.app import create_app


@dataclass
class Live:
    """A running server and the clients to talk to it with."""

    url: str
    app: FastAPI
    client: openai.OpenAI
    http: httpx2.Client

    def async_client(self, **options: Any) -> openai.AsyncOpenAI:
        """The official client, asynchronous; use it in `async with`."""
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, **options)

    def post(self, path: str, body: object) -> httpx2.Response:
        """POST plain JSON below `/v1`."""
        return self.http.post(f"/v1{path}", json=body)


@contextlib.contextmanager
def serve(settings: Settings) -> Iterator[Live]:
    """Serve the application of `settings` on a free port until the block ends."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    app = create_app(settings)
    config = uvicorn.Config(app, log_config=None, log_level="critical", ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([sock],), name="live", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    try:
        with (
            openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120) as client,
            httpx2.Client(base_url=url, timeout=120, trust_env=False) as http,
        ):
            yield Live(url, app, client, http)
    finally:
        server.should_exit = True
        thread.join()
        sock.close()
