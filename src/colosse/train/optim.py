"""The optimisers, on each rank's own part of the parameters.

AdamW and Muon's momentum are element by element, so they run on local tensors, fused, with no distributed tensors in
the way; only Muon's orthogonalisation looks at whole matrices (`muon.py`). State is kept as tensors that are spread
like their parameters, under the parameters' names: a checkpoint of it loads on any mesh.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.adamw import adamw

from colosse.train.muon import muon_updates
from colosse.train.recipe import OptimizerConfig

FUSED = ("cpu", "cuda", "xpu", "mps")
MATRICES_AT_ONCE = 16
"""Of one shape that Muon orthogonalises together."""


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: to matrices, but not to the embedding (tied or not), norms and biases."""
    return parameter.ndim >= 2 and name != "embed.weight"


def is_muon_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon is for it: the matrices of the blocks, of each expert too; not the router, embedding and head."""
    return name.startswith("layers.") and parameter.ndim >= 2 and ".router." not in name


def local(tensor: Tensor) -> Tensor:
    """The part that this rank has, sharing memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def local_gradient(parameter: Tensor) -> Tensor:
    """The part of the gradient that this rank has, spread like the parameter; zeros where there was none."""
    gradient = parameter.grad
    if gradient is None:
        return torch.zeros_like(local(parameter))
    if isinstance(parameter, DTensor) and isinstance(gradient, DTensor):
        gradient = gradient.redistribute(placements=parameter.placements)
    return local(gradient)


class Optimizer:
    """AdamW (arXiv:1711.05101), or Muon (arXiv:2502.16982) for the blocks' matrices with AdamW for the rest.

    Args:
        parameters: name and parameter, each once.
        config: which, and its constants.
        lr: peak learning rate of AdamW, and of Muon where it has none of its own.
    """

    def __init__(self, parameters: Iterable[tuple[str, Tensor]], config: OptimizerConfig, lr: float) -> None:
        self.config = config
        self.lr = lr
        self.muon_lr = config.muon_lr or lr
        self._parameters = dict(parameters)
        alike: dict[tuple[object, ...], list[str]] = {}
        self._adamw: dict[bool, list[str]] = {True: [], False: []}
        for name, parameter in self._parameters.items():
            if config.kind == "muon" and is_muon_matrix(name, parameter):
                alike.setdefault(_spread(parameter), []).append(name)
            else:
                self._adamw[decays(name, parameter)].append(name)
        self._muon = [part for names in alike.values() for part in _cut(names, self._at_once(names[0]))]
        self._first = {name: torch.zeros_like(p, requires_grad=False) for name, p in self._parameters.items()}
        adamw_names = [name for names in self._adamw.values() for name in names]
        self._second = {name: torch.zeros_like(self._first[name]) for name in adamw_names}
        # One counter a tensor, because the fused kernels count them up themselves.
        self._steps = {name: torch.zeros((), device=self._first[name].device) for name in adamw_names}

    @torch.no_grad()
    def step(self, fraction: float) -> None:
        """Update the parameters from their gradients, with `fraction` of the peak learning rates."""
        for decay, names in self._adamw.items():
            self._step_adamw(names, self.lr * fraction, self.config.weight_decay if decay else 0.0)
        for names in self._muon:
            self._step_muon(names, self.muon_lr * fraction)

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """`exp_avg.NAME`, `exp_avg_sq.NAME`, `momentum.NAME` and `steps`; the tensors are the state itself."""
        state = {f"exp_avg.{name}": self._first[name] for name in self._second}
        state |= {f"exp_avg_sq.{name}": tensor for name, tensor in self._second.items()}
        state |= {f"momentum.{name}": self._first[name] for names in self._muon for name in names}
        steps = next(iter(self._steps.values()), torch.zeros(()))
        return state | {"steps": steps.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over a `state_dict` that a checkpoint has filled in place, or another of the same spread."""
        for name, tensor in self.state_dict().items():
            if name != "steps" and state[name] is not tensor:
                tensor.copy_(state[name])
        for steps in self._steps.values():
            steps.copy_(state["steps"])

    def _at_once(self, name: str) -> int:
        """Matrices in one stack: enough to give each rank of their mesh one, few enough to need little memory."""
        parameter = self._parameters[name]
        return max(MATRICES_AT_ONCE, parameter.device_mesh.size() if isinstance(parameter, DTensor) else 1)

    def _step_adamw(self, names: list[str], lr: float, weight_decay: float) -> None:
        # A rank of an uneven sharding may hold nothing of a parameter.
        names = [name for name in names if local(self._first[name]).numel()]
        if not names:
            return
        parameters = [local(self._parameters[name]) for name in names]
        adamw(
            parameters,
            [local_gradient(self._parameters[name]) for name in names],
            [local(self._first[name]) for name in names],
            [local(self._second[name]) for name in names],
            [],
            [self._steps[name] for name in names],
            fused=parameters[0].device.type in FUSED,
            amsgrad=False,
            beta1=self.config.betas[0],
            beta2=self.config.betas[1],
            lr=lr,
            weight_decay=weight_decay,
            eps=self.config.eps,
            maximize=False,
        )

    def _step_muon(self, names: list[str], lr: float) -> None:
        """Nesterov momentum, orthogonalised; decoupled weight decay."""
        beta = self.config.muon_momentum
        gradients = [local_gradient(self._parameters[name]) for name in names]
        momenta = [local(self._first[name]) for name in names]
        torch._foreach_lerp_(momenta, gradients, 1 - beta)
        ahead = torch._foreach_lerp(gradients, momenta, beta)
        updates = muon_updates(ahead, self._parameters[names[0]])
        parameters = [local(self._parameters[name]) for name in names]
        torch._foreach_mul_(parameters, 1 - lr * self.config.weight_decay)
        torch._foreach_add_(parameters, updates, alpha=-lr)


def _spread(parameter: Tensor) -> tuple[object, ...]:
    """Equal for parameters of equal shape that lie on the same mesh in the same way."""
    if isinstance(parameter, DTensor):
        return (parameter.shape, parameter.device_mesh, parameter.placements)
    return (parameter.shape,)


def _cut(names: list[str], size: int) -> Iterator[list[str]]:
    """`names` in parts of `size`."""
    return (names[start : start + size] for start in range(0, len(names), size))
