"""Step times by Calculon (Isaev et al., SC'23; Apache-2.0), an open analytical planner, for the published results.

    git clone https://github.com/calculon-ai/calculon
    python benchmarks/planner_peer.py --calculon calculon/ [--table runs.csv] [--json peer.json]

Calculon describes GPT blocks with multi-head attention that writes its scores, spread by tensor, pipeline and data
parallelism, on A100 or H100. It knows no gated feed-forward layer, grouped queries, mixture of experts, fused
attention, vocabulary, sharded weights (ZeRO-2 and 3, FSDP) or context parallelism. Results that it can express as they
are come first; those that it can only approximate (`APPROXIMATIONS`) are told apart; the others are counted.

It gets every help that it takes: its own description of the accelerator (for A100 the one that its times were validated
with), the network that the result states, and no limit on memory. It runs inside this process; its time is what one
layout takes it.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import json
import statistics
import sys
import time
import types
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from colosse.plan.job import Job
from colosse.plan.published import Measured, read

SYSTEMS = {"A100": "a100_80g.json", "H100": "h100_80g_nvl8.json"}
"""Calculon's descriptions, by how the accelerator's name begins."""

APPROXIMATIONS = {
    "gate": "a gated feed-forward layer as a plain one with as many weights",
    "queries": "grouped queries as full ones",
    "flash": "fused attention as scores written, read and computed again",
}


def main() -> None:
    """Predict the rows of a table and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calculon", type=Path, required=True, metavar="PATH", help="a clone of Calculon")
    parser.add_argument("--table", type=Path, help="published results; Colosse's own by default")
    parser.add_argument("--json", type=Path, help="write the predictions here")
    options = parser.parse_args()
    rows = [row for row in read(options.table)[0] if row.step_s]
    by_id = {row.id: row for row in rows}
    found = peer_predictions(rows, options.calculon)
    exact = {name for name, step, _ in found if step and not approximations(by_id[name].job)}
    errors = {name: step / by_id[name].step_s - 1 for name, step, _ in found if step}
    print(f"{len(rows)} results, {len(errors)} predicted by Calculon\n")
    print(f"{'':44}{'rows':>6}{'median':>9}{'p90':>8}{'bias':>8}{'ms':>8}")
    spent = {name: seconds for name, _, seconds in found}
    for title, names in (("as they are", exact), ("approximated", set(errors) - exact)):
        _line(title, {name: errors[name] for name in names}, spent)
        for group in sorted({by_id[name].group for name in names}):
            _line(f"  {group}", {name: errors[name] for name in names if by_id[name].group == group}, spent)
    print("\nNot expressible:")
    for reason, count in Counter(why_not(row.job) for row in rows).most_common():
        if reason:
            print(f"  {count:5}  {reason}")
    if options.json:
        options.json.write_text(json.dumps([list(one) for one in found]), "utf-8")


def peer_predictions(
    rows: Sequence[Measured], path: Path, *, approximate: bool = True
) -> list[tuple[str, float | None, float]]:
    """What Calculon says of each row: its id, seconds of a step or None, seconds that Calculon took.

    Args:
        rows: published results.
        path: a clone of Calculon.
        approximate: whether rows that need `APPROXIMATIONS` are predicted too.
    """
    calculon = _load(path)
    result: list[tuple[str, float | None, float]] = []
    for row in rows:
        if why_not(row.job) or (approximations(row.job) and not approximate):
            result.append((row.id, None, 0.0))
            continue
        system = _system(row.job, path)
        model, execution = _application(row.job), _execution(row.job)
        start = time.perf_counter()
        try:
            llm = calculon.Llm(calculon.Llm.Application(model), _Silent())
            llm.compile(calculon.System(system), calculon.Llm.Execution.from_json(execution))
            llm.run(calculon.System(system))
            step: float | None = llm.get_total_time()
        except (calculon.Llm.Error, AssertionError):
            step = None
        result.append((row.id, step, time.perf_counter() - start))
    return result


def approximations(job: Job) -> list[str]:
    """Which of `APPROXIMATIONS` a job needs."""
    model = job.model
    return [
        name
        for name, needed in (
            ("gate", model.gated),
            ("queries", model.num_kv_heads not in (0, model.num_heads)),
            ("flash", job.software.flash_attention),
        )
        if needed
    ]


