"""Kill -9 in the middle of answers, again and again, to see what is lost and what is left behind.

Each round asks several questions at once, kills the engine or the server somewhere in the answers, starts it again and
looks: every acknowledged question must be in its thread, every answer must be what the reader saw of it, or the
beginning of that, or go on from there, none may be left `running`, no process may be left behind.

    python -m benchmarks.kill                     # 100 rounds with a scripted engine
    python -m benchmarks.kill --gguf model.gguf   # with a real one, as the server's child
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

WORDS = 120
REPLY = " ".join(f"word{index}" for index in range(WORDS))
"""What the scripted engine answers."""
PATIENCE_S = 60.0


@dataclass
class Tally:
    """What the rounds found; all but the first four must stay 0."""

    rounds: int = 0
    server_kills: int = 0
    engine_kills: int = 0
    questions: int = 0
    lost_questions: int = 0
    wrong_answers: int = 0
    left_running: int = 0
    unreadable_threads: int = 0
    orphans: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How many things went wrong."""
        return self.lost_questions + self.wrong_answers + self.left_running + self.unreadable_threads + self.orphans


@dataclass
class Asked:
    """A question that the server acknowledged, and what a reader saw of its answer."""

    thread: str
    run: str
    question_id: str
    answer_id: str
    text: str
    seen: str = ""


class Rig:
    """The server and its engine as processes, and a client."""

    def __init__(self, home: Path, *, gguf: Path | None = None, tokens_per_second: float = 60.0) -> None:
        self.home, self.gguf, self.rate = home, gguf, tokens_per_second
        self.engine_port = _free_port()
        self.env = {**os.environ, "COLOSSE_HOME": str(home), "COLOSSE_PORT": str(_free_port())}
        if gguf is None:
            url = f"http://127.0.0.1:{self.engine_port}/v1"
            self.env |= {"COLOSSE_MODEL": "scripted", "COLOSSE_ENDPOINTS": f'[{{name = "scripted", url = "{url}"}}]'}
        else:
            (home / "models").mkdir(parents=True, exist_ok=True)
            (home / "models" / "real.gguf").symlink_to(gguf.resolve())
            self.env["COLOSSE_MODEL"] = "real"
        base = f"http://127.0.0.1:{self.env['COLOSSE_PORT']}"
        self.http = httpx2.AsyncClient(base_url=base, timeout=PATIENCE_S, trust_env=False)
        self.server: subprocess.Popen[bytes] | None = None
        self.engine: subprocess.Popen[bytes] | None = None
        self.log = home.parent / f"{home.name}.log"

    async def __aenter__(self) -> Rig:
        await self.start_engine()
        await self.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()
        for child in (self.server, self.engine):
            if child is not None and child.poll() is None:
                child.terminate()
                try:
                    await asyncio.to_thread(child.wait, 15)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()

    async def start_engine(self) -> None:
        """Start the scripted engine, unless the server starts a real one."""
        if self.gguf is not None:
            return
        command = [sys.executable, "-m", "tests.fixtures.scripted", "--port", str(self.engine_port)]
        command += ["--tokens-per-second", str(self.rate), "--tokens", str(WORDS)]
        self.engine = self._spawn(command)
        async with httpx2.AsyncClient(trust_env=False) as http:
            await self._until(http, f"http://127.0.0.1:{self.engine_port}/v1/models", self.engine)

    async def start_server(self) -> None:
        """Start the server and wait until it answers."""
        self.server = self._spawn([sys.executable, "-m", "colosse.cli.main", "serve", "--no-open"])
        await self._until(self.http, "/health", self.server)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(command, env=self.env, stdout=log, stderr=log)

    async def _until(self, http: httpx2.AsyncClient, url: str, child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx2.TransportError):
                if (await http.get(url)).status_code == 200:
                    return
            if child.poll() is not None:
                break
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{url} does not answer:\n{self.log.read_text()[-3000:]}")

    async def until_ready(self) -> None:
        """Wait until the model answers again: a circuit breaker, or a real engine that loads, takes a moment."""
        deadline = time.monotonic() + PATIENCE_S
        while (await self.http.get("/health")).json()["state"] != "ready":
            if time.monotonic() > deadline:
                raise RuntimeError(f"the model does not come back:\n{self.log.read_text()[-3000:]}")
            await asyncio.sleep(0.05)

    def children(self) -> list[psutil.Process]:
        """Every process that the server has started."""
        assert self.server is not None
        return psutil.Process(self.server.pid).children(recursive=True)

    async def ask(self, text: str) -> Asked:
        """Ask in a new thread."""
        thread = (await self.http.post("/api/threads", json={})).raise_for_status().json()["id"]
        body: dict[str, Any] = {"content": text, "params": {"temperature": 0, "max_tokens": 200}}
        started = (await self.http.post(f"/api/threads/{thread}/runs", json=body)).raise_for_status().json()
        return Asked(thread, started["run"]["id"], started["user_message"]["id"], started["message"]["id"], text)

    async def read(self, asked: Asked) -> None:
        """Follow an answer until it ends or the server is gone."""
        with contextlib.suppress(httpx2.TransportError):
            async with self.http.stream("GET", f"/api/runs/{asked.run}/events") as response:
                name = ""
                async for line in response.aiter_lines():
                    if line.startswith("event: "):
                        name = line[7:]
                    elif line.startswith("data: "):
                        data = json.loads(line[6:])
                        if name == "snapshot":
                            asked.seen = data["content"]
                        elif name == "delta":
                            asked.seen += data.get("content", "")


