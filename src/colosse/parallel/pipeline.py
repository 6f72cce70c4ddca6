"""Pipeline parallelism: each rank holds one or several stages of the model, and micro batches pass through them.

The schedules of torch (`torch.distributed.pipelining`) run the stages in training. What the stages need besides hidden
states is in the batch, which every rank has; losses come out on the last stage alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import (
    Schedule1F1B,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
    ScheduleZBVZeroBubble,
)

from colosse.model.precision import product_dtype
from colosse.model.transformer import Transformer
from colosse.parallel.mesh import Mesh
from colosse.spec.model import ModelSpec

SCHEDULES: dict[str, Callable[..., Any]] = {
    "interleaved_1f1b": ScheduleInterleaved1F1B,
    "interleaved_zero_bubble": ScheduleInterleavedZeroBubble,
    "zbv_zero_bubble": ScheduleZBVZeroBubble,
}
"""Those with several stages a rank."""

Inputs = dict[str, Tensor]
"""What one micro batch needs on this rank: `x`, the tokens, and the other arguments of `Transformer.forward`."""


class Pipeline:
    """The stages of one rank, and passes through all of them.

    Args:
        spec: the model.
        mesh: where it lies.
        stages: number and model of each stage of this rank.
        seq_len: tokens of a sequence.
    """

    def __init__(self, spec: ModelSpec, mesh: Mesh, stages: dict[int, Transformer], seq_len: int) -> None:
        self.mesh = mesh
        self.parts = stages
        layout = mesh.layout
        tokens = seq_len // layout.cp
        self._hidden = (layout.micro_batch_size, tokens // layout.tp, spec.dim)
        # Low precision comes from FSDP's weights, or without it from autocast, which leaves hidden states as they are.
        gathered = layout.world_size > layout.pp
        self._dtype = product_dtype(layout.precision, mesh.device) if gathered else torch.float32
        self._schedules: dict[int, Any] = {}
        self._sums = torch.zeros(2, dtype=torch.float64, device=mesh.device)
        ids = torch.empty(layout.micro_batch_size, tokens, dtype=torch.int64, device="meta")
        hidden = torch.empty(self._hidden, dtype=self._dtype, device="meta", requires_grad=True)
        sums = torch.empty(2, device="meta", requires_grad=True)
        self._stages = [
            PipelineStage(
                part,
                number,
                layout.num_stages,
                mesh.device,
                input_args=ids if number == 0 else hidden,
                output_args=sums if number == layout.num_stages - 1 else hidden,
                group=mesh.group("pp"),
            )
            for number, part in stages.items()
        ]

    def train(self, inputs: Sequence[Inputs]) -> Tensor:
        """Forward and backward of all micro batches of a step.

        Returns:
            [2], float64: summed losses on the rank of the last stage, zeros elsewhere.
        """
        self._sums.zero_()
        whole = {name: torch.cat([each[name] for each in inputs]) for name in inputs[0]}
        tokens = whole.pop("x")
        first = (tokens,) if 0 in self.parts else ()
        self._schedule(len(inputs)).step(*first, target=whole["targets"], return_outputs=False, **whole)
        return self._sums.clone()

    @torch.no_grad()
    def evaluate(self, inputs: Sequence[Inputs]) -> Tensor:
        """Forward alone, with as many micro batches as there are; returns as `train` does."""
        sums = torch.zeros_like(self._sums)
        sends: list[dist.Work | None] = []
        for each in inputs:
            keywords = {name: value for name, value in each.items() if name != "x"}
            hidden = each["x"]
            for number, part in self.parts.items():
                if number > 0:
                    hidden = self._receive(number, hidden, each["x"].shape[0])
                hidden = part(hidden, **keywords)
                if number == self.mesh.layout.num_stages - 1:
                    sums += hidden
                elif self.mesh.layout.stage_rank(number + 1) != self.mesh.stage_rank:
                    peer = self.mesh.layout.stage_rank(number + 1)
                    sends.append(dist.isend(hidden, group=self.mesh.group("pp"), group_dst=peer))
        for send in sends:
            if send is not None:
                send.wait()
        return sums

    def _receive(self, number: int, hidden: Tensor, sequences: int) -> Tensor:
        """What stage `number` works on, from the rank of the stage before, which may be this one."""
        peer = self.mesh.layout.stage_rank(number - 1)
        if peer == self.mesh.stage_rank:
            return hidden
        shape = (sequences, *self._hidden[1:])
        received = torch.empty(shape, dtype=self._dtype, device=self.mesh.device)
        dist.recv(received, group=self.mesh.group("pp"), group_src=peer)
        return received

    def _schedule(self, micro_batches: int) -> Any:
        """The schedule for so many micro batches; made once."""
        if micro_batches not in self._schedules:
            layout = self.mesh.layout
            if layout.schedule == "1f1b":
                made = Schedule1F1B(self._stages[0], micro_batches, loss_fn=self._loss, scale_grads=False)
            else:
                made = SCHEDULES[layout.schedule](self._stages, micro_batches, loss_fn=self._loss, scale_grads=False)
            self._schedules[micro_batches] = made
        return self._schedules[micro_batches]

    def _loss(self, output: Tensor, _targets: Tensor) -> Tensor:
        """The objective of one micro batch, which the last stage has computed already."""
        self._sums += output.detach()
        return output[0].clone()  # a view could not be let go of in place, as torch does
