"""Bytes that training takes on each rank of a layout: weights, gradients, optimiser state, activations, at their peak.

The step is gone through pass by pass, with what is held after each of them and what it needs for a moment; the largest
sum counts. Activations are the tensors that eager autograd keeps (a compiler may keep fewer). `colosse plan dryrun`
holds it against the program. Not counted: the device's context, buffers of collectives and an allocator's fragments,
together a few GB on a GPU, and kernels' own workspaces.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import NamedTuple

from colosse.spec.counts import Params, layer_params, params
from colosse.spec.layout import Layout
from colosse.spec.model import ModelSpec
from colosse.spec.passes import Pass, passes

MASTER_BYTES = 4
"""Of a weight, a gradient, and each value of optimiser state: float32."""

OPTIMIZER_VALUES = {"adamw": 2, "muon": 1}
"""Values of optimiser state per parameter. Muon keeps Adam's two for embedding, head and norms."""

LOGITS_AT_ONCE = 2**27
"""Logits of the head's chunk of tokens on a GPU, as `model/loss.py` cuts it."""

LOGITS_BYTES = 14
"""Per logit of the chunk: the product in bfloat16, and three float32 tensors on the way to its gradient."""

ACTIVE_STAGES = 3
"""Stages of a rank whose weights are gathered, at most, in torch's schedules with several stages a rank."""


WEIGHT_GROUPS = 6
"""About so many times a block is computed again, and kept, where backward comes in two pieces and recomputation is
full: the second piece asks for the gradients of one weight after the other."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one rank at the moment when it needs most."""

    weights: int
    """Master weights, this rank's slice."""
    gradients: int
    """Its slice of them, as far as there are any at that moment."""
    optimizer: int
    gathered: int
    """Weights and gradients that are whole on this rank while they are used, or on their way."""
    activations: int
    """Kept for backward, over all micro batches in flight; what is computed again; a pipeline's buffers."""
    logits: int
    """And the gradients that the head makes together with its loss."""

    @property
    def total(self) -> int:
        """All of it."""
        everything: int = sum(astuple(self))
        return everything


def memory(spec: ModelSpec, layout: Layout, *, seq_len: int, micro_batches: int, optimizer: str = "adamw") -> Memory:
    """Bytes on the rank that needs most; which stage of a pipeline that is depends on the sizes.

    Args:
        spec: the model.
        layout: how it is spread.
        seq_len: tokens of a sequence.
        micro_batches: of a step on each data rank, `Layout.micro_batches`.
        optimizer: `adamw` or `muon`.
    """
    ranks = (
        rank_memory(
            spec, layout, seq_len=seq_len, micro_batches=micro_batches, optimizer=optimizer, stage_rank=stage_rank
        )
        for stage_rank in range(layout.pp)
    )
    return max(ranks, key=lambda rank: rank.total)


def rank_memory(
    spec: ModelSpec, layout: Layout, *, seq_len: int, micro_batches: int, stage_rank: int, optimizer: str = "adamw"
) -> Memory:
    """Bytes on the ranks at place `stage_rank` of the pipeline; arguments as of `memory`."""
    if layout.pp == 1:
        # The second micro batch finds gradients of the first; all later ones are like it.
        order = [Pass(kind, 0, n) for n in range(min(micro_batches, 2)) for kind in ("forward", "backward")]
    else:
        order = passes(layout.schedule, layout.pp, layout.stages_per_rank, micro_batches)[stage_rank]
    held = [stage for stage in range(layout.num_stages) if layout.stage_rank(stage) == stage_rank]
    stages = {stage: _stage(spec, layout, seq_len, stage) for stage in held}
    step = _Step(layout, stages, order)
    states = [_states(spec, layout, stage, optimizer) for stage in held]
    peak = step.peak()
    inputs = micro_batches * sum(stage.received for stage in stages.values())
    return Memory(
        weights=sum(slices for slices, _ in states) * MASTER_BYTES,
        gradients=round(peak.gradients),
        optimizer=sum(values for _, values in states) * MASTER_BYTES,
        gathered=round(peak.gathered),
        activations=round(peak.activations + inputs),
        logits=round(peak.logits),
    )


def value_bytes(layout: Layout) -> int:
    """Bytes of an activation; float8 products keep their inputs in bfloat16."""
    return 4 if layout.precision == "float32" else 2


