from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.parallel.gradients import finish  # noqa: E402
from colosse.parallel.mesh import Mesh  # noqa: E402
from colosse.spec.layout import Layout  # noqa: E402

pytestmark = pytest.mark.torch


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2,))]
    for parameter in made[:2]:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return made  # the last has no gradient


@pytest.mark.parametrize("max_norm", [0.0, 0.01, 1e6])
def test_means_are_clipped(max_norm: float) -> None:
    mine, theirs = parameters(), parameters()
    norm = finish(mine, Mesh(Layout(), torch.device("cpu")), torch.tensor(7), max_norm)
    for parameter in theirs[:2]:
        parameter.grad /= 7
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm or float("inf"))
    torch.testing.assert_close(norm, expected)
    for one, other in zip(mine[:2], theirs[:2], strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_step_without_targets_keeps_numbers_finite() -> None:
    made = parameters()
    assert finish(made, Mesh(Layout(), torch.device("cpu")), 0, 1.0).isfinite()
    assert made[0].grad is not None
    assert made[0].grad.isfinite().all()
