"""One replica of a served model: what fits in its memory and how long a step of continuous batching takes.

A step computes one new token for each of a number of running answers and, beside them, a chunk of waiting prompts
(chunked prefill, as vLLM, SGLang and TensorRT-LLM do it). Its time is a roofline summed over kinds of work: products
of weights (bound by FLOPs or by reading the weights), attention over the keys and values kept, attention of prompts,
exchanges between the replica's GPUs, and overheads for each layer, step and sequence. docs/plan/serve.md has the
formulae, where the efficiencies come from and how far they are from published measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from colosse.plan.hardware import Gpu
from colosse.spec.counts import Params, attended_pairs, kv_cache_bytes, params
from colosse.spec.model import ModelSpec

Weights = Literal["bf16", "fp8", "int4", "nvfp4"]
Split = Literal["tensor", "expert"]

WEIGHT_BYTES: dict[Weights, float] = {"bf16": 2.0, "fp8": 1.0, "int4": 0.53, "nvfp4": 0.5625}
"""Of a weight with its scales: int4 in groups of 128 with scale and zero, nvfp4 in blocks of 16 with an fp8 scale."""

ACHIEVABLE = 0.78
"""Of the stated peak, for large products, where nobody published a measurement; the training model's figure."""

TILE = 64
"""Rows to which a product's tokens are padded; each expert pads its own."""

PCIE = 25.0
"""GB/s in one direction between GPUs without links of their own."""


@dataclass(frozen=True)
class Rates:
    """The numbers that no data sheet states; `benchmarks/planner_serve.py` finds them."""

    memory: float = 0.93
    """Of memory bandwidth, while weights are read."""
    cache: float = 0.88
    """The same for keys and values in blocks."""
    product: float = 0.76
    """Of the best measured rate of large products."""
    tile_depth: float = 570
    """Terms of a product's inner sums whose time its tiles' begin and end cost, on a GPU of 1e15 FLOP/s; the faster
    the sums, the more of them."""
    balance: float = 0.43
    """Mean load of the GPUs that share experts, of the fullest one's."""
    attention: float = 0.90
    """Of the same in bfloat16, for a prompt's attention."""
    link: float = 0.84
    """Of the links' bandwidth, in exchanges between a replica's GPUs."""
    hop_s: float = 30e-6
    """Start of one exchange."""
    layer_s: float = 56e-6
    """Kernels of a layer that are too small to keep the GPU busy."""
    step_s: float = 1.3e-3
    """Scheduling, sampling and their like, for each step."""
    sequence_s: float = 4.3e-6
    """The same, for each running answer."""


RATES = Rates()


