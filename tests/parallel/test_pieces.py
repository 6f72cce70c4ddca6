from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.model.init import initialize  # noqa: E402
from colosse.model.transformer import Transformer  # noqa: E402
from colosse.parallel.apply import build  # noqa: E402
from colosse.parallel.mesh import Mesh  # noqa: E402
from colosse.spec.layout import Layout  # noqa: E402
from colosse.spec.model import ModelSpec  # noqa: E402
from tests.fixtures.ranks import Ranks  # noqa: E402
from tests.parallel.training import BIASED, SEQ_LEN, TIED, global_batch, share, whole  # noqa: E402

pytestmark = pytest.mark.torch

CASES = [
    (BIASED, {"dp_shard": 4}),
    (BIASED, {"pp": 2, "dp_replicate": 2}),
    (BIASED, {"dp_shard": 2, "tp": 2, "ep": 4}),
    (TIED, {"dp_shard": 2, "tp": 2}),
]


def plain(spec: ModelSpec, seed: int) -> Transformer:
    model = Transformer(spec)
    initialize(model, spec, seed)
    return model


def _first_values_and_loaded_ones(spec: ModelSpec, layout: Layout) -> tuple[dict[str, object], float]:
    mesh = Mesh(layout, torch.device("cpu"))
    model = build(spec, layout, mesh, seq_len=SEQ_LEN, seed=1)
    first = {name: whole(tensor) for name, tensor in model.state_dict().items()}
    model.load_state_dict(plain(spec, 2).state_dict())
    batch = share(global_batch(0), mesh, packed=True)
    return first, model.reduce(model.evaluate(batch))[1].item()


@pytest.mark.parametrize(("spec", "sizes"), CASES, ids=["dp_shard", "pp, dp_replicate", "tp, ep", "tp, tied"])
def test_values_are_the_same_on_any_mesh(four_ranks: Ranks, spec: ModelSpec, sizes: dict[str, int]) -> None:
    layout = Layout.model_validate({"precision": "float32", "compile": "off", **sizes})
    answers = four_ranks.run(_first_values_and_loaded_ones, spec, layout)
    first = {name: tensor for state, _ in answers for name, tensor in state.items()}
    expected = plain(spec, 1).state_dict()
    if spec.tied_embeddings:
        del expected["head.weight"]
    assert first.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(first[name], tensor, rtol=0, atol=0)
    batch = global_batch(0)
    loaded = plain(spec, 2)(batch.tokens, batch.targets, documents=batch.documents, positions=batch.positions)
    assert [loss for _, loss in answers] == pytest.approx([loaded[1].item()] * 4, rel=1e-5)


def test_a_missing_weight_is_named() -> None:
    layout = Layout(precision="float32", compile="off")
    model = build(TIED, layout, Mesh(layout, torch.device("cpu")), seq_len=SEQ_LEN, seed=0)
    with pytest.raises(KeyError, match=r"embed.weight"):
        model.load_state_dict({})
