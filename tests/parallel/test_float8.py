from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.core.errors import UserError  # noqa: E402
from colosse.model.transformer import Transformer  # noqa: E402
from colosse.parallel.float8 import takes_float8, use_float8  # noqa: E402
from tests.parallel.training import MOE  # noqa: E402

pytestmark = pytest.mark.torch


def test_a_cpu_is_refused() -> None:
    with pytest.raises(UserError, match=r"8.9 or more, and this is a CPU"):
        use_float8(Transformer(MOE), torch.device("cpu"))


def test_an_older_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100")
    with pytest.raises(UserError, match="this is NVIDIA A100"):
        use_float8(Transformer(MOE), torch.device("cuda"))


def test_routers_experts_and_head_stay() -> None:
    taken = {name for name, module in Transformer(MOE).named_modules() if takes_float8(module, name)}
    assert {name.partition(".")[2].partition(".")[2] for name in taken} == {
        *(f"attention.{name}" for name in "qkvo"),
        *(f"ffn.{name}" for name in ("gate", "up", "down")),
        *(f"moe.shared.{name}" for name in ("gate", "up", "down")),
    }
