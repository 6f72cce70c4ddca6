"""Many streams at once: whether every token arrives, in order, how late, and whether memory stays flat.

A scripted engine (its own process, raw sockets) answers every request with numbered tokens, each stamped with the
moment it was sent on the clock that all processes share. `colosse serve` stands between it and this process, which
reads all streams and compares. Three ways are measured: straight from the engine (what the harness itself adds),
through `/v1/chat/completions`, and through the app's API (runs, stored in the database while they go).

    python benchmarks/streams.py                       # 500 streams x 20 tokens/s for 30 s each way
    python benchmarks/streams.py --streams 50 --seconds 5 --json out.json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

MODEL = "stamped"
SLOTS = 10
"""Streams are spread over this many moments within the time between two tokens."""


# -- the engine --------------------------------------------------------------------------------------------------------


class Engine(asyncio.Protocol):
    """One connection to the scripted engine: enough HTTP for one kind of client."""

    streams: list[Engine] = []
    rate = 20.0
    tokens = 600

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer, self.sent = transport, b"", 0

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        with contextlib.suppress(ValueError):
            Engine.streams.remove(self)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if not found or len(body) < length:
            return
        self.buffer = b""
        if head.startswith(b"POST"):
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            self.sent = 0
            Engine.streams.append(self)
            return
        answer = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
        self.transport.write(head + answer)

    def send(self) -> bool:
        """Send the next token; False when that was the last."""
        if self.sent < self.tokens:
            delta = {"content": f"{self.sent}:{time.monotonic_ns()} "}
            self._write(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
            self.sent += 1
            return True
        self._write(choices=[], usage={"prompt_tokens": 1, "completion_tokens": self.sent, "total_tokens": self.sent})
        self.transport.write(b"e\r\ndata: [DONE]\n\n\r\n")
        self.transport.write(b"0\r\n\r\n")
        return False

    def _write(self, **more: object) -> None:
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": MODEL, **more}
        data = b"data: " + json.dumps(chunk).encode() + b"\n\n"
        self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))

    @classmethod
    async def pace(cls) -> None:
        """Every stream gets a token every 1/rate s, at its own moment."""
        slot, due = 0, time.monotonic()
        while True:
            for stream in cls.streams[slot::SLOTS]:
                if not stream.send():
                    cls.streams.remove(stream)
            slot, due = (slot + 1) % SLOTS, due + 1 / cls.rate / SLOTS
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def serve_engine(port: int, rate: float, tokens: int) -> None:
    """Be the engine until killed."""
    Engine.rate, Engine.tokens = rate, tokens
    await asyncio.get_running_loop().create_server(Engine, "127.0.0.1", port, backlog=2048)
    await Engine.pace()


# -- the readers -------------------------------------------------------------------------------------------------------


@dataclass
class Reading:
    """What one stream brought."""

    text: str = ""
    next_token: int = 0
    lost: int = 0
    late_ms: list[float] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0
    status: str = ""

    def add(self, text: str) -> None:
        """Text as it arrives: whole tokens are checked and timed."""
        now = time.monotonic_ns()
        *whole, self.text = (self.text + text).split(" ")
        for token in whole:
            index, _, stamp = token.partition(":")
            if int(index) != self.next_token:
                self.lost += 1
            self.next_token = int(index) + 1
            self.late_ms.append((now - int(stamp)) / 1e6)
            self.last = now / 1e9
            self.first = self.first or self.last


class Reader(asyncio.Protocol):
    """Sends one request and takes its streamed answer apart."""

    def __init__(self, request: bytes, on_event: Callable[[str, str], None]) -> None:
        self.request, self.on_event = request, on_event
        self.buffer, self.body, self.head = b"", b"", b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self.buffer += data
        if not self.head:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self.head, self.buffer = head, rest
            if b" 200 " not in head.split(b"\r\n")[0]:
                self._end(RuntimeError(f"{head!r} {rest!r}"))
                return
        ended = False
        while not ended:
            size, found, rest = self.buffer.partition(b"\r\n")
            if not found or len(rest) < (length := int(size, 16)) + 2:
                break
            self.buffer = rest[length + 2 :]
            self.body += rest[:length]
            ended = not length
        *events, self.body = self.body.split(b"\n\n")
        for event in events:
            name, text = "", ""
            for line in event.decode().split("\n"):
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    text = line[6:]
            if text:
                self.on_event(name, text)
        if ended:
            self._end()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"cut short: {error}"))

    def _end(self, error: Exception | None = None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
        self.transport.close()


async def exchange(port: int, method: str, path: str, on_event: Callable[[str, str], None], body: Any = None) -> None:
    """One streamed request to the end of its answer."""
    data = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(data)}\r\n"
    head += "Content-Type: application/json\r\n\r\n" if data else "\r\n"
    loop = asyncio.get_running_loop()
    _, reader = await loop.create_connection(lambda: Reader(head.encode() + data, on_event), "127.0.0.1", port)
    await reader.done


async def read_chat(port: int, reading: Reading) -> None:
    """A stream of `/v1/chat/completions`."""

    def on_event(_: str, text: str) -> None:
        if text == "[DONE]":
            reading.status = "complete"
            return
        for choice in json.loads(text)["choices"]:
            reading.add(choice["delta"].get("content") or "")

    body = {"model": MODEL, "messages": [{"role": "user", "content": "go"}], "stream": True}
    await exchange(port, "POST", "/v1/chat/completions", on_event, body)


async def read_run(port: int, reading: Reading, http: Any, gate: asyncio.Semaphore, thread: str) -> None:
    """A stream of the app's API: a run, its events."""
    async with gate:
        url = f"/api/threads/{thread}/runs"
        started = (await http.post(url, json={"content": "go"})).raise_for_status().json()

    def on_event(name: str, text: str) -> None:
        data = json.loads(text)
        if name == "done":
            reading.status = data["message"]["status"]
            if reading.late_ms and data["message"]["content"].count(":") != len(reading.late_ms):
                reading.lost += 1
        else:
            reading.add(data.get("content", ""))

    await exchange(port, "GET", f"/api/runs/{started['run']['id']}/events", on_event)


