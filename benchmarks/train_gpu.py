"""Training on one GPU: the real loop of Colosse against Hugging Face Transformers, and against torchtitan.

    python -m benchmarks.train_gpu --size 1                         bfloat16
    python -m benchmarks.train_gpu --size 1 --precision float8      ours in float8, the others in bfloat16
    python -m benchmarks.train_gpu --size 1 --torchtitan ~/torchtitan

**Not yet run:** there was no GPU where it was written. It is `train_cpu.py` with other sizes, which is run; only the
part for torchtitan (0.3.0) has never been tried. That one runs by itself after the others, in a checkout of torchtitan
for its test text and tokenizer, with the shape of Llama 3.2 1B, which `--size 1` has too; its speed is read from its
log.

MFU counts the model's FLOP/s (`colosse.spec.counts`: causal attention once, nothing for recomputation) against the
dense bfloat16 peak of the GPU's data sheet, in float8 too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contest import Settings, prepare_data
from benchmarks.train_cpu import contest, print_report

SIZES: dict[str, dict[str, int]] = {
    "0.1": {"dim": 768, "num_layers": 12, "num_heads": 12, "num_kv_heads": 4, "ffn_dim": 2048, "vocab_size": 32_768},
    "0.5": {"dim": 1536, "num_layers": 16, "num_heads": 12, "num_kv_heads": 4, "ffn_dim": 4096, "vocab_size": 32_768},
    "1": {"dim": 2048, "num_layers": 16, "num_heads": 32, "num_kv_heads": 8, "ffn_dim": 8192, "vocab_size": 128_256},
}
"""Billions of parameters, about."""


def main() -> None:
    """Let them take turns, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="1")
    parser.add_argument("--precision", choices=["bfloat16", "float8"], default="bfloat16")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seq-len", type=int, default=2048)
    parser.add_argument("--torchtitan", type=Path, help="folder of a torchtitan checkout; only with --size 1")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()

    import torch

    from colosse.train.peak import peak_flops

    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a GPU; train_cpu is the one for CPUs")
    peak, origin = peak_flops(torch.device("cuda", 0), torch.bfloat16)
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(
            device="cuda",
            precision=options.precision,
            batch=options.batch,
            seq_len=options.seq_len,
            steps=options.steps,
            prepared=str(prepare_data(Path(scratch), SIZES[options.size]["vocab_size"])),
            scratch=scratch,
            **SIZES[options.size],
        )
        report: dict[str, Any] = contest(settings, options.rounds)
    print_report(report)
    if options.torchtitan:
        report["median_tokens_per_second"]["torchtitan"] = torchtitan_speed(options.torchtitan, settings)
    work = report["flops_per_token"]
    report["mfu"] = {name: speed * work / peak for name, speed in report["median_tokens_per_second"].items()}
    print(f"\nMFU of {peak / 1e12:,.0f} TFLOP/s ({origin})")
    for name, share in report["mfu"].items():
        print(f"{name:24}{report['median_tokens_per_second'][name]:10,.0f} tokens/s{share:8.1%}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def torchtitan_speed(checkout: Path, settings: Settings) -> float:
    """Median tokens per second of torchtitan's own log, the first steps left out."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    command += ["-m", "torchtitan.train", "--module", "benchmarks.train_gpu", "--config", "llama3_1b"]
    command += ["--training.local_batch_size", str(settings.batch), "--training.seq_len", str(settings.seq_len)]
    command += ["--training.steps", str(10 + 3 * settings.steps), "--compile.enable"]
    here = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    log = done.stdout + done.stderr
    speeds = [float(found.replace(",", "")) for found in re.findall(r"tps: ([\d,]+)", log)]
    if done.returncode or len(speeds) <= 10:
        raise SystemExit(f"torchtitan ended with {done.returncode}:\n{log[-2000:]}")
    return statistics.median(speeds[10:])


def llama3_1b() -> Any:
    """A configuration for torchtitan: its test run with its 1 B model; no validation, checkpoints, recomputation."""
    from torchtitan.models.llama3 import config_registry, model_registry

    config = config_registry.llama3_debugmodel()
    config.model_spec = model_registry("1B")
    config.loss.loss_fn.global_vocab_size = SIZES["1"]["vocab_size"]
    config.activation_checkpoint = None
    config.checkpoint.enable = False
    config.validator.enable = False
    return config


if __name__ == "__main__":
    main()
