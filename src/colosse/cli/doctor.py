"""`colosse doctor`: what is installed, what fits, what is missing and how to get it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from colosse.cli.output import JsonFlag, print_json

if TYPE_CHECKING:
    from pathlib import Path

    from colosse.core.machine import Machine
    from colosse.core.settings import EndpointSettings, Settings
    from colosse.engines.store import ModelStore

REACH_S = 4.0
"""Seconds in which something on a network must answer."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: `ok`; `warn`: works, less well; `missing`: not there.
        detail: what was found.
        mend: how to get it.
        required: nothing works without it.
    """

    name: str
    status: Literal["ok", "warn", "missing"]
    detail: str
    mend: str = ""
    required: bool = False


def doctor(json: JsonFlag = False) -> None:
    """Look at the installation and the machine.

    The exit code is 1 when something that is required is missing.
    """
    import asyncio

    from colosse.core.settings import load_settings

    findings = asyncio.run(_examine(load_settings().value))
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    if any(finding.required and finding.status == "missing" for finding in findings):
        raise SystemExit(1)


async def _examine(settings: Settings) -> list[Finding]:
    import asyncio

    from colosse.core.machine import machine
    from colosse.engines.store import ModelStore

    store = ModelStore(settings)
    here = await asyncio.to_thread(machine)
    networked = [_hub(settings), _registry(), _database(settings), *map(_endpoint, settings.endpoints)]
    reached = await asyncio.gather(*networked)
    return [
        *_programs(settings, here),
        *_hardware(settings, here, store),
        _home(settings),
        *_models(settings, store, here),
        _page(),
        await asyncio.to_thread(_sandbox),
        *await asyncio.to_thread(lambda: list(_server(settings))),
        *reached,
    ]


def _programs(settings: Settings, here: Machine) -> Iterator[Finding]:
    from colosse import __version__

    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "ok" if sys.version_info >= (3, 11) else "missing", version, "Python 3.11+", required=True)
    yield Finding("colosse", "ok", __version__)
    llama, vllm, torch = (_version(name) for name in ("xllamacpp", "vllm", "torch"))
    needed = not vllm and not settings.endpoints
    how = f"{sys.executable} -m pip install 'colosse[llama]'"
    if llama:
        yield Finding("llama.cpp", "ok", f"xllamacpp {llama}")
    else:
        yield Finding("llama.cpp", "missing" if needed else "warn", "xllamacpp is not installed", how, required=needed)
    if vllm:
        yield Finding("vllm", "ok" if here.gpus else "warn", vllm if here.gpus else f"{vllm}, and no GPU to use it")
    elif here.gpus:
        yield Finding("vllm", "warn", "not installed: the GPU could serve many more at once", "pip install vllm")
    else:
        yield Finding("vllm", "ok", "not installed, and not needed without a GPU")
    yield Finding("torch", "ok", torch or "not installed, and needed for training only")


def _hardware(settings: Settings, here: Machine, store: ModelStore) -> Iterator[Finding]:
    from colosse.core.files import SPARE_BYTES, format_bytes
    from colosse.engines.catalogue import SMALL_MODEL
    from colosse.engines.fit import needed_bytes, recommend

    gpus = ", ".join(f"{gpu.name} ({format_bytes(gpu.memory_total)})" for gpu in here.gpus)
    yield Finding("processor", "ok", f"{here.cpus} x {here.cpu}, {here.system}")
    yield Finding("gpu", "ok", gpus or "none: models run on the processor")
    small = store.catalogue.get(SMALL_MODEL)
    free = here.memory_available
    yield Finding(
        "memory",
        "ok" if needed_bytes(small) <= free else "warn",
        f"{format_bytes(free)} free of {format_bytes(here.memory_total)}",
        f"{small.id} needs {format_bytes(needed_bytes(small))}: close other programs",
    )
    disk = here.disk_free(settings.models_dir)
    wanted = store.catalogue.get(recommend(store.catalogue, here, disk))
    room = disk >= wanted.size_bytes + SPARE_BYTES
    yield Finding(
        "disk",
        "ok" if room else "warn",
        f"{format_bytes(disk)} free at {settings.models_dir}",
        f"{wanted.id} takes {format_bytes(wanted.size_bytes)}: free some, or move COLOSSE_HOME",
    )


def _home(settings: Settings) -> Finding:
    import os

    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    good = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    detail = str(settings.home) if good else f"{folder} cannot be written"
    return Finding(
        "home", "ok" if good else "missing", detail, "point COLOSSE_HOME to a folder of yours", required=True
    )


def _models(settings: Settings, store: ModelStore, here: Machine) -> Iterator[Finding]:
    from colosse.core.files import format_bytes
    from colosse.engines.fit import fits, recommend

    installed = store.installed()
    best = recommend(store.catalogue, here, here.disk_free(settings.models_dir))
    for model in installed:
        fit = fits(model.entry, here)
        star = ", recommended here" if model.id == best else ""
        if model.problem:
            mend = f"colosse models remove {model.id}, then pull it again"
            yield Finding(f"model {model.id}", "warn", model.problem, mend)
        elif fit.verdict == "no":
            yield Finding(f"model {model.id}", "warn", f"does not fit: {fit.reason}", f"colosse models pull {best}")
        else:
            yield Finding(f"model {model.id}", "ok", f"{format_bytes(model.size_bytes)}, {fit.reason}{star}")
    if not any(not model.problem for model in installed) and not settings.endpoints:
        yield Finding("models", "warn", "none is installed yet", f"colosse models pull {best}")


def _page() -> Finding:
    from colosse.server.pages import STATIC

    built = (STATIC / "index.html").is_file()
    return Finding("web page", "ok" if built else "warn", "built" if built else "not built", "make web")


def _sandbox() -> Finding:
    """Whether code can be run to check it."""
    from colosse.assistant.sandbox import require
    from colosse.core.errors import ColosseError

    try:
        require()
    except ColosseError as error:
        return Finding("sandbox", "warn", f"{error.message}: code that is written cannot be run", error.hint)
    return Finding("sandbox", "ok", "programs are isolated by bubblewrap")


def _server(settings: Settings) -> Iterator[Finding]:
    """The running server, or whether its port is free for one."""
    from colosse.core.errors import ColosseError
    from colosse.server.lifecycle import bind, find_server

    server = find_server(settings)
    if server is not None:
        yield Finding("server", "ok", f"running at {server.url} (process {server.pid})")
        return
    yield Finding("server", "ok", "not running: `colosse serve` starts it")
    try:
        bind(settings).close()
    except ColosseError as error:
        yield Finding("port", "warn", error.message, error.hint)
    else:
        yield Finding("port", "ok", f"{settings.host}:{settings.port} is free")


async def _hub(settings: Settings) -> Finding:
    mend = "models then come from other sources; HTTPS_PROXY and hub_url are honoured"
    return await _reach("hub", settings.hub_url, mend)


async def _registry() -> Finding:
    from colosse.engines.sources import package_index

    mend = "models then come from other sources; PIP_INDEX_URL and HTTPS_PROXY are honoured"
    return await _reach("package index", f"{package_index()}/pip/", mend)


async def _reach(name: str, url: str, mend: str) -> Finding:
    """Whether anything answers at `url`; what it answers does not matter unless it is a failure of its own."""
    import asyncio

    import httpx2

    from colosse.core.download import host_of, new_client

    try:
        async with asyncio.timeout(REACH_S), new_client() as client, client.stream("GET", url) as answer:
            if answer.status_code < 500:
                return Finding(name, "ok", f"{host_of(url)} answers")
            reason = f"answers with status {answer.status_code}"
    except TimeoutError:
        reason = f"does not answer within {REACH_S:g} s"
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        reason = f"cannot be reached: {error}"
    return Finding(name, "warn", f"{host_of(url)} {reason}", mend)


async def _endpoint(endpoint: EndpointSettings) -> Finding:
    """Whether a configured engine answers and lists its models."""
    import asyncio

    from colosse.core.errors import ColosseError
    from colosse.core.settings import reveal
    from colosse.engines.client import RemoteClient

    key = reveal(endpoint.api_key)
    name = f"endpoint {endpoint.name}"
    try:
        async with asyncio.timeout(REACH_S), RemoteClient(endpoint.url, key) as remote:
            return Finding(name, "ok", f"{len(remote.models())} models at {endpoint.url}")
    except TimeoutError:
        return Finding(name, "warn", f"{endpoint.url} does not answer within {REACH_S:g} s", "check that it runs")
    except ColosseError as error:
        return Finding(name, "warn", error.message, error.hint or "check that it runs")


async def _database(settings: Settings) -> Finding:
    import asyncio
    from pathlib import Path

    from sqlalchemy import text
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import create_async_engine

    try:
        url = make_url(settings.database_url)
        if url.get_backend_name() == "sqlite":
            return await asyncio.to_thread(_sqlite, Path(str(url.database)))
        name = url.render_as_string(hide_password=True)
        engine = create_async_engine(url)
        try:
            async with asyncio.timeout(REACH_S), engine.connect() as connection:
                await connection.execute(text("select 1"))
        finally:
            await engine.dispose()
    except ImportError as error:
        return Finding("database", "missing", str(error), "pip install 'colosse[postgres]'", required=True)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else f"no answer within {REACH_S:g} s"
        mend = "check the address and that the database server runs"
        return Finding("database", "missing", f"cannot be opened: {reason}", mend, required=True)
    return Finding("database", "ok", name)


def _sqlite(path: Path) -> Finding:
    """Read a database file's structure through, changing nothing."""
    import sqlite3
    from contextlib import closing

    if not path.exists():
        return Finding("database", "ok", f"{path} will be made at the first start")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=REACH_S)) as database:
            said = str(database.execute("pragma quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        said = str(error)
    if said == "ok":
        return Finding("database", "ok", str(path))
    return Finding(
        "database", "missing", f"{path}: {said}", "move it away, or put a backup in its place", required=True
    )


def _version(distribution: str) -> str:
    """The installed version of a package, without importing it; an empty string when it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    marks = {"ok": Text("✓ ok", "green"), "warn": Text("! warn", "yellow"), "missing": Text("✗ missing", "red")}
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        detail = Text(finding.detail)
        if finding.status != "ok" and finding.mend:
            detail.append(f"\n→ {finding.mend}", "cyan")
        table.add_row(Text(finding.name, "bold"), marks[finding.status], detail)
    Console().print(table)
