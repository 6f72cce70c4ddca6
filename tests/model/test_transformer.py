from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.model.init import initialize  # noqa: E402
from colosse.model.transformer import Transformer  # noqa: E402
from colosse.spec.model import ModelSpec, MoESpec, RopeScaling  # noqa: E402
from tests.model import reference  # noqa: E402

pytestmark = pytest.mark.torch

BASE = {"dim": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "ffn_dim": 48, "vocab_size": 61}
OPTIONS: dict[str, dict[str, object]] = {
    "plain": {},
    "all heads": {"num_kv_heads": 4},
    "wide heads": {"head_dim": 16},
    "tied": {"tied_embeddings": True},
    "bias": {"attention_bias": True},
    "head norm": {"qk_norm": "head"},
    "olmo": {"qk_norm": "full", "norm_position": "post"},
    "window": {"sliding_window": 5},
    "mixture": {"moe": MoESpec(num_experts=4, top_k_experts=2, ffn_dim=16, num_dense_layers=1, balance="none")},
    "yarn": {"rope_scaling": RopeScaling(kind="yarn", factor=4, original_seq_len=8)},
}


def build(**options: object) -> Transformer:
    """A small model in float64, whose norms and biases are not what they begin as."""
    spec = ModelSpec(**{**BASE, **options})
    model = Transformer(spec)
    initialize(model, spec, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return model.double()


def packed(length: int = 13) -> tuple[torch.Tensor, ...]:
    """Tokens, targets, documents, positions of two sequences: three documents, and one that fills its sequence."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, 61, (2, length + 1), generator=generator)
    documents = torch.stack((torch.tensor([0] * 4 + [1] * 7 + [2] * (length - 11)), torch.zeros(length).long()))
    positions = torch.tensor([[int((row[:t] == row[t]).sum()) for t in range(length)] for row in documents])
    targets = tokens[:, 1:].clone()
    targets[0, 3] = targets[0, 10] = -100
    return tokens[:, :-1], targets, documents, positions


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_logits_loss_and_gradients_equal_the_reference(option: str, masked: bool) -> None:
    model = build(**OPTIONS[option])
    tokens, targets, documents, positions = packed()
    given = {"documents": documents, "positions": positions} if masked else {}
    if not masked:
        documents, positions = torch.zeros_like(tokens), torch.arange(tokens.shape[1]).expand_as(tokens)
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    wanted = torch.stack(
        [reference.logits(model.spec, weights, *row) for row in zip(tokens, documents, positions, strict=True)]
    )
    torch.testing.assert_close(model(tokens, **given), wanted, rtol=1e-6, atol=1e-6)

    loss = torch.nn.functional.cross_entropy(wanted.flatten(0, 1), targets.flatten(), reduction="sum")
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [weights[n] for n in names])
    out = model(tokens, targets, **given)
    assert out.shape == (2,)
    torch.testing.assert_close(out, torch.stack((loss, loss)), rtol=1e-6, atol=1e-6)
    out[0].backward()
    for name, gradient in zip(names, gradients, strict=True):
        torch.testing.assert_close(
            weights[name].grad, gradient, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_losses_per_target_sum_to_the_loss() -> None:
    model = build()
    tokens, targets, documents, positions = packed()
    each = model.nll(tokens, targets, documents=documents, positions=positions)
    assert each.shape == targets.shape
    assert not each.requires_grad
    assert each[targets == -100].eq(0).all()
    assert each[targets != -100].gt(0).all()
    torch.testing.assert_close(each.sum(), model(tokens, targets, documents=documents, positions=positions)[1])


def test_a_document_does_not_depend_on_its_neighbours() -> None:
    model = build()
    tokens, _, documents, positions = packed()
    whole = model(tokens, documents=documents, positions=positions)
    torch.testing.assert_close(whole[:1, 4:11], model(tokens[:1, 4:11]))


def test_stages_together_are_the_model() -> None:
    model = build()
    tokens, targets, documents, positions = packed()
    first = Transformer(model.spec, layers=range(1), last=False).double()
    last = Transformer(model.spec, layers=range(1, 2), first=False).double()
    names = {name for stage in (first, last) for name, _ in stage.named_parameters()}
    assert names == {name for name, _ in model.named_parameters()}
    for stage in (first, last):
        stage.load_state_dict({n: p for n, p in model.state_dict().items() if n in stage.state_dict()})
    given = {"documents": documents, "positions": positions}
    out = last(first(tokens, **given), targets, **given)
    assert torch.equal(out, model(tokens, targets, **given))


def test_a_model_is_built_without_memory_and_filled_later() -> None:
    whole = build()
    with torch.device("meta"):
        model = Transformer(whole.spec).double()
    assert all(p.is_meta for p in model.parameters())
    model.to_empty(device="cpu")
    model.load_state_dict(whole.state_dict())
    tokens = packed()[0]
    assert torch.equal(model(tokens), whole(tokens))


def test_tied_weights_are_one_parameter() -> None:
    model = build(tied_embeddings=True)
    assert model.head.weight is model.embed.weight
    assert "head.weight" not in dict(model.named_parameters())


def test_autocast_keeps_losses_and_gradients_in_float32() -> None:
    model = build().float()
    tokens, targets, documents, positions = packed()
    exact = model(tokens, targets, documents=documents, positions=positions)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(tokens, targets, documents=documents, positions=positions)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, exact, rtol=0.05, atol=0.05)
    out[0].backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
