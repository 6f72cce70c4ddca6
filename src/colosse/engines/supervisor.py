"""Keeps one engine process running: starts it, waits until it answers, watches its health, restarts it, ends it.

stopped ── start ──► starting ── healthy ──► ready ── died or hangs ──► starting (after a growing pause) ...
                        └── cannot load, or died too often ──► failed, with the reason
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp

from colosse.core.errors import ColosseError, EngineError, UnavailableError
from colosse.core.process import spawn, terminate

State = Literal["stopped", "starting", "ready", "failed"]


@dataclass(frozen=True)
class Command:
    """How to start an engine, made anew for every start.

    Attributes:
        argv: the program.
        stdin: what it reads first; the pipe stays open as its sign that we live.
        env: variables added to ours.
        url: its base address with `/v1`; empty: its first line of output is JSON that says `url`.
        key: what its requests must carry.
    """

    argv: list[str]
    stdin: bytes = b""
    env: dict[str, str] = field(default_factory=dict)
    url: str = ""
    key: str = ""


@dataclass(frozen=True)
class Policy:
    """When to restart and when to give up."""

    start_timeout_s: float = 180.0
    pause_s: float = 0.5
    max_pause_s: float = 30.0
    max_deaths: int = 5
    window_s: float = 300.0
    health_every_s: float = 5.0
    health_timeout_s: float = 10.0
    max_missed: int = 3
    stop_grace_s: float = 5.0


class Supervisor:
    """One engine process.

    Args:
        name: for messages.
        command: makes the command of each start; blocking work is allowed, it runs in a thread.
        log: file that its errors are appended to.
        http: client for health checks.
        policy: times and counts.
        on_change: called in the event loop after each change of `state`.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], Command],
        *,
        log: Path,
        http: aiohttp.ClientSession,
        policy: Policy | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.policy = policy or Policy()
        self.state: State = "stopped"
        self.error: ColosseError | None = None
        self.url = ""
        self.key = ""
        self.restarts = 0
        self.load_s = 0.0
        self.failed_at = 0.0
        self._command = command
        self._log = log
        self._http = http
        self._on_change = on_change
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._log_offset = 0

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start unless started, and wait until it is ready.

        Raises:
            ColosseError: it failed; what it said last.
        """
        if self._task is None or self._task.done():
            await self._become("starting")
            self._task = asyncio.create_task(self._run(), name=f"supervisor {self.name}")
        await self.ready()

    async def ready(self) -> None:
        """Wait while it starts or restarts.

        Raises:
            ColosseError: it failed or was stopped.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self.state != "starting")
        if self.state != "ready":
            stopped = UnavailableError(f"the engine of {self.name} was stopped", hint="ask again")
            raise (self.error or stopped).with_traceback(None)  # the same error may be raised many times

    async def stop(self) -> None:
        """End the process and everything it started. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self.state != "failed":
            await self._become("stopped")

    async def _become(self, state: State, error: ColosseError | None = None) -> None:
        async with self._changed:
            self.state, self.error = state, error
            if state == "failed":
                self.failed_at = time.monotonic()
            self._changed.notify_all()
        self._on_change()

    async def _run(self) -> None:
        deaths: list[float] = []
        while True:
            try:
                reason = await self._live()
            finally:
                await self._end()
            if self.state != "ready" and not deaths:  # it never worked: trying again would only repeat it
                await self._become("failed", reason)
                return
            now = time.monotonic()
            deaths = [death for death in deaths if now - death < self.policy.window_s] + [now]
            if len(deaths) >= self.policy.max_deaths:
                text = f"the engine of {self.name} died {len(deaths)} times in a row: {reason.message}"
                await self._become("failed", EngineError(text, hint=f"its log is {self._log}"))
                return
            self.restarts += 1
            await self._become("starting")
            await asyncio.sleep(min(self.policy.max_pause_s, self.policy.pause_s * 2 ** (len(deaths) - 1)))

    async def _live(self) -> ColosseError:
        """One life of the process, from its start to its death; returns what ended it."""
        try:
            await self._start_once()
            await self._become("ready")
            await self._watch()
            return EngineError(self._reason())
        except ColosseError as error:
            return error
        except OSError as error:
            hint = "see `colosse doctor`"
            return EngineError(f"cannot start the engine of {self.name}: {error}", hint=hint)

    async def _start_once(self) -> None:
        """Start the process and wait until it answers; EngineError when it does not."""
        began = time.monotonic()
        command = await asyncio.to_thread(self._command)
        self._log_offset = self._log.stat().st_size if self._log.exists() else 0
        self._process = await spawn(command.argv, log=self._log, env=command.env, stdin=command.stdin)
        try:
            async with asyncio.timeout(self.policy.start_timeout_s):
                self.url = command.url or await self._announced(self._process)
                self.key = command.key
                while not await self._healthy():
                    if self._process.returncode is not None:
                        raise self._cannot_start()
                    await asyncio.sleep(0.1)
        except TimeoutError:
            seconds = f"{self.policy.start_timeout_s:g}"
            text = f"the engine of {self.name} was not ready after {seconds} s"
            raise EngineError(text, hint="raise engine.start_timeout_s, or take a smaller model") from None
        self.load_s = time.monotonic() - began

    async def _announced(self, process: asyncio.subprocess.Process) -> str:
        """The address in the process's first line of output."""
        assert process.stdout is not None  # noqa: S101 - spawn makes the pipe
        while line := await process.stdout.readline():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return str(json.loads(line)["url"])
        await process.wait()
        raise self._cannot_start()

    def _cannot_start(self) -> EngineError:
        return EngineError(f"the engine cannot load {self.name}: {self._reason()}", hint=f"its log is {self._log}")

    async def _watch(self) -> None:
        """Until the process dies, or is ended here because it no longer answers."""
        assert self._process is not None  # noqa: S101 - it was started
        dead = asyncio.ensure_future(self._drain(self._process))
        missed = 0
        try:
            while missed < self.policy.max_missed:
                done, _ = await asyncio.wait({dead}, timeout=self.policy.health_every_s)
                if done:
                    return
                missed = 0 if await self._healthy() else missed + 1
            raise EngineError(f"the engine of {self.name} no longer answers")
        finally:
            dead.cancel()

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - spawn makes the pipe
        while await process.stdout.read(65536):
            pass
        await process.wait()

    async def _healthy(self) -> bool:
        address = self.url.removesuffix("/v1") + "/health"
        timeout = aiohttp.ClientTimeout(total=self.policy.health_timeout_s)
        try:
            async with self._http.get(address, timeout=timeout) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def _end(self) -> None:
        if self._process is not None:
            await asyncio.shield(terminate(self._process, self.policy.stop_grace_s))
            self._process = None

    def _reason(self) -> str:
        """Why the process ended: the signal that killed it, and what it said."""
        status = self._process.returncode if self._process is not None else None
        said = self._said()
        if status is not None and status < 0:
            name = signal.Signals(-status).name
            return f"killed by {name}" if name in ("SIGKILL", "SIGTERM") or not said else f"killed by {name}: {said}"
        return said or f"exit status {status}"

    def _said(self) -> str:
        """The line of this start's log that tells most: the first error while it loads, the last one later."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(self._log_offset, self._log.stat().st_size - 65536))
                lines = [_strip(line) for line in file.read().decode("utf-8", "replace").splitlines()]
        except OSError:
            return ""
        lines = [line for line in lines if line]
        telling = [line for line in lines if re.search(r"error|fail|invalid|unable|cannot|assert|memory", line, re.I)]
        if self.state == "starting" and telling:
            return telling[0][:300]
        return (telling or lines or [""])[-1][:300]


def _strip(line: str) -> str:
    """A log line without llama.cpp's clock, level and column padding."""
    line = re.sub(r"^[\d.]+ [A-Z] ", "", line.strip())
    return " ".join(line.split())