# -- the measurement ---------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """One way, measured. Times in milliseconds from the engine's send to our receipt; memory in MB.

    Attributes:
        at_once: streams that were going at the same moment, at most.
        tokens_per_second: over the whole time, the start of the streams included.
        server_cpu: seconds of processor per second.
    """

    way: str
    streams: int
    at_once: int
    tokens: int
    lost: int
    incomplete: int
    tokens_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    server_cpu: float
    rss_start_mb: float
    rss_middle_mb: float
    rss_end_mb: float


async def measure(way: str, ports: dict[str, int], server: psutil.Process, options: argparse.Namespace) -> Result:
    """Read all streams of one way to their end."""
    import httpx2

    readings = [Reading() for _ in range(options.streams)]
    memory: list[float] = []

    async def watch() -> None:
        while True:
            memory.append(server.memory_info().rss / 1e6)
            await asyncio.sleep(0.5)

    gate = asyncio.Semaphore(32)
    port = ports["engine" if way == "direct" else "server"]
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as http:
        threads = []
        if way == "runs":
            threads = [(await http.post("/api/threads", json={})).json()["id"] for _ in readings]
        watcher = asyncio.create_task(watch())
        cpu, start = sum(server.cpu_times()[:2]), time.monotonic()
        if way == "runs":
            jobs = [read_run(port, r, http, gate, thread) for r, thread in zip(readings, threads, strict=True)]
        else:
            jobs = [read_chat(port, r) for r in readings]
        for error in await asyncio.gather(*jobs, return_exceptions=True):
            if error is not None:
                print(f"{way}: {error!r}"[:300], file=sys.stderr)
        seconds, cpu = time.monotonic() - start, sum(server.cpu_times()[:2]) - cpu
        watcher.cancel()
    late = sorted(value for reading in readings for value in reading.late_ms) or [float("nan")]
    expected = int(options.rate * options.seconds)
    return Result(
        way=way,
        streams=options.streams,
        at_once=max(sum(r.first <= reading.first <= r.last for r in readings) for reading in readings),
        tokens=len(late),
        lost=sum(reading.lost + expected - len(reading.late_ms) for reading in readings),
        incomplete=sum(reading.status != "complete" for reading in readings),
        tokens_per_second=len(late) / seconds,
        p50_ms=late[len(late) // 2],
        p95_ms=late[int(len(late) * 0.95)],
        p99_ms=late[int(len(late) * 0.99)],
        max_ms=late[-1],
        server_cpu=cpu / seconds,
        rss_start_mb=memory[0],
        rss_middle_mb=memory[len(memory) // 2],
        rss_end_mb=memory[-1],
    )


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def process(command: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child that ends with the block."""
    with log.open("wb") as out:
        child = subprocess.Popen(command, env={**os.environ, **env}, stdout=out, stderr=out)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_for(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    """Return when somebody listens."""
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if child.poll() is not None:
            raise SystemExit(f"did not start:\n{log.read_text()}")
        time.sleep(0.05)
    raise SystemExit(f"nobody listens on {port}:\n{log.read_text()}")


def main() -> None:
    """Start everything, measure, print, write."""
    parser = argparse.ArgumentParser(description="many streams at once")
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rate", type=float, default=20.0, help="tokens per second and stream")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--ways", nargs="+", default=["direct", "chat", "runs"], choices=["direct", "chat", "runs"])
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--engine", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        asyncio.run(serve_engine(options.engine, options.rate, int(options.rate * options.seconds)))
        return
    ports = {"engine": free_port(), "server": free_port()}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        engine_command = [sys.executable, __file__, "--engine", str(ports["engine"]), "--rate", str(options.rate)]
        engine_command += ["--seconds", str(options.seconds)]
        endpoint = f'{{name = "stamped", url = "http://127.0.0.1:{ports["engine"]}/v1", max_concurrency = 4096}}'
        env = {
            "COLOSSE_HOME": str(home),
            "COLOSSE_PORT": str(ports["server"]),
            "COLOSSE_MODEL": MODEL,
            "COLOSSE_ENDPOINTS": f"[{endpoint}]",
            "COLOSSE_LOG__LEVEL": "warning",
        }
        server_command = [sys.executable, "-m", "colosse.cli.main", "serve", "--no-open"]
        with process(engine_command, {}, home / "engine.log") as engine:
            wait_for(ports["engine"], engine, home / "engine.log")
            with process(server_command, env, home / "server.log") as child:
                wait_for(ports["server"], child, home / "server.log")
                time.sleep(2)
                watched = psutil.Process(child.pid)
                results = [asyncio.run(measure(way, ports, watched, options)) for way in options.ways]
                said = (home / "server.log").read_text()
    for line in said.splitlines()[1:10]:
        print("server:", line[:300], file=sys.stderr)
    rows = [{k: round(v, 1) if isinstance(v, float) else v for k, v in asdict(r).items()} for r in results]
    print("  ".join(f"{name:>{max(9, len(name))}}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{value!s:>{max(9, len(name))}}" for name, value in row.items()))
    if options.json:
        machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
        options.json.write_text(json.dumps({"machine": machine, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
