"""Spread a model over a mesh, and compute with it. The model itself knows nothing of this.

The order, for each part of the model that a rank holds: it is built without memory (meta device); float8 changes linear
layers; expert, tensor and context parallelism change what modules do; recomputation wraps blocks, and compilation wraps
those; FSDP cuts the parameters; only now is memory taken, and each rank draws the values of its own slices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from colosse.model.precision import autocast
from colosse.model.transformer import Transformer
from colosse.parallel import gradients
from colosse.parallel.compile import compile_blocks
from colosse.parallel.context import context_parallel, context_part
from colosse.parallel.expert import expert_parallel, update_balance
from colosse.parallel.float8 import use_float8
from colosse.parallel.mesh import Mesh
from colosse.parallel.pieces import held, local, materialise
from colosse.parallel.pipeline import Pipeline
from colosse.parallel.recompute import recompute
from colosse.parallel.shard import shard, sharded
from colosse.parallel.tensor import tensor_parallel
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec


class Batch(Protocol):
    """Sequences of one data rank, alike on each of its ranks; all int64 [n, S]."""

    tokens: Tensor
    targets: Tensor
    """Next token ids, -100 where nothing is to be learnt."""
    documents: Tensor | None
    positions: Tensor | None


class ParallelModel:
    """One rank's parts of a model, and the steps of training that need to know how it is spread.

    Attributes:
        spec: the model.
        mesh: where it lies.
        parts: this rank's pipeline stages; one without `pp`.
    """

    def __init__(self, spec: ModelSpec, mesh: Mesh, parts: list[Transformer], pipeline: Pipeline | None) -> None:
        self.spec = spec
        self.mesh = mesh
        self.parts = parts
        self._pipeline = pipeline

    def train_step(self, micro_batches: Sequence[Batch]) -> Tensor:
        """Forward and backward of all micro batches of a step; gradients are added to those that there are.

        Args:
            micro_batches: this data rank's, equally many on every rank, each of `micro_batch_size` sequences.

        Returns:
            [2], float64: objective and cross-entropy in nats, each summed over this data rank's targets, the same on
            each of its ranks.
        """
        if self._pipeline is not None:
            return self.mesh.sum(self._pipeline.train([self._inputs(batch) for batch in micro_batches]), "cp", "pp")
        modules = sharded(self.parts[0])
        sums = self._zeros()
        for number, batch in enumerate(micro_batches, start=1):
            for module in modules:
                module.set_requires_all_reduce(number == len(micro_batches), recurse=False)
            out = self.parts[0](**self._inputs(batch))
            out[0].backward()
            sums += out.detach()
        return self.mesh.sum(sums, "cp")

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Tensor:
        """Losses of sequences without gradients, `micro_batch_size` at a time; returns [2] as `train_step` does."""
        inputs = self._inputs(batch)
        size = self.mesh.layout.micro_batch_size
        parts = zip(*(torch.split(x, size) for x in inputs.values()), strict=True)
        pieces = [dict(zip(inputs, part, strict=True)) for part in parts]
        sums = self._zeros()
        if self._pipeline is not None:
            sums += self._pipeline.evaluate(pieces)
        else:
            for piece in pieces:
                sums += self.parts[0](**piece)
        for part in self.parts:
            for module in sharded(part):
                module.reshard()  # what backward would have done: the next weights may come from elsewhere
        return self.mesh.sum(sums, "cp", "pp")

    def finish_gradients(self, num_targets: Tensor | float, max_norm: float) -> Tensor:
        """End a step's gradients: from sums to means over `num_targets` of the whole step, clipped to `max_norm`.

        Also corrects the balance of experts by the step's tokens.

        Returns:
            The global norm before clipping, the same on every rank.
        """
        update_balance(self.parts, self.mesh)
        return gradients.finish(
            (parameter for _, parameter in self.named_parameters()), self.mesh, num_targets, max_norm
        )

    def reduce(self, values: Tensor) -> Tensor:
        """Sum over the shares of the batch of float values that are alike on each rank of one share.

        What `train_step` and `evaluate` return is such, and whatever is counted from a `Batch`.
        """
        return self.mesh.sum_data(values.clone())

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Name and parameter of all parts; a tied one once. Names are the same on every mesh."""
        for part in self.parts:
            yield from part.named_parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by name: the tensors themselves, so that a checkpoint is read right into them."""
        state: dict[str, Tensor] = {}
        for part in self.parts:
            state |= part.state_dict()
        if self.spec.tied_embeddings:
            del state["head.weight"]
        return state

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy weights in, of which each rank takes its own slices.

        Args:
            state: whole tensors under the model's names, as the importers give them.

        Raises:
            KeyError: a name of ours is missing.
        """
        for name, tensor in self.state_dict().items():
            local(tensor).copy_(state[name][held(tensor)])

    def _inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Arguments of a part's forward on this rank."""
        tokens, targets = (context_part(x, self.mesh) for x in (batch.tokens, batch.targets))
        shared = {"documents": batch.documents, "positions": batch.positions}
        return {"x": tokens, "targets": targets} | {name: x for name, x in shared.items() if x is not None}

    def _zeros(self) -> Tensor:
        return torch.zeros(2, dtype=torch.float64, device=self.mesh.device)


def build(
    spec: ModelSpec, layout: Layout, mesh: Mesh, *, seq_len: int, seed: int, z_loss: float = 0.0
) -> ParallelModel:
    """Make a model on a mesh, with first values that are the same on every mesh.

    Args:
        spec: the model.
        layout: how it is spread; `layout.check` has passed it.
        mesh: from `start(layout)`.
        seq_len: tokens of a sequence.
        seed: of the first values.
        z_loss: coefficient of the squared log-partition in the objective.

    Raises:
        UserError: float8 or compilation was asked for where it does not work.
    """
    mesh.prepare(experts=spec.moe is not None)
    stages = layout.stage_layers(spec.num_layers)
    mine: dict[int, Transformer] = {}
    for number, layers in enumerate(stages):
        if layout.stage_rank(number) == mesh.stage_rank:
            with torch.device("meta"):
                last = number == len(stages) - 1
                mine[number] = Transformer(spec, layers=layers, first=number == 0, last=last)
    for part in mine.values():
        if part.head is not None:
            part.head.z_loss = z_loss
        if layout.precision == "float8":
            use_float8(part, mesh.device)
        expert_parallel(part, mesh)
        tensor_parallel(part, mesh)
        context_parallel(part, mesh)
        for block in part.layers.values():
            recompute(block, layout.recompute)
        if not (layout.pp > 1 and layout.schedule.endswith("zero_bubble")):  # which need backward in two pieces
            compile_blocks(part, layout.compile, mesh.device)
        if layout.world_size > layout.pp:
            shard(part, mesh)
        else:
            part.forward = _in_precision(part.forward, mesh)  # type: ignore[method-assign]
        materialise(part, mesh.device, seed)
    pipeline = None
    if layout.pp > 1:
        pipeline = Pipeline(spec, mesh, mine, seq_len)
    return ParallelModel(spec, mesh, list(mine.values()), pipeline)


def _in_precision(forward: Callable[..., Tensor], mesh: Mesh) -> Callable[..., Tensor]:
    """Where FSDP does not gather weights in low precision, products of matrices cast them."""

    @functools.wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Tensor:
        with autocast(mesh.layout.precision, mesh.device):
            return forward(*args, **kwargs)

    return run
