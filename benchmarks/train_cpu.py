"""Training on a CPU: the real loop of Colosse against Hugging Face Transformers, compiled and eager.

    python -m benchmarks.train_cpu                          bfloat16 products, 16 M parameters, batches of 8 x 512
    python -m benchmarks.train_cpu --precision float32

The contestants (see `contest.py`) take turns, in another order each round; reported are medians over rounds, and the
median of each round's ratio. Both get the same shapes, precision, clipping and fused AdamW. Ours also reads its data,
logs every step and writes a checkpoint of model and optimiser in every turn.

FLOP/s are those of the model (`colosse.spec.counts`: forward and backward, causal attention once), as a share of two
rates measured in the same rounds in the same number type: the step's own matrix products with nothing between them, and
a square product of 4096.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
from pathlib import Path

from benchmarks.contest import CONTESTANTS, Contestant, Settings, prepare_data

from colosse.spec.counts import flops_per_token, params
from colosse.spec.model import ModelSpec


def main() -> None:
    """Let them take turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="of a turn")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(
            device="cpu",
            precision=options.precision,
            batch=options.batch,
            seq_len=options.seq_len,
            dim=options.dim,
            num_layers=options.layers,
            num_heads=options.dim // 64,
            num_kv_heads=options.dim // 64,
            ffn_dim=options.dim * 8 // 3,
            vocab_size=options.vocab,
            steps=options.steps,
            prepared=str(prepare_data(Path(scratch), options.vocab)),
            scratch=scratch,
        )
        report = contest(settings, options.rounds)
    print_report(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def contest(settings: Settings, rounds: int) -> dict[str, object]:
    """Tokens per second of each contestant in each round, and what follows from them."""
    spec = ModelSpec.model_validate(settings.model())
    tokens = settings.batch * settings.seq_len * settings.steps
    speeds: dict[str, list[float]] = {name: [] for name in CONTESTANTS if name != "matmul"}
    rates: list[list[float]] = []
    contestants = [Contestant(name, settings) for name in CONTESTANTS]
    try:
        for _ in range(rounds):
            for contestant in random.sample(contestants, len(contestants)):
                measured = contestant.turn(settings.steps)
                if contestant.name == "matmul":
                    rates.append(measured)
                else:
                    speeds[contestant.name].append(tokens / measured[0])
    finally:
        for contestant in contestants:
            contestant.end()
    own, square = (statistics.median(each) for each in zip(*rates, strict=True))
    ours = speeds["colosse"]
    work = flops_per_token(spec, settings.seq_len)
    peers = {name: [a / b for a, b in zip(ours, speed, strict=True)] for name, speed in speeds.items()}
    medians = {name: statistics.median(speed) for name, speed in speeds.items()}
    return {
        "model": settings.model(),
        "params": params(spec).total,
        "precision": settings.precision,
        "batch": settings.batch,
        "seq_len": settings.seq_len,
        "flops_per_token": work,
        "matmul_flops_own_shapes": own,
        "matmul_flops_square": square,
        "tokens_per_second": speeds,
        "median_tokens_per_second": medians,
        "median_ratio_of_colosse_to": {name: statistics.median(ratio) for name, ratio in peers.items()},
        "share_of_own_shapes": {name: speed * work / own for name, speed in medians.items()},
        "share_of_square": {name: speed * work / square for name, speed in medians.items()},
    }


def print_report(report: dict[str, object]) -> None:
    """The table."""
    columns = [
        report[key]
        for key in (
            "median_tokens_per_second",
            "median_ratio_of_colosse_to",
            "share_of_own_shapes",
            "share_of_square",
        )
    ]
    own, square = report["matmul_flops_own_shapes"], report["matmul_flops_square"]
    print(f"{report['params']:,} parameters, {report['batch']} x {report['seq_len']} tokens, {report['precision']}")
    print(f"matrix products: {own / 1e9:,.0f} GFLOP/s at the model's shapes, {square / 1e9:,.0f} at 4096 squared\n")
    print(f"{'':24}{'tokens/s':>10}{'Colosse is':>12}{'of products':>13}{'of square':>11}")
    for name in columns[0]:
        speed, ratio, of_own, of_square = (column[name] for column in columns)
        print(f"{name:24}{speed:10,.0f}{ratio:11.2f}x{of_own:13.0%}{of_square:11.0%}")


if __name__ == "__main__":
    main()
