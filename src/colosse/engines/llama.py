"""The llama.cpp engine: what it is told for a model and a machine, and the child process that runs it.

Run as a program (`python -m colosse.engines.llama`) this is the child: it reads `Options` as a line of JSON from its
input, loads the model, prints `{"url": ...}` and serves until its parent is gone. Its log never holds prompts: at the
level used here llama.cpp writes counts and times only.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from colosse.core.errors import UnavailableError, UserError
from colosse.core.process import die_with_parent

if TYPE_CHECKING:
    from colosse.core.machine import Machine
    from colosse.core.settings import EngineSettings
    from colosse.engines.gguf import GGUFInfo

Task = Literal["generate", "embed"]

MIN_CONTEXT = 4096
SHAPES = ((4, 32768), (4, 16384), (4, 8192), (2, 8192), (2, 4096), (1, MIN_CONTEXT))
"""(slots, context of each), best first. Each slot has its whole context to itself: llama.cpp can share one between
slots, and then ends every answer in progress when it overflows."""
LENGTH_PER_CPU = 4096
"""Without a GPU, no more context is set aside than this for each processor: reading that much takes minutes, and
clearing memory that nobody will use delays every start."""
CONTEXT_SHARE = 0.1
"""Of the memory that the weights leave free, the part that context may take when nobody says how much."""
PROMPT_CACHE_SHARE = 0.1
MAX_PROMPT_CACHE_MIB = 8192
CPU_BATCH, GPU_BATCH, EMBED_BATCH = 128, 1024, 2048
SPECULATION = "ngram_simple"
MAX_DRAFT = 48
"""Tokens that a slot guesses at a time, at most. What all slots guess must fit into one batch: else llama.cpp ends."""
OVERHEAD_BYTES = 300 << 20
"""Program, scratch buffers, and the copy of some weights that is laid out for the processor."""


@dataclass(frozen=True)
class Options:
    """What the child is told.

    Attributes:
        path: GGUF file; the first one of a split model.
        model: name that it answers to.
        key: secret that requests must carry, so that nobody else on this machine uses it.
        task: `embed` makes a server for embeddings, which no other task can share: they need a whole input in one
            batch, where generation wants small ones so that a long prompt does not stall the other answers.
        threads: CPU threads.
        max_model_len: context of one request in tokens.
        slots: requests answered at the same time.
        batch: tokens computed at once.
        gpu_layers: layers put on a GPU; -1 for as many as fit.
        prompt_cache_mib: memory for the contexts of conversations that are not being answered.
        speculation: llama.cpp's name of the n-gram method; empty for none.
        draft: tokens that a slot guesses at a time.
        parent: process id of whoever started it.
    """

    path: str
    model: str
    key: str
    task: Task
    threads: int
    max_model_len: int
    slots: int
    batch: int
    gpu_layers: int
    prompt_cache_mib: int
    speculation: str
    draft: int
    parent: int

    def line(self) -> bytes:
        """As the child reads it."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"


