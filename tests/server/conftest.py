"""A client with chosen answers, applications over it, real HTTP, and both databases."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from colosse.core.settings import Settings, load_settings
from colosse.engines.schema import ChatRequest, Delta, ModelInfo, Usage
from colosse.server.app import create_app
from colosse.store import keys, open_store

Answer = Callable[[ChatRequest], AsyncIterator[Delta]]


class FakeClient:
    """A client whose answers a test writes: `answer` is an async generator over the request."""

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []
        self.answer: Answer = self.echo
        self.go = asyncio.Event()
        self.max_model_len: int | None = None
        self.cancelled = 0

    @property
    def default_model(self) -> str:
        return "fake"

    def models(self) -> list[ModelInfo]:
        info = {"state": "ready", "engine": "fake", "max_model_len": self.max_model_len}
        return [ModelInfo(id=name, **info) for name in ("fake", "other")]

    async def ensure(self, model: str = "") -> ModelInfo:
        return next(info for info in self.models() if info.id == (model or "fake"))

    async def request(self, path: str, body: Any, *, affinity: str = "") -> dict[str, Any]:
        raise NotImplementedError

    async def stream(self, path: str, body: Any, *, affinity: str = "") -> AsyncIterator[bytes]:
        raise NotImplementedError
        yield b""

    async def chat(self, request: ChatRequest, *, affinity: str = "") -> AsyncIterator[Delta]:
        self.requests.append(request)
        try:
            async for delta in self.answer(request):
                yield delta
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def aclose(self) -> None:
        return None

    async def echo(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The question again, word by word."""
        words = str(request.messages[-1].content).split()
        for word in words:
            yield Delta(content=word + " ")
        yield Delta(finish_reason="stop", usage=Usage(prompt_tokens=7, completion_tokens=len(words), total_tokens=9))

    async def until_told(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """`one `, then `two ` after `go` is set."""
        yield Delta(content="one ")
        await self.go.wait()
        yield Delta(content="two ")


@pytest.fixture
async def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings().value


@contextlib.asynccontextmanager
async def running(app: FastAPI, *, base: str = "", **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The application behind a real HTTP server on a free port, and a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none", proxy_headers=False)
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext
        async with app.router.lifespan_context(app):
            task = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:
                await asyncio.sleep(0.005)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}{base}"
            try:
                async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as http:
                    yield http
            finally:
                app.state.services.close()
                server.should_exit = True
                await task


@pytest.fixture
async def app(settings: Settings, client: FakeClient) -> FastAPI:
    return create_app(settings, client)


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of `app`, as the local user."""
    async with running(app) as http:
        yield http


async def public_app(settings: Settings, client: FakeClient) -> FastAPI:
    """An application for a server that everybody reaches, and that therefore needs keys."""
    async with open_store(settings.database_url) as store, store.write() as session:
        await keys.create_key(session, "first")
    return create_app(settings.model_copy(update={"host": "0.0.0.0"}), client)


@pytest.fixture
async def public(settings: Settings, client: FakeClient) -> AsyncIterator[tuple[httpx2.AsyncClient, FastAPI]]:
    """Such a server, and a client without a key."""
    app = await public_app(settings, client)
    async with running(app) as http:
        yield http, app


async def make_key(app: FastAPI, user: str = "local", scope: str = "chat") -> str:
    """A new API key of `user`."""
    async with app.state.services.store.write() as session:
        _, secret = await keys.create_key(session, "test", user=user, scope=scope)
    return secret


async def eventually(check: Callable[[], Any], timeout: float = 30) -> None:
    """Wait until `check()` is true."""
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.01)
