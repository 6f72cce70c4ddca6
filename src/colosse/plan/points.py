"""Many jobs as columns of numbers, so that the cost model works on all of them at once.

One row is one job. The search makes tens of thousands of rows from one job by replacing columns; a single estimate is a
table of one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colosse.core.errors import UserError
from colosse.plan.hardware import Gpu
from colosse.plan.job import Job
from colosse.spec.counts import projection_params
from colosse.spec.model import ModelSpec

Column = NDArray[np.float64]

SCHEDULES = ("1f1b", "interleaved_1f1b", "interleaved_zero_bubble", "zbv_zero_bubble")
RECOMPUTE = ("none", "attention", "selective", "full")
"""`attention` is Megatron's selective recomputation, of the scores alone."""
FUSION = ("none", "kernels", "compiled")
OFFLOADED_PRECISIONS = ("float8", "mxfp8", "nvfp4")
"""Precisions whose inputs are made from bfloat16 on the way."""


class Points:
    """Columns by name, each of one float per row. `points.dim` is the column `dim`.

    Model: dim, layers, vocab, heads, head_dim, qk_norm (0 or 1), query (width of all queries), key (of all keys),
    value_out (of all heads' results), proj_params (of one layer's projections), mla (0 or 1), q_rank, kv_rank,
    rope_dim, nope_dim, v_dim,
    matrices (3 with a gate, else 2), ffn, moe_layers, experts, top_k, expert_ffn, shared_ffn, tied, windowed_layers,
    window.
    Layout: pp, dp_replicate, dp_shard, cp, tp, ep, micro_batch, stages_per_rank, schedule and recompute (indices into
    SCHEDULES and RECOMPUTE).
    Job: seq_len, batch (sequences of a step), lora, muon.
    Software: zero, flash, flash_generation, fusion (index into FUSION), fused_accumulation, graphs, sp,
    selective_products, fused_experts, hierarchical_experts, overlap_data, overlap_tensor, overlap_pipeline, ring,
    gradient_bytes, chunked_loss, value_bytes (of an activation), low_precision (0; 1 float8, 2 mxfp8, 3 nvfp4).
    Hardware: peak and achievable (FLOP/s in the products' precision), peak_wide and achievable_wide (in
    bfloat16 or float16), vector
    (FLOP/s), sms, memory (bytes), memory_rate, link_rate, nic_rate (bytes/s), domain, link_reduces, fabric_reduces,
    latency (s), oversubscription, pod, watts, year, gpus.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Points:
        """One row for each job.

        Raises:
            UserError: a GPU without the precision asked for.
        """
        rows = [_row(job) for job in jobs]
        return cls({name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]})

    def __getattr__(self, name: str) -> Column:
        try:
            return self._columns[name]
        except KeyError:
            raise AttributeError(name) from None

    def __len__(self) -> int:
        return len(self._columns["dim"])

    def with_columns(self, **columns: Column) -> Points:
        """The same rows with other values; a table of one row becomes as long as the columns given."""
        length = max(len(column) for column in columns.values())
        merged = {
            name: np.broadcast_to(column, length) if len(column) == 1 else column
            for name, column in self._columns.items()
        }
        unknown = set(columns) - set(merged)
        if unknown:
            raise KeyError(f"no such columns: {sorted(unknown)}")
        return Points(merged | columns)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Points:
        """Some of the rows, by index or by mask; what is the same in all of them takes no room."""
        chosen = np.arange(len(self))[rows]
        return Points(
            {
                name: np.broadcast_to(column[:1], len(chosen)) if column.strides == (0,) else column[rows]
                for name, column in self._columns.items()
            }
        )

    # What follows from the columns.

    @property
    def data_ranks(self) -> Column:
        """Different shares of the batch."""
        return self.dp_replicate * self.dp_shard

    @property
    def world(self) -> Column:
        """Ranks."""
        return self.pp * self.data_ranks * self.cp * self.tp

    @property
    def micro_batches(self) -> Column:
        """Of a step on each data rank."""
        return np.maximum(self.batch / (self.data_ranks * self.micro_batch), 1.0)

    @property
    def tokens(self) -> Column:
        """Of a micro batch on a rank, before tensor ranks share them."""
        return self.micro_batch * self.seq_len / self.cp

    @property
    def stages(self) -> Column:
        """Of the pipeline, over all ranks."""
        return self.pp * self.stages_per_rank

    def stage_layers(self) -> tuple[Column, Column, Column]:
        """Layers of the first stage, of the fullest one between, and of the last, as `Layout.stage_layers` has them."""
        stages = self.stages
        base, more = np.divmod(self.layers, stages)
        middle = base + (more > 0)
        inner = np.maximum(stages - 2, 0)
        first = base + (more > inner)
        last = base + (more > inner + 1)
        alone = stages == 1
        return (
            np.where(alone, self.layers, first),
            np.where(alone, self.layers, middle),
            np.where(alone, self.layers, last),
        )


def _row(job: Job) -> dict[str, float]:
    spec, layout, software, cluster = job.model, job.layout, job.software, job.cluster
    gpu, node, fabric = cluster.gpu, cluster.node, cluster.fabric
    precision = software.precision or layout.precision
    wide = "bfloat16" if "bfloat16" in gpu.tflops else "float16"
    asked = wide if precision in ("bfloat16", "float16") else precision
    if asked not in gpu.tflops:
        raise UserError(
            f"{gpu.name} has no {precision}",
            hint=f"layout.precision: {', '.join(gpu.tflops)}",
            param="layout.precision",
        )
    recompute: str = layout.recompute
    if recompute == "none" and software.recompute_attention:
        recompute = "attention"
    zero = software.zero
    if zero is None:
        zero = 3 if layout.reshard_after_forward else 2
    low = OFFLOADED_PRECISIONS.index(precision) + 1 if precision in OFFLOADED_PRECISIONS else 0
    columns: dict[str, Any] = _model(spec) | {
        "pp": layout.pp,
        "dp_replicate": layout.dp_replicate,
        "dp_shard": layout.dp_shard,
        "cp": layout.cp,
        "tp": layout.tp,
        "ep": layout.ep,
        "micro_batch": layout.micro_batch_size,
        "stages_per_rank": layout.stages_per_rank,
        "schedule": SCHEDULES.index(layout.schedule),
        "recompute": RECOMPUTE.index(recompute),
        "seq_len": job.seq_len,
        "batch": job.global_batch_size,
        "lora": job.task == "lora",
        "muon": job.optimizer == "muon",
        "zero": zero,
        "flash": software.flash_attention,
        "flash_generation": software.flash_generation,
        "fusion": FUSION.index(software.fusion),
        "fused_accumulation": software.fused_accumulation,
        "graphs": software.cuda_graphs,
        "sp": software.sequence_parallel,
        "selective_products": software.selective_products,
        "fused_experts": software.fused_experts,
        "hierarchical_experts": software.hierarchical_experts,
        "overlap_data": software.overlap_data,
        "overlap_tensor": software.overlap_tensor,
        "overlap_pipeline": software.overlap_pipeline,
        "ring": software.context == "ring",
        "gradient_bytes": software.gradient_bytes,
        "chunked_loss": software.chunked_loss,
        "value_bytes": 4 if precision == "float32" else 2,
        "low_precision": low,
        "peak": gpu.tflops[asked] * 1e12,
        "achievable": _achievable(gpu, asked),
        "achievable_wide": _achievable(gpu, wide),
        "peak_wide": gpu.tflops[wide] * 1e12,
        "vector": gpu.vector_tflops * 1e12,
        "sms": gpu.multiprocessors,
        "memory": gpu.memory_gb * 1e9,
        "memory_rate": gpu.memory_gb_per_s * 1e9,
        "link_rate": (gpu.link_gb_per_s or 25.0) * 1e9,  # PCIe 4.0 x16, one direction
        "nic_rate": node.nic_gb_per_s * 1e9,
        "domain": node.domain,
        "link_reduces": gpu.in_network_reduction,
        "fabric_reduces": fabric.in_network_reduction,
        "latency": fabric.latency_us * 1e-6,
        "oversubscription": fabric.oversubscription,
        "pod": fabric.pod_gpus or cluster.gpus,
        "watts": gpu.watts,
        "year": gpu.year,
        "gpus": cluster.gpus,
    }
    return {name: float(value) for name, value in columns.items()}


ACHIEVABLE = {"float32": 0.85, "nvfp4": 0.6}
"""Of the peak, where nobody published the best product of a GPU; 0.78, the median of those known, for the others."""


def _achievable(gpu: Gpu, precision: str) -> float:
    return gpu.achievable_tflops.get(precision, ACHIEVABLE.get(precision, 0.78) * gpu.tflops[precision]) * 1e12


def _model(spec: ModelSpec) -> dict[str, float]:
    moe, mla = spec.moe, spec.mla
    return {
        "dim": spec.dim,
        "layers": spec.num_layers,
        "vocab": spec.vocab_size,
        "heads": spec.num_heads,
        "head_dim": spec.head_dim,
        "qk_norm": spec.qk_norm != "none",
        "query": spec.query_dim,
        "key": spec.query_dim if mla else spec.num_kv_heads * spec.head_dim,
        "value_out": spec.value_dim,
        "proj_params": projection_params(spec),
        "mla": mla is not None,
        "q_rank": mla.q_rank if mla else 0,
        "kv_rank": mla.kv_rank if mla else 0,
        "rope_dim": mla.qk_rope_dim if mla else 0,
        "nope_dim": mla.qk_nope_dim if mla else 0,
        "v_dim": mla.v_dim if mla else 0,
        "matrices": 3 if spec.gated else 2,
        "ffn": spec.ffn_dim,
        "moe_layers": sum(spec.is_moe_layer(layer) for layer in range(spec.num_layers)),
        "experts": moe.num_experts if moe else 0,
        "top_k": moe.top_k_experts if moe else 0,
        "expert_ffn": moe.ffn_dim if moe else 0,
        "shared_ffn": moe.shared_ffn_dim if moe else 0,
        "tied": spec.tied_embeddings,
        "windowed_layers": spec.windowed_layers,
        "window": spec.sliding_window,
    }
