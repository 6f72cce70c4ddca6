"""What a rank of Colosse's trainer sends in one step, counted from the model and its layout alone.

Every collective that the program issues is here, the small ones too, so that a dry run can hold the claim against what
it has measured. Bytes are those of a message: the larger of what one rank gives and gets, before any algorithm divides
it into pieces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from colosse.spec.layout import Layout
from colosse.spec.memory import ACTIVE_STAGES, LOGITS_AT_ONCE, MASTER_BYTES, value_bytes
from colosse.spec.model import ModelSpec
from colosse.spec.passes import passes

INT64_BYTES = FLOAT64_BYTES = 8

MUON_AT_ONCE = 16
"""Matrices of one shape that Muon orthogonalises together, at least; else as many as ranks share them."""


@dataclass(frozen=True)
class Collective:
    """Messages of one kind among the ranks of one axis, over one step.

    Attributes:
        operation: `all_gather`, `reduce_scatter`, `all_reduce`, `all_to_all`, `send` or `recv`.
        axis: `tp`, `cp`, `fsdp` (weights and gradients), `dp_replicate`, `ep`, `expert_fsdp` (those of experts),
            `folded` (of routers and shared experts where there is `tp`), `pp`, or `world`.
        ranks: of the axis.
        count: of messages.
        bytes: of all of them together.
    """

    operation: str
    axis: str
    ranks: int
    count: int
    bytes: int


def axes(layout: Layout) -> dict[str, tuple[int, int]]:
    """Of each axis, its size and how far apart in rank its neighbours are."""
    replica = layout.dp_shard * layout.cp * layout.tp
    return {
        "tp": (layout.tp, 1),
        "cp": (layout.cp, layout.tp),
        "fsdp": (layout.dp_shard * layout.cp, layout.tp),
        "dp_replicate": (layout.dp_replicate, replica),
        "ep": (layout.ep, 1),
        "expert_fsdp": (replica // layout.ep, layout.ep),
        "folded": (replica, 1),
        "pp": (layout.pp, layout.world_size // layout.pp),
        "world": (layout.world_size, 1),
    }


def axis_of(layout: Layout, ranks: Sequence[int]) -> str:
    """The axis that joins these ranks; where several do, the first of `axes`."""
    found = (len(ranks), ranks[1] - ranks[0])
    return next(name for name, shape in axes(layout).items() if shape == found)


def claims(
    spec: ModelSpec, layout: Layout, *, seq_len: int, micro_batches: int, stage_rank: int, optimizer: str = "adamw"
) -> list[Collective]:
    """All collectives of one step of a rank at place `stage_rank` of the pipeline; arguments as of `spec.memory`."""
    claimed = _Claims(spec, layout, seq_len, micro_batches, stage_rank)
    claimed.weights()
    if optimizer == "muon":
        claimed.orthogonalisation()
    claimed.activations()
    claimed.pipeline()
    claimed.sums()
    return claimed.collectives()


@dataclass(frozen=True)
class _Weight:
    """A parameter as a tensor rank holds it."""

    rows: int
    row: int
    """Values of a row."""
    axis: str = "fsdp"
    """Ranks over which FSDP cuts it."""
    copied: bool = False
    """Whether tensor ranks all hold it whole, each with a gradient of its own."""
    matrices: int = 0
    """How many matrices it is, of those that Muon orthogonalises."""
    parts: int = 1
    """Among how many tensor ranks each of these is cut."""
    across: bool = False
    """Whether they cut its rows and not between them."""
    stacked: bool = False
    """Whether FSDP cuts between them."""

    def padded(self, ranks: int) -> int:
        """Values when it is cut into equal pieces of whole rows."""
        return -(-self.rows // ranks) * ranks * self.row


class _Claims:
    """Adds up."""

    def __init__(self, spec: ModelSpec, layout: Layout, seq_len: int, micro_batches: int, stage_rank: int) -> None:
        self.spec, self.layout, self.micro_batches, self.stage_rank = spec, layout, micro_batches, stage_rank
        self.value = value_bytes(layout)
        self.tokens = layout.micro_batch_size * seq_len // layout.cp
        self.axes = axes(layout)
        self.stages = [s for s in range(layout.num_stages) if layout.stage_rank(s) == stage_rank]
        self.layers = {s: layout.stage_layers(spec.num_layers)[s] for s in self.stages}
        self.first, self.last = 0 in self.stages, layout.num_stages - 1 in self.stages
        self._counts: Counter[tuple[str, str]] = Counter()
        self._bytes: Counter[tuple[str, str]] = Counter()

    def add(self, operation: str, axis: str, count: int, message: int) -> None:
        """`count` messages of `message` bytes; none on an axis of one rank."""
        if self.axes[axis][0] == 1 or count == 0:
            return
        axis = next(name for name, shape in self.axes.items() if shape == self.axes[axis])
        self._counts[operation, axis] += count
        self._bytes[operation, axis] += count * message

    def collectives(self) -> list[Collective]:
        """What has been added, in order."""
        return [
            Collective(operation, axis, self.axes[axis][0], count, self._bytes[operation, axis])
            for (operation, axis), count in sorted(self._counts.items())
        ]

    # FSDP: weights come, gradients go.

    def weights(self) -> None:
        """Gathers of weights, and sums of their gradients."""
        if self.layout.world_size == self.layout.pp:
            return
        tied = self.spec.tied_embeddings and self.first and self.last
        matrix = _Weight(self.spec.vocab_size // self.layout.tp, self.spec.dim)
        norm = _Weight(self.spec.dim, 1, copied=True)
        blocks, ends = self._gathers(self._reshards), self._gathers(reshards=False)
        for stage, layers in self.layers.items():
            for layer in layers:
                self._unit(self._layer(layer), blocks[stage])
            if stage == 0 and not tied:
                self._unit([matrix], blocks[stage])
            if stage == self.layout.num_stages - 1:
                self._unit([norm, matrix], ends[stage])

    @property
    def _reshards(self) -> bool:
        """Whether blocks give their weights back after a forward pass."""
        layout = self.layout
        return layout.reshard_after_forward and not (layout.pp > 1 and layout.schedule.endswith("zero_bubble"))

    def _gathers(self, reshards: bool) -> dict[int, int]:
        """How often weights of each stage are gathered in a step.

        In a pipeline they stay after a backward pass. Where a rank has several stages, torch's schedules gather those
        of the next `ACTIVE_STAGES` that have something to do, and give back all others.
        """
        layout = self.layout
        if layout.pp == 1:
            return {0: self.micro_batches * (2 if reshards else 1)}
        order = passes(layout.schedule, layout.pp, layout.stages_per_rank, self.micro_batches)[self.stage_rank]
        coming: list[int] = []
        ahead = []
        for one in reversed(order):
            coming = [one.stage, *(stage for stage in coming if stage != one.stage)]
            ahead.append(coming[:ACTIVE_STAGES])
        gathers = dict.fromkeys(self.stages, 0)
        active: set[int] = set()
        there: set[int] = set()
        for one, next_stages in zip(order, reversed(ahead), strict=True):
            if layout.stages_per_rank > 1:
                there -= active.difference(next_stages)
                for stage in set(next_stages) - active - there:
                    gathers[stage] += 1
                    there.add(stage)
                active = set(next_stages)
            gathers[one.stage] += one.stage not in there
            there.add(one.stage)
            if reshards and one.kind == "forward":
                there.discard(one.stage)
        return gathers

    def _unit(self, weights: list[_Weight], gathers: int) -> None:
        for axis in dict.fromkeys(weight.axis for weight in weights):
            ranks = self.axes[axis][0]
            values = sum(weight.padded(ranks) for weight in weights if weight.axis == axis)
            reductions = self.micro_batches if self.layout.pp == 1 else 1
            self.add("all_gather", axis, gathers, values * self.value)
            self.add("reduce_scatter", axis, reductions, values * MASTER_BYTES)
            self.add("all_reduce", "dp_replicate", 1, values // ranks * MASTER_BYTES)
        # Of what tensor ranks hold whole, each knows the gradient that its part of the sequence gives: summed one by
        # one, in a pipeline when all micro batches have been added up in float32.
        for weight in (weight for weight in weights if weight.copied):
            if self.layout.pp == 1:
                self.add("all_reduce", "tp", self.micro_batches, weight.rows * self.value)
            else:
                self.add("all_reduce", "tp", 1, weight.rows * MASTER_BYTES)

    def _layer(self, layer: int) -> list[_Weight]:
        spec, tp = self.spec, self.layout.tp
        query, key = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
        dim = spec.dim
        found = [_Weight(dim, 1, copied=True), _Weight(dim, 1, copied=True)]
        for rows in (query, key, key):
            found.append(_Weight(rows // tp, dim, matrices=1, parts=tp))
            if spec.attention_bias:
                found.append(_Weight(rows // tp, 1))
        found.append(_Weight(dim, query // tp, matrices=1, parts=tp, across=tp > 1))
        if spec.qk_norm == "head":
            found += [_Weight(spec.head_dim, 1, copied=True)] * 2
        elif spec.qk_norm == "full":
            found += [_Weight(query // tp, 1), _Weight(key // tp, 1)]
        if spec.moe is None or not spec.is_moe_layer(layer):
            inner = _Weight(spec.ffn_dim // tp, dim, matrices=1, parts=tp)
            down = _Weight(dim, spec.ffn_dim // tp, matrices=1, parts=tp, across=tp > 1)
            return [*found, inner, inner, down]
        moe = spec.moe
        folded = "folded" if tp > 1 else "fsdp"
        found.append(_Weight(moe.num_experts, dim, folded))
        if moe.shared_ffn_dim:
            inner = _Weight(moe.shared_ffn_dim, dim, folded, matrices=1)
            found += [inner, inner, _Weight(dim, moe.shared_ffn_dim, folded, matrices=1)]
        inner = self._experts(moe.num_experts, moe.ffn_dim, dim)
        return [*found, inner, inner, self._experts(moe.num_experts, dim, moe.ffn_dim)]

    def _experts(self, experts: int, rows: int, row: int) -> _Weight:
        """One matrix of each expert that an expert rank has; cut among them, or within where they are too few."""
        held = experts // self.layout.ep
        axis = "expert_fsdp" if self.layout.ep > 1 else "folded" if self.layout.tp > 1 else "fsdp"
        ranks = self.axes[axis][0]
        if held % ranks and rows % ranks == 0:
            return _Weight(rows, held * row, axis, matrices=held)
        return _Weight(held, rows * row, axis, matrices=held, stacked=True)

    def orthogonalisation(self) -> None:
        """Muon: parts of all matrices of a stack are exchanged for the whole of some, and back."""
        if self.layout.world_size == self.layout.pp:
            return
        layers = [layer for layers in self.layers.values() for layer in layers]
        alike = Counter(weight for layer in layers for weight in self._layer(layer) if weight.matrices)
        for weight, count in alike.items():
            ranks = self.axes[weight.axis][0] * self.layout.dp_replicate
            others = self.layout.ep if weight.axis == "expert_fsdp" else self.layout.tp if weight.axis == "fsdp" else 1
            at_once = max(MUON_AT_ONCE, ranks * others)
            for names in [at_once] * (count // at_once) + [count % at_once]:
                self._exchanges(weight, names)

    def _exchanges(self, weight: _Weight, names: int) -> None:
        """Axis by axis, outermost first: from the copies, of which each takes some, to the tensor ranks."""
        if names == 0:
            return
        ranks = self.axes[weight.axis][0]
        one = weight.rows * weight.row // weight.matrices  # values of a matrix on a tensor rank
        stack = names * (-(-weight.rows // ranks) if weight.stacked else weight.matrices)
        part = one if weight.stacked else weight.padded(ranks) // weight.matrices // ranks
        copies = self.layout.dp_replicate
        stack = -(-stack // copies)
        self.add("all_gather", "dp_replicate", 1, stack * copies * part * MASTER_BYTES)
        if not weight.stacked:
            self.add("all_to_all", weight.axis, 2, -(-stack // ranks) * ranks * part * MASTER_BYTES)
            stack = -(-stack // ranks)
        if weight.parts > 1:
            self.add("all_to_all", "tp", 2, -(-stack // weight.parts) * weight.parts * one * MASTER_BYTES)

    # What passes between layers.

    def activations(self) -> None:
        """Exchanges along the sequence, between heads, and with experts."""
        spec, layout, n = self.spec, self.layout, self.micro_batches
        hidden = self.tokens * spec.dim * self.value
        again = layout.recompute != "none"
        for layer in (layer for layers in self.layers.values() for layer in layers):
            self._attention(n, hidden, again)
            if spec.is_moe_layer(layer):
                self._mixture(n)
            else:
                # Recomputation ends before a block's last sum, which backward does not look at; a norm behind it does.
                last = layout.recompute == "full" and spec.norm_position == "post"
                self.add("all_gather", "tp", n * (3 if again else 2), hidden)
                self.add("reduce_scatter", "tp", n * (3 if last else 2), hidden)
        if self.first:
            self.add("reduce_scatter", "tp", n, hidden)
            self.add("all_gather", "tp", n, hidden)
        if self.last:
            self._head(n, hidden)

    def _attention(self, n: int, hidden: int, again: bool) -> None:
        spec, layout = self.spec, self.layout
        repeated = 1 + (layout.recompute == "full")  # forward passes whose exchanges are not kept
        self.add("all_gather", "tp", n * (3 if again else 2), hidden)
        self.add("reduce_scatter", "tp", n * (1 + repeated), hidden)
        heads, kv_heads = spec.num_heads // layout.tp, spec.num_kv_heads // layout.tp
        kv_heads *= max(1, layout.cp // kv_heads)
        head = self.tokens * spec.head_dim * self.value
        self.add("all_to_all", "cp", n * (1 + repeated), (heads + 2 * kv_heads) * head)
        self.add("all_to_all", "cp", n * (1 + repeated), heads * head)
        if spec.qk_norm == "full":  # their mean squares, of queries and of keys
            self.add("all_reduce", "tp", n * 2 * (3 if again else 2), self.tokens * MASTER_BYTES)

    def _mixture(self, n: int) -> None:
        layout, moe = self.layout, self.spec.moe
        assert moe is not None  # noqa: S101 - only layers with experts
        forwards = n * (1 + (layout.recompute != "none"))
        repeated = n * (1 + (layout.recompute == "full"))
        rows = self.tokens // layout.tp * moe.top_k_experts * self.spec.dim * self.value
        self.add("all_to_all", "ep", forwards, moe.num_experts * INT64_BYTES)
        self.add("all_to_all", "ep", 2 * (n + repeated), rows)
        if moe.balance == "loss":
            for axis in ("cp", "tp"):
                self.add("all_reduce", axis, forwards, moe.num_experts * MASTER_BYTES)

    def _head(self, n: int, hidden: int) -> None:
        """Hidden states come whole; of each chunk of tokens: maxima, sums and targets' logits; the gradient back."""
        chunk = max(128, LOGITS_AT_ONCE // (self.spec.vocab_size // self.layout.tp) // 128 * 128)
        self.add("all_gather", "tp", n, hidden)
        self.add("all_reduce", "tp", n, hidden)
        for size in [chunk] * (self.tokens // chunk) + [self.tokens % chunk]:
            self.add("all_reduce", "tp", n * 3 * (size > 0), size * MASTER_BYTES)

    def pipeline(self) -> None:
        """Hidden states to the next stage and their gradients back, where that is on another rank."""
        layout = self.layout
        wide = MASTER_BYTES if layout.world_size == layout.pp else self.value
        message = self.tokens // layout.tp * self.spec.dim * wide
        for stage in self.stages:
            for other, gives, gets in ((stage + 1, "send", "recv"), (stage - 1, "recv", "send")):
                if 0 <= other < layout.num_stages and layout.stage_rank(other) != self.stage_rank:
                    for operation in (gives, gets):
                        self.add(operation, "pp", self.micro_batches, message)
                        self.add(operation, "pp", 1, MASTER_BYTES)  # the first step agrees on how to go on

    def sums(self) -> None:
        """Once a step: losses, the gradient's norm, tokens of each expert."""
        spec, layout = self.spec, self.layout
        for axis in ("cp", "pp"):
            self.add("all_reduce", axis, 1, 2 * FLOAT64_BYTES)
        if layout.data_ranks > 1:
            self.add("all_reduce", "world", 1, 3 * FLOAT64_BYTES)
        self.add("all_reduce", "world", 1, MASTER_BYTES)
        mixtures = sum(spec.is_moe_layer(layer) for layers in self.layers.values() for layer in layers)
        if spec.moe is not None and mixtures:
            for axis in ("dp_replicate", "fsdp", "tp"):
                self.add("all_reduce", axis, 1, mixtures * spec.moe.num_experts * MASTER_BYTES)
