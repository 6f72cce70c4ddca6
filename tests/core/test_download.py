"""Downloads against a real server that cuts, changes, refuses and stalls."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import resource
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from colosse.core import download as module
from colosse.core import files
from colosse.core.download import IntegrityError, download, get_json, kept, new_client, shown
from colosse.core.errors import NotFoundError, PermissionDeniedError, UnavailableError
from colosse.core.files import DiskFullError
from tests.fixtures.web import Web

DATA = bytes(range(256)) * 4096  # 1 MiB
OTHER = DATA[::-1]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", 0.001)


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with new_client() as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "model.bin"


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file may grow beyond this many bytes: what a full disk looks like to a writer, made by the kernel."""
    limit = 300_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_file_arrives_whole_and_leaves_nothing_else(web: Web, client: httpx2.AsyncClient, target: Path) -> None:
    web.files["/f"] = DATA
    seen: list[int] = []
    digest = await download(client, f"{web.url}/f", target, sha256=sha(DATA), size=len(DATA), advance=seen.append)
    assert digest == sha(DATA)
    assert target.read_bytes() == DATA
    assert [path.name for path in target.parent.iterdir()] == ["model.bin"]
    assert sum(seen) == len(DATA)


async def test_cut_connections_are_taken_up_where_they_broke(
    web: Web, client: httpx2.AsyncClient, target: Path
) -> None:
    web.files["/f"] = DATA
    web.cuts["/f"] = [100_000] * 8  # more than the retries in a row: each brings something, so none counts
    assert await download(client, f"{web.url}/f", target) == sha(DATA)
    assert target.read_bytes() == DATA
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in web.fetched("/f")[1:]]
    assert len(starts) == 8
    assert starts == sorted(set(starts))


async def test_a_later_call_goes_on(web: Web, client: httpx2.AsyncClient, target: Path) -> None:
    web.files["/f"] = DATA
    web.cuts["/f"] = [400_000, *[0] * 20]
    with pytest.raises(UnavailableError, match=r"keeps failing.*kept"):
        await download(client, f"{web.url}/f", target)
    assert not target.exists()
    have = kept(target)
    assert 0 < have <= 400_000
    web.cuts.clear()
    seen: list[int] = []
    await download(client, f"{web.url}/f", target, advance=seen.append)
    assert target.read_bytes() == DATA
    assert web.fetched("/f")[-1] == f"bytes={have}-"
    assert have + sum(seen) == len(DATA) == kept(target)


async def test_a_file_that_changed_meanwhile_is_not_mixed(web: Web, client: httpx2.AsyncClient, target: Path) -> None:
    web.files["/f"] = DATA
    web.cuts["/f"] = [400_000, *[0] * 20]
    with pytest.raises(UnavailableError):
        await download(client, f"{web.url}/f", target)
    web.cuts.clear()
    web.files["/f"] = OTHER
    seen: list[int] = []
    have = kept(target)
    assert await download(client, f"{web.url}/f", target, advance=seen.append) == sha(OTHER)
    assert have + sum(seen) == len(OTHER)


@pytest.mark.parametrize("ranges", [True, False])
async def test_without_hash_and_etag_it_starts_again(
    web: Web, client: httpx2.AsyncClient, target: Path, ranges: bool
) -> None:
    web.files["/f"], web.etags, web.ranges = DATA, False, ranges
    target.parent.mkdir()
    partial = target.with_name("model.bin.partial")
    partial.write_bytes(b"of something else")
    assert await download(client, f"{web.url}/f", target) == sha(DATA)
    assert web.fetched("/f") == [""]


async def test_a_server_without_ranges_sends_all_again(web: Web, client: httpx2.AsyncClient, target: Path) -> None:
    web.files["/f"], web.ranges = DATA, False
    web.cuts["/f"] = [400_000]
    assert await download(client, f"{web.url}/f", target, sha256=sha(DATA)) == sha(DATA)
    assert target.read_bytes() == DATA


async def test_nothing_missing_but_the_verification(web: Web, client: httpx2.AsyncClient, target: Path) -> None:
    web.files["/f"] = DATA
    target.parent.mkdir()
    target.with_name("model.bin.partial").write_bytes(DATA)
    assert await download(client, f"{web.url}/f", target, sha256=sha(DATA)) == sha(DATA)
    assert web.fetched("/f") == [f"bytes={len(DATA)}-"]


async def test_more_than_the_server_has_starts_again(web: Web, client: httpx2.AsyncClient, target: Path) -> None:
    web.files["/f"] = DATA
    target.parent.mkdir()
    target.with_name("model.bin.partial").write_bytes(DATA + b"more")
    assert await download(client, f"{web.url}/f", target, sha256=sha(DATA)) == sha(DATA)


async def test_the_wrong_bytes_are_thrown_away(web: Web, client: httpx2.AsyncClient, target: Path) -> None:
    web.files["/f"] = DATA
    with pytest.raises(IntegrityError, match=f"{sha(DATA)}, expected {sha(OTHER)}"):
        await download(client, f"{web.url}/f", target, sha256=sha(OTHER))
    assert list(target.parent.iterdir()) == []


