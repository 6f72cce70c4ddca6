from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.core.errors import UserError  # noqa: E402
from colosse.parallel import compile as compiling  # noqa: E402
from colosse.parallel.apply import build  # noqa: E402
from colosse.parallel.mesh import Mesh  # noqa: E402
from colosse.spec.layout import Layout  # noqa: E402
from tests.parallel.training import DENSE, SEQ_LEN, global_batch  # noqa: E402

pytestmark = pytest.mark.torch


def sums(compile: str) -> list[float]:
    layout = Layout(precision="float32", compile=compile, micro_batch_size=8)
    spec = DENSE.model_copy(update={"num_layers": 1})
    model = build(spec, layout, Mesh(layout, torch.device("cpu")), seq_len=SEQ_LEN, seed=0)
    return model.train_step([global_batch(0)]).tolist()


def test_without_a_compiler_on_is_refused_and_auto_goes_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(function: object) -> object:
        raise RuntimeError("no C++ compiler\nand more lines")

    compiling.compiler_problem.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UserError, match="does not work here: no C\\+\\+ compiler"):
        sums("on")
    assert sums("auto") == sums("off")
    assert "not compiled" in "".join(capsys.readouterr())
    compiling.compiler_problem.cache_clear()


@pytest.mark.filterwarnings("ignore")  # what torch says of itself while it compiles
def test_compiled_blocks_compute_the_same() -> None:
    if compiling.compiler_problem("cpu"):
        pytest.skip("torch.compile does not work here")
    assert sums("on") == pytest.approx(sums("off"), rel=1e-5)
