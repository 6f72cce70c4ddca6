"""Published results as jobs: reads the table of measured runs, and says what a row leaves open or why it is left out.

A table is CSV with a header; the columns are those of `published.csv` (docs/plan/published.md). What a row does not
say is filled by rules that look at the row alone, never at its measured time.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from colosse.core.errors import ColosseError, UserError
from colosse.plan.hardware import Catalogue, Cluster, catalogue
from colosse.plan.job import Job, Software
from colosse.spec.counts import params
from colosse.spec.layout import Layout
from colosse.spec.model import MLASpec, ModelSpec, MoESpec

Row = Mapping[str, str]

BUILT_IN = "published.csv"

NEEDED = ("hardware", "n_gpus", "seq_len")
"""Columns without which no row can be compared."""

ABSENT = {"", "-", "–", "—", "?", "n/a", "na", "nan", "none", "null", "unknown", "not stated"}
"""What people write where a number is not known."""

LARGEST = {"n_layers": 10_000, "n_gpus": 10_000_000}
"""Beyond which a number is taken for a mistake, by column."""

LARGEST_OF_ALL = 1e9
"""Of other columns."""


@dataclass(frozen=True)
class Measured:
    """A row that can be compared."""

    id: str
    source: str
    """The table that it stands in."""
    group: str
    """Its source without version and file: what is left out together in cross-validation."""
    job: Job
    step_s: float
    """Measured seconds of a step; 0: only memory was published."""
    memory_gb: float
    """Measured gigabytes (1e9) on the fullest GPU; 0: not published."""
    allocator: bool
    """Whether that is what the framework's allocator held, not all that the device did."""
    out_of_memory: bool
    """Whether the run was published as one that did not fit."""
    assumed: tuple[str, ...] = ()
    """What the row leaves open and we filled in."""


@dataclass(frozen=True)
class LeftOut:
    """A row that cannot be compared, and why."""

    id: str
    source: str
    reason: str


class _Unusable(Exception):
    """The reason why a row is left out."""


def read(path: Path | None = None, *, hardware: Catalogue | None = None) -> tuple[list[Measured], list[LeftOut]]:
    """The rows of a table, those that can be compared and those that cannot.

    Args:
        path: a CSV file; None for the table that comes with Colosse.
        hardware: where GPUs are looked up.

    Raises:
        UserError: the file cannot be read or lacks the columns.
    """
    used: list[Measured] = []
    left: list[LeftOut] = []
    known = hardware or catalogue()
    for number, row in enumerate(_rows(path), start=1):
        name = row.get("id") or f"row {number}"
        source = row.get("source", "")
        try:
            used.append(_measured(row, name, source, known))
        except (_Unusable, ColosseError) as error:
            left.append(LeftOut(name, source, str(error)))
        except ValidationError as error:  # a shape or layout that cannot be
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            reason = first["msg"].removeprefix("Value error, ")
            left.append(LeftOut(name, source, f"{where}: {reason}".removeprefix(": ")))
    return used, left


def _rows(path: Path | None) -> list[dict[str, str]]:
    try:
        text = (
            resources.files(__package__).joinpath(BUILT_IN).read_text("utf-8")
            if path is None
            else path.read_text("utf-8-sig")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}", hint="give a CSV file") from None
    try:
        lines = [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(text)) if line]
    except csv.Error as error:
        raise UserError(f"{path} is not a table: {error}", hint="give a CSV file") from None
    header = [name.lower() for name in lines[0]] if lines else []
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}", hint="its columns are those of docs/plan/published.md")
    # A short row lacks its last cells; what a long one has too many of belongs to no column.
    return [dict(zip(header, line + [""] * (len(header) - len(line)), strict=False)) for line in lines[1:]]


def group_of(source: str) -> str:
    """A source without its version, file and section: `owner/name`, or the paper's number."""
    if match := re.search(r"arXiv[: ]?(\d{4}\.\d{4,5})", source):
        return f"arXiv:{match[1]}"
    if match := re.match(r"([\w.-]+/[\w.-]+)", source):
        return match[1]
    return source.split(";")[0].split(",")[0][:60]


