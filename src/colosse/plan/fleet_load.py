"""A replica under load: a pile of requests worked off (benchmarks), and a steady stream of them (users)."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from colosse.plan.fleet_engine import Engine

MAX_SEQUENCES = 2048
"""Running answers that an engine allows; TensorRT-LLM's default."""

STEP_TOKENS = 8192
"""Tokens of a step that an engine allows; TensorRT-LLM's default, and vLLM's on large GPUs."""


TINY = 1e-6
"""Of a request: below it is none."""


@dataclass(frozen=True)
class Steady:
    """A replica's state under a steady stream."""

    sequences: float
    """Answers that run at once, on average."""
    requests_per_s: float
    tpot_s: float
    """Mean time of a step, so of an output token."""
    prompt_share: float
    """Of its time, what prompts add to steps."""
    load: float
    """On prefill as its queue sees it: prompts that come while the fullest step works off one."""
    chunk_s: float
    """Time of a step that carries prompts."""
    prefill_s: float
    """From the begin of a prompt's first step to its first token."""
    service_s: float
    """Time for one prompt in the fullest steps."""

    def ttft_s(self, quantile: float = 0.0) -> float:
        """Time to the first token, mean or at a quantile.

        A prompt waits for the end of the running step and for prompts before it, then takes its own steps. The queue is
        M/G/1 with service times as uneven as exponential ones: its wait exceeds t with probability
        load x exp(-(1 - load) t / service).
        """
        load = min(self.load, 0.999)
        residual = 0.5 * self.tpot_s
        if not quantile:
            return self.prefill_s + residual + load * self.service_s / (1 - load)
        wait = self.service_s / (1 - load) * math.log(max(load / (1 - quantile), 1.0))
        return self.prefill_s + max(2 * residual, self.chunk_s * (self.load > 1 - quantile)) + wait


def steady(
    engine: Engine,
    prompt: float,
    answer: float,
    sequences: float,
    *,
    cached: float = 0.0,
    step_tokens: int = STEP_TOKENS,
) -> Steady | None:
    """The state in which `sequences` answers run at once; None where prompts would come faster than they are computed.

    Args:
        engine: the replica.
        prompt: tokens of a prompt.
        answer: tokens of an answer.
        sequences: answers at once.
        cached: share of the prompts' tokens found in a prefix cache, which are not computed.
        step_tokens: most tokens in a step.
    """
    context = prompt + answer / 2
    budget = step_tokens - sequences
    prompt *= 1 - cached
    needed = sequences * prompt / answer  # tokens of prompts for each step, on average
    if needed >= budget:
        return None
    full = engine.step_s(sequences, context, budget, prompt)
    without = engine.step_s(sequences, context)
    chunk = max(min(prompt, budget), needed)
    for _ in range(20):  # a step with prompts carries those that came during the one before
        with_chunk = engine.step_s(sequences, context, chunk, prompt)
        share = needed / chunk
        tpot = share * with_chunk + (1 - share) * without
        rate = sequences / answer / tpot
        chunk = min(max(prompt, needed, rate * with_chunk * prompt), budget)
    service = full * prompt / budget
    return Steady(
        sequences=sequences,
        requests_per_s=rate,
        tpot_s=tpot,
        prompt_share=share * (with_chunk - without) / tpot,
        load=rate * service,
        chunk_s=with_chunk,
        prefill_s=with_chunk * max(1.0, prompt / budget),
        service_s=service,
    )


def at_rate(
    engine: Engine,
    prompt: float,
    answer: float,
    requests_per_s: float,
    *,
    cached: float = 0.0,
    step_tokens: int = STEP_TOKENS,
) -> Steady:
    """The state under a rate; the fullest that there is where the rate is more than the replica takes.

    Args:
        engine: the replica.
        prompt: tokens of a prompt.
        answer: tokens of an answer.
        requests_per_s: the rate.
        cached: as in `steady`.
        step_tokens: as in `steady`.
    """
    low, high = 1e-9, float(MAX_SEQUENCES)
    state: Steady | None = None
    for _ in range(48):
        middle = math.sqrt(low * high)
        tried = steady(engine, prompt, answer, middle, cached=cached, step_tokens=step_tokens)
        if tried is None or tried.requests_per_s > requests_per_s:
            high = middle
        else:
            low, state = middle, tried
    if state is None:
        raise ValueError(f"a rate of {requests_per_s} requests a second is next to none")
    return state


@dataclass(frozen=True)
class Drained:
    """A pile of equal requests that all came at once."""

    seconds: float
    output_tokens_per_s: float
    tpot_s: float
    """Of the last requests."""
    ttft_s: float
    """Of the first requests."""


def drain(
    engine: Engine,
    prompt: int,
    answer: int,
    requests: int,
    *,
    max_sequences: int = MAX_SEQUENCES,
    step_tokens: int = STEP_TOKENS,
) -> Drained:
    """Work off `requests` equal requests: prompts as soon as there is room, oldest first, none evicted.

    Steps between which nothing begins or ends are taken together.
    """
    room: float = min(max_sequences, engine.max_sequences(prompt + answer, step_tokens), requests)
    if room < 1:
        return Drained(math.inf, 0.0, math.inf, math.inf)
    running: deque[tuple[int, float]] = deque()  # (step at which they end, how many), in order
    now, step, sequences, ends, started, first = 0.0, 0, 0.0, 0.0, 0.0, 0.0
    while requests - started > TINY or running:
        free = min(room - sequences, requests - started)
        tokens = min(max(step_tokens - sequences, 1), free * prompt) if free > TINY else 0.0
        steps = 1 if tokens else running[0][0] - step
        age = answer + step - ends / sequences if running else 0.0
        now += steps * engine.step_s(sequences, prompt + age + steps / 2, tokens, prompt)
        step += steps
        if tokens:
            begun, end = tokens / prompt, step + answer - 1
            started += begun
            first = first or (now if started > 1 - TINY else 0.0)
            if answer > 1:
                running.append((end, begun))
                sequences, ends = sequences + begun, ends + end * begun
        while running and running[0][0] <= step:
            end, ended = running.popleft()
            sequences, ends = sequences - ended, ends - end * ended
        if not running:
            sequences = ends = 0.0
    return Drained(now, requests * answer / now, (now - first) / max(answer - 1, 1), first)
