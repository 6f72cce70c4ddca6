"""The house rules that a linter does not know: file sizes, no torch, a small base installation, docs in step."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


def test_nothing_is_left_to_do() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX)\b")
    assert [str(p) for p in SOURCES if marks.search(p.read_text())] == []


WITH_TORCH = ("colosse.model", "colosse.parallel", "colosse.train", "colosse.data", "colosse.plan.dryrun")
"""Packages and modules that need the `train` extra; of them only these modules must do without it."""
TORCH_FREE = ("colosse.train.recipe", "colosse.train.runs", "colosse.train.report", "colosse.data.config")


def test_torch_is_never_imported_by_the_serving_side() -> None:
    """With torch installed, importing every module of ours must not pull it in."""
    pytest.importorskip("torch")
    modules = [".".join(p.relative_to(ROOT / "src").with_suffix("").parts) for p in SOURCES if p.name != "__main__.py"]
    modules = [m.removesuffix(".__init__") for m in modules if ".migrations." not in m]
    modules = [m for m in modules if not m.startswith(WITH_TORCH) or m in TORCH_FREE]
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    _pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    return next(folder.glob("colosse-*.whl"))


def test_wheel_carries_what_it_needs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "colosse/engines/catalogue.toml" in names
    assert any("/migrations/" in name for name in names)
    assert any(name.startswith("colosse/assistant/prompts/") for name in names)
    assert not [name for name in names if name.startswith("colosse") and "tests" in name.split("/")]
    if (ROOT / "src/colosse/server/static/index.html").is_file():
        assert "colosse/server/static/index.html" in names


def test_base_installation_is_small_and_has_no_torch(wheel: Path, tmp_path: Path) -> None:
    """What `pip install colosse` puts on a disk, byte code included, stays under 150 MB."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "v")], check=True)
    python = str(tmp_path / "v" / "bin" / "python")
    packages = next((tmp_path / "v").glob("lib/python*/site-packages"))
    before = {path.name for path in packages.iterdir()}
    _pip(python, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel))
    added = [path for path in packages.iterdir() if path.name not in before]
    names = {path.name.lower() for path in added}
    assert not {"torch", "numpy", "transformers", "xllamacpp"} & names
    size = sum(f.stat().st_size for top in added for f in ([top] if top.is_file() else top.rglob("*")) if f.is_file())
    assert size < 150e6, f"{size / 1e6:.0f} MB"
    env = {"PATH": os.environ["PATH"], "COLOSSE_HOME": str(tmp_path / "home")}
    for arguments in (["--help"], ["config", "show"], ["models", "list"]):
        done = subprocess.run([python, "-m", "colosse.cli.main", *arguments], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr


def _pip(python: str, *arguments: str) -> None:
    done = subprocess.run([python, "-m", "pip", "-q", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
