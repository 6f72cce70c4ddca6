from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from colosse.parallel.apply import build  # noqa: E402
from colosse.parallel.mesh import Mesh  # noqa: E402
from colosse.spec.layout import Layout  # noqa: E402
from tests.parallel.training import DENSE, MOE, SEQ_LEN, global_batch  # noqa: E402

pytestmark = pytest.mark.torch


class Counted(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.__name__] = self.counts.get(func.__name__, 0) + 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("spec", [DENSE, MOE], ids=["dense", "experts"])
def test_gradients_stay_and_work_grows(spec: Any) -> None:
    gradients, products, silus = {}, {}, {}
    for mode in ("none", "selective", "full"):
        layout = Layout(recompute=mode, precision="float32", compile="off", micro_batch_size=8)
        model = build(spec, layout, Mesh(layout, torch.device("cpu")), seq_len=SEQ_LEN, seed=0)
        with Counted() as counted:
            model.train_step([global_batch(0)])
        gradients[mode] = {name: parameter.grad for name, parameter in model.named_parameters()}
        products[mode] = sum(counted.counts.get(name, 0) for name in ("mm.default", "addmm.default", "bmm.default"))
        silus[mode] = counted.counts["silu.default"]
    for mode in ("selective", "full"):
        for name, gradient in gradients["none"].items():
            torch.testing.assert_close(gradients[mode][name], gradient, rtol=0, atol=0)
    assert products["none"] == products["selective"] < products["full"]
    assert silus["none"] < silus["selective"] == silus["full"]