def why_not(job: Job) -> str:
    """Why Calculon cannot express a job; empty if it can."""
    model, layout = job.model, job.layout
    reasons = (
        (not _system_name(job), "no description of the accelerator"),
        (model.moe is not None, "mixture of experts"),
        (model.mla is not None, "latent attention"),
        (job.task != "pretrain", "frozen weights"),
        (job.software.zero not in (0, 1), "gradients or weights sharded over data ranks"),
        (layout.cp > 1, "context parallelism"),
        (layout.recompute == "selective", "selective recomputation other than of attention"),
        (job.software.precision not in ("float16", "bfloat16", "float8"), "precision"),
        (layout.tp > 8, "tensor parallelism across nodes"),
        (bool(model.num_layers % (layout.pp * layout.stages_per_rank)), "layers that stages do not divide"),
        (bool(job.global_batch_size % (layout.data_ranks * layout.micro_batch_size)), "a batch that does not divide"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def _line(title: str, errors: dict[str, float], spent: dict[str, float]) -> None:
    if not errors:
        return
    sizes = sorted(abs(error) for error in errors.values())
    ninth = sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))]
    bias = statistics.median(errors.values())
    took = statistics.median(spent[name] for name in errors) * 1e3
    print(f"{title[:44]:44}{len(sizes):6}{statistics.median(sizes):9.1%}{ninth:8.1%}{bias:+8.1%}{took:8.2f}")


def _load(path: Path) -> Any:
    """Calculon's package. Only its exhaustive search needs pandas, so that an empty module does for it."""
    if importlib.util.find_spec("pandas") is None:
        sys.modules.setdefault("pandas", types.ModuleType("pandas"))
    sys.path.insert(0, str(path.resolve()))
    return importlib.import_module("calculon")


def _system_name(job: Job) -> str:
    return next((name for start, name in SYSTEMS.items() if job.cluster.gpu.name.startswith(start)), "")


def _system(job: Job, path: Path) -> dict[str, Any]:
    described = json.loads((path / "systems" / _system_name(job)).read_text("utf-8"))
    system: dict[str, Any] = copy.deepcopy(described)
    system["mem1"]["GiB"] = 1e6
    near, far = system["networks"]
    near["size"] = job.cluster.node.gpus
    far["bandwidth"] = job.cluster.node.nic_gb_per_s or far["bandwidth"]
    return system


def _application(job: Job) -> dict[str, int]:
    model = job.model
    return {
        "hidden": model.dim,
        "feedforward": model.ffn_dim * 3 // 2 if model.gated else model.ffn_dim,
        "seq_size": job.seq_len,
        "attn_heads": model.num_heads,
        "attn_size": model.head_dim,
        "num_blocks": model.num_layers,
    }


def _execution(job: Job) -> dict[str, Any]:
    layout, software = job.layout, job.software
    tp, pp, dp = layout.tp, layout.pp, layout.data_ranks
    node = job.cluster.node.gpus
    # An axis uses the links inside a node where it fits beside those before it.
    tiers, size = [], 1
    for axis in (tp, pp, dp):
        size *= axis
        tiers.append(0 if node % size == 0 else 1)
    recompute = "none"
    if layout.recompute == "full":
        recompute = "full"
    elif software.recompute_attention or software.flash_attention:
        recompute = "attn_only"
    sequence_parallel = tp > 1 and software.sequence_parallel
    return {
        "num_procs": tp * pp * dp,
        "tensor_par": tp,
        "pipeline_par": pp,
        "data_par": dp,
        "tensor_par_net": tiers[0],
        "pipeline_par_net": tiers[1],
        "data_par_net": tiers[2],
        "batch_size": job.global_batch_size,
        "microbatch_size": layout.micro_batch_size,
        "datatype": "float8" if software.precision == "float8" else "float16",
        "fused_activation": software.fusion == "compiled",
        "attention_type": "multihead",
        "activation_recompute": recompute,
        "pipeline_interleaving": layout.stages_per_rank,
        "optimizer_sharding": software.zero == 1 and dp > 1,
        "tensor_par_comm_type": "rs_ag" if sequence_parallel else "ar",
        "tensor_par_overlap": "ring" if software.overlap_tensor and tp > 1 else "none",
        "seq_par_ag_redo": sequence_parallel and recompute != "full",
        "data_par_overlap": software.overlap_data and dp > 1,
        "weight_offload": False,
        "activations_offload": False,
        "optimizer_offload": False,
        "training": True,
    }


class _Silent:
    """A logger for Calculon."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


if __name__ == "__main__":
    main()
