"""`Layout`: the one description of how a model and its data are spread over ranks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from colosse.core.config import Config
from colosse.core.errors import UserError
from colosse.spec.model import ModelSpec

Size = Annotated[int, Field(ge=1)]


class Layout(Config):
    """Sizes of the mesh axes, and what each rank does to fit and to be fast.

    The order of the axes, outermost first, is `pp, dp_replicate, dp_shard, cp, tp`; their product is the world size.
    `ep` is not an axis of its own: it is made of data and context ranks (`dp_shard * cp`), which are then the ranks that
    exchange tokens between experts.
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

    def check(self, spec: ModelSpec, *, seq_len: int, global_batch_size: int) -> None:
        """Refuse what cannot run, before anything is built.

        Args:
            spec: the model.
            seq_len: tokens of a sequence.
            global_batch_size: sequences of a step.

        Raises:
            UserError: names the setting, both numbers and the nearest values that work.
        """
        # helper A: the full set of rules
        del seq_len, global_batch_size
        if spec.num_heads % self.tp:
            raise UserError(f"layout.tp = {self.tp} does not divide num_heads = {spec.num_heads}")
