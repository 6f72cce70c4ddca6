"""Every layout computes what one process computes: losses, gradients and weights over several steps."""

from __future__ import annotations

from functools import cache

import pytest

torch = pytest.importorskip("torch")

from colosse.spec.layout import Layout  # noqa: E402
from colosse.spec.model import ModelSpec  # noqa: E402
from tests.fixtures.ranks import Ranks  # noqa: E402
from tests.parallel import training  # noqa: E402

pytestmark = pytest.mark.torch

SPECS = {name: getattr(training, name) for name in ("DENSE", "MOE", "BIASED", "OLMO", "QWEN", "SMALL", "TIED")}


def layout(**sizes: object) -> Layout:
    return Layout.model_validate({"precision": "float32", "compile": "off", "micro_batch_size": 2, **sizes})


@cache
def alone(name: str, micro_batch_size: int, packed: bool) -> training.Outcome:
    return training.train(SPECS[name], layout(micro_batch_size=micro_batch_size), packed=packed)


def check(ranks: Ranks, name: str, packed: bool = True, **sizes: object) -> None:
    spread = layout(**sizes)
    spread.check(SPECS[name], seq_len=training.SEQ_LEN, global_batch_size=training.SEQUENCES)
    outcomes = ranks.run(train, SPECS[name], spread, packed)
    expected = alone(name, spread.micro_batch_size, packed)
    weights, gradients = {}, {}
    for outcome in outcomes:
        assert outcome.losses == outcomes[0].losses
        assert outcome.norms == outcomes[0].norms
        assert outcome.evaluated == outcomes[0].evaluated
        weights |= outcome.weights
        gradients |= outcome.gradients
    torch.testing.assert_close(torch.tensor(outcomes[0].losses), torch.tensor(expected.losses), rtol=1e-5, atol=0)
    torch.testing.assert_close(torch.tensor(outcomes[0].norms), torch.tensor(expected.norms), rtol=1e-4, atol=0)
    torch.testing.assert_close(torch.tensor(outcomes[0].evaluated), torch.tensor(expected.evaluated), rtol=1e-4, atol=0)
    assert gradients.keys() == expected.gradients.keys()
    for key, gradient in expected.gradients.items():
        torch.testing.assert_close(gradients[key], gradient, rtol=1e-4, atol=1e-6, msg=lambda m, key=key: f"{key}: {m}")
    assert weights.keys() == expected.weights.keys()
    for key, weight in expected.weights.items():
        torch.testing.assert_close(weights[key], weight, rtol=1e-3, atol=2e-4, msg=lambda m, key=key: f"{key}: {m}")


def train(spec: ModelSpec, spread: Layout, packed: bool) -> training.Outcome:
    return training.train(spec, spread, packed=packed)


TWO = {
    "dp_shard": ("DENSE", {"dp_shard": 2}),
    "dp_shard, gathered weights kept": ("TIED", {"dp_shard": 2, "reshard_after_forward": False}),
    "dp_replicate": ("DENSE", {"dp_replicate": 2, "micro_batch_size": 1}),
    "cp": ("DENSE", {"cp": 2}),
    "cp, experts": ("MOE", {"cp": 2}),
    "cp, window and biases": ("QWEN", {"cp": 2}),
    "tp": ("DENSE", {"tp": 2}),
    "tp, norms over all heads": ("OLMO", {"tp": 2}),
    "tp, window and biases": ("QWEN", {"tp": 2}),
    "tp, compiled": ("SMALL", {"tp": 2, "compile": "auto"}),
    "tp, tied": ("TIED", {"tp": 2}),
    "tp, experts": ("MOE", {"tp": 2}),
    "ep": ("MOE", {"dp_shard": 2, "ep": 2}),
    "ep, bias": ("BIASED", {"dp_shard": 2, "ep": 2, "recompute": "selective"}),
    "pp 1f1b": ("DENSE", {"pp": 2}),
    "pp interleaved": ("DENSE", {"pp": 2, "schedule": "interleaved_1f1b", "stages_per_rank": 2}),
    "pp interleaved zero bubble": ("DENSE", {"pp": 2, "schedule": "interleaved_zero_bubble", "stages_per_rank": 2}),
    "pp zbv": ("DENSE", {"pp": 2, "schedule": "zbv_zero_bubble", "stages_per_rank": 2}),
    "pp, experts": ("MOE", {"pp": 2, "schedule": "interleaved_1f1b", "stages_per_rank": 2, "recompute": "full"}),
}


