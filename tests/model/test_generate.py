from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.core.errors import UserError  # noqa: E402
from colosse.model.generate import generate  # noqa: E402
from tests.model.test_transformer import OPTIONS, build  # noqa: E402

pytestmark = pytest.mark.torch

PROMPT = [5, 17, 3, 60, 2, 9, 11]


@pytest.mark.parametrize("option", OPTIONS)
def test_greedy_is_the_likeliest_token_of_a_full_pass(option: str) -> None:
    model = build(**OPTIONS[option])
    out = list(generate(model, PROMPT, 12))
    whole = model(torch.tensor([PROMPT + out]))[0, len(PROMPT) - 1 : -1]
    assert out == whole.argmax(-1).tolist()


def test_seeds_repeat_and_differ() -> None:
    model = build()
    draws = [list(generate(model, PROMPT, 20, temperature=2.0, seed=s)) for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_one_of_one_is_greedy() -> None:
    model = build()
    assert list(generate(model, PROMPT, 8, temperature=5.0, top_k=1)) == list(generate(model, PROMPT, 8))


def test_stops() -> None:
    model = build()
    out = list(generate(model, PROMPT, 8))
    assert list(generate(model, PROMPT, 8, stop={out[2]})) == out[: out.index(out[2])]


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(UserError, match="empty prompt"):
        next(generate(build(), [], 3))
