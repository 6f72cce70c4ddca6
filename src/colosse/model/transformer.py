"""One transformer for every family that `ModelSpec` describes. It knows no parallelism: `parallel/` applies that.

Shapes: B sequences, T tokens, S tokens of the whole sequence, D dim, V vocab_size.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from colosse.model.attention import Attention, Context, KVCache, make_context
from colosse.model.feedforward import FeedForward
from colosse.model.loss import Head
from colosse.model.moe import MoE
from colosse.model.norm import RMSNorm
from colosse.model.precision import compute_dtype
from colosse.model.rope import Rope
from colosse.spec.model import ModelSpec


class Block(nn.Module):
    """Attention, and feed-forward or mixture of experts, each with its norm and residual."""

    def __init__(self, spec: ModelSpec, layer: int) -> None:
        super().__init__()
        self.post = spec.norm_position == "post"
        self.attention_norm = RMSNorm(spec.dim, eps=spec.norm_eps)
        self.attention = Attention(spec)
        self.ffn_norm = RMSNorm(spec.dim, eps=spec.norm_eps)
        self.has_experts = spec.is_moe_layer(layer)
        if spec.moe is not None and self.has_experts:
            self.moe = MoE(spec.dim, spec.moe)
        else:
            self.ffn = FeedForward(spec.dim, spec.ffn_dim)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        feed = self.moe if self.has_experts else self.ffn
        if self.post:
            x = x + self.attention_norm(self.attention(x, context))
            x = x + self.ffn_norm(feed(x))
        else:
            x = x + self.attention(self.attention_norm(x), context)
            x = x + feed(self.ffn_norm(x))
        return x


class Transformer(nn.Module):
    """The whole model, or the layers of one pipeline stage.

    Parameters are empty until `init.initialize` or a file fills them; build under `torch.device("meta")` what is to be
    spread.

    Args:
        spec: the model.
        layers: which layers this stage holds; None for all of them.
        first: whether it holds the embedding.
        last: whether it holds the final norm and the head.
    """

    def __init__(self, spec: ModelSpec, *, layers: range | None = None, first: bool = True, last: bool = True) -> None:
        super().__init__()
        spec.check_trainable()
        self.spec = spec
        self.rope = Rope(spec)
        self.sequence_parts = 1
        """How many times longer than `x` a sequence is, where parallelism cuts it up and no positions are given."""
        held = range(spec.num_layers) if layers is None else layers
        self.embed = nn.Embedding(spec.vocab_size, spec.dim) if first else None
        self.layers = nn.ModuleDict({str(i): Block(spec, i) for i in held})
        self.norm = RMSNorm(spec.dim, eps=spec.norm_eps) if last else None
        self.head = Head(spec.dim, spec.vocab_size) if last else None
        if spec.tied_embeddings and self.embed is not None and self.head is not None:
            self.head.register_parameter("weight", cast(nn.Parameter, self.embed.weight))

    def forward(
        self,
        x: Tensor,
        targets: Tensor | None = None,
        *,
        documents: Tensor | None = None,
        positions: Tensor | None = None,
        per_target: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Compute logits, a loss, or what the next stage wants.

        Args:
            x: token ids [B, T] on the first stage, hidden states [B, T, D] on later ones.
            targets: next token ids [B, T], -100 where nothing is to be learnt; only the last stage looks at them.
            documents: [B, S] number of the document that each token belongs to; None: one document. S is the whole
                sequence even where T is a context-parallel rank's part of it.
            positions: [B, S] position of each token in its document; None: 0 .. S-1.
            per_target: with targets, return the cross-entropy of each, without gradient.
            cache: keys and values so far, in generation; `x` goes on from there.

        Returns:
            [B, T, D] without a head; logits [B, T, V] without targets; else [2]: the objective summed over the targets
            (with gradient), and the cross-entropy in nats summed over them (without); with `per_target` the
            cross-entropy of each [B, T], 0 where ignored.
        """
        h = x if self.embed is None else self.embed(x)
        whole = documents if documents is not None else positions
        length = x.shape[1] * self.sequence_parts if whole is None else whole.shape[1]
        context = make_context(
            self.spec,
            self.rope,
            length,
            h.device,
            compute_dtype(h),
            documents=documents,
            positions=positions,
            cache=cache,
        )
        for block in self.layers.values():
            h = block(h, context)
        if cache is not None:
            cache.length += length
        if self.norm is None or self.head is None:
            return h
        out: Tensor = self.head(self.norm(h), targets, per_target=per_target)
        return out

    @torch.no_grad()
    def nll(
        self, x: Tensor, targets: Tensor, *, documents: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy of each target in nats, [B, T]; arguments as in `forward`."""
        losses: Tensor = self(x, targets, documents=documents, positions=positions, per_target=True)
        return losses

    def mixtures(self) -> list[MoE]:
        """Layers with experts: once a step the trainer sums their `counts` over ranks and calls `update_balance`."""
        return [module for module in self.modules() if isinstance(module, MoE)]