async def test_the_wrong_size_is_refused_before_a_byte(web: Web, client: httpx2.AsyncClient, target: Path) -> None:
    web.files["/f"] = DATA
    with pytest.raises(IntegrityError, match=f"has {len(DATA)} bytes, expected 7"):
        await download(client, f"{web.url}/f", target, size=7)
    assert kept(target) == 0


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFoundError), (401, PermissionDeniedError), (403, PermissionDeniedError)]
)
async def test_refusals_are_not_tried_again(
    web: Web, client: httpx2.AsyncClient, target: Path, status: int, kind: type[Exception]
) -> None:
    web.statuses["/f"] = [status] * 3
    with pytest.raises(kind, match=str(status)):
        await download(client, f"{web.url}/f", target)
    assert len(web.log) == 1


async def test_failures_that_pass_are_tried_again(web: Web, client: httpx2.AsyncClient, target: Path) -> None:
    web.files["/f"] = DATA
    web.statuses["/f"] = [503, 429, 500]
    assert await download(client, f"{web.url}/f", target) == sha(DATA)
    web.statuses["/f"] = [503] * 100
    with pytest.raises(UnavailableError, match="keeps failing: status 503"):
        await download(client, f"{web.url}/f", target.with_name("another"))
    assert len(web.statuses["/f"]) == 100 - module.RETRIES - 1


async def test_an_absent_server_is_named_at_once(client: httpx2.AsyncClient, target: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 is out of reach"):
            await download(client, f"{url}/f", target)
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 is out of reach"):
            await get_json(client, f"{url}/f")


async def test_a_silent_server_is_out_of_reach(
    web: Web, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REACH_S", 0.2)
    web.silent.add("/question")
    with pytest.raises(UnavailableError, match=r"out of reach: no answer in 0\.2 s"):
        await get_json(client, f"{web.url}/question")


def test_name_servers_that_do_not_answer_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REACH_S", 0.2)
    monkeypatch.setattr(module, "getproxies", dict)
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: over.wait())

    async def ask() -> None:
        async with new_client() as client:
            await get_json(client, "https://elsewhere.invalid/question")

    with pytest.raises(UnavailableError, match=r"elsewhere\.invalid is out of reach"):
        asyncio.run(ask())  # would not come back before the lookup is over, if it waited for it
    assert not over.is_set()
    over.set()


async def test_a_name_is_looked_up_once_and_again_only_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "getproxies", dict)
    monkeypatch.setattr(module, "_lookups", {})
    asked: list[str] = []
    known = False

    def look_up(host: str, *_: object) -> None:
        asked.append(host)
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(OSError, match="not known"):
        await module._look_up("https://elsewhere.invalid/a")
    known = True
    await asyncio.gather(*(module._look_up(f"https://elsewhere.invalid/{n}") for n in range(22)))
    await module._look_up("http://elsewhere.invalid:8080/b")
    await module._look_up("https://another.invalid/")
    assert asked == ["elsewhere.invalid", "elsewhere.invalid", "another.invalid"]


async def test_an_answer_that_is_not_json(web: Web, client: httpx2.AsyncClient) -> None:
    web.files["/page"] = b"<html>log in to this network</html>"
    with pytest.raises(UnavailableError, match="does not answer with JSON"):
        await get_json(client, f"{web.url}/page")


async def test_too_full_a_disk_is_seen_before_the_start(
    web: Web, client: httpx2.AsyncClient, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["/f"] = DATA
    monkeypatch.setattr(files, "free_bytes", lambda path: 1_000_000)
    with pytest.raises(DiskFullError, match=r"68\.2 MB are needed and 1 MB are free.*COLOSSE_HOME"):
        await download(client, f"{web.url}/f", target)
    assert kept(target) == 0


async def test_a_disk_that_fills_up_keeps_what_came(
    web: Web, client: httpx2.AsyncClient, target: Path, small_files: int
) -> None:
    web.files["/f"] = DATA
    with pytest.raises(DiskFullError, match=r"is full.*kept"):
        await download(client, f"{web.url}/f", target)
    assert kept(target) == small_files
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    assert await download(client, f"{web.url}/f", target) == sha(DATA)
    assert web.fetched("/f")[-1] == f"bytes={small_files}-"


async def test_a_proxy_of_the_environment_is_used(web: Web, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", web.url)
    web.files["http://elsewhere.invalid/f"] = DATA
    async with new_client() as client:
        assert await download(client, "http://elsewhere.invalid/f", target) == sha(DATA)


def test_other_faults_of_a_disk_are_not_called_full(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), files.disk_full_is_clear(tmp_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_addresses_are_shown_without_their_secrets() -> None:
    assert shown("https://user:secret@host:8/a/b?signature=x") == "https://host:8/a/b"
