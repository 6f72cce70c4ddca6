"""The vLLM engine: its command line, for safetensors models on a machine with a GPU.

vLLM is not a dependency of ours: where it is installed (`pip install vllm`), its `vllm` command is started under a
guard that ends it with us. Options: https://docs.vllm.ai/en/latest/cli/serve/
"""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
from pathlib import Path

from colosse.core.errors import EngineError, UnavailableError
from colosse.core.machine import machine
from colosse.core.settings import EngineSettings
from colosse.engines.llama import Task
from colosse.engines.supervisor import Command

SLOTS = 256


def program() -> str | None:
    """The `vllm` command: beside this Python, or on the PATH."""
    beside = Path(sys.executable).parent / "vllm"
    return str(beside) if beside.is_file() else shutil.which("vllm")


def command(path: Path, model: str, settings: EngineSettings, task: Task) -> tuple[Command, int | None, int]:
    """How to start it, its context where we set it, and the requests that it takes at once.

    Raises:
        UnavailableError: there is no GPU.
        EngineError: vLLM is not installed.
    """
    if not machine().gpus:
        raise UnavailableError(
            f"{model} (safetensors) needs a GPU, and there is none", hint="pull a GGUF model instead"
        )
    vllm = program()
    if vllm is None:
        raise EngineError(f"{model} (safetensors) needs vLLM", hint="pip install vllm", code="engine_not_installed")
    port, key, slots = _free_port(), secrets.token_urlsafe(24), settings.slots or SLOTS
    arguments = ["serve", str(path), "--host", "127.0.0.1", "--port", str(port), "--served-model-name", model]
    arguments += ["--max-num-seqs", str(slots)]
    if settings.max_model_len:
        arguments += ["--max-model-len", str(settings.max_model_len)]
    if task == "embed":
        arguments += ["--runner", "pooling", "--convert", "embed"]
    started = Command(
        [sys.executable, "-m", "colosse.core.process", vllm, *arguments],
        env={"VLLM_API_KEY": key, "VLLM_NO_USAGE_STATS": "1"},  # a key on the command line would be seen by all
        url=f"http://127.0.0.1:{port}/v1",
        key=key,
    )
    return started, settings.max_model_len or None, slots


def _free_port() -> int:
    """A port that nobody has now; vLLM cannot say which one it took. If it is taken meanwhile, the start fails."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
