"""The one object that the rest of the program asks for answers: local engines on demand, remote ones, the pool."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from colosse.core.errors import ColosseError, NotFoundError, UnavailableError, UserError, nearest
from colosse.core.settings import Settings
from colosse.engines.client import chat_body, deltas
from colosse.engines.endpoint import CAPABILITY_OF, new_session
from colosse.engines.fit import AUTO, resolve_auto
from colosse.engines.local import LocalEngine, task_of
from colosse.engines.pool import Outcome, Pool
from colosse.engines.remote import Remote
from colosse.engines.schema import ChatRequest, Delta, EndpointStatus, ModelInfo
from colosse.engines.store import InstalledModel, ModelStore
from colosse.engines.supervisor import Policy

FAILED_FOR_S = 30.0
"""How long a model that failed to load is not tried again."""
FIRST_PROBE_S = 2.0


class Engines:
    """Everything that can answer. An async context manager; it satisfies `engines.client.Client`.

    Args:
        settings: models, engines and endpoints to use.
        observe: called once per request when it ended, for metrics.
        policy: when engines are restarted.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        observe: Callable[[Outcome], None] = lambda _: None,
        policy: Policy | None = None,
    ) -> None:
        self.settings = settings
        self.store = ModelStore(settings)
        self._policy = policy or Policy(start_timeout_s=settings.engine.start_timeout_s)
        self._observe = observe
        self._locals: dict[str, LocalEngine] = {}
        self._remotes: list[Remote] = []
        self._loading = asyncio.Lock()
        self._http: aiohttp.ClientSession | None = None
        self._pool: Pool | None = None
        self._idle = asyncio.Event()
        self._auto: tuple[set[str], str] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _open(self) -> Pool:
        """The pool; made, with its connections and watchers, on first use."""
        if self._closed:
            raise UnavailableError("the program is closing")
        if self._pool is None:
            self._http = new_session()
            self._pool = Pool(self._http, ensure=self._ensure, observe=self._ended)
            self._remotes = [Remote(e, self._http, self._pool) for e in self.settings.endpoints]
            probes = [remote.start() for remote in self._remotes]
            if probes:
                await asyncio.wait(probes, timeout=FIRST_PROBE_S)
        return self._pool

    async def aclose(self) -> None:
        """End every engine that was started and close the connections. Idempotent; there is no way back."""
        self._closed = True
        for remote in self._remotes:
            await remote.stop()
        await asyncio.gather(*(engine.stop() for engine in self._locals.values()))
        self._locals.clear()
        self._remotes.clear()
        if self._pool is not None and self._http is not None:
            self._pool.close()
            await self._http.close()
        self._http = self._pool = None

    # -- what there is ------------------------------------------------------------------------------------------------

    @property
    def default_model(self) -> str:
        """The model that an empty name means.

        Raises:
            NotFoundError: nothing is installed and no endpoint offers anything.
        """
        if self.settings.model != AUTO:
            return self.settings.model
        installed = {model.id for model in self.store.installed() if not model.problem}
        if self._auto is None or self._auto[0] != installed:  # kept: it looks at the machine, which takes a while
            self._auto = (installed, resolve_auto(self.settings, self.store))
        if self._auto[1] in installed:
            return self._auto[1]
        offered = [name for remote in self._remotes for name in remote.endpoint.served]
        if name := next(iter([*offered, *sorted(installed)]), ""):
            return name
        hint = f"colosse models pull {self._auto[1]}"
        raise NotFoundError("no model is installed and no endpoint is configured", hint=hint, code="model_not_found")

    def models(self) -> list[ModelInfo]:
        """Installed and remote models, the default first."""
        found: dict[str, ModelInfo] = {}
        for remote in self._remotes:
            for info in remote.models():
                if info.id not in found or found[info.id].state == "failed":
                    found[info.id] = info
        for model in self.store.installed():
            if model.id not in found or found[model.id].state == "failed":
                found[model.id] = self._info(model)
        default = ""
        with contextlib.suppress(NotFoundError):
            default = self.default_model
        return sorted(found.values(), key=lambda m: (m.id != default, m.id))

    def _info(self, model: InstalledModel) -> ModelInfo:
        engine = self._locals.get(LocalEngine.key(model.id, "generate"))
        if engine is not None:
            return engine.info()
        return ModelInfo(
            id=model.id,
            state="failed" if model.problem else "available",
            engine="vllm" if model.entry.format == "safetensors" else "llama.cpp",
            max_model_len=model.entry.max_model_len or None,
            capabilities=sorted({"completions", "embeddings", *model.entry.capabilities}),
            error=model.problem,
        )

    def status(self) -> list[EndpointStatus]:
        """How each endpoint is doing, for metrics and `colosse doctor`."""
        rows = [engine.status() for engine in self._locals.values()]
        rows += [remote.status() for remote in self._remotes]
        return rows

    @property
    def queued(self) -> int:
        """Requests that wait for a free endpoint."""
        return self._pool.queued if self._pool is not None else 0

    # -- answers ------------------------------------------------------------------------------------------------------

    async def ensure(self, model: str = "") -> ModelInfo:
        """Make a model ready, starting its engine if it is installed and not running.

        Raises:
            NotFoundError: unknown; names the nearest.
            ColosseError: it cannot be loaded.
        """
        pool = await self._open()
        name = model or self.default_model
        await self._ensure(name, "chat")
        remote = next((e for e in pool.serving(name, "chat") if not e.local), None)
        engine = self._locals.get(LocalEngine.key(name, "generate"))
        if engine is not None:
            return engine.info()
        infos = [info for r in self._remotes if r.endpoint is remote for info in r.models() if info.id == name]
        return infos[0] if infos else ModelInfo(id=name, state="ready", engine="")

    async def request(self, path: str, body: Mapping[str, Any], *, affinity: str = "") -> dict[str, Any]:
        """One JSON answer of `path` (`/chat/completions`, `/completions`, `/embeddings`).

        Raises:
            ColosseError: see `docs/architecture.md`, Engines.
        """
        pool = await self._open()
        return await pool.request(_known(path), self._named(body), affinity=affinity)

    async def stream(self, path: str, body: Mapping[str, Any], *, affinity: str = "") -> AsyncGenerator[bytes, None]:
        """Payload of each `data:` line of a streamed answer. Closing the iterator cancels the generation.

        Raises:
            ColosseError: see `docs/architecture.md`, Engines.
        """
        pool = await self._open()
        async with contextlib.aclosing(pool.stream(_known(path), self._named(body), affinity=affinity)) as payloads:
            async for payload in payloads:
                yield payload

    def chat(self, request: ChatRequest, *, affinity: str = "") -> AsyncGenerator[Delta, None]:
        """A chat answer as typed steps, always streamed."""
        return deltas(self.stream("/chat/completions", chat_body(request), affinity=affinity))

    def _named(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {**body, "model": body.get("model") or self.default_model}

    # -- loading ------------------------------------------------------------------------------------------------------

    async def _ensure(self, name: str, capability: str) -> None:
        """Return when an endpoint for `name` is in the pool; start the local engine where there is no healthy other."""
        pool = await self._open()
        if any(e.breaker.state == "closed" for e in pool.serving(name, capability)):
            if engine := self._locals.get(LocalEngine.key(name, task_of(capability))):
                engine.last_used = time.monotonic()
            return
        installed = {model.id: model for model in self.store.installed()}
        if name not in installed:
            if not pool.serving(name, capability):
                await self._refuse(name, capability, installed)
            return
        await self._load(self.store.get(name), capability)

    async def _refuse(self, name: str, capability: str, installed: Iterable[str]) -> None:
        """Raise why `name` cannot be had, after asking the remote endpoints once more."""
        assert self._pool is not None  # noqa: S101 - the caller opened it
        await asyncio.gather(*(remote.probe() for remote in self._remotes))
        if self._pool.serving(name, capability):
            return
        offering = [r for r in self._remotes if name in r.endpoint.served]
        if offering:
            raise UserError(f"model {name!r} has no {capability}", code="not_supported", param="model")
        down = [remote for remote in self._remotes if remote.endpoint.error and not remote.endpoint.served]
        known = [*installed, *(n for r in self._remotes for n in r.endpoint.served)]
        if down and not known:
            raise UnavailableError(down[0].endpoint.error, hint="check the endpoint's address in the settings")
        entry = self.store.catalogue.find(name)
        hint = f"colosse models pull {name}" if entry else nearest(name, known)
        said = f"model {name!r} is not installed" if entry else f"unknown model {name!r}"
        raise NotFoundError(said, hint=hint, code="model_not_found", param="model")

    async def _load(self, model: InstalledModel, capability: str) -> None:
        assert self._pool is not None and self._http is not None  # noqa: S101 - the caller opened them
        key = LocalEngine.key(model.id, task_of(capability))
        engine = self._locals.get(key)
        if engine is None or engine.state in ("stopped", "failed"):
            async with self._loading:
                engine = self._locals.get(key)
                if engine is None or engine.state in ("stopped", "failed"):
                    if engine is not None and engine.error and time.monotonic() - engine.failed_at < FAILED_FOR_S:
                        raise engine.error
                    if engine is None or engine.model.path != model.path:
                        engine = LocalEngine(
                            model, task_of(capability), self.settings, self._http, self._pool, self._policy
                        )
                    await self._make_room(key)
                    self._locals[key] = engine
                    engine.last_used = time.monotonic()
                    await engine.start()
                    return
        engine.last_used = time.monotonic()
        await engine.ready()

    async def _make_room(self, key: str) -> None:
        """Stop the engines used least recently until one more may be loaded; wait for them to become idle.

        Raises:
            UnavailableError: they stay busy for as long as an engine may take to start.
        """
        assert self._pool is not None  # noqa: S101 - the caller opened it
        limit = self.settings.engine.max_loaded
        deadline = time.monotonic() + self.settings.engine.start_timeout_s
        while True:
            running = [e for k, e in self._locals.items() if k != key and e.state in ("starting", "ready")]
            if len(running) < limit:
                return
            idle = sorted((e for e in running if not e.busy), key=lambda e: e.last_used)
            if idle:
                await idle[0].stop()
                continue
            self._idle.clear()
            left = deadline - time.monotonic()
            try:
                await asyncio.wait_for(self._idle.wait(), max(0.0, left))
            except TimeoutError:
                names = ", ".join(sorted({e.model.id for e in running}))
                raise UnavailableError(
                    f"{limit} models are loaded and busy ({names}), and no more may be",
                    hint="raise engine.max_loaded, or ask again later",
                ) from None

    def _ended(self, outcome: Outcome) -> None:
        self._idle.set()
        self._observe(outcome)


def _known(path: str) -> str:
    if path not in CAPABILITY_OF:
        raise ColosseError(f"engines have no path {path!r}; they have {', '.join(CAPABILITY_OF)}")
    return path