def choose(
    path: Path, model: str, info: GGUFInfo, settings: EngineSettings, here: Machine, task: Task = "generate"
) -> Options:
    """What suits the model and the machine; what `settings` say goes first.

    Raises:
        UserError: more context was asked for than the model was trained for.
        UnavailableError: the memory that is free does not hold it.
    """
    trained = info.context_length or MIN_CONTEXT
    if settings.max_model_len > trained:
        raise UserError(
            f"engine.max_model_len is {settings.max_model_len}, and {model} was trained for {trained} tokens",
            hint=f"set it to {trained} or less",
            param="engine.max_model_len",
        )
    on_gpu = bool(here.gpus) and settings.gpu_layers != 0
    free = max(here.memory_available, sum(gpu.memory_free for gpu in here.gpus) if on_gpu else 0)
    spare = free - info.size_bytes - OVERHEAD_BYTES
    per_token = max(1, info.kv_bytes_per_token)
    if task == "embed":
        slots, length = 1, min(trained, settings.max_model_len or EMBED_BATCH, EMBED_BATCH)
    else:
        longest = trained if on_gpu else min(trained, LENGTH_PER_CPU * here.cpus)
        slots, length = _shape(settings, longest, int(max(0, spare) * CONTEXT_SHARE / per_token))
    needed = slots * length * per_token
    if needed > spare:
        raise UnavailableError(
            f"{model} needs {_gb(info.size_bytes + OVERHEAD_BYTES + needed)} of memory with {slots} x {length} tokens "
            f"of context, and {_gb(free)} are free",
            hint="close other programs, set engine.max_model_len or engine.slots lower, or take a smaller model",
            code="out_of_memory",
        )
    batch = EMBED_BATCH if task == "embed" else max(GPU_BATCH if on_gpu else CPU_BATCH, slots)
    draft = min(MAX_DRAFT, batch // slots - 1)
    return Options(
        path=str(path),
        model=model,
        key=secrets.token_urlsafe(24),
        task=task,
        threads=settings.threads or here.cpus,
        max_model_len=length,
        slots=slots,
        batch=batch,
        gpu_layers=settings.gpu_layers,
        prompt_cache_mib=min(MAX_PROMPT_CACHE_MIB, int(max(0, spare - needed) * PROMPT_CACHE_SHARE) >> 20),
        speculation=SPECULATION if settings.speculation and task == "generate" and draft else "",
        draft=draft,
        parent=os.getpid(),
    )


def _shape(settings: EngineSettings, longest: int, affordable: int) -> tuple[int, int]:
    """Slots and tokens of context of each: what is not set is the most that `affordable` tokens in all allow."""
    for slots, length in SHAPES:
        slots, length = settings.slots or slots, settings.max_model_len or min(length, longest)
        if slots * length <= affordable:
            break
    return slots, length


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def installed() -> bool:
    """Whether this installation carries llama.cpp; does not load it."""
    from importlib.util import find_spec

    return find_spec("xllamacpp") is not None


def argv() -> list[str]:
    """The child's command line."""
    return [sys.executable, "-m", "colosse.engines.llama"]


def serve(options: Options, announce: int) -> None:
    """Load the model, write the address to the file descriptor `announce`, and serve for ever.

    Raises:
        RuntimeError: llama.cpp cannot load the model.
    """
    import xllamacpp as llama

    params = llama.CommonParams()
    params.model.path = options.path
    params.model_alias = {options.model}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [options.key]
    params.ui = False
    params.verbosity = 2  # warnings
    params.cpuparams.n_threads = options.threads
    params.n_ctx = options.slots * options.max_model_len
    params.n_parallel = options.slots
    params.n_batch = params.n_ubatch = options.batch
    params.n_gpu_layers = options.gpu_layers
    params.cache_ram_mib = options.prompt_cache_mib
    params.fit_params = False  # what fits was worked out before
    params.warmup = False  # the first answer was measured to be as quick without, and the start is not
    if options.task == "embed":
        params.embedding = True
        params.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    if options.speculation:
        kind = f"COMMON_SPECULATIVE_TYPE_{options.speculation.upper()}"
        params.speculative.types = [llama.common_speculative_type[kind]]
        getattr(params.speculative, options.speculation).size_m = options.draft
    server = llama.Server(params)
    os.write(announce, json.dumps({"url": f"{server.listening_address}/v1"}).encode() + b"\n")
    threading.Event().wait()


def main() -> int:
    """The child process."""
    options = Options(**json.loads(sys.stdin.buffer.readline()))
    die_with_parent(options.parent)
    announce = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints is log, not protocol
    try:
        serve(options, announce)
    except RuntimeError:
        return 1  # llama.cpp's own log has the reason; the exception only says that there is one
    return 0


if __name__ == "__main__":
    sys.exit(main())
