from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from colosse.model import init  # noqa: E402
from colosse.model.init import init_std, init_values, initialize  # noqa: E402
from colosse.model.transformer import Transformer  # noqa: E402
from colosse.spec.model import ModelSpec  # noqa: E402

pytestmark = pytest.mark.torch

SPEC = ModelSpec(dim=32, num_layers=2, num_heads=4, ffn_dim=48, vocab_size=101, attention_bias=True, qk_norm="head")


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_any_slice_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(init, "BLOCK_VALUES", block)
    shape = (21, 6, 5)
    whole = init_values(SPEC, 1, "layers.0.moe.experts.up", shape)
    assert whole.shape == shape
    for rows in (slice(0, 21), slice(0, 1), slice(7, 15), slice(20, 21), slice(3, 3)):
        assert torch.equal(init_values(SPEC, 1, "layers.0.moe.experts.up", shape, (rows,)), whole[rows])
    index = (slice(4, 20), slice(2, 4), slice(1, 5))
    assert torch.equal(init_values(SPEC, 1, "layers.0.moe.experts.up", shape, index), whole[index])
    assert torch.equal(init_values(SPEC, 1, "layers.0.attention_norm.weight", (32,), (slice(3, 7),)), torch.ones(4))


def test_seeds_and_names_draw_differently() -> None:
    draws = [init_values(SPEC, seed, name, (8, 8)) for seed in (0, 1) for name in ("a.weight", "b.weight")]
    assert len({tuple(d.flatten().tolist()) for d in draws}) == 4


def test_distribution() -> None:
    for name in (
        "embed.weight",
        "layers.0.attention.o.weight",
        "layers.1.ffn.down.weight",
        "layers.1.moe.experts.down",
    ):
        values = init_values(SPEC, 0, name, (400, 400))
        assert float(values.std()) == pytest.approx(init_std(SPEC, name), rel=0.02)
        assert abs(float(values.mean())) < 0.01 * init_std(SPEC, "embed.weight") * 10
    assert init_std(SPEC, "layers.0.ffn.down.weight") == init_std(SPEC, "layers.0.ffn.up.weight") / 2


def test_a_model_begins_near_the_uniform_guess_and_the_same_in_stages() -> None:
    model = Transformer(SPEC)
    initialize(model, SPEC, 0)
    assert model.get_parameter("layers.0.attention.q_norm.weight").eq(1).all()
    assert model.get_parameter("layers.0.attention.q.bias").eq(0).all()
    tokens = torch.randint(0, 101, (8, 256), generator=torch.Generator().manual_seed(0))
    each = model.nll(tokens, tokens.roll(-1, 1))
    # A normed state times normal rows: logits of variance dim std^2, half of which adds to the uniform guess's loss.
    expected = math.log(SPEC.vocab_size) + SPEC.dim * init_std(SPEC, "head.weight") ** 2 / 2
    assert float(each.mean()) == pytest.approx(expected, abs=0.1)
    stage = Transformer(SPEC, layers=range(1, 2), first=False)
    initialize(stage, SPEC, 0)
    for name, values in stage.state_dict().items():
        assert torch.equal(values, model.state_dict()[name])
