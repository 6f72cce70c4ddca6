"""How good the model is now: its loss on held-out text, in nats per token and in bits per byte, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from colosse.data.loader import Batch
from colosse.data.tokenizer import Tokenizer
from colosse.model.generate import generate
from colosse.model.loss import IGNORE
from colosse.parallel.apply import ParallelModel
from colosse.parallel.shard import sharded
from colosse.train.feed import Sequences, to_device
from colosse.train.recipe import EvalConfig


@dataclass(frozen=True)
class HeldOut:
    """Held-out text of one source.

    Attributes:
        sequences: in their order, which is that of the documents.
        total: how many there are.
        count: how many of them are used, evenly spread over all: neighbours are of one document.
    """

    sequences: Sequences
    total: int
    count: int

    def batch(self, first: int, size: int) -> Batch:
        """The used sequences `first` to `first + size - 1`; beyond the last, rows that ask for nothing."""
        numbers = [number * self.total // self.count for number in range(first, min(first + size, self.count))]
        rows = [self.sequences.batch(number, 1) for number in numbers] or [self.sequences.batch(0, 1)]
        return _stacked(rows, size, nothing=not numbers)


@dataclass(frozen=True)
class Loss:
    """The loss on some text.

    Attributes:
        nats: summed over the tokens that were to be predicted.
        tokens: how many.
        bytes: of UTF-8 that they stand for; the end-of-text token stands for none, and its nats count all the same, so
            that `bpb` is the length of a code from which the documents can be restored.
    """

    nats: float
    tokens: int
    bytes: int

    @property
    def per_token(self) -> float:
        """Nats per token, the `val_loss`; compares models with one tokenizer."""
        return self.nats / max(1, self.tokens)

    @property
    def bpb(self) -> float:
        """Bits per byte; compares models with different tokenizers."""
        return self.nats / math.log(2) / max(1, self.bytes)

    def __add__(self, other: Loss) -> Loss:
        """Of both texts together."""
        return Loss(self.nats + other.nats, self.tokens + other.tokens, self.bytes + other.bytes)


class Evaluator:
    """Evaluates the model of a run; collective: all ranks take part, and all get the same answer.

    Args:
        model: the model.
        held_out: text by the name of its source.
        token_bytes: [V] bytes of each token.
    """

    def __init__(self, model: ParallelModel, held_out: Mapping[str, HeldOut], token_bytes: Tensor) -> None:
        self._model = model
        self._held_out = held_out
        self._token_bytes = token_bytes

    def losses(self) -> dict[str, Loss]:
        """The loss on each source."""
        return {name: self._loss(text) for name, text in self._held_out.items()}

    def _loss(self, text: HeldOut) -> Loss:
        """Each data rank computes its share; all of them equally many batches, the last ones perhaps of nothing."""
        mesh = self._model.mesh
        size = mesh.layout.micro_batch_size
        rounds = math.ceil(text.count / (size * mesh.data_ranks))
        sums = torch.zeros(3, dtype=torch.float64)
        for number in range(rounds):
            first = (number * mesh.data_ranks + mesh.data_rank) * size
            batch = text.batch(first, size)
            counted = batch.targets != IGNORE
            size_of = self._token_bytes[batch.targets.where(counted, 0)] * counted
            nats = self._model.evaluate(to_device(batch, mesh.device))[1].to("cpu", torch.float64)
            sums += torch.stack((nats, counted.sum().double(), size_of.sum().double()))
        nats_sum, tokens, size_sum = self._model.reduce(sums.to(mesh.device)).tolist()
        return Loss(nats_sum, round(tokens), round(size_sum))


def _stacked(rows: list[Batch], size: int, *, nothing: bool) -> Batch:
    """One batch of `size` rows, the last ones asking for nothing: ranks and pipelines want batches of one shape."""

    def stack(tensors: list[Tensor], filling: int) -> Tensor:
        whole = torch.cat(tensors)
        return torch.nn.functional.pad(whole, (0, 0, 0, size - whole.shape[0]), value=filling)

    def optional(tensors: list[Tensor | None]) -> Tensor | None:
        known = [tensor for tensor in tensors if tensor is not None]
        return stack(known, 0) if known else None

    targets = stack([row.targets for row in rows], IGNORE)
    return Batch(
        tokens=stack([row.tokens for row in rows], 0),
        targets=torch.full_like(targets, IGNORE) if nothing else targets,
        documents=optional([row.documents for row in rows]),
        positions=optional([row.positions for row in rows]),
    )


class Sampler:
    """Continues the recipe's prompts with the model as it is; collective where weights are spread over data ranks.

    Args:
        model: the model.
        tokenizer: of its data.
        config: which prompts, and how far.
    """

    TEMPERATURE, TOP_K = 0.7, 50

    def __init__(self, model: ParallelModel, tokenizer: Tokenizer, config: EvalConfig) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._config = config

    def __call__(self) -> list[tuple[str, str]]:
        """(prompt, continuation) of each prompt.

        None where a layout cuts sequences, layers or heads: no rank then has the logits of a whole sequence.
        """
        layout = self._model.mesh.layout
        if layout.pp * layout.cp * layout.tp > 1:
            return []
        # Lengths change with every token, for which compiling again and again would take longer than it saves.
        with torch.compiler.set_stance("force_eager"):
            return [(prompt, self._continue(prompt)) for prompt in self._config.prompts]

    def _continue(self, prompt: str) -> str:
        stop = {self._tokenizer.eot_id}
        ids = self._tokenizer.encode(prompt) or [self._tokenizer.eot_id]
        part = self._model.parts[0]
        new = generate(part, ids, self._config.sample_tokens, temperature=self.TEMPERATURE, top_k=self.TOP_K, stop=stop)
        text = self._tokenizer.decode([*ids, *new])
        for module in sharded(part):
            module.reshard()
        return text.removeprefix(prompt)