async def one_round(rig: Rig, tally: Tally, victim: str, chance: random.Random, questions: int = 3) -> None:
    """Ask, kill, start again, look."""
    await rig.until_ready()
    asked = await asyncio.gather(*(rig.ask(f"round {tally.rounds} question {n}") for n in range(questions)))
    tally.questions += len(asked)
    readers = [asyncio.create_task(rig.read(each)) for each in asked]
    await asyncio.sleep(chance.uniform(0.0, 1.5))
    assert rig.server is not None
    children = rig.children()
    if victim == "server":
        tally.server_kills += 1
        rig.server.kill()
        rig.server.wait()
        await asyncio.gather(*readers)
        await asyncio.to_thread(psutil.wait_procs, children, 10)
        left = [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        tally.orphans += len(left)
        tally.details += [f"orphan {child}" for child in left]
        await rig.start_server()
    elif rig.engine is not None:
        tally.engine_kills += 1
        rig.engine.kill()
        rig.engine.wait()
        await asyncio.gather(*readers)
        await rig.start_engine()
    else:
        tally.engine_kills += 1
        for child in children:
            child.kill()
        await asyncio.gather(*readers)
    for each in asked:
        await look(rig, tally, each)
    tally.rounds += 1


async def look(rig: Rig, tally: Tally, asked: Asked) -> None:
    """Compare what is kept with what was acknowledged and seen."""
    response = await rig.http.get(f"/api/threads/{asked.thread}")
    if response.status_code != 200:
        tally.unreadable_threads += 1
        tally.details.append(response.text)
        return
    rows = {row["id"]: row for row in response.json()["messages"]}
    if rows.get(asked.question_id, {}).get("content") != asked.text or asked.answer_id not in rows:
        tally.lost_questions += 1
        tally.details.append(f"question lost: {asked}")
        return
    answer = rows[asked.answer_id]
    kept, status = answer["content"], answer["status"]
    tally.statuses[status] = tally.statuses.get(status, 0) + 1
    if status == "running":
        tally.left_running += 1
    fits = kept.startswith(asked.seen) or asked.seen.startswith(kept)
    if rig.gguf is None:
        fits = fits and REPLY.startswith(kept.strip()) and (status != "complete" or kept.strip() == REPLY)
    if not fits or (status == "failed" and kept):
        tally.wrong_answers += 1
        tally.details.append(f"{status}: kept {kept[-80:]!r}, seen {asked.seen[-80:]!r}")


async def run(rounds: int, home: Path, *, gguf: Path | None = None, seed: int = 0) -> Tally:
    """Kill the server and the engine in turn, `rounds` times, and say what was found."""
    tally, chance = Tally(), random.Random(seed)
    async with Rig(home, gguf=gguf) as rig:
        for index in range(rounds):
            await one_round(rig, tally, ("server", "engine")[index % 2], chance)
            if sys.stderr.isatty():
                print(f"\r{index + 1}/{rounds}  faults: {tally.faults}", end="", file=sys.stderr, flush=True)
    return tally


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def main() -> None:
    """Run, print, and fail when anything was lost."""
    parser = argparse.ArgumentParser(description="kill -9 in the middle of answers")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--gguf", type=Path, help="a real model instead of the scripted engine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = asyncio.run(run(options.rounds, Path(folder) / "home", gguf=options.gguf, seed=options.seed))
    rows = asdict(tally)
    for name, value in rows.items():
        print(f"{name:>20}  {value}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    raise SystemExit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
