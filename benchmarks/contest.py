"""Contestants of the training benchmarks: processes that train one model, a few steps whenever they are told to.

Each is `python -m benchmarks.contest NAME SETTINGS`: it says `ready` after its warm-up, then, for every number that it
reads, does so many steps and answers with the seconds that they took. So they take turns on one machine, and what
disturbs it disturbs all.

- `colosse`: the real thing, `train.pretrain.pretrain` with prepared data, logging, TensorBoard and a checkpoint of
  model and optimiser in every turn.
- `transformers-compiled`: Llama of Hugging Face Transformers, `torch.compile` of the whole model, fused AdamW,
  gradients clipped; batches are in memory, nothing is logged or saved.
- `transformers-eager`: the same without the compiler.
- `matmul`: the step's matrix products alone, at the model's own shapes, and one large square product.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from colosse.core.process import SLEEPING_THREADS

NEVER = 1_000_000_000
WARM_UP = 3
"""Steps before the first turn: compilation, and what grows once."""


@dataclass(frozen=True)
class Settings:
    """What all contestants train: sizes as in `ModelSpec`, `batch` sequences of `seq_len` tokens a step."""

    device: str
    precision: str
    batch: int
    seq_len: int
    dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    ffn_dim: int
    vocab_size: int
    steps: int
    """Of a turn; the checkpoint of `colosse` falls into its last one."""
    prepared: str
    """Folder of prepared data."""
    scratch: str
    """Folder for runs."""

    def model(self) -> dict[str, Any]:
        """Fields of `ModelSpec`."""
        names = ("dim", "num_layers", "num_heads", "num_kv_heads", "ffn_dim", "vocab_size")
        return {name: getattr(self, name) for name in names} | {"max_seq_len": self.seq_len}


def prepare_data(home: Path, vocab_size: int) -> Path:
    """Some of the Python installation's modules as training data."""
    from colosse.data.config import DataConfig
    from colosse.data.prepare import prepare

    source = {"name": "python", "kind": "python", "max_documents": 400}
    tokenizer = {"vocab_size": min(vocab_size, 8192), "sample_mb": 4}
    config = {"sources": [source], "tokenizer": tokenizer, "steps": {"dedup": "exact"}}
    return prepare(DataConfig.model_validate(config), home)


