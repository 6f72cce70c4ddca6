"""The supervisor over a small program that plays an engine: it starts, dies, hangs or refuses as told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from colosse.core.errors import ColosseError, EngineError, UnavailableError
from colosse.engines.endpoint import new_session
from colosse.engines.supervisor import Command, Policy, Supervisor
from tests.core.test_process import gone

ENGINE = """
import http.server, json, os, sys, threading
from pathlib import Path
folder = Path({folder!r})
print('0.00.000.001 I srv: an ordinary line', file=sys.stderr)
if (folder / 'refuse').exists():
    print('0.00.000.002 E srv: error: the tensors are upside down', file=sys.stderr)
    print('0.00.000.003 I srv: goodbye', file=sys.stderr)
    sys.exit(1)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if (folder / 'hang').exists():
            threading.Event().wait()
        self.send_response(503 if (folder / 'sick').exists() else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
if (folder / 'silent').exists():
    threading.Event().wait()
print('not JSON', flush=True)
print(json.dumps({{'url': f'http://127.0.0.1:{{server.server_port}}/v1'}}), flush=True)
server.serve_forever()
"""
QUICK = Policy(
    start_timeout_s=30, pause_s=0.01, max_pause_s=0.05, health_every_s=0.05, health_timeout_s=0.3, stop_grace_s=2
)

Make = Callable[..., Supervisor]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session() as session:
        yield session


@pytest.fixture
async def make(tmp_path: Path, http: aiohttp.ClientSession) -> AsyncIterator[Make]:
    """Makes supervisors of the little engine and stops them."""
    made: list[Supervisor] = []

    def build(policy: Policy = QUICK, **more: Any) -> Supervisor:
        command = Command([sys.executable, "-c", ENGINE.format(folder=str(tmp_path))], key="secret")
        supervisor = Supervisor("toy", lambda: command, log=tmp_path / "toy.log", http=http, policy=policy, **more)
        made.append(supervisor)
        return supervisor

    yield build
    for supervisor in made:
        await supervisor.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def raises(error: type[ColosseError], awaitable: Awaitable[object]) -> str:
    with pytest.raises(error) as caught:
        await awaitable
    return str(caught.value)


async def test_starts_answers_and_stops(make: Make, http: aiohttp.ClientSession) -> None:
    states: list[str] = []
    supervisor = make(on_change=lambda: states.append(supervisor.state))
    await asyncio.gather(supervisor.start(), supervisor.start())  # twice is once
    pid = supervisor.pid
    assert pid is not None
    assert supervisor.key == "secret"
    async with http.get(supervisor.url.removesuffix("/v1") + "/health") as response:
        assert response.status == 200
    await supervisor.stop()
    await gone(pid)
    assert states == ["starting", "ready", "stopped"]
    assert "was stopped" in await raises(UnavailableError, supervisor.ready())
    await supervisor.start()  # and again
    assert supervisor.state == "ready"


async def test_restarts_what_was_killed(make: Make) -> None:
    supervisor = make()
    await supervisor.start()
    first = supervisor.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.restarts == 1)
    await supervisor.ready()
    assert supervisor.pid not in (None, first)


async def test_restarts_what_no_longer_answers(make: Make, tmp_path: Path) -> None:
    supervisor = make()
    await supervisor.start()
    first = supervisor.pid
    assert first is not None
    (tmp_path / "hang").touch()
    await until(lambda: supervisor.state != "ready")
    (tmp_path / "hang").unlink()
    await supervisor.ready()
    assert supervisor.pid != first
    await gone(first)


async def test_gives_up_on_what_keeps_dying(make: Make) -> None:
    supervisor = make(replace(QUICK, max_deaths=3))
    await supervisor.start()
    for _ in range(3):
        await supervisor.ready()
        pid = supervisor.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda seen=pid: supervisor.pid != seen)
    await until(lambda: supervisor.state == "failed")
    message = await raises(EngineError, supervisor.ready())
    assert "died 3 times in a row: killed by SIGKILL" in message
    assert "toy.log" in message
    await supervisor.start()  # somebody asks again, later: it gets another chance
    assert supervisor.state == "ready"


async def test_what_never_worked_is_not_restarted(make: Make, tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    supervisor = make()
    message = await raises(EngineError, supervisor.start())
    assert "cannot load toy: srv: error: the tensors are upside down" in message
    assert supervisor.state == "failed"
    assert supervisor.restarts == 0
    (tmp_path / "refuse").unlink()
    await supervisor.start()


@pytest.mark.parametrize("fault", ["silent", "sick"])
async def test_start_that_takes_too_long(make: Make, tmp_path: Path, fault: str) -> None:
    (tmp_path / fault).touch()
    supervisor = make(replace(QUICK, start_timeout_s=1.0))
    assert "not ready after 1 s" in await raises(EngineError, supervisor.start())
    assert supervisor.pid is None


async def test_a_program_that_is_not_there(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    command = Command([str(tmp_path / "missing")])
    supervisor = Supervisor("toy", lambda: command, log=tmp_path / "log", http=http)
    assert "cannot start the engine of toy" in await raises(EngineError, supervisor.start())


async def test_an_error_of_ours_while_making_the_command(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    def command() -> Command:
        raise UnavailableError("not enough memory")

    supervisor = Supervisor("toy", command, log=tmp_path / "log", http=http)
    assert await raises(UnavailableError, supervisor.start()) == "not enough memory"


async def test_stop_while_starting(make: Make, tmp_path: Path) -> None:
    (tmp_path / "silent").touch()
    supervisor = make()
    start = asyncio.create_task(supervisor.start())
    await until(lambda: supervisor.pid)
    pid = supervisor.pid
    assert pid is not None
    await supervisor.stop()
    await gone(pid)
    assert "was stopped" in await raises(UnavailableError, start)