# Activations.


def activation_bytes_per_token(spec: ModelSpec, layer: int, layout: Layout) -> float:
    """What one layer keeps for backward, per token of this rank's part of a sequence (of `seq_len / cp`).

    Tensor ranks share out heads and inner widths, and between the products the tokens (sequence parallelism); what the
    first products of attention and feed-forward read is gathered, and kept whole.
    """
    stream = spec.dim / layout.tp * _stream_bytes(layout)
    if layout.recompute == "full":
        return stream + _rotations(spec, layout)
    kept = _attention_values(spec, layout) + _ffn_values(spec, layer, layout)
    between = 0 if layout.recompute == "selective" else stream  # what the feed-forward's norm reads
    return stream + between + value_bytes(layout) * kept + _rotations(spec, layout)


def _attention_values(spec: ModelSpec, layout: Layout) -> float:
    query, key = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    log_sums = spec.num_heads * 4 / value_bytes(layout)
    selective = layout.recompute == "selective"
    kept = query + 2 * key + query + log_sums  # queries, keys and values as attention reads them; its result
    if layout.cp > 1:
        # Keys and values as many as ranks. What came is kept beside what is made of it, since values are a view of it,
        # or beside what it was made of; so is the result, before and after it goes back.
        repeated = key * max(1, layout.cp * layout.tp // spec.num_kv_heads)
        kept += 2 * query + 2 * repeated + (0 if selective else repeated - 2 * key)
    if selective:
        return kept / layout.tp + _reduced(spec, layout)
    normed = query + key if spec.qk_norm != "none" else 0
    if spec.qk_norm == "full" and layout.tp > 1:  # over all ranks' heads by hand: also in float32
        normed *= 3 if value_bytes(layout) == 2 else 2
    return (kept + normed) / layout.tp + spec.dim * (3 if _narrows(layout) else 1)


def _ffn_values(spec: ModelSpec, layer: int, layout: Layout) -> float:
    selective = layout.recompute == "selective"
    inner = 2 if selective else 4  # gate and up; and the two that SwiGLU makes of them
    if spec.moe is None or not spec.is_moe_layer(layer):
        read = spec.dim * (2 if _narrows(layout) else 1)
        return inner * spec.ffn_dim / layout.tp + (_reduced(spec, layout) if selective else read)
    # Inside experts a tensor rank is a further data rank, with its part of the tokens.
    scores = 2 * spec.moe.num_experts * 4 / value_bytes(layout)
    visits = (1 if layout.ep == 1 else 3) if selective else 2  # copies of what goes in and comes out
    routed = spec.moe.top_k_experts * (inner * spec.moe.ffn_dim + visits * spec.dim)
    shared = inner * spec.moe.shared_ffn_dim + (spec.dim if selective and spec.moe.shared_ffn_dim else 0)
    read = spec.dim * (1 + (2 if spec.moe.shared_ffn_dim else 0) * _narrows(layout))
    return (scores + routed + shared + (0 if selective else read)) / layout.tp


def _reduced(spec: ModelSpec, layout: Layout) -> float:
    """Values of a last product's result, and of its sum over the tensor ranks: `selective` keeps both."""
    return spec.dim + (spec.dim / layout.tp if layout.tp > 1 else 0)


def _rotations(spec: ModelSpec, layout: Layout) -> float:
    """Cosines and sines of the whole sequence, which FSDP gives each block in the products' precision."""
    return spec.head_dim * value_bytes(layout) * layout.cp if _is_sharded(layout) and value_bytes(layout) == 2 else 0


def _stream_bytes(layout: Layout) -> int:
    return value_bytes(layout) if _is_sharded(layout) else MASTER_BYTES


def _is_sharded(layout: Layout) -> bool:
    """Whether FSDP gathers low-precision weights; a rank alone casts them, and its residual stream stays float32."""
    return layout.world_size > layout.pp


def _narrows(layout: Layout) -> bool:
    """Whether each product narrows its inputs for itself (autocast), so that several copies are kept."""
    return not _is_sharded(layout) and layout.precision != "float32"


# The stages of a rank.


@dataclass(frozen=True)
class _Stage:
    """Bytes of one stage, of one micro batch where it is activations."""

    kept: float
    """For backward, from its forward pass on."""
    again: float
    """What all its blocks have given up, and is computed again."""
    last_block: float
    """What its last block keeps: the first that backward is done with."""
    last_again: float
    """What that block has given up, and is computed again."""
    hidden: float
    """Hidden states between blocks."""
    passing: float
    """In the middle of a block's backward pass, beyond what it has freed."""
    products: float
    """Gradients of products' results, which wait for their weights' gradients where backward comes in two pieces."""
    received: int
    """Buffers for what comes from its neighbours."""
    logits: float
    """While the head computes."""
    head: float
    """Gradients that it makes then, and that stay until the backward pass."""
    blocks: float
    """Gathered weights of its blocks and embedding."""
    block: float
    """Of the largest block."""
    unit: float
    """Of the largest part that is gathered at once."""
    tables: float
    """Of the head and the last norm, or of tied embeddings."""
    narrowed: float
    """Weights in the products' precision that autocast has made."""
    slices: int
    """Parameters of the rank's slice."""
    tied: bool


def _stage(spec: ModelSpec, layout: Layout, seq_len: int, stage: int) -> _Stage:
    layers = layout.stage_layers(spec.num_layers)[stage]
    first, last = stage == 0, stage == layout.num_stages - 1
    tied = first and last and spec.tied_embeddings
    tokens = layout.micro_batch_size * seq_len // layout.cp
    value, stream = value_bytes(layout), _stream_bytes(layout)
    hidden = tokens * spec.dim * stream / layout.tp
    eager = layout.model_copy(update={"recompute": "none"})

    each = [tokens * activation_bytes_per_token(spec, layer, layout) for layer in layers]
    whole = [tokens * activation_bytes_per_token(spec, layer, eager) for layer in layers]
    again = [after - before for before, after in zip(each, whole, strict=True)]
    kept = sum(each)
    if last:
        kept += 2 * hidden  # what the last norm and the head read
        if layout.tp > 1:
            kept += tokens * spec.dim * value
    elif layout.num_stages > 1 and first:
        kept += hidden  # its result; those of later stages take the place of what they received
    if not first and last:
        kept -= hidden

    matrix = spec.vocab_size * spec.dim // layout.tp
    units = [_whole(layout, layer_params(spec, layer)) for layer in layers]
    sharded = _is_sharded(layout)
    linears = sum(_narrowed(spec, layer, layout) for layer in layers) * value if _narrows(layout) else 0
    logits = head = 0.0
    if last:
        chunk = max(128, LOGITS_AT_ONCE // (spec.vocab_size // layout.tp) // 128 * 128)
        per_logit = (LOGITS_BYTES if value == 2 else 12) + (value if tokens > chunk else 0)
        logits = min(tokens, chunk) * (spec.vocab_size // layout.tp) * per_logit
        logits += matrix * value if _narrows(layout) else 0
        head = tokens * spec.dim * stream + matrix * stream
    buffers = (stage > 0) + (not last) if layout.num_stages > 1 else 0
    if not last and layout.pp > 1 and layout.stage_rank(stage) == layout.stage_rank(stage + 1):
        buffers -= 1  # it comes from this rank, where the other stage has it
    return _Stage(
        kept=kept + (linears if layout.recompute == "none" else 0),
        again=sum(again),
        last_block=each[-1],
        last_again=again[-1],
        hidden=hidden,
        passing=max(tokens * _passing_values(spec, layer, layout) for layer in layers) * value + hidden,
        products=tokens * sum(_product_values(spec, layer, layout) for layer in layers) * value,
        received=round(hidden) * buffers,
        logits=logits,
        head=head,
        blocks=(sum(units) + (matrix if first and not tied else 0)) * value if sharded else 0,
        block=max(units) * value if sharded else 0,
        unit=max(*units, matrix * (first or last)) * value if sharded else 0,
        tables=(matrix + spec.dim) * value if sharded and last else 0,
        narrowed=0 if layout.recompute == "none" else linears,
        slices=_slice(layout, params(spec, layers=layers, first=first, last=last)),
        tied=tied,
    )


def _passing_values(spec: ModelSpec, layer: int, layout: Layout) -> float:
    """Per token: gradients of a feed-forward's two inner widths, while the third is already gone."""
    if spec.moe is None or not spec.is_moe_layer(layer):
        return 2 * spec.ffn_dim / layout.tp
    moe = spec.moe
    return moe.top_k_experts * (2 * moe.ffn_dim + spec.dim) / layout.tp


def _product_values(spec: ModelSpec, layer: int, layout: Layout) -> float:
    """Per token: results of all products of a layer."""
    projections = 2 * spec.num_heads * spec.head_dim + 2 * spec.num_kv_heads * spec.head_dim
    if spec.moe is None or not spec.is_moe_layer(layer):
        return (projections + 2 * spec.ffn_dim) / layout.tp + spec.dim
    moe = spec.moe
    return (projections + moe.top_k_experts * (2 * moe.ffn_dim + spec.dim) + 2 * moe.shared_ffn_dim) / layout.tp


def _states(spec: ModelSpec, layout: Layout, stage: int, optimizer: str) -> tuple[int, int]:
    """Parameters of a rank's slice of a stage, and values of optimiser state."""
    layers = layout.stage_layers(spec.num_layers)[stage]
    mine = params(spec, layers=layers, first=stage == 0, last=stage == layout.num_stages - 1)
    slices = _slice(layout, mine)
    if optimizer == "adamw":
        return slices, 2 * slices
    matrices = Params(attention=mine.attention, ffn=mine.ffn, experts=mine.experts, shared=mine.shared)
    return slices, 2 * slices - _slice(layout, matrices)


def _slice(layout: Layout, count: Params) -> int:
    """Parameters of a rank's slice; experts, routers and shared experts are also cut over the tensor ranks by FSDP."""
    return -(
        -(_whole_dense(layout, count) + (count.router + count.shared + count.experts) // layout.tp)
        // (layout.dp_shard * layout.cp)
    )


def _whole(layout: Layout, count: Params) -> int:
    """Parameters of a block while they are gathered on a rank."""
    return _whole_dense(layout, count) + count.router + count.shared + count.experts // layout.ep


def _whole_dense(layout: Layout, count: Params) -> int:
    return (count.attention + count.ffn + count.embedding + count.head) // layout.tp + count.norms


def _narrowed(spec: ModelSpec, layer: int, layout: Layout) -> int:
    """Parameters of a layer whose narrow copies by autocast stay; experts' are made by hand, and only for backward."""
    count = layer_params(spec, layer)
    return count.total - count.norms - (0 if layout.recompute == "none" else count.experts)


# The step.


class _Moment(NamedTuple):
    """What there is beyond weights and optimiser state."""

    gradients: float = 0
    gathered: float = 0
    activations: float = 0
    logits: float = 0


class _Step:
    """Goes through the passes of a rank, and remembers the fullest moment."""

    def __init__(self, layout: Layout, stages: dict[int, _Stage], order: list[Pass]) -> None:
        self.layout, self.stages, self.order = layout, stages, order
        self.value, self.sharded = value_bytes(layout), _is_sharded(layout)
        self.pipeline = layout.pp > 1
        zero_bubble = self.pipeline and layout.schedule.endswith("zero_bubble")
        self.reshards = layout.reshard_after_forward and not zero_bubble
        self.flat = layout.dp_shard * layout.cp > 1 or layout.tp > 1
        """Whether what is gathered comes in one piece, and is copied out of it."""
        self._best = _Moment()
        self._gradients = dict.fromkeys(stages, 0.0)
        self._sums = dict.fromkeys(stages, 0.0)
        self._active: set[int] = set()
        self._blocks = dict.fromkeys(stages, False)
        self._tables = dict.fromkeys(stages, False)
        self._held = self._heads = 0.0

    def peak(self) -> _Moment:
        """The fullest moment of the step."""
        end = {one.stage: n for n, one in enumerate(self.order) if one.kind in ("backward", "weight")}
        for n, one in enumerate(self.order):
            self._look_ahead(n)
            stage = self.stages[one.stage]
            if one.kind == "forward":
                self._forward(one.stage, stage)
            else:
                self._backward(one.stage, stage, one.kind, last=end[one.stage] == n)
        return self._best

    def _look_ahead(self, n: int) -> None:
        """A rank with several stages gathers those that come next, and gives back the others."""
        if self.layout.stages_per_rank == 1:
            return
        coming: list[int] = []
        for one in self.order[n:]:
            if one.stage not in coming:
                coming.append(one.stage)
            if len(coming) == min(ACTIVE_STAGES, len(self.stages)):
                break
        for stage in self.stages:
            if (stage in coming) != (stage in self._active):
                self._blocks[stage] = self._tables[stage] = stage in coming
        self._active = set(coming)

    def _note(self, *, gathered: float = 0, activations: float = 0, logits: float = 0) -> None:
        """A moment: what is held, and this for a while."""
        there = sum(stage.blocks * self._blocks[number] for number, stage in self.stages.items())
        there += sum(stage.tables * self._tables[number] for number, stage in self.stages.items())
        now = _Moment(
            sum(self._gradients.values()),
            there + sum(self._sums.values()) + gathered,
            self._held + activations,
            self._heads + logits,
        )
        if sum(now) > sum(self._best):
            self._best = now

    def _forward(self, number: int, stage: _Stage) -> None:
        self._held += stage.kept
        self._heads += stage.head
        self._blocks[number] = not self.reshards
        self._tables[number] = True
        last = stage.block if stage.tied or not stage.tables else stage.tables  # in one piece, until the next comes
        self._note(gathered=last * (self.flat and not self.pipeline) + stage.narrowed, logits=stage.logits)

    def _backward(self, number: int, stage: _Stage, kind: str, *, last: bool) -> None:
        if kind == "weight":
            self._note(gathered=stage.block, activations=WEIGHT_GROUPS * stage.again)
            self._weights_gradients(number, stage, last=last)
            self._held -= stage.kept + stage.products
            self._heads -= stage.head
            return
        self._heads -= stage.head
        # In the last block, which is the first: its weights, the next block's in one piece, its weights' gradients.
        own = stage.block if self._blocks[number] else 3 * stage.block
        if self.pipeline or stage.tied:
            own += stage.tables  # the gradient that the head has made
        else:
            self._tables[number] = False
            own += stage.tables / self.value * MASTER_BYTES
        self._note(gathered=own, activations=stage.last_again + stage.passing)
        if not self.pipeline and self.sharded:  # it is done: two blocks' weights, its gradients, and these on their way
            own = (3 - 2 * self._blocks[number] + MASTER_BYTES / self.value) * stage.block
            self._note(gathered=own + stage.tables * stage.tied, activations=stage.hidden - stage.last_block)
        self._blocks[number] = self.pipeline
        if kind == "input":
            self._heads += stage.head
            self._held += stage.products
            self._held += stage.hidden * (number > 0)  # what it received keeps its gradient
            self._note(activations=stage.again)
            return
        self._held -= stage.kept
        self._weights_gradients(number, stage, last=last)

    def _weights_gradients(self, number: int, stage: _Stage, *, last: bool) -> None:
        """In a pipeline they are added up whole, and sent when the stage has had its last pass."""
        if not self.sharded:
            self._gradients[number] = stage.slices * MASTER_BYTES
        elif self.pipeline:
            self._sums[number] = (stage.blocks + stage.tables) / self.value * MASTER_BYTES
        apart = not self.pipeline or self.value < MASTER_BYTES  # else they are added where they are
        self._note(gathered=stage.block * apart, activations=stage.passing)
        self._note(gathered=stage.unit * apart)
        if self.sharded and (last or not self.pipeline):
            # Its gradients on their way; its weights are gone by then, in a pipeline its own gradients not yet.
            own = stage.unit / self.value * MASTER_BYTES
            self._note(gathered=own + (-stage.unit if self.pipeline else stage.unit))
            self._gradients[number] = stage.slices * MASTER_BYTES
            self._sums[number] = 0
        if not self.pipeline:
            self._tables[number] = False


def stages_in_flight(layout: Layout, stage_rank: int, micro_batches: int) -> int:
    """Most (micro batch, stage) pairs whose activations a rank holds at once."""
    if layout.pp == 1:
        return 1
    now = most = 0
    for one in passes(layout.schedule, layout.pp, layout.stages_per_rank, micro_batches)[stage_rank]:
        now += {"forward": 1, "backward": -1, "weight": -1}.get(one.kind, 0)
        most = max(most, now)
    return most