class Contestant:
    """A running contestant.

    Args:
        name: see the module.
        settings: of the contest.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._log = Path(settings.scratch) / f"{name}.log"
        command = [sys.executable, "-m", "benchmarks.contest", name, json.dumps(asdict(settings))]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=SLEEPING_THREADS | os.environ,  # as `colosse train` does; the others gain as much
            )
        self._expect("ready")

    def turn(self, steps: int) -> list[float]:
        """Let it do some steps; returns what it measured: seconds, or rates in FLOP/s of `matmul`."""
        assert self._process.stdin is not None
        print(steps, file=self._process.stdin, flush=True)
        return [float(x) for x in self._expect("did").split()]

    def end(self) -> None:
        """Stop it where it stands."""
        self._process.kill()
        self._process.wait()

    def _expect(self, word: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            first, _, rest = line.partition(" ")
            if first.strip() == word:
                return rest
        tail = self._log.read_text()[-2000:]
        raise SystemExit(f"{self.name} ended with {self._process.wait()}:\n{tail}")


def serve(turn: Callable[[int], str]) -> None:
    """Say `ready`, and answer every number on standard input with a turn."""
    print("ready", flush=True)
    for line in sys.stdin:
        print("did", turn(int(line)), flush=True)


def colosse(settings: Settings) -> None:
    """The real loop, which waits between turns where it tells its view that a step is done."""
    from colosse.train.live import View
    from colosse.train.pretrain import pretrain
    from colosse.train.recipe import Recipe

    class Gate(View):
        """Holds the loop after a step until the next turn."""

        def __init__(self) -> None:
            self._left, self._began = WARM_UP, 0.0

        def step(self, record: Mapping[str, Any]) -> None:
            self._left -= 1
            if self._left:
                return
            seconds = time.perf_counter() - self._began
            print(f"did {seconds}" if self._began else "ready", flush=True)
            self._left = int(sys.stdin.readline())
            self._began = time.perf_counter()

    recipe = {
        "name": f"contest-{settings.precision}",
        "model": settings.model(),
        "layout": {"micro_batch_size": settings.batch, "precision": settings.precision},
        "train": {
            "seq_len": settings.seq_len,
            "tokens_per_step": settings.batch * settings.seq_len,
            "steps": NEVER,
            "mask_documents": False,
        },
        "optimizer": {"lr": 1e-4, "schedule": "constant"},
        "eval": {"interval_steps": NEVER, "tokens": 1},
        "checkpoint": {"interval_steps": settings.steps},
    }
    pretrain(
        Recipe.model_validate(recipe),
        prepared=Path(settings.prepared),
        runs_dir=Path(settings.scratch),
        view=Gate(),
        new=True,
    )


def transformers(settings: Settings, *, compiled: bool) -> None:
    """The usual loop around Hugging Face's Llama."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=settings.vocab_size,
        hidden_size=settings.dim,
        intermediate_size=settings.ffn_dim,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_heads,
        num_key_value_heads=settings.num_kv_heads,
        max_position_embeddings=settings.seq_len,
        use_cache=False,
    )
    model = LlamaForCausalLM(config).to(settings.device)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens = torch.randint(0, settings.vocab_size, (8, settings.batch, settings.seq_len), device=settings.device)

    def turn(steps: int) -> str:
        began = time.perf_counter()
        for step in range(steps):
            batch = tokens[step % len(tokens)]
            low = settings.precision != "float32"
            with torch.autocast(settings.device, dtype=torch.bfloat16) if low else nullcontext():
                loss = forward(input_ids=batch, labels=batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()
        return str(time.perf_counter() - began)

    turn(WARM_UP)
    serve(turn)


def matmul(settings: Settings) -> None:
    """Rates of the step's products one after another (forward, both gradients), and of a square of 4096."""
    import torch

    dtype = torch.float32 if settings.precision == "float32" else torch.bfloat16
    rows = settings.batch * settings.seq_len
    head_dim = settings.dim // settings.num_heads
    kv = settings.num_kv_heads * head_dim
    dim, ffn = settings.dim, settings.ffn_dim
    layer = [(dim, dim), (dim, kv), (dim, kv), (dim, dim), (dim, ffn), (dim, ffn), (ffn, dim)]
    shapes = layer * settings.num_layers + [(dim, settings.vocab_size)]

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=settings.device).to(dtype)

    operands = {(m, n): (random(rows, m), random(n, m), random(rows, n)) for m, n in set(shapes)}
    square = (random(4096, 4096), random(4096, 4096))

    def step() -> None:
        for shape in shapes:
            x, weight, gradient = operands[shape]
            _ = x @ weight.t(), gradient @ weight, gradient.t() @ x

    def rate(work: Callable[[], Any], flops: float, times: int) -> float:
        _wait(settings.device)
        began = time.perf_counter()
        for _ in range(times):
            work()
        _wait(settings.device)
        return flops * times / (time.perf_counter() - began)

    def turn(steps: int) -> str:
        own = rate(step, sum(6 * rows * m * n for m, n in shapes), steps)
        return f"{own} {rate(lambda: square[0] @ square[1], 2 * 4096**3, steps)}"

    turn(1)
    serve(turn)


def _wait(device: str) -> None:
    import torch

    if device != "cpu":
        torch.cuda.synchronize()


CONTESTANTS: dict[str, Callable[[Settings], None]] = {
    "colosse": colosse,
    "transformers-compiled": lambda settings: transformers(settings, compiled=True),
    "transformers-eager": lambda settings: transformers(settings, compiled=False),
    "matmul": matmul,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    CONTESTANTS[sys.argv[1]](Settings(**json.loads(sys.argv[2])))
