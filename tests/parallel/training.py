"""A few steps of training on a layout, and everything that must come out the same on every other one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from colosse.parallel.apply import build
from colosse.parallel.mesh import Mesh
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec, MoESpec

SEQ_LEN = 32
SEQUENCES = 8
STEPS = 3

DENSE = ModelSpec(
    dim=32, num_layers=4, num_heads=8, num_kv_heads=4, ffn_dim=48, vocab_size=64, max_seq_len=SEQ_LEN, qk_norm="head"
)
MOE = DENSE.model_copy(
    update={
        "moe": MoESpec(
            num_experts=8, top_k_experts=2, ffn_dim=16, shared_ffn_dim=16, num_dense_layers=1, balance_rate=0.01
        )
    }
)
BIASED = MOE.model_copy(update={"moe": MOE.moe.model_copy(update={"balance": "bias", "score": "sigmoid"})})
OLMO = DENSE.model_copy(update={"qk_norm": "full", "norm_position": "post"})
QWEN = DENSE.model_copy(update={"qk_norm": "none", "attention_bias": True, "sliding_window": 12, "num_kv_heads": 2})
SMALL = DENSE.model_copy(update={"num_layers": 1})
TIED = DENSE.model_copy(update={"tied_embeddings": True})


@dataclass
class Batch:
    tokens: Tensor
    targets: Tensor
    documents: Tensor | None
    positions: Tensor | None


@dataclass
class Outcome:
    """Of a run, on rank 0; gradients are those of the first step before clipping, means over targets."""

    losses: list[list[float]]
    norms: list[float]
    evaluated: list[float]
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor]


def global_batch(step: int) -> Batch:
    """Packed documents of random tokens, some targets ignored."""
    generator = torch.Generator().manual_seed(step)
    tokens = torch.randint(0, 64, (SEQUENCES, SEQ_LEN), generator=generator)
    targets = tokens.roll(-1, dims=1)
    starts = torch.rand(SEQUENCES, SEQ_LEN, generator=generator) < 0.1
    documents = starts.long().cumsum(1)
    begins = torch.where(starts, torch.arange(SEQ_LEN), 0).cummax(1).values
    targets[documents != documents.roll(-1, dims=1)] = -100
    return Batch(tokens, targets, documents, torch.arange(SEQ_LEN) - begins)


def share(batch: Batch, mesh: Mesh, packed: bool) -> Batch:
    """The data rank's sequences."""
    parts = [x.chunk(mesh.data_ranks)[mesh.data_rank] for x in vars(batch).values()]
    return Batch(*parts) if packed else Batch(parts[0], parts[1], None, None)


def whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def train(spec: ModelSpec, layout: Layout, *, packed: bool = True, z_loss: float = 0.01) -> Outcome:
    """Train on this rank; every rank of the group calls it."""
    mesh = Mesh(layout, torch.device("cpu"))
    model = build(spec, layout, mesh, seq_len=SEQ_LEN, seed=0, z_loss=z_loss)
    optimizers = [torch.optim.AdamW([p], lr=1e-2, eps=1e-4, foreach=False) for _, p in model.named_parameters()]
    outcome = Outcome([], [], [], {}, {})
    for step in range(STEPS):
        batch = share(global_batch(step), mesh, packed)
        pieces = [x.split(layout.micro_batch_size) if x is not None else None for x in vars(batch).values()]
        count = len(batch.tokens) // layout.micro_batch_size
        micro = [Batch(*(x and x[i] for x in pieces)) for i in range(count)]
        sums = model.train_step(micro)
        targets = model.reduce((batch.targets >= 0).sum().double())
        outcome.losses.append((model.reduce(sums) / targets).tolist())
        if step == 0:
            outcome.gradients = {name: whole(p.grad) / targets for name, p in model.named_parameters()}
        outcome.norms.append(model.finish_gradients(targets, 0.5).item())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    batch = share(global_batch(STEPS), mesh, packed)
    outcome.evaluated = model.reduce(model.evaluate(batch)).tolist()
    outcome.weights = {name: whole(tensor) for name, tensor in model.state_dict().items()}
    return outcome
