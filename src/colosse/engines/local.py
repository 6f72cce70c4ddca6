"""An engine that we start for an installed model: its supervisor, its endpoint in the pool, and what it is told."""

from __future__ import annotations

import re
import time
from typing import Literal

import aiohttp

from colosse.core.errors import ColosseError, EngineError, UserError
from colosse.core.machine import machine
from colosse.core.process import SLEEPING_THREADS
from colosse.core.settings import Settings
from colosse.engines import llama, vllm
from colosse.engines.endpoint import Breaker, Endpoint, Served
from colosse.engines.gguf import read_gguf
from colosse.engines.llama import Task
from colosse.engines.pool import Pool
from colosse.engines.schema import EndpointStatus, ModelInfo
from colosse.engines.store import InstalledModel
from colosse.engines.supervisor import Command, Policy, State, Supervisor

MAX_LOG_BYTES = 8 << 20
_STATES: dict[State, Literal["ready", "loading", "available", "failed"]] = {
    "stopped": "available",
    "starting": "loading",
    "ready": "ready",
    "failed": "failed",
}


def task_of(capability: str) -> Task:
    """The kind of engine that offers `capability`."""
    return "embed" if capability == "embeddings" else "generate"


class LocalEngine:
    """One engine process for one installed model; its endpoint is in the pool exactly while it is ready."""

    def __init__(
        self,
        model: InstalledModel,
        task: Task,
        settings: Settings,
        http: aiohttp.ClientSession,
        pool: Pool,
        policy: Policy,
    ) -> None:
        self.model = model
        self.task = task
        self.last_used = time.monotonic()
        self.engine = "vllm" if model.entry.format == "safetensors" else "llama.cpp"
        self._settings = settings
        self._pool = pool
        self._endpoint = Endpoint(name=self.key(model.id, task), url="", engine=self.engine, local=True)
        self._log = settings.log_dir / f"{re.sub(r'[^A-Za-z0-9._-]', '_', self._endpoint.name)}.log"
        self._supervisor = Supervisor(
            model.id, self._command, log=self._log, http=http, policy=policy, on_change=self._changed
        )

    @staticmethod
    def key(model: str, task: Task) -> str:
        """Its name in the pool."""
        return model if task == "generate" else f"{model}.{task}"

    @property
    def state(self) -> State:
        """Of its process."""
        return self._supervisor.state

    @property
    def error(self) -> ColosseError | None:
        """Why it failed."""
        return self._supervisor.error

    @property
    def failed_at(self) -> float:
        """When it failed, on the monotonic clock."""
        return self._supervisor.failed_at

    @property
    def busy(self) -> bool:
        """Whether it answers, loads, or is waited for."""
        (capability, *_) = self._capabilities()
        waited_for = self._pool.queued_for(self.model.id, capability) > 0
        return self.state == "starting" or self._endpoint.in_flight > 0 or waited_for

    async def start(self) -> None:
        """Start it and wait until it is ready; ColosseError when it cannot be."""
        await self._supervisor.start()

    async def ready(self) -> None:
        """Wait while it starts; ColosseError when it failed."""
        await self._supervisor.ready()

    async def stop(self) -> None:
        """End its process."""
        await self._supervisor.stop()

    def info(self) -> ModelInfo:
        """The model as somebody who may ask for it sees it."""
        served = self._endpoint.served.get(self.model.id)
        known = {"completions", "embeddings", *self.model.entry.capabilities}
        return ModelInfo(
            id=self.model.id,
            state=_STATES[self.state],
            engine=self.engine,
            max_model_len=served.max_model_len if served else self.model.entry.max_model_len or None,
            capabilities=sorted(known),
            error=self.error.message if self.error else "",
        )

    def status(self) -> EndpointStatus:
        """How it is doing."""
        endpoint = self._endpoint
        return EndpointStatus(
            name=endpoint.name,
            engine=self.engine,
            state=self.state,
            models=[self.model.id],
            in_flight=endpoint.in_flight,
            max_concurrency=endpoint.max_concurrency,
            requests=endpoint.requests,
            errors=endpoint.errors,
            restarts=self._supervisor.restarts,
            pid=self._supervisor.pid,
            error=self.error.message if self.error else endpoint.error,
        )

    def _changed(self) -> None:
        """The supervisor's state changed: keep the pool in step."""
        if self.state == "ready":
            self._endpoint.url, self._endpoint.key = self._supervisor.url, self._supervisor.key
            self._endpoint.breaker = Breaker()
            self._pool.add(self._endpoint)
        else:
            self._pool.remove(self._endpoint.name)

    def _capabilities(self) -> tuple[str, ...]:
        return ("embeddings",) if self.task == "embed" else ("chat", "completions", "tools")

    def _command(self) -> Command:
        """Called in a thread before each start: looks at the file and the machine as they are now."""
        if self._log.exists() and self._log.stat().st_size > MAX_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        if self.engine == "vllm":
            command, length, slots = vllm.command(self.model.path, self.model.id, self._settings.engine, self.task)
        else:
            command, length, slots = self._llama()
        self._endpoint.served = {self.model.id: Served(self.model.id, length, self._capabilities())}
        self._endpoint.max_concurrency = slots
        return command

    def _llama(self) -> tuple[Command, int, int]:
        if not llama.installed():
            hint = "pip install 'colosse[llama]', or configure an endpoint"
            raise EngineError("the llama.cpp engine is not installed", hint=hint, code="engine_not_installed")
        info = read_gguf(self.model.path)
        if self.task == "generate" and not info.num_layers:
            raise UserError(f"{self.model.path} holds no language model", code="corrupt_model")
        options = llama.choose(self.model.path, self.model.id, info, self._settings.engine, machine(), self.task)
        command = Command(llama.argv(), stdin=options.line(), env=SLEEPING_THREADS, key=options.key)
        return command, options.max_model_len, options.slots
