from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.model import precision  # noqa: E402
from colosse.model.precision import autocast, compute_dtype, has_bfloat16, product_dtype  # noqa: E402

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")


@pytest.mark.parametrize("able", [False, True])
def test_a_cpu_without_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: able)
    wanted = torch.bfloat16 if able else torch.float32
    assert product_dtype("bfloat16", CPU) == wanted
    assert product_dtype("float32", CPU) == torch.float32
    x = torch.randn(2, 2)
    with autocast("bfloat16", CPU):
        assert compute_dtype(x) == (x @ x).dtype == wanted
    with autocast("float32", CPU):
        assert compute_dtype(x) == torch.float32


def test_instructions_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda there=there: {"avx2": True, "amx_bf16": there})
        assert has_bfloat16.__wrapped__("cpu") is there
    assert has_bfloat16.__wrapped__("cuda")
