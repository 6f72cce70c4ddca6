"""`ModelSpec`: the one description of a transformer, from which it is counted, built, trained and exported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from colosse.core.config import Config
from colosse.core.errors import UserError

Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]


def whole(value: object) -> int | None:
    """A count that may still be the text of an override; None for what the field's own check will refuse."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]  # anything else is what we catch
    except (TypeError, ValueError):
        return None


class RopeScaling(Config):
    """How rotary frequencies are stretched beyond the length that they were trained for.

    `llama3` is the frequency-band rule of Llama 3.1; `yarn` is YaRN (arXiv:2309.00071); `linear` divides positions.
    """

    kind: Literal["linear", "llama3", "yarn"]
    factor: Annotated[float, Field(ge=1)]
    original_seq_len: CountOrNone = 0
    """Tokens of context before stretching; `llama3` and `yarn` need it."""
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 0.0
    """Multiplier of cosine and sine with `yarn`; 0: 0.1 ln(factor) + 1, as its authors recommend."""

    @model_validator(mode="after")
    def _has_a_length(self) -> RopeScaling:
        if self.kind != "linear" and not self.original_seq_len:
            raise ValueError(f"rope scaling {self.kind!r} needs original_seq_len")
        return self


class MoESpec(Config):
    """A mixture of experts in place of the dense feed-forward block."""

    num_experts: Count
    top_k_experts: Count
    ffn_dim: Count
    """Inner width of one routed expert."""
    shared_ffn_dim: CountOrNone = 0
    """Inner width of the shared experts together, applied to every token; 0 for none."""
    num_dense_layers: CountOrNone = 0
    """First layers that keep the dense block (DeepSeek's `first_k_dense_replace`)."""
    score: Literal["softmax", "sigmoid"] = "softmax"
    """What turns router logits into scores."""
    normalize: bool = True
    """Whether the chosen experts' weights are scaled to sum to one."""
    route_scale: float = 1.0
    """Multiplier of the chosen experts' weights."""
    balance: Literal["none", "bias", "loss"] = "loss"
    """`bias`: auxiliary-loss-free (arXiv:2408.15664); `loss`: the classic one (arXiv:2101.03961)."""
    balance_rate: Annotated[float, Field(ge=0)] = 0.001
    """Step of the bias, or coefficient of the loss."""

    @model_validator(mode="after")
    def _choice_is_possible(self) -> MoESpec:
        if self.top_k_experts > self.num_experts:
            raise ValueError(f"top_k_experts {self.top_k_experts} is more than num_experts {self.num_experts}")
        return self


class MLASpec(Config):
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): queries, keys and values through narrow latents.

    `ModelSpec.num_heads` are its heads; `head_dim` and `num_kv_heads` are not used.
    """

    q_rank: CountOrNone
    """Width of the queries' latent; 0: queries are projected at once (DeepSeek-V2-Lite)."""
    kv_rank: Count
    """Width of the latent that keys and values share, and that a server keeps."""
    qk_nope_dim: Count
    """Dimensions of a head's query and key without positions."""
    qk_rope_dim: Count
    """Dimensions with rotary positions; the key's are shared by all heads."""
    v_dim: Count
    """Dimensions of a head's value."""


class ModelSpec(Config):
    """A decoder-only transformer of the Llama / Mistral / Qwen / SmolLM / OLMo 2 / Mixtral kind."""

    dim: Count
    num_layers: Count
    num_heads: Count
    num_kv_heads: CountOrNone = 0
    """0: as many as `num_heads`."""
    head_dim: CountOrNone = 0
    """0: `dim / num_heads`."""
    ffn_dim: Count
    """Inner width of the feed-forward block of dense layers."""
    gated: bool = True
    """Whether feed-forward blocks have a gate (SwiGLU: three matrices) or not (GELU as in GPT-3: two)."""
    vocab_size: Count
    max_seq_len: Count = 2048
    """Positions that the model is meant for; does not limit what it computes."""
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
    rope_scaling: RopeScaling | None = None
    tied_embeddings: bool = False
    attention_bias: bool = False
    """Biases on query, key and value (Qwen2)."""
    qk_norm: Literal["none", "head", "full"] = "none"
    """RMSNorm of queries and keys: over each head (Qwen3) or over all heads together (OLMo 2)."""
    norm_position: Literal["pre", "post"] = "pre"
    """Whether the norms stand before attention and feed-forward, or after them inside the residual branch (OLMo 2)."""
    sliding_window: CountOrNone = 0
    """Tokens that a token sees, itself included; 0: all before it."""
    full_attention_every: CountOrNone = 0
    """With a window: every how many layers one sees everything (gpt-oss: 2, Gemma 3: 6); 0: none does."""
    mla: MLASpec | None = None
    moe: MoESpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        heads, dim = whole(data.get("num_heads")), whole(data.get("dim"))
        if heads and whole(data.get("num_kv_heads", 0)) == 0:
            data["num_kv_heads"] = heads
        if heads and dim and whole(data.get("head_dim", 0)) == 0:
            if dim % heads:
                raise ValueError(f"dim {dim} is not divisible by num_heads {heads}: set head_dim")
            data["head_dim"] = dim // heads
        return data

    @model_validator(mode="after")
    def _heads_fit(self) -> ModelSpec:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}")
        if self.full_attention_every and not self.sliding_window:
            raise ValueError("full_attention_every needs sliding_window")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd: rotary positions need pairs")
        if self.moe and self.moe.num_dense_layers >= self.num_layers:
            raise ValueError(
                f"moe.num_dense_layers {self.moe.num_dense_layers} leaves no layer with experts of {self.num_layers}"
            )
        return self

    def check_trainable(self) -> None:
        """Refuse what can be planned and counted, but not yet built and trained.

        Raises:
            UserError: names the setting.
        """
        planned_only = {"mla": self.mla is not None, "gated = false": not self.gated}
        planned_only["full_attention_every"] = self.full_attention_every > 0
        for name, used in planned_only.items():
            if used:
                raise UserError(
                    f"model.{name} can be planned, but the trainer cannot build it yet",
                    hint="train a model without it; `colosse plan` works with it",
                )

    @property
    def query_dim(self) -> int:
        """Width of all queries together."""
        return self.num_heads * (self.mla.qk_nope_dim + self.mla.qk_rope_dim if self.mla else self.head_dim)

    @property
    def value_dim(self) -> int:
        """Width of all heads' results together, which the output projection reads."""
        return self.num_heads * (self.mla.v_dim if self.mla else self.head_dim)

    @property
    def windowed_layers(self) -> int:
        """Layers whose attention is limited to `sliding_window`."""
        if not self.sliding_window:
            return 0
        return self.num_layers - (self.num_layers // self.full_attention_every if self.full_attention_every else 0)

    def is_moe_layer(self, layer: int) -> bool:
        """Whether layer `layer`, from 0, has experts."""
        return self.moe is not None and layer >= self.moe.num_dense_layers
