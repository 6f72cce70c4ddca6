"""What the cost model answers: time, memory and money of a step, each with its band, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from colosse.plan.job import Job


@dataclass(frozen=True)
class Band:
    """A number and the range in which the truth lies nine times of ten."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class StageMemory:
    """Bytes on one rank of a pipeline place, by component."""

    place: int
    """Along `pp`, from 0."""
    weights: float
    gradients: float
    optimizer: float
    gathered: float
    """Weights and gradients that are whole while they are used, and buffers of collectives."""
    activations: float
    logits: float
    workspace: float
    """Device context, libraries' workspaces, collectives' buffers, fragments of the allocator."""

    @property
    def total(self) -> float:
        """All of it."""
        return (
            self.weights
            + self.gradients
            + self.optimizer
            + self.gathered
            + self.activations
            + self.logits
            + self.workspace
        )


@dataclass(frozen=True)
class Task:
    """One pass on the pipeline's timeline."""

    place: int
    kind: str
    """`forward`, `backward` (of inputs and weights), `input` or `weight` (one of both, zero bubble)."""
    micro_batch: int
    stage: int
    start: float
    """Seconds from the step's begin."""
    end: float


@dataclass(frozen=True)
class Estimate:
    """A step of a job."""

    job: Job
    step_s: Band
    tokens_per_s_per_gpu: Band
    breakdown: dict[str, float]
    """Seconds of the step by what the slowest pipeline place spends them on; they add up to `step_s.value`. Keys, in
    order: products, attention, memory_bound, recomputation, launches, tensor_parallel, context_parallel,
    expert_parallel, pipeline_bubble, pipeline_transfer, data_parallel, optimizer, stragglers, fixed."""
    model_flops: float
    """Of a step over all GPUs, our convention (causal attention once, no recomputation)."""
    mfu: float
    """Fraction of the peak of the products' precision."""
    memory: list[StageMemory]
    memory_band: tuple[float, float]
    """Factors on the largest place's total: low and high."""
    fits: bool
    cautions: list[str] = field(default_factory=list)
    """Where the job lies outside of what the model was validated on, one sentence each."""

    @property
    def peak_memory(self) -> StageMemory:
        """The place that needs most."""
        return max(self.memory, key=lambda stage: stage.total)
