from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.model.rope import Rope, frequencies, rotate  # noqa: E402
from colosse.spec.model import ModelSpec, RopeScaling  # noqa: E402

pytestmark = pytest.mark.torch

SCALINGS = {
    "default": None,
    "linear": RopeScaling(kind="linear", factor=4),
    "llama3": RopeScaling(kind="llama3", factor=8, original_seq_len=8192),
    "yarn": RopeScaling(kind="yarn", factor=4, original_seq_len=4096),
    "yarn with its own factor": RopeScaling(kind="yarn", factor=40, original_seq_len=4096, attention_factor=1.3),
    "yarn of a short model": RopeScaling(kind="yarn", factor=2, original_seq_len=32, beta_fast=4, beta_slow=2),
}


def make(scaling: RopeScaling | None = None) -> ModelSpec:
    return ModelSpec(
        dim=128, num_layers=1, num_heads=2, ffn_dim=8, vocab_size=8, rope_theta=500_000, rope_scaling=scaling
    )


@pytest.mark.parametrize("name", SCALINGS)
def test_frequencies_are_those_of_transformers(name: str) -> None:
    pytest.importorskip("transformers")
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    scaling = SCALINGS[name]
    parameters: dict[str, object] = {"rope_theta": 500_000.0, "rope_type": name.split()[0]}
    if scaling is not None:
        parameters["factor"] = scaling.factor
        if scaling.kind != "linear":
            parameters["original_max_position_embeddings"] = scaling.original_seq_len
        if scaling.kind == "llama3":
            parameters |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
        if scaling.kind == "yarn":
            parameters |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
            parameters |= {"attention_factor": scaling.attention_factor} if scaling.attention_factor else {}
    length = int(scaling.original_seq_len * scaling.factor) if scaling and scaling.original_seq_len else 4096
    config = LlamaConfig(
        hidden_size=128, num_attention_heads=2, rope_parameters=parameters, max_position_embeddings=length
    )
    theirs = LlamaRotaryEmbedding(config)
    ours, scale = frequencies(make(scaling))
    assert torch.equal(ours, theirs.inv_freq)
    assert scale == pytest.approx(theirs.attention_scaling)
    cos, sin = Rope(make(scaling)).table(300, torch.device("cpu"))
    their_cos, their_sin = theirs(torch.zeros(1), torch.arange(300)[None])
    torch.testing.assert_close(cos, their_cos[0, :, :32])
    torch.testing.assert_close(sin, their_sin[0, :, :32])


def test_the_table_grows_and_is_kept() -> None:
    rope = Rope(make())
    device = torch.device("cpu")
    short = rope.table(10, device)[0].clone()
    long = rope.table(20, device)[0]
    assert torch.equal(long[:10], short)
    assert rope.table(5, device)[0].data_ptr() == long.data_ptr()
    assert long.dtype == torch.float32


def test_products_depend_on_distance_alone() -> None:
    cos, sin = Rope(make()).table(64, torch.device("cpu"))
    q, k = torch.randn(1, 1, 1, 64).double(), torch.randn(1, 1, 1, 64).double()

    def product(i: int, j: int) -> float:
        a, b = rotate(q, cos[i : i + 1], sin[i : i + 1]), rotate(k, cos[j : j + 1], sin[j : j + 1])
        return float((a * b).sum())

    assert product(40, 37) == pytest.approx(product(5, 2), abs=1e-4)


def test_positions_of_each_sequence() -> None:
    cos, sin = Rope(make()).table(16, torch.device("cpu"))
    x = torch.randn(2, 3, 4, 64)
    positions = torch.tensor([[0, 1, 2], [7, 0, 1]])
    out = rotate(x, cos[positions], sin[positions])
    for row, start in zip(out[1, 1:], (0, 1), strict=True):
        index = 1 + start
        torch.testing.assert_close(row, rotate(x[1, index][None, None], cos[start][None], sin[start][None])[0, 0])


def test_type_is_kept() -> None:
    cos, sin = Rope(make()).table(3, torch.device("cpu"))
    assert rotate(torch.randn(1, 3, 1, 64).bfloat16(), cos, sin).dtype == torch.bfloat16