@dataclass(frozen=True)
class Engine:
    """A replica."""

    model: ModelSpec
    gpu: Gpu
    gpus: int = 1
    split: Split = "tensor"
    """`tensor`: every product is shared by all GPUs. `expert`: each GPU has sequences of its own and a share of the
    experts (data-parallel attention with expert parallelism)."""
    weights: Weights = "bf16"
    cache_bytes: int = 2
    """Of a value in the key/value cache."""
    nic_gb_per_s: float = 0.0
    """Of a GPU, to other scale-up domains, where the replica is larger than one."""
    domain: int = 8
    rates: Rates = RATES
    speed: float = 1.0
    """Factor on everything, for bands."""

    @cached_property
    def _count(self) -> Params:
        return _counted(self.model)

    # Memory, bytes on one GPU.

    @cached_property
    def _quantised(self) -> float:
        """Bytes of a weight of attention; mixtures of experts in 4 bits keep it in bfloat16, as published ones do."""
        moe = self.model.moe is not None and self.weights in ("nvfp4", "int4")
        return WEIGHT_BYTES["bf16" if moe else self.weights]

    @cached_property
    def _dense_bytes(self) -> float:
        """Of weights that every token meets, head apart."""
        count = self._count
        every = count.attention * self._quantised + (count.ffn + count.shared) * WEIGHT_BYTES[self.weights]
        return (every + 2 * count.router) / (1 if self.split == "expert" else self.gpus)

    @cached_property
    def _expert_bytes(self) -> float:
        return self._count.experts * WEIGHT_BYTES[self.weights] / self.gpus

    @cached_property
    def _head_params(self) -> float:
        return self.model.vocab_size * self.model.dim / (1 if self.split == "expert" else self.gpus)

    @property
    def weight_bytes(self) -> float:
        """All weights on a GPU; embedding and head stay in bfloat16."""
        matrices = 1 if self.model.tied_embeddings else 2
        return self._dense_bytes + self._expert_bytes + 2 * matrices * self._head_params

    def working_bytes(self, step_tokens: int) -> float:
        """Activations of a step, graphs, the device's context and libraries."""
        moe = self.model.moe
        width = 4 * self.model.dim + 2 * (moe.top_k_experts * moe.ffn_dim if moe else self.model.ffn_dim) / self.gpus
        return 3e9 + 2 * step_tokens * width

    def cached_sequence(self, tokens: float) -> float:
        """Bytes that a sequence of `tokens` tokens keeps on a GPU, spread over all GPUs that share sequences."""
        whole = kv_cache_bytes(self.model, 1, bytes_per_value=self.cache_bytes) * self._kept(tokens) / self._kept(1)
        if self.split == "expert":
            return whole / self.gpus
        return whole / min(self.gpus, 1 if self.model.mla else self.model.num_kv_heads)

    def cache_capacity(self, step_tokens: int = 8192) -> float:
        """Bytes left on a GPU for keys and values; not above 0: the model does not fit."""
        return 0.93 * (self.gpu.memory_gb * 1e9 - self.weight_bytes - self.working_bytes(step_tokens))

    def max_sequences(self, tokens: float, step_tokens: int = 8192) -> int:
        """Sequences of `tokens` tokens whose keys and values fit."""
        return max(int(self.cache_capacity(step_tokens) / self.cached_sequence(tokens)), 0)

    # Time, seconds.

    def step_s(self, sequences: float, context: float, prompt_tokens: float = 0, prompt: float = 1) -> float:
        """Time of a step.

        Args:
            sequences: running answers, each of which gets a token.
            context: tokens that each of them sees, on average.
            prompt_tokens: tokens of prompts computed beside them.
            prompt: length of the prompts that these come from.
        """
        rates, alone = self.rates, self.split == "expert"
        tokens = sequences + prompt_tokens
        computing = (
            self._products_s(tokens, sequences + prompt_tokens / prompt)
            + self._cache_s(sequences, context)
            + self._prompt_attention_s(prompt_tokens, prompt)
        )
        exchanging = self._exchange_s(tokens)
        # between servers two half batches take turns, one computing while the other is on its way
        both = max(computing, exchanging) if self.gpus > self.domain else computing + exchanging
        of_sequences = rates.sequence_s * sequences / (self.gpus if alone else 1)
        return (both + self.model.num_layers * rates.layer_s + rates.step_s + of_sequences) / self.speed

    def _products_s(self, tokens: float, sampled: float) -> float:
        """Products of weights, norms and the like between them, the head."""
        model, count = self.model, self._count
        alone = self.split == "expert"
        local, share = (tokens / self.gpus, 1) if alone else (tokens, self.gpus)
        dense = 2 * local * (count.attention + count.ffn + count.shared + count.router) / share
        seconds = self._bound_s(dense, self._dense_bytes, self._rate, self._depth(model.ffn_dim / share))
        width, moved = model.ffn_dim, 8.0 * model.dim
        if model.moe is not None:
            moe = model.moe
            touched = moe.num_experts * (1 - (1 - moe.top_k_experts / moe.num_experts) ** tokens)
            rows = tokens * moe.top_k_experts + touched * TILE / 2
            read = self._expert_bytes * touched / moe.num_experts
            depth = self._depth(moe.ffn_dim / share)
            experts = self._bound_s(2 * count.experts / moe.num_experts * rows / self.gpus, read, self._rate, depth)
            seconds += experts / (self.rates.balance if alone else 1.0)
            width = moe.top_k_experts * moe.ffn_dim + moe.shared_ffn_dim
            moved += 6 * moe.top_k_experts * model.dim / share  # tokens are sorted by expert and put back
        head = self._head_params
        seconds += self._bound_s(2 * sampled / (self.gpus if alone else 1) * head, 2 * head, self._wide_rate, model.dim)
        values = moved + (2 * (model.query_dim + model.value_dim) + 3 * width) / share
        return seconds + 2 * values * local * model.num_layers / self._memory_rate

    def _depth(self, width: float) -> float:
        """Mean length of inner sums in a feed-forward block: the model's width going in, the block's going out."""
        into = 2 if self.model.gated else 1
        return (into + 1) / (into / self.model.dim + 1 / width)

    def _cache_s(self, sequences: float, context: float) -> float:
        """Attention of running answers over what is kept."""
        seconds = sequences * self.cached_sequence(context) / (self.gpu.memory_gb_per_s * 1e9 * self.rates.cache)
        if self.model.mla is None:
            return seconds
        mla = self.model.mla
        latent = 2 * self.model.num_heads * (2 * mla.kv_rank + mla.qk_rope_dim) * self._kept(context)
        return max(seconds, sequences * latent / self.gpus / (self._wide_rate * self.rates.attention))

    def _prompt_attention_s(self, tokens: float, prompt: float) -> float:
        if not tokens:
            return 0.0
        model, length = self.model, max(int(prompt), 1)
        windowed = model.windowed_layers
        pairs = windowed * attended_pairs(length, model.sliding_window)
        pairs += (model.num_layers - windowed) * attended_pairs(length)
        flops = 2 * pairs / length * tokens * (model.query_dim + model.value_dim)
        return flops / self.gpus / (self._wide_rate * self.rates.attention)

    def _exchange_s(self, tokens: float) -> float:
        """All-reduces after attention and feed-forward, or tokens on their way to experts and back."""
        n, model = self.gpus, self.model
        if n == 1 or (self.split == "expert" and model.moe is None):
            return 0.0
        far = n > self.domain
        rate = 1e9 * self.rates.link * (self.nic_gb_per_s if far else self.gpu.link_gb_per_s or PCIE)
        if self.split == "tensor" or model.moe is None:
            sent = 1.0 if self.gpu.in_network_reduction and not far else 2 * (n - 1) / n
            return 2 * model.num_layers * (self.rates.hop_s + 2 * sent * tokens * model.dim / rate)
        places = n / self.domain if far else n  # a token goes once to each server, or GPU, that has experts of its
        copies = (places - 1) * (1 - (1 - 1 / places) ** model.moe.top_k_experts)
        one = 2 * self.rates.hop_s + 3 * tokens / n * copies * model.dim / rate  # float8 there, 16 bits back
        return (model.num_layers - model.moe.num_dense_layers) * one

    def _bound_s(self, flops: float, read: float, rate: float, depth: float) -> float:
        """The longer of computing and reading; near the ridge, where they only partly overlap, somewhat more."""
        ends = 1 + self.rates.tile_depth * rate / 1e15 / depth
        compute, memory = flops * ends / (rate * self.rates.product), read / self._memory_rate
        return float((compute**4 + memory**4) ** 0.25)

    @property
    def _memory_rate(self) -> float:
        return self.gpu.memory_gb_per_s * 1e9 * self.rates.memory

    @cached_property
    def _rate(self) -> float:
        """FLOP/s of large products in the weights' precision, or in 16 bits where the GPU lacks it."""
        wanted = {"fp8": "float8", "nvfp4": "nvfp4"}.get(self.weights, "")
        return _best(self.gpu, wanted) if wanted in self.gpu.tflops else self._wide_rate

    @cached_property
    def _wide_rate(self) -> float:
        return _best(self.gpu, "bfloat16" if "bfloat16" in self.gpu.tflops else "float16")

    def _kept(self, tokens: float) -> float:
        """Layers times tokens that they keep."""
        model = self.model
        windowed = model.windowed_layers
        return windowed * min(tokens, model.sliding_window) + (model.num_layers - windowed) * tokens


@cache
def _counted(model: ModelSpec) -> Params:
    return params(model)


def _best(gpu: Gpu, precision: str) -> float:
    return 1e12 * gpu.achievable_tflops.get(precision, ACHIEVABLE * gpu.tflops[precision])
