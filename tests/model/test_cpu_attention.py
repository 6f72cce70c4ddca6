from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from colosse.model import cpu_attention  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("block", [4, 5, 64])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_attention_with_whole_scores(
    monkeypatch: pytest.MonkeyPatch, block: int, kv_heads: int, masked: bool
) -> None:
    monkeypatch.setattr(cpu_attention, "MIN_BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    q, k, v, upstream = (
        torch.randn(2, 13, heads, 8, generator=generator, dtype=torch.float64) for heads in (4, kv_heads, kv_heads, 4)
    )
    inputs = [x.requires_grad_() for x in (q, k, v)]
    documents = torch.tensor([[0] * 4 + [1] * 9, [0] * 13])
    allowed = torch.ones(13, 13, dtype=torch.bool).tril() & (documents[:, :, None] == documents[:, None, :])[:, None]
    mask = torch.zeros(allowed.shape, dtype=torch.float64).masked_fill(~allowed, float("-inf")) if masked else None

    scores = q.transpose(1, 2) @ k.repeat_interleave(4 // kv_heads, 2).permute(0, 2, 3, 1) / 8**0.5
    hidden = ~allowed if masked else torch.ones(13, 13, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
    wanted = (weights @ v.repeat_interleave(4 // kv_heads, 2).transpose(1, 2)).transpose(1, 2)
    out = cpu_attention.attend(q, k, v, mask)
    torch.testing.assert_close(out, wanted)
    torch.testing.assert_close(
        torch.autograd.grad((out * upstream).sum(), inputs), torch.autograd.grad((wanted * upstream).sum(), inputs)
    )


def test_a_compiled_layer_goes_back_as_an_eager_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from colosse.model.init import initialize
    from colosse.model.transformer import Transformer
    from colosse.parallel.compile import compile_blocks, compiler_problem
    from colosse.spec.model import ModelSpec

    if problem := compiler_problem("cpu"):
        pytest.skip(problem)
    asked = []
    monkeypatch.setattr(cpu_attention, "pays", lambda q: asked.append(1) or torch.compiler.is_compiling())
    spec = ModelSpec(dim=32, num_layers=1, num_heads=4, num_kv_heads=2, ffn_dim=48, vocab_size=61)
    tokens = torch.randint(0, 61, (2, 130), generator=torch.Generator().manual_seed(0))
    documents = (torch.arange(130) > 70).long().expand(2, 130)
    results = []
    for compiled in (False, True):
        model = Transformer(spec)
        initialize(model, spec, 0)
        if compiled:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what torch says of itself
                compile_blocks(model, "on", torch.device("cpu"))
                out = model(tokens, tokens, documents=documents)
        else:
            out = model(tokens, tokens, documents=documents)
        out[0].backward()
        results.append([out.detach(), *(p.grad for p in model.parameters())])
    assert asked
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-3)


def test_low_precision_is_close_to_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v, upstream = (torch.randn(1, 300, 2, 16, generator=generator) for _ in range(4))
    inputs = [x.bfloat16().requires_grad_() for x in (q, k, v)]
    exact = [x.detach().float().requires_grad_() for x in inputs]

    def theirs(*parts: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in parts), is_causal=True).transpose(1, 2)

    wanted = torch.autograd.grad((theirs(*exact) * upstream).sum(), exact)
    error = {}
    for name, attend in (("ours", lambda *x: cpu_attention.attend(*x, None)), ("theirs", theirs)):
        got = torch.autograd.grad((attend(*inputs) * upstream).sum(), inputs)
        assert {g.dtype for g in got} == {torch.bfloat16}
        error[name] = sum(float((g.float() - w).norm() / w.norm()) for g, w in zip(got, wanted, strict=True))
    assert error["ours"] < max(2 * error["theirs"], 0.02)
