"""The dry run: what the trainer takes and sends is measured, and is what `spec.memory` and `plan.traffic` claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colosse.core.errors import UserError
from colosse.spec.layout import Layout
from colosse.train.recipe import Recipe, load_recipe

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from colosse.plan.dryrun import RankRun, dry_run  # noqa: E402
from colosse.plan.dryrun_device import DEVICE, _balanced, pretended  # noqa: E402
from colosse.plan.dryrun_ledger import Ledger  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:FSDP2-wrapped module:UserWarning")]

RECIPES = Path(__file__).parents[2] / "recipes"
DENSE: dict[str, Any] = {
    "preset": "llama3.2-1b",
    "num_layers": 2,
    "dim": 2048,
    "num_heads": 16,
    "num_kv_heads": 8,
    "head_dim": 128,
    "ffn_dim": 5632,
    "vocab_size": 32768,
}
MOE = {**DENSE, "moe": {"num_experts": 16, "top_k_experts": 4, "ffn_dim": 1024, "shared_ffn_dim": 1024}}
QWEN = {**DENSE, "preset": "qwen3-0.6b"}
OLMO = {**DENSE, "preset": "olmo2-1b"}
INTERLEAVED = {"schedule": "interleaved_1f1b", "stages_per_rank": 4}


def recipe(model: dict[str, Any], layout: dict[str, Any], micro_batches: int, optimizer: str = "adamw") -> Recipe:
    spread = Layout(**layout)
    if spread.pp > 1:
        model = {**model, "tied_embeddings": False, "num_layers": 2 * spread.num_stages}
    tokens = 4096 * spread.data_ranks * spread.micro_batch_size * micro_batches
    return Recipe.model_validate(
        {
            "name": "dry",
            "model": model,
            "layout": layout,
            "optimizer": {"kind": optimizer},
            "train": {"seq_len": 4096, "tokens_per_step": tokens, "steps": 10},
        }
    )


@pytest.mark.parametrize(
    ("model", "layout", "micro_batches", "optimizer"),
    [
        (DENSE, {}, 2, "adamw"),
        (DENSE, {"precision": "float32", "recompute": "selective"}, 1, "adamw"),
        (MOE, {"recompute": "full"}, 2, "adamw"),
        (DENSE, {"dp_shard": 8}, 2, "adamw"),
        (DENSE, {"dp_shard": 4, "dp_replicate": 2, "reshard_after_forward": False}, 2, "muon"),
        (DENSE, {"dp_replicate": 4}, 1, "adamw"),
        (DENSE, {"cp": 4, "tp": 2, "dp_shard": 2, "recompute": "selective"}, 1, "adamw"),
        (QWEN, {"tp": 4, "dp_shard": 4, "recompute": "full"}, 2, "adamw"),
        (OLMO, {"tp": 2, "dp_shard": 2}, 1, "muon"),
        (MOE, {"dp_shard": 8, "ep": 4}, 2, "adamw"),
        (MOE, {"dp_shard": 4, "tp": 2, "cp": 2, "ep": 8, "recompute": "selective"}, 1, "muon"),
        (DENSE, {"pp": 2}, 4, "adamw"),
        (DENSE, {"pp": 4, "dp_shard": 4}, 8, "adamw"),
        (MOE, {"pp": 2, "dp_shard": 4, "ep": 4, "reshard_after_forward": False}, 4, "adamw"),
        (DENSE, {"pp": 2, "dp_shard": 2, "tp": 2, "recompute": "full", **INTERLEAVED}, 4, "adamw"),
        (DENSE, {"pp": 2, "dp_shard": 2, "schedule": "interleaved_zero_bubble", "stages_per_rank": 2}, 4, "adamw"),
        (DENSE, {"pp": 2, "dp_shard": 2, "schedule": "zbv_zero_bubble", "stages_per_rank": 2}, 4, "adamw"),
    ],
    ids=str,
)
def test_claims_are_what_is_measured(
    model: dict[str, Any], layout: dict[str, Any], micro_batches: int, optimizer: str
) -> None:
    for run in dry_run(recipe(model, layout, micro_batches, optimizer)):
        assert run.claimed_collectives == run.collectives
        assert abs(run.memory_error) < 0.05, (run.stage_rank, run.at_peak, run.claimed)


@pytest.mark.parametrize(
    ("name", "overrides", "rank"),
    [
        ("1b-1gpu", ["model.num_layers=4"], 0),
        ("3b-8gpu", ["model.num_layers=4"], 7),
        ("llama3-70b-512gpu", ["model.num_layers=4"], 100),
        ("qwen3-30b-a3b-512gpu", ["model.num_layers=4"], 511),
        ("llama3-405b-16384gpu", ["model.num_layers=64"], 16383),
    ],
)
def test_a_step_of_each_recipe(name: str, overrides: list[str], rank: int) -> None:
    """With fewer layers, but every stage; sizes and ranks as they are."""
    (run,) = dry_run(load_recipe(RECIPES / f"{name}.toml", overrides), rank)
    assert abs(run.memory_error) < 0.05
    assert abs(run.traffic_error) < 0.001
    assert run.rank == rank
    assert sum(run.at_peak.values()) == run.peak_bytes


def test_nothing_of_it_remains() -> None:
    linear = F.linear
    dry_run(recipe(DENSE, {"dp_shard": 2}, 1))
    assert F.linear is linear
    assert not dist.is_initialized()
    assert not hasattr(torch, "meta")


def test_a_larger_batch_takes_more() -> None:
    (small,), (large,) = (dry_run(recipe(DENSE, {"dp_shard": 2, "micro_batch_size": n}, 1)) for n in (1, 2))
    assert large.at_peak["activations"] > 1.3 * small.at_peak["activations"]
    assert large.at_peak["weights"] == small.at_peak["weights"]


def test_no_such_rank() -> None:
    with pytest.raises(UserError, match=r"no rank 2 .*0 to 1"):
        dry_run(recipe(DENSE, {"dp_shard": 2}, 1), rank=2)


def test_float8_is_measured_as_bfloat16() -> None:
    runs: list[list[RankRun]] = [
        dry_run(recipe(DENSE, {"dp_shard": 2, "precision": precision}, 1)) for precision in ("float8", "bfloat16")
    ]
    assert runs[0][0].peak_bytes == runs[1][0].peak_bytes


def test_the_ledger_counts_storages_while_they_live() -> None:
    ledger = Ledger(lambda ranks: "")
    with ledger:
        kept = torch.empty(1000, device=DEVICE)
        view = kept[:10]
        for _ in range(3):
            torch.empty(500, dtype=torch.float64, device=DEVICE)
        real = torch.empty(10_000)
    assert ledger.peak == 4000 + 4000
    assert (view.numel(), real.numel()) == (10, 10_000)


def test_tokens_are_shared_out_among_experts_evenly() -> None:
    there, back = _balanced(torch.empty(10, 4, device=DEVICE), torch.empty(4, 8, device=DEVICE), torch.empty(0))
    assert sorted(there) == [2, 2, 3, 3]
    assert sum(back) == 10


def test_collectives_are_counted_by_axis() -> None:
    layout = Layout(dp_shard=4, tp=2)
    ledger = Ledger(lambda ranks: f"{len(ranks)} from {ranks[0]}")
    with pretended(layout, rank=3):
        group = dist.new_group([3, 5])
        with ledger:
            dist.all_reduce(torch.empty(8, device=DEVICE))
            dist.all_gather_single(torch.empty(8, device=DEVICE), torch.empty(4, device=DEVICE), group=group)
    assert dict(ledger.counts) == {("all_reduce", "8 from 0", 8): 1, ("all_gather", "2 from 3", 2): 1}
    assert set(ledger.bytes.values()) == {32}
