"""What is to be estimated: a model, how it is spread, on which cluster, with which software."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from colosse.core.config import Config
from colosse.plan.hardware import Cluster
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec

Count = Annotated[int, Field(ge=1)]


class Software(Config):
    """What the training program does that changes time and memory. The defaults are Colosse's own trainer."""

    zero: Literal[0, 1, 2, 3] | None = None
    """What data ranks of `dp_shard` share: nothing, optimiser state, gradients too, weights too. None: as the layout
    says (3, or 2 with `reshard_after_forward = false`)."""
    precision: Literal["", "float32", "float16", "bfloat16", "float8", "mxfp8", "nvfp4"] = ""
    """Of matrix products; empty: the layout's."""
    flash_attention: bool = True
    """One kernel that never writes the scores; without it they go to memory and back."""
    flash_generation: Literal[1, 2, 3] = 2
    """Of that kernel: the first (2022), FlashAttention-2, or one written for the GPU's own generation (3, cuDNN)."""
    fusion: Literal["none", "kernels", "compiled"] = "compiled"
    """How operations between the products are joined: each alone, by hand-written kernels, by a compiler."""
    fused_accumulation: bool = False
    """Whether the product that makes a weight's gradient also adds it to those of earlier micro batches."""
    cuda_graphs: bool = False
    """Launches recorded once: the host no longer limits small operations."""
    sequence_parallel: bool = True
    """Whether tensor ranks also share the tokens between the products."""
    recompute_attention: bool = False
    """Megatron's selective recomputation: only the scores (arXiv:2205.05198); where `Layout.recompute` is none."""
    selective_products: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of products that selective recomputation computes again too (torchtitan's: every other one)."""
    fused_experts: bool = False
    """Whether products of experts, their activation and conversions are one kernel, and tokens travel beside other
    computation."""
    hierarchical_experts: bool = False
    """Whether a token goes to another domain once, and to its experts there over the scale-up links (DeepEP)."""
    overlap_data: bool = True
    """Whether gathers of weights and reductions of gradients run beside the computation."""
    overlap_tensor: bool = False
    """Whether tensor ranks exchange pieces while they multiply (async TP, user buffers)."""
    overlap_pipeline: bool = True
    """Whether stages send while they compute."""
    context: Literal["ring", "all_to_all"] = "all_to_all"
    """How context ranks see each other's keys and values."""
    gradient_bytes: Literal[2, 4] = 4
    """Of a gradient on its way to the other data ranks, and while those of several micro batches are summed."""
    chunked_loss: bool = True
    """Whether the head's logits are made for some tokens at a time, never for a whole micro batch."""


class Job(Config):
    """One step of training, completely described."""

    model: ModelSpec
    layout: Layout
    cluster: Cluster
    seq_len: Count
    """Tokens of a sequence, taken as one document."""
    global_batch_size: Count
    """Sequences of a step."""
    software: Software = Software()
    optimizer: Literal["adamw", "muon"] = "adamw"
    task: Literal["pretrain", "lora"] = "pretrain"
    """`lora`: the base is frozen, so that backward needs no gradients of its weights."""
