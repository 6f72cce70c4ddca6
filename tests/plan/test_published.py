"""Rows of a table become jobs, by rules that look at the row alone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from colosse.core.errors import UserError
from colosse.plan import published
from colosse.plan.published import LeftOut, Measured

ROW = {
    "id": "x-1",
    "source": "owner/name@abc README.md",
    "hardware": "H100-SXM-80GB",
    "gpus_per_node": "8",
    "n_gpus": "64",
    "model_family": "Llama-3-8B",
    "n_params_b": "8.03",
    "n_layers": "32",
    "d_model": "4096",
    "n_heads": "32",
    "n_kv_heads": "8",
    "d_ff": "14336",
    "vocab": "128256",
    "seq_len": "8192",
    "global_batch_seqs": "128",
    "micro_batch": "1",
    "dp": "64",
    "tp": "1",
    "pp": "1",
    "cp": "1",
    "zero_stage/fsdp": "FSDP2",
    "act_ckpt": "none",
    "precision": "bf16",
    "tokens_per_s_per_gpu": "8000",
    "notes": "torch.compile",
}


def read(tmp_path: Path, **changes: str) -> Measured | LeftOut:
    path = tmp_path / "table.csv"
    row = ROW | changes
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        writer.writeheader()
        writer.writerow(row)
    used, left = published.read(path)
    return (used or left)[0]


def job(tmp_path: Path, **changes: str) -> published.Job:
    row = read(tmp_path, **changes)
    assert isinstance(row, Measured), row
    return row.job


def reason(tmp_path: Path, **changes: str) -> str:
    row = read(tmp_path, **changes)
    assert isinstance(row, LeftOut), row
    return row.reason


def test_a_row_says_what_ran(tmp_path: Path) -> None:
    row = read(tmp_path)
    assert isinstance(row, Measured)
    assert row.step_s == pytest.approx(128 * 8192 / 64 / 8000)
    assert (row.group, row.assumed) == ("owner/name", ())
    one = row.job
    assert (one.model.gated, one.model.num_kv_heads, one.layout.dp_shard) == (True, 8, 64)
    assert (one.software.zero, one.software.fusion, one.software.flash_generation) == (3, "compiled", 2)


def test_the_framework_tells_what_the_program_does(tmp_path: Path) -> None:
    nemo = job(
        tmp_path, **{"zero_stage/fsdp": "", "precision": "fp8", "notes": "NeMo/Megatron-Core", "tp": "8", "dp": "8"}
    )
    software = nemo.software
    assert (software.zero, software.precision, software.fusion) == (1, "float8", "kernels")
    assert software.overlap_tensor
    assert software.cuda_graphs
    assert software.flash_generation == 3


def test_before_flash_attention_scores_were_written(tmp_path: Path) -> None:
    old = {"hardware": "A100-SXM-80GB", "precision": "fp16", "act_ckpt": "full", "zero_stage/fsdp": "0"}
    one = job(tmp_path, **old, notes="Megatron-DeepSpeed")
    assert not one.software.flash_attention
    assert not one.software.fused_accumulation
    assert (one.layout.recompute, one.layout.dp_replicate) == ("full", 64)
    assert job(tmp_path, **old, notes="flash attention").software.flash_attention
    assert not job(tmp_path, **(old | {"precision": "bf16"}), notes="no flash attention").software.flash_attention
    assert "number of heads" in reason(tmp_path, **old, n_heads="", notes="")


@pytest.mark.parametrize(
    ("text", "gigabytes"),
    [
        ("1600 Gb/s per node RoCE", 25.0),
        ("NVLink; RDMA 400 Gb/s per GPU", 50.0),
        ("Selene: 8x200Gb/s HDR IB per node", 25.0),
        ("4x Omni-Path links per node (100 Gb/s each)", 6.25),
    ],
)
def test_cards_are_as_the_row_says(tmp_path: Path, text: str, gigabytes: float) -> None:
    assert job(tmp_path, interconnect=text).cluster.node.nic_gb_per_s == pytest.approx(gigabytes)


def test_a_gate_follows_from_the_parameters(tmp_path: Path) -> None:
    plain = {"n_params_b": "6.7", "n_heads": "32", "n_kv_heads": "32", "d_ff": "16384", "vocab": "50257"}
    assert not job(tmp_path, **plain).model.gated


def test_known_families_bring_what_tables_leave_out(tmp_path: Path) -> None:
    moe = {"moe_experts": "256", "moe_topk": "8", "d_ff": "2048", "ep": "64", "micro_batch": "1"}
    model = job(tmp_path, model_family="DeepSeekV3", d_model="7168", n_layers="61", n_heads="128", **moe).model
    assert model.mla is not None
    assert model.moe is not None
    assert model.moe.num_dense_layers == 3
    assert job(tmp_path, model_family="Qwen3_8B", n_heads="32").model.head_dim == 128


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hardware": "TPUv5p"}, "TPU"),
        ({"hardware": "H1000"}, "not in the catalogue"),
        ({"n_gpus": ""}, "number of GPUs"),
        ({"dp": "32"}, "is not 64 GPUs"),
        ({"tp": "7"}, "does not divide"),
        ({"kind": "whole_run"}, "whole run"),
        ({"notes": "hybrid Mamba/attention"}, "state-space"),
        ({"flags": "noisy_40pct"}, "noisy"),
        ({"tokens_per_s_per_gpu": ""}, "neither step time"),
        ({"seq_len": "long"}, "is no number"),
        ({"hardware": "A100-SXM-80GB", "precision": "fp8"}, "has no float8"),
    ],
)
def test_rows_that_cannot_be_compared_say_why(tmp_path: Path, changes: dict[str, str], why: str) -> None:
    assert why in reason(tmp_path, **changes)


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column 'hardware'"):
        published.read(path)
    with pytest.raises(UserError, match="cannot read"):
        published.read(tmp_path / "missing.csv")


def test_the_table_that_comes_along_is_mostly_usable() -> None:
    used, left = published.read()
    assert len(used) > 850
    assert len(left) < 60
    assert len({row.group for row in used}) >= 12


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    plain = job(tmp_path)
    loose = {
        "hardware": " h100-sxm-80gb ",
        "n_gpus": "64.0",
        "d_model": "4,096",
        "vocab": "~128256",
        "seq_len": " 8 192 ",
        "n_kv_heads": "8.0",
        "tp": "-",
        "cp": "n/a",
        "ep": "None",
        "precision": "BF16",
    }
    assert job(tmp_path, **loose) == plain


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_gpus": "many"}, "n_gpus 'many' is no number"),
        ({"n_gpus": "-8"}, "is no number"),
        ({"n_gpus": "8.5"}, "is no whole number"),
        ({"n_gpus": ""}, "the number of GPUs is not stated"),
        ({"n_layers": "999999999"}, "is not possible"),
        ({"n_layers": "", "n_params_b": "0.1"}, "do not go with a width"),
        ({"hardware": "h100 sxm5"}, "did you mean"),
        ({"precision": "int8"}, "precision 'int8'"),
        ({"moe_experts": "8"}, "experts that a token visits is not stated"),
        ({"moe_experts": "8", "moe_topk": "9"}, "top_k_experts"),
        ({"n_kv_heads": "7"}, "not a multiple"),
        ({"tp": "3"}, "does not divide"),
        ({"vpp": "inf"}, "is no number"),
        ({"tokens_per_s_per_gpu": "fast"}, "is no number"),
        ({"tokens_per_s_per_gpu": "", "memory_gb": ""}, "neither step time nor speed nor memory"),
    ],
)
def test_what_cannot_be_read_leaves_its_row_out(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    said = reason(tmp_path, **changes)
    assert words in said
    assert "\n" not in said


def test_columns_may_lack_and_cells_may_hold_lines(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(
        "\ufeffid, Hardware ,n_gpus,seq_len,d_model,n_layers,zero_stage/fsdp,step_time_s,notes\n"
        'a,A100,8,2048,4096,32,FSDP,2.5,"two\nlines"\n'
        "b,A100,8,2048,4096,32,FSDP,2.5,,too,many\n"
        "c,A100,8\n"
    )
    used, left = published.read(path)
    assert [row.id for row in used] == ["a", "b"]
    assert [(row.id, row.reason) for row in left] == [("c", "the model's width is not stated")]
