"""`Layout`: the one description of how a model and its data are spread over ranks."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

from pydantic import Field

from colosse.core.config import Config
from colosse.core.errors import UserError
from colosse.spec.model import ModelSpec

Size = Annotated[int, Field(ge=1)]

AXES = ("pp", "dp_replicate", "dp_shard", "cp", "tp")
"""Axes of the mesh, outermost first: neighbours in `tp` are neighbours in rank."""

STAGES_PER_RANK = {"1f1b": 1, "zbv_zero_bubble": 2}
"""Schedules that fix the number of stages on each rank; the others want two or more."""


class Layout(Config):
    """Sizes of the mesh axes, and what each rank does to fit and to be fast.

    The order of the axes, outermost first, is `pp, dp_replicate, dp_shard, cp, tp`; their product is the world size.
    `ep` is not an axis of its own: it is made of data, context and tensor ranks (`dp_shard * cp * tp`), which are then
    the ranks that exchange tokens between experts: inside experts each of them has tokens of its own.
    """

    pp: Size = 1
    dp_replicate: Size = 1
    dp_shard: Size = 1
    cp: Size = 1
    tp: Size = 1
    ep: Size = 1
    micro_batch_size: Size = 1
    """Sequences that a data rank computes at once."""
    schedule: Literal["1f1b", "interleaved_1f1b", "interleaved_zero_bubble", "zbv_zero_bubble"] = "1f1b"
    """Pipeline schedule."""
    stages_per_rank: Size = 1
    """Pipeline stages that a rank holds; more than one needs an interleaved schedule, `zbv_zero_bubble` has two."""
    recompute: Literal["none", "selective", "full"] = "none"
    """What backward computes again: `selective` all but the results of matrix products and attention, `full` whole
    blocks from their inputs."""
    precision: Literal["float32", "bfloat16", "float8"] = "bfloat16"
    """Of the matrix products; master weights, optimiser state and reductions are float32."""
    reshard_after_forward: bool = True
    """Give back gathered weights between forward and backward (ZeRO-3) or keep them (ZeRO-2)."""
    compile: Literal["auto", "on", "off"] = "auto"
    """`torch.compile` of each block; `auto`: where a compiler is found."""

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.pp * self.dp_replicate * self.dp_shard * self.cp * self.tp

    @property
    def data_ranks(self) -> int:
        """Number of different shares of the batch."""
        return self.dp_replicate * self.dp_shard

    @property
    def num_stages(self) -> int:
        """Pipeline stages over all ranks."""
        return self.pp * self.stages_per_rank

    def micro_batches(self, global_batch_size: int) -> int:
        """Micro batches of a step on each data rank: passes of a pipeline, or of gradient accumulation."""
        return global_batch_size // (self.data_ranks * self.micro_batch_size)

    def stage_layers(self, num_layers: int) -> list[range]:
        """The layers of each pipeline stage, in order.

        Where they do not divide evenly, the stages in the middle get one more, then the first, then the last: those two
        also have the embedding and the head. So 126 layers on 16 stages are 7, 14 times 8, and 7, as Llama 3 405B was
        trained (arXiv:2407.21783, section 3.3.2).
        """
        stages = self.num_stages
        base, more = divmod(num_layers, stages)
        favoured = [*range(1, stages - 1), 0, stages - 1][:more]
        ends = [0]
        for stage in range(stages):
            ends.append(ends[-1] + base + (stage in favoured))
        return [range(start, end) for start, end in itertools.pairwise(ends)]

    def stage_rank(self, stage: int) -> int:
        """Which place along `pp` holds a stage: round and round, or for `zbv_zero_bubble` there and back in a V."""
        lap, place = divmod(stage, self.pp)
        return self.pp - 1 - place if self.schedule == "zbv_zero_bubble" and lap % 2 else place

    def check_world(self, world_size: int) -> None:
        """Refuse to start on a number of ranks that is not the layout's.

        Raises:
            UserError: with the layout's product, the number given, and what would fit.
        """
        if world_size == self.world_size:
            return
        product = " x ".join(f"{axis} {getattr(self, axis)}" for axis in AXES)
        rest = self.world_size // self.dp_shard
        fit = f"set layout.dp_shard = {world_size // rest}, or " if world_size % rest == 0 else ""
        raise UserError(
            f"the layout is for {self.world_size} ranks ({product}) and {world_size} were started",
            hint=f"{fit}start {self.world_size}",
        )

    def check(self, spec: ModelSpec, *, seq_len: int, global_batch_size: int) -> None:
        """Refuse what cannot run, before anything is built.

        Args:
            spec: the model.
            seq_len: tokens of a sequence.
            global_batch_size: sequences of a step.

        Raises:
            UserError: names the setting, both numbers and the nearest values that work.
        """
        self._check_split(spec, seq_len)
        self._check_experts(spec)
        self._check_batch(seq_len, global_batch_size)
        if self.pp > 1:
            self._check_pipeline(spec, seq_len, self.micro_batches(global_batch_size))
        elif self.stages_per_rank > 1:
            raise UserError(f"layout.stages_per_rank = {self.stages_per_rank} needs pp > 1", hint="set it to 1")

    def _check_split(self, spec: ModelSpec, seq_len: int) -> None:
        """Heads and widths over `tp`, what is left of the heads over `cp`, the sequence over both."""
        widths = {
            "model.num_heads": spec.num_heads,
            "model.num_kv_heads": spec.num_kv_heads,
            "model.vocab_size": spec.vocab_size,
        }
        if spec.moe is None or spec.moe.num_dense_layers:
            widths["model.ffn_dim"] = spec.ffn_dim
        _must_divide("layout.tp", self.tp, widths)
        heads = {"model.num_heads / layout.tp": spec.num_heads // self.tp}
        if self.cp % (spec.num_kv_heads // self.tp):  # fewer heads than ranks are repeated
            heads["model.num_kv_heads / layout.tp"] = spec.num_kv_heads // self.tp
        _must_divide("layout.cp", self.cp, heads)
        if seq_len % (self.cp * self.tp):
            raise UserError(
                f"train.seq_len = {seq_len} is not a multiple of layout.cp {self.cp} x layout.tp {self.tp}",
                hint=f"train.seq_len = {_multiples_near(seq_len, self.cp * self.tp)} works",
            )

    def _check_experts(self, spec: ModelSpec) -> None:
        if self.ep == 1:
            return
        if spec.moe is None:
            raise UserError(f"layout.ep = {self.ep} needs a model with experts", hint="set layout.ep = 1")
        shares = {
            "model.moe.num_experts": spec.moe.num_experts,
            "layout.dp_shard x cp x tp": self.dp_shard * self.cp * self.tp,
        }
        _must_divide("layout.ep", self.ep, shares)

    def _check_batch(self, seq_len: int, global_batch_size: int) -> None:
        at_once = self.data_ranks * self.micro_batch_size
        if global_batch_size == 0 or global_batch_size % at_once:
            raise UserError(
                f"a step of {global_batch_size} sequences does not divide among {self.data_ranks} data ranks "
                f"(dp_replicate {self.dp_replicate} x dp_shard {self.dp_shard}) in micro batches of "
                f"{self.micro_batch_size}",
                hint=f"train.tokens_per_step = {_multiples_near(global_batch_size, at_once, seq_len)} works",
            )

    def _check_pipeline(self, spec: ModelSpec, seq_len: int, micro_batches: int) -> None:
        if spec.tied_embeddings:
            raise UserError(
                f"model.tied_embeddings shares a matrix between the first and the last stage of layout.pp = {self.pp}",
                hint="set model.tied_embeddings = false, or layout.pp = 1",
            )
        wanted = STAGES_PER_RANK.get(self.schedule, 0)
        if self.stages_per_rank != wanted if wanted else self.stages_per_rank < 2:
            raise UserError(
                f"layout.stages_per_rank = {self.stages_per_rank} does not go with schedule {self.schedule!r}",
                hint=f"layout.stages_per_rank = {wanted or '2 or more'} works",
            )
        if self.compile == "on" and self.schedule.endswith("zero_bubble"):
            raise UserError(
                f"schedule {self.schedule!r} takes backward apart, which layout.compile = 'on' makes one piece",
                hint='set layout.compile = "off", or layout.schedule = "interleaved_1f1b"',
            )
        if self.recompute != "none" and self.schedule.endswith("zero_bubble"):
            # Selective runs once; full would compute a block again for each of its weights (docs/plan/dryrun.md).
            raise UserError(
                f"schedule {self.schedule!r} takes backward apart, with which layout.recompute = {self.recompute!r} "
                "does not go",
                hint='set layout.recompute = "none", or layout.schedule = "interleaved_1f1b"',
            )
        if spec.num_layers < self.num_stages:
            fewer = spec.num_layers // self.stages_per_rank
            raise UserError(
                f"model.num_layers = {spec.num_layers} are not enough for the {self.num_stages} stages of layout.pp "
                f"{self.pp} x stages_per_rank {self.stages_per_rank}",
                hint=f"layout.pp = {fewer} works" if fewer else f"give the model {self.num_stages} layers",
            )
        # torch runs the schedules with several stages a rank in equal rounds of at least pp micro batches.
        rounds = max(micro_batches // self.pp, 1)
        if micro_batches < self.pp or (self.stages_per_rank > 1 and micro_batches % rounds):
            tokens = self.data_ranks * self.micro_batch_size * seq_len
            raise UserError(
                f"{micro_batches} micro batches on each data rank do not go round layout.pp = {self.pp} with schedule "
                f"{self.schedule!r}",
                hint=f"train.tokens_per_step = {_multiples_near(micro_batches, self.pp, tokens)} works",
            )


def _must_divide(setting: str, value: int, sizes: dict[str, int]) -> None:
    """Refuse a `value` that does not divide all `sizes`, naming the first that it does not and the nearest that do."""
    for name, size in sizes.items():
        if size % value:
            common = math.gcd(*sizes.values())
            divisors = [n for n in range(1, common + 1) if common % n == 0]
            near = [*[n for n in divisors if n < value][-1:], *[n for n in divisors if n > value][:1]]
            raise UserError(
                f"{setting} = {value} does not divide {name} = {size}",
                hint=f"{setting} = {' or '.join(map(str, near))} works",
            )


def _multiples_near(value: int, step: int, unit: int = 1) -> str:
    """The multiples of `step` around `value`, but not nought, in `unit`s: `8 or 16`."""
    below, above = value // step * step, -(-value // step) * step
    return " or ".join(str(n * unit) for n in sorted({below, max(above, step)}) if n)
