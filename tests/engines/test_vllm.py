"""vLLM's command, and the whole way through `Engines` with a program in its place that takes the same arguments."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from colosse.core.errors import EngineError, UnavailableError
from colosse.core.machine import Gpu, Machine
from colosse.core.settings import EngineSettings, load_settings
from colosse.engines import vllm
from colosse.engines.client import complete
from colosse.engines.engines import Engines
from tests.core.test_process import gone

ROOT = Path(__file__).parents[2]
STAND_IN = """#!{python}
import argparse, os, sys
sys.path.insert(0, {root!r})
import uvicorn
from tests.fixtures.scripted import Scripted
parser = argparse.ArgumentParser()
for name in ("verb", "path"):
    parser.add_argument(name)
for name in ("--host", "--port", "--served-model-name", "--max-num-seqs", "--max-model-len"):
    parser.add_argument(name)
options = parser.parse_args()
assert options.verb == "serve" and os.path.isdir(options.path), options
engine = Scripted(model=options.served_model_name, api_key=os.environ["VLLM_API_KEY"])
uvicorn.run(engine.app, host=options.host, port=int(options.port), log_level="warning")
"""


def with_gpus(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> None:
    here = Machine(cpus=2, cpu="", memory_total=1 << 36, memory_available=1 << 36, gpus=gpus, system="")
    monkeypatch.setattr(vllm, "machine", lambda: here)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, Gpu("big", 80 << 30, 80 << 30))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "vllm"
    program.write_text(STAND_IN.format(python=sys.executable, root=str(ROOT)))
    program.chmod(0o755)
    monkeypatch.setattr(vllm, "program", lambda: str(program))
    return program


def test_command(gpu: None, stand_in: Path) -> None:
    command, length, slots = vllm.command(Path("m"), "name", EngineSettings(max_model_len=4096, slots=7), "generate")
    text = " ".join(command.argv)
    assert f"{stand_in} serve m --host 127.0.0.1 --port" in text
    assert "--served-model-name name --max-num-seqs 7 --max-model-len 4096" in text
    assert (length, slots) == (4096, 7)
    assert command.key not in text  # other users of the machine can read command lines
    assert command.env["VLLM_API_KEY"] == command.key
    embed, length, slots = vllm.command(Path("m"), "name", EngineSettings(), "embed")
    assert embed.argv[-4:] == ["--runner", "pooling", "--convert", "embed"]
    assert (length, slots) == (None, vllm.SLOTS)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "program", lambda: None)
    with_gpus(monkeypatch)
    with pytest.raises(UnavailableError, match="needs a GPU"):
        vllm.command(Path("m"), "name", EngineSettings(), "generate")
    with_gpus(monkeypatch, Gpu("big", 1, 1))
    with pytest.raises(EngineError, match="pip install vllm"):
        vllm.command(Path("m"), "name", EngineSettings(), "generate")


async def test_through_engines(gpu: None, stand_in: Path, home: Path) -> None:
    folder = home / "models" / "tensors"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x")
    async with Engines(load_settings().value) as engines:
        info = await engines.ensure("tensors")
        assert (info.state, info.engine) == ("ready", "vllm")
        assert (await complete(engines, [{"role": "user", "content": "hi"}], model="tensors"))[0] == "echo: hi"
        (row,) = engines.status()
        assert row.pid is not None
        programs = [child.pid for child in psutil.Process(row.pid).children(recursive=True)]
        assert programs
    for pid in (row.pid, *programs):
        await gone(pid)