@pytest.mark.parametrize("case", TWO)
def test_two_ranks(two_ranks: Ranks, case: str) -> None:
    name, sizes = TWO[case]
    check(two_ranks, name, **sizes)


FOUR = {
    "hsdp": ("DENSE", {"dp_replicate": 2, "dp_shard": 2}),
    "dp_shard, tp": ("DENSE", {"dp_shard": 2, "tp": 2, "recompute": "full"}),
    "dp_shard, cp": ("DENSE", {"dp_shard": 2, "cp": 2, "recompute": "selective"}),
    "dp_replicate, cp": ("DENSE", {"dp_replicate": 2, "cp": 2}),
    "cp, tp": ("MOE", {"cp": 2, "tp": 2}),
    "cp, fewer key/value heads than ranks": ("QWEN", {"cp": 4}),
    "pp, dp_shard": ("DENSE", {"pp": 2, "dp_shard": 2}),
    "pp, tp": ("DENSE", {"pp": 2, "tp": 2, "schedule": "interleaved_1f1b", "stages_per_rank": 2}),
    "pp, cp": ("MOE", {"pp": 2, "cp": 2}),
    "pp of four": ("DENSE", {"pp": 4}),
    "zero bubble, dp_shard": (
        "DENSE",
        {"pp": 2, "dp_shard": 2, "schedule": "zbv_zero_bubble", "stages_per_rank": 2},
    ),
    "dp_shard 4, ep 2": ("MOE", {"dp_shard": 4, "ep": 2}),
    "hsdp, ep": ("MOE", {"dp_replicate": 2, "dp_shard": 2, "ep": 2}),
    "ep of tensor ranks": ("BIASED", {"dp_shard": 2, "tp": 2, "ep": 4}),
    "ep, cp": ("MOE", {"dp_shard": 2, "cp": 2, "ep": 2, "recompute": "full"}),
    "zero bubble, ep": (
        "MOE",
        {"pp": 2, "dp_shard": 2, "ep": 2, "schedule": "zbv_zero_bubble", "stages_per_rank": 2},
    ),
    "pp, ep": ("MOE", {"pp": 2, "dp_shard": 2, "ep": 2, "recompute": "full"}),
}


@pytest.mark.parametrize("case", FOUR)
def test_four_ranks(four_ranks: Ranks, case: str) -> None:
    name, sizes = FOUR[case]
    check(four_ranks, name, **sizes)


@pytest.mark.parametrize("sizes", [{"dp_shard": 2}, {"tp": 2}, {"pp": 2}], ids=str)
def test_low_precision_is_near(two_ranks: Ranks, sizes: dict[str, int]) -> None:
    outcome = two_ranks.run(train, SPECS["DENSE"], layout(precision="bfloat16", **sizes), True)[0]
    expected = alone("DENSE", 2, True)
    assert outcome.losses != expected.losses
    torch.testing.assert_close(torch.tensor(outcome.losses), torch.tensor(expected.losses), rtol=5e-3, atol=0)
    assert {weight.dtype for weight in outcome.weights.values()} == {torch.float32}


def test_one_document_a_sequence(four_ranks: Ranks) -> None:
    check(four_ranks, "DENSE", packed=False, cp=2, tp=2)
    check(four_ranks, "DENSE", packed=False, pp=2, cp=2)
