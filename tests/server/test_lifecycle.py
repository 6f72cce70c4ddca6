from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from colosse.core.errors import ConflictError, UserError
from colosse.core.settings import Settings, load_settings
from colosse.server.lifecycle import announced, bind, find_server, server_file, url_of
from tests.fixtures.scripted import Scripted
from tests.server.conftest import FakeClient, running
from tests.server.test_runs import ask, messages, new_thread


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8420"),
        ("localhost", "http://localhost:8420"),
        ("0.0.0.0", "http://127.0.0.1:8420"),
        ("::", "http://[::1]:8420"),
        ("::1", "http://[::1]:8420"),
        ("[::1]", "http://[::1]:8420"),
        ("chat.lan", "http://chat.lan:8420"),
    ],
)
def test_the_address_to_open(host: str, url: str) -> None:
    assert url_of(host, 8420) == url


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"pid": 1}', '{"pid":1,"url":"nonsense","instance":"x","started_at":""}']
)
def test_a_file_that_says_nothing_is_no_server(settings: Settings, text: str) -> None:
    assert find_server(settings) is None
    server_file(settings).parent.mkdir(parents=True)
    server_file(settings).write_text(text)
    assert find_server(settings) is None


def test_the_file_of_a_server_that_died_is_recognised(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with announced(settings.model_copy(update={"port": port}), "abc", "now"):
        assert server_file(settings).is_file()
        assert find_server(settings) is None
    assert not server_file(settings).exists()


async def test_a_running_server_is_found_and_told_from_another(
    settings: Settings, http: httpx2.AsyncClient, app: object
) -> None:
    here = settings.model_copy(update={"port": http.base_url.port})
    with announced(here, app.state.services.instance, "now"):  # type: ignore[attr-defined]
        found = await asyncio.to_thread(find_server, settings)
        assert found is not None
        assert (found.pid, found.url) == (os.getpid(), f"http://127.0.0.1:{here.port}")
        with pytest.raises(ConflictError, match=f"already running at http://127.0.0.1:{here.port}"):
            await asyncio.to_thread(bind, settings)
    with announced(here, "another start", "now"):
        assert await asyncio.to_thread(find_server, settings) is None


def test_a_taken_port_says_by_whom_and_what_to_do(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConflictError, match=rf"port {port} on 127.0.0.1 is taken by .*process {os.getpid()}.*--port"
        ):
            bind(settings.model_copy(update={"port": port}))
    with bind(settings.model_copy(update={"port": port})) as listener:
        assert listener.getsockname()[1] == port


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "not a host"])
def test_an_address_that_is_not_ours(settings: Settings, host: str) -> None:
    with pytest.raises(UserError, match="cannot serve on"):
        bind(settings.model_copy(update={"host": host, "port": 0}))


class Served:
    """`colosse serve` as a process."""

    def __init__(self, settings: Settings, *flags: str) -> None:
        command = [sys.executable, "-m", "colosse.cli.main", "serve", "--no-open", "--port", "0", *flags]
        self.settings = settings
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._reader = threading.Thread(target=lambda: self.said.extend(iter(self.process.stderr.readline, "")))
        self._reader.start()

    def wait_ready(self) -> str:
        """The address, when it answers."""
        deadline = time.monotonic() + 60
        while not any("Colosse is at" in line for line in self.said):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)
        found = find_server(self.settings)
        assert found is not None
        return found.url

    def ended(self) -> tuple[int, str]:
        """Exit code and what it said."""
        code = self.process.wait(60)
        self._reader.join()
        self.process.stderr.close()
        return code, "".join(self.said)


@pytest.fixture
def served(scripted_settings: Settings) -> Iterator[Served]:
    server = Served(scripted_settings)
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.ended()


async def test_ctrl_c_saves_what_runs_and_ends_at_once(scripted: Scripted, served: Served) -> None:
    scripted.reply, scripted.tokens_per_second = "mot " * 1000, 20
    url = await asyncio.to_thread(served.wait_ready)
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        thread = await new_thread(http)
        started = await ask(http, thread)
        async with http.stream("GET", f"/api/runs/{started['run']['id']}/events") as response:
            said = ""
            async for text in response.aiter_text():
                said += text
                if said.count("mot") > 3 and "event: done" not in said and served.process.poll() is None:
                    served.process.send_signal(signal.SIGINT)
        assert '"status":"interrupted"' in said
    code, _ = await asyncio.to_thread(served.ended)
    assert code == 0
    assert not server_file(served.settings).exists()
    await scripted.await_for(lambda: scripted.running == 0)  # the engine was told to stop as well
    rows = (
        sqlite3.connect(served.settings.home / "colosse.db").execute("SELECT content, status FROM messages").fetchall()
    )
    assert rows[1][0].startswith("mot mot mot")
    assert rows[1][1] == "interrupted"


async def test_a_second_server_is_refused(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await asyncio.to_thread(served.wait_ready)
    code, said = await asyncio.to_thread(Served(served.settings).ended)
    assert (code, f"already running at {url}" in said) == (2, True)
    monkeypatch.setenv("COLOSSE_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("COLOSSE_DATABASE", f"sqlite:///{served.settings.home / 'colosse.db'}")
    code, said = await asyncio.to_thread(Served(load_settings().value).ended)
    assert (code, "another server is using the database" in said, url in said) == (2, True, True)
    assert said.count("\n") == 1, "one line, no traceback"


async def test_a_public_address_is_refused_until_a_key_exists(scripted_settings: Settings) -> None:
    code, said = await asyncio.to_thread(Served(scripted_settings, "--host", "0.0.0.0").ended)
    assert (code, "colosse keys create" in said) == (2, True)
    made = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "colosse.cli.main", "keys", "create", "--json"], capture_output=True
    )
    key = json.loads(made.stdout)["key"]
    server = Served(scripted_settings, "--host", "0.0.0.0")
    url = await asyncio.to_thread(server.wait_ready)
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.get("/v1/models")).status_code == 401
        assert (await http.get("/v1/models", headers={"authorization": f"Bearer {key}"})).status_code == 200
    server.process.send_signal(signal.SIGTERM)
    assert (await asyncio.to_thread(server.ended))[0] == 0


async def test_what_a_killed_server_left_running_is_interrupted_at_the_next_start(
    settings: Settings, client: FakeClient
) -> None:
    from colosse.server.app import create_app
    from colosse.store import open_store

    client.answer = client.until_told
    async with running(create_app(settings, client)) as http:
        thread = await new_thread(http)
        started = await ask(http, thread)
        client.go.set()
        await http.get(f"/api/runs/{started['run']['id']}/events")
    async with open_store(settings.database_url) as store, store.write() as session:  # as kill -9 leaves it
        from sqlalchemy import text

        await session.execute(text("UPDATE runs SET status = 'running'"))
        await session.execute(text("UPDATE messages SET status = 'running' WHERE role = 'assistant'"))
    async with running(create_app(settings, client)) as http:
        row = (await messages(http, thread))[started["message"]["id"]]
        assert (row["status"], row["content"]) == ("interrupted", "one two ")