def _measured(row: Row, name: str, source: str, known: Catalogue) -> Measured:
    if (kind := row.get("kind") or "pretrain") == "whole_run":
        raise _Unusable("a whole run with its interruptions, not a step")
    if not row.get("hardware"):
        raise _Unusable("no hardware")
    flags = row.get("flags", "")
    if "noisy" in flags:
        raise _Unusable("published as noisy by 40 %")
    if "regression" in row.get("notes", ""):
        raise _Unusable("published as a known regression")
    assumed: list[str] = []
    gpus = _count(row, "n_gpus", "the number of GPUs")
    cluster = _cluster(row, gpus, known)
    model = _model(row, assumed)
    seq_len = _count(row, "seq_len", "the sequence length")
    layout, software = _layout(row, model, gpus, seq_len, cluster, assumed)
    if software.precision not in cluster.gpu.tflops | {"float16": 0}:
        raise _Unusable(f"{cluster.gpu.name} has no {software.precision}")
    batch = _batch(row, layout, assumed)
    out = "oom" in flags.lower()
    step = _step_seconds(row, gpus, batch * seq_len)
    memory = _number(row, "memory_gb")
    allocator = re.search("GiB|MiB", row.get("notes", "")) is not None  # as torch prints it
    if allocator:
        memory *= 1.073741824
    if not _number(row, "micro_batch"):  # on which activations hang
        memory = 0.0
    if not (step or memory or out):
        raise _Unusable("neither step time nor speed nor memory")
    job = Job(
        model=model,
        layout=layout,
        cluster=cluster,
        seq_len=seq_len,
        global_batch_size=batch,
        software=software,
        task="lora" if kind == "lora" else "pretrain",
    )
    return Measured(name, source, group_of(source), job, step, memory, allocator, out, tuple(assumed))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_NUMBER = re.compile(r"[~≈]?\s*((?:\d{1,3}(?:[ ,_\u00a0\u202f]\d{3})+|\d+)(?:\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def _number(row: Row, column: str) -> float:
    """A cell as people write numbers: `8.0`, `1,024`, `~32`; 0: it is not stated."""
    text = row.get(column, "")
    if text.lower() in ABSENT:
        return 0.0
    match = _NUMBER.fullmatch(text)
    value = float(re.sub(r"[ ,_\u00a0\u202f]", "", match[1]) + (match[2] or "")) if match else -1.0
    if not 0 <= value <= LARGEST.get(column, LARGEST_OF_ALL):
        raise _Unusable(f"{column} {text!r} is no number" if value < 0 else f"{column} {text!r} is not possible")
    return value


def _count(row: Row, column: str, what: str = "", default: int = 0) -> int:
    """A whole number; the default, or 0, where it is not stated. Without `what` the row does without it."""
    value = _number(row, column) or default
    if value % 1:
        raise _Unusable(f"{column} {row[column]!r} is no whole number")
    if what and not value:
        raise _Unusable(f"{what} is not stated")
    return int(value)


def _cluster(row: Row, gpus: int, known: Catalogue) -> Cluster:
    """The GPUs of the row, in the catalogue's reference node, with the cards that the row states."""
    label = row["hardware"].split(" (")[0].strip()
    if "TPU" in label.upper():
        raise _Unusable("a TPU: its compiler and its links are not modelled")
    try:
        one = known.cluster("A100-SXM-80GB" if label.upper() == "A100" else label, 1)
    except ColosseError as error:
        raise _Unusable(f"{label!r} is not in the catalogue ({error.hint})") from None
    gpu, node = one.gpu, one.node
    text = row.get("interconnect", "")
    changes: dict[str, object] = {}
    per_node = _count(row, "gpus_per_node", default=node.gpus)
    if match := re.search(r"(\d+)\s*x\s*[^,;]*?links per node \((\d+) ?Gb/s", text):
        changes["nic_gb_per_s"] = int(match[1]) * int(match[2]) / 8 / per_node
    elif match := re.search(r"(\d+) ?Gb/s per node", text):
        changes["nic_gb_per_s"] = int(match[1]) / 8 / per_node
    elif match := re.search(r"(\d+) ?Gb/s (?:CX-7 )?per GPU", text):
        changes["nic_gb_per_s"] = int(match[1]) / 8
    elif match := re.search(r"(\d+)x(\d+) ?Gb/s", text):
        changes["nic_gb_per_s"] = int(match[1]) * int(match[2]) / 8 / per_node
    if node.domain == node.gpus and per_node != node.gpus:
        changes |= {"gpus": per_node, "domain": per_node}
    return Cluster(gpu=gpu, node=node.model_copy(update=changes), gpus=gpus)


MLA_FAMILIES = {
    # arXiv:2412.19437, section 4.2; Kimi K2's configuration file: the same, with 64 heads and one dense layer
    "deepseekv3": {"dense": 3, "dense_ffn": 18432, "shared": 2048, "heads": 128},
    "kimik2": {"dense": 1, "dense_ffn": 18432, "shared": 2048, "heads": 64},
}
DEEPSEEK_MLA = MLASpec(q_rank=1536, kv_rank=512, qk_nope_dim=128, qk_rope_dim=64, v_dim=128)

HEAD_DIMS = (("qwen3", 128), ("gptoss", 64))
"""Families whose head dimension is not dim / num_heads (their configuration files)."""


def _model(row: Row, assumed: list[str]) -> ModelSpec:
    family = _plain(row.get("model_family", ""))
    if "hybrid" in row.get("notes", "").lower() or "mamba" in row.get("notes", "").lower():
        raise _Unusable("a hybrid with state-space layers, which ModelSpec does not describe")
    dim = _count(row, "d_model", "the model's width")
    layers = _layers(row, dim, assumed)
    heads = _count(row, "n_heads")
    if not heads and _writes_scores(row):
        raise _Unusable("the number of heads is not stated, on which attention that writes its scores depends")
    if not heads:
        heads = max(1, dim // 128)
        assumed.append(f"{heads} heads of 128")
    fields: dict[str, object] = {
        "dim": dim,
        "num_layers": layers,
        "num_heads": heads,
        "num_kv_heads": _count(row, "n_kv_heads"),
        "head_dim": next((size for name, size in HEAD_DIMS if name in family), 0),
        "vocab_size": _count(row, "vocab", default=50304),
        "ffn_dim": _count(row, "d_ff", default=4 * dim),
    }
    if not fields["head_dim"] and dim % heads:
        fields["head_dim"] = 2 * round(dim / heads / 2)
    if (experts := _count(row, "moe_experts")) > 1:
        special = next((value for name, value in MLA_FAMILIES.items() if name in family), {})
        fields["moe"] = MoESpec(
            num_experts=experts,
            top_k_experts=_count(row, "moe_topk", "the number of experts that a token visits"),
            ffn_dim=_count(row, "d_ff", "the experts' width"),
            shared_ffn_dim=special.get("shared", 0),
            num_dense_layers=special.get("dense", 0),
        )
        if special:
            fields |= {"mla": DEEPSEEK_MLA, "ffn_dim": special["dense_ffn"], "num_heads": special["heads"]}
            fields["num_kv_heads"] = 0
            fields["head_dim"] = 128
    if "gptoss" in family:
        fields |= {"sliding_window": 128, "full_attention_every": 2}
    gated, plain = (ModelSpec.model_validate(fields | {"gated": gate}) for gate in (True, False))
    if "moe" in fields:
        return gated
    stated = 1e9 * _number(row, "n_params_b")
    if not stated:
        return plain if fields["ffn_dim"] == 4 * dim else gated
    return min(gated, plain, key=lambda spec: abs(params(spec).total - stated))


def _layers(row: Row, dim: int, assumed: list[str]) -> int:
    if layers := _count(row, "n_layers"):
        return layers
    stated = 1e9 * _number(row, "n_params_b")
    if not stated:
        raise _Unusable("the number of layers is not stated")
    vocab, ffn = _number(row, "vocab") or 50304, _number(row, "d_ff") or 4 * dim
    matrices = 2 if ffn == 4 * dim else 3
    layers = round((stated - vocab * dim) / (4 * dim**2 + matrices * dim * ffn))
    if not 1 <= layers <= LARGEST["n_layers"]:
        raise _Unusable(f"{row['n_params_b']} billion parameters do not go with a width of {dim}")
    assumed.append(f"{layers} layers, from the number of parameters")
    return layers


def _layout(
    row: Row, model: ModelSpec, gpus: int, seq_len: int, cluster: Cluster, assumed: list[str]
) -> tuple[Layout, Software]:
    notes, zero = row.get("notes", "").lower(), row.get("zero_stage/fsdp", "").lower()
    tp, pp, cp, ep = (_count(row, name, default=1) for name in ("tp", "pp", "cp", "ep"))
    if not _number(row, "tp") and not _number(row, "pp") and not zero:
        raise _Unusable("the layout is not stated")
    if gpus % (tp * pp * cp):
        raise _Unusable(f"tp {tp} x pp {pp} x cp {cp} does not divide {gpus} GPUs")
    dp = gpus // (tp * pp * cp)
    if _count(row, "dp", default=dp) != dp:
        raise _Unusable(f"dp {row['dp']} x tp {tp} x pp {pp} x cp {cp} is not {gpus} GPUs")
    vpp = _count(row, "vpp", default=1)
    if vpp > 1 and vpp * pp > model.num_layers + 2:
        assumed.append(f"vpp {vpp} read as layers of a chunk")
        vpp = max(1, round(model.num_layers / pp / vpp))
    schedule = "interleaved_1f1b" if vpp > 1 and pp > 1 else "1f1b"
    if "zero bubble" in notes and vpp > 1:
        schedule = "interleaved_zero_bubble"
    elif "1f1b" in notes and "interleaved 1f1b" in notes and pp > 1 and vpp == 1:
        schedule, vpp = "interleaved_1f1b", 2
        assumed.append("interleaved in 2 stages per rank")
    fsdp = "fsdp" in zero or "zero-3" in zero or zero in ("3", "2")
    stage = 3 if fsdp else 0 if zero in ("none", "no", "ddp") else 1
    if match := re.search(r"(?:zero|stage)[-_ ]?(\d)|^(\d)", zero):
        stage = int(match[1] or match[2])
    micro_batch = _micro_batch(row, dp, pp, fsdp, assumed)
    layout = Layout(
        pp=pp,
        dp_shard=dp if stage else 1,
        dp_replicate=1 if stage else dp,
        cp=cp,
        tp=tp,
        ep=ep,
        micro_batch_size=micro_batch,
        schedule=schedule,
        stages_per_rank=vpp if pp > 1 else 1,
        recompute=_recompute(row),
        reshard_after_forward=stage == 3,
    )
    return layout, _software(row, cluster, stage, tp)


def _micro_batch(row: Row, dp: int, pp: int, fsdp: bool, assumed: list[str]) -> int:
    """As stated; else with FSDP the whole share, cut for a pipeline into as many passes as it has places; else 1."""
    if stated := _count(row, "micro_batch"):
        return stated
    share = _number(row, "global_batch_seqs") / dp / pp
    size = int(share) if fsdp and share.is_integer() and 1 < share <= 16 else 1
    assumed.append(f"micro batch of {size}")
    return size


def _recompute(row: Row) -> str:
    text = row.get("act_ckpt", "").lower()
    if not text and "recompute" in row.get("flops_kind", ""):
        return "full"
    if text.startswith(("full", "yes", "true", "all")):
        return "full"
    return "selective" if text.startswith("selective(op") or text.startswith("selective (custom") else "none"


PRECISION_NAMES = (
    ("nvfp4", "nvfp4"),
    ("mx", "mxfp8"),
    ("fp8", "float8"),
    ("float8", "float8"),
    ("fp16", "float16"),
    ("bf16", "bfloat16"),
    ("bfloat16", "bfloat16"),
    ("float16", "float16"),
    ("fp32", "float32"),
    ("float32", "float32"),
)
"""What a precision is called, and what that is; the first name that is found counts."""


def _has_flash(row: Row) -> bool:
    notes = row.get("notes", "").lower()
    return "flash attention" in notes and not re.search(r"\bno\b[^;]*flash attention", notes)


FUSED_EXPERTS_RELEASE = (26, 6)
"""Year and month of the first release of NVIDIA's containers whose experts are one kernel."""


def _release(row: Row) -> tuple[int, int]:
    """Of the container, where the row names it."""
    match = re.search(r"\b(\d\d)\.(\d\d)(?:\.\d+)? NeMo [Cc]ontainer", f"{row.get('table', '')} {row.get('notes', '')}")
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _has_sinks(row: Row) -> bool:
    """gpt-oss's learned attention sinks, for which the newest kernels came later than the model."""
    return "gptoss" in _plain(row.get("model_family", ""))


def _writes_scores(row: Row) -> bool:
    """Before FlashAttention (2022) people trained in float16, on A100 and older."""
    old = row["hardware"].upper().startswith(("A100", "V100", "P100"))
    said = "fp16" in row.get("precision", "").lower() or "flash attention" in row.get("notes", "").lower()
    return old and said and not _has_flash(row)


def _software(row: Row, cluster: Cluster, stage: int, tp: int) -> Software:
    """What the program did, from what the row says of it and the time that its precision and hardware tell."""
    notes, text = row.get("notes", "").lower(), row.get("precision", "").lower()
    checkpoint = row.get("act_ckpt", "").lower()
    precision = next((value for name, value in PRECISION_NAMES if name in text), "")
    if text and not precision:
        raise _Unusable(f"precision {text!r} is not one that is modelled")
    precision = precision or "bfloat16"
    wide = "bfloat16" if "bfloat16" in cluster.gpu.tflops else "float16"
    if precision == "mxfp8" and "mxfp8" not in cluster.gpu.tflops:
        precision = "float8"
    if precision == "bfloat16":
        precision = wide
    flash, old = _has_flash(row), _writes_scores(row)
    sharded = stage >= 2
    said = f"{notes} {row.get('source', '').lower()}"
    megatron = re.search(r"megatron|nemo|transformer engine|nvidia", said) is not None
    megatron &= re.search(r"maxtext|paxml|\bjax\b", said) is None
    nvidia = megatron and not old and cluster.gpu.year >= 2022
    fusion = "compiled" if "torch.compile" in notes else "kernels" if megatron or not sharded else "none"
    return Software(
        zero=stage,
        precision=precision,
        flash_attention=not old,
        flash_generation=1 if flash else 3 if nvidia and not _has_sinks(row) else 2,
        fusion=fusion,
        fused_accumulation=fusion == "kernels" and "deepspeed" not in notes,
        cuda_graphs=nvidia and not row.get("moe_experts"),
        hierarchical_experts=nvidia,
        fused_experts=nvidia and _release(row) >= FUSED_EXPERTS_RELEASE,
        sequence_parallel=not old or "+sp" in checkpoint or "sequence parallel" in checkpoint,
        recompute_attention="selective(attention" in checkpoint,
        selective_products=0.5 if "selective(op" in checkpoint else 0.0,
        overlap_data=not old,
        overlap_tensor=(nvidia and tp > 1) or "asynctp" in notes,
        overlap_pipeline=not old,
        context="all_to_all" if "ulysses" in notes else "ring",
        gradient_bytes=2 if "pure" in notes or (old and (stage == 0 or precision == "float16")) else 4,
        chunked_loss=False,
    )


def _batch(row: Row, layout: Layout, assumed: list[str]) -> int:
    share = layout.data_ranks * layout.micro_batch_size
    if stated := _number(row, "global_batch_seqs"):
        return max(1, round(stated))
    assumed.append(f"a global batch of {share * layout.pp}")
    return share * layout.pp


def _step_seconds(row: Row, gpus: int, tokens: int) -> float:
    if speed := _number(row, "tokens_per_s_per_gpu"):
        return tokens / gpus / speed
    return _number(row, "step_time_s")
