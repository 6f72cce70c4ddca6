"""What fits a machine, what is recommended for it, and what `auto` means."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from colosse.core.machine import Gpu, Machine
from colosse.core.settings import Settings, load_settings
from colosse.engines import fit as module
from colosse.engines.catalogue import DEFAULT_MODEL, SMALL_MODEL, Catalogue, load_catalogue
from colosse.engines.fit import fits, recommend, resolve_auto, smallest_sensible
from tests.fixtures.web import make_gguf

GB = 10**9
LAPTOP = Machine(cpus=2, cpu="any", memory_total=8 * GB, memory_available=6 * GB, gpus=(), system="Linux x86_64")
PLENTY = 10**12


def with_gpus(*sizes: int) -> Machine:
    return dataclasses.replace(LAPTOP, gpus=tuple(Gpu("gpu", size, size) for size in sizes))


@pytest.fixture
def catalogue(home: Path) -> Catalogue:
    return load_catalogue(load_settings().value)


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(module, "machine", lambda: LAPTOP)
    monkeypatch.setattr(Machine, "disk_free", staticmethod(lambda path: PLENTY))
    (home / "models").mkdir(parents=True)
    return load_settings().value


def install(home: Path, name: str, size: int = 1000) -> None:
    (home / "models" / f"{name}.gguf").write_bytes(make_gguf(size))


@pytest.mark.parametrize(
    ("name", "here", "verdict", "quick"),
    [
        (DEFAULT_MODEL, LAPTOP, "yes", True),
        (DEFAULT_MODEL, dataclasses.replace(LAPTOP, memory_available=2 * GB), "tight", True),
        (DEFAULT_MODEL, dataclasses.replace(LAPTOP, memory_total=GB, memory_available=GB // 2), "no", False),
        ("qwen3.6-27b", LAPTOP, "no", False),
        ("qwen3-4b-instruct", LAPTOP, "yes", False),
        ("gpt-oss-120b", with_gpus(86 * GB), "yes", True),
        ("gpt-oss-120b", with_gpus(43 * GB, 43 * GB), "yes", True),
        ("gpt-oss-120b", with_gpus(43 * GB), "no", False),
        ("qwen3-4b-instruct-vllm", LAPTOP, "no", False),
        ("qwen3-4b-instruct-vllm", with_gpus(24 * GB), "yes", True),
    ],
)
def test_what_fits(catalogue: Catalogue, name: str, here: Machine, verdict: str, quick: bool) -> None:
    fit = fits(catalogue.get(name), here)
    assert (fit.verdict, fit.quick) == (verdict, quick), fit.reason
    assert fit.needed_bytes > catalogue.get(name).weight_bytes
    assert "needs" in fit.reason


def test_what_is_not_known_is_not_guessed(catalogue: Catalogue) -> None:
    entry = catalogue.get(DEFAULT_MODEL).model_copy(update={"size_bytes": 0})
    assert fits(entry, LAPTOP).verdict == "unknown"


@pytest.mark.parametrize(
    ("here", "disk", "model_id"),
    [
        (LAPTOP, PLENTY, DEFAULT_MODEL),
        (dataclasses.replace(LAPTOP, memory_available=GB), PLENTY, SMALL_MODEL),
        (LAPTOP, GB, SMALL_MODEL),
    ],
)
def test_the_small_model_where_memory_or_disk_is_short(
    catalogue: Catalogue, here: Machine, disk: int, model_id: str
) -> None:
    assert smallest_sensible(catalogue, here, disk) == model_id
    assert recommend(catalogue, here, disk) == model_id


def test_more_is_recommended_where_it_is_quick(catalogue: Catalogue) -> None:
    server = dataclasses.replace(LAPTOP, cpus=16, memory_total=64 * GB, memory_available=60 * GB)
    assert recommend(catalogue, server, PLENTY) == "qwen3.6-35b-a3b"
    assert recommend(catalogue, server, 8 * GB) == "qwen3.5-9b"
    assert recommend(catalogue, with_gpus(86 * GB), PLENTY) == "gpt-oss-120b"
    assert recommend(catalogue, with_gpus(8 * GB), PLENTY) not in (DEFAULT_MODEL, SMALL_MODEL)


def test_auto_is_the_default_whether_installed_or_not(settings: Settings) -> None:
    assert resolve_auto(settings) == DEFAULT_MODEL
    install(settings.home, DEFAULT_MODEL)
    install(settings.home, "bigger", 5000)
    assert resolve_auto(settings) == DEFAULT_MODEL


def test_auto_takes_what_is_there_before_it_would_need_a_download(settings: Settings) -> None:
    install(settings.home, "mine", 1000)
    install(settings.home, "bigger", 5000)
    assert resolve_auto(settings) == "bigger"
    (settings.models_dir / "damaged.gguf").touch()
    install(settings.home, SMALL_MODEL)
    assert resolve_auto(settings) == SMALL_MODEL


def test_a_name_is_not_auto(settings: Settings) -> None:
    assert resolve_auto(settings.model_copy(update={"model": "other"})) == "other"
