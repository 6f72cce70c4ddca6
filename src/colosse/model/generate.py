"""Continue a prompt with a plain `Transformer` on one device: samples while training, and tests.

Serving is the business of `engines/`; here only the token ids of one sequence at a time matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from colosse.core.errors import UserError
from colosse.model.attention import KVCache
from colosse.model.transformer import Transformer


def generate(
    model: Transformer,
    prompt: Sequence[int],
    max_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int = 0,
    seed: int = 0,
    stop: Collection[int] = (),
) -> Iterator[int]:
    """Yield the ids of a continuation, as they come.

    Args:
        model: all layers, on one device.
        prompt: token ids, at least one.
        max_tokens: where it ends if nothing stops it.
        temperature: 0 takes the likeliest token.
        top_k: sample among so many of the likeliest; 0 among all.
        seed: of the sampling.
        stop: ids that end the continuation; they are not yielded.

    Raises:
        UserError: the prompt is empty.
    """
    if not prompt:
        raise UserError("cannot continue an empty prompt", hint="begin with at least one token")
    generator = torch.Generator().manual_seed(seed)
    cache = KVCache()
    device = next(model.parameters()).device
    new = list(prompt)
    for _ in range(max_tokens):
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):  # every token is a new shape
            logits = model(torch.tensor([new], device=device), cache=cache)[0, -1]
        token = _choose(logits.float().cpu(), temperature, top_k, generator)
        if token in stop:
            return
        yield token
        new = [token]


def _choose(logits: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> int:
    """One token id from logits [V]."""
    if not temperature:
        return int(logits.argmax())
    if top_k:
        lowest = logits.topk(min(top_k, logits.numel())).values[-1]
        logits = logits.masked_fill(logits < lowest, float("-inf"))
    return int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
