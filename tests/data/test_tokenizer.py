"""Byte-level BPE: nothing is lost, special names in texts stay text, transformers agrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.core.errors import UserError
from colosse.data.tokenizer import EOT, Tokenizer
from tests.data.conftest import FRENCH, prose

TEXTS = [prose(n) for n in range(30)] + [prose(n, words=FRENCH) for n in range(30)]
TOKENIZER = Tokenizer.train(TEXTS, 500)
MESSAGES = [
    {"role": "system", "content": "Sois bref."},
    {"role": "user", "content": "Où est le phare ?"},
    {"role": "assistant", "content": "Au bout de la baie."},
]
TOOLS = [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object"}}}]
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "tide", "arguments": {"when": "l'été"}}}],
}


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_every_text_comes_back(text: str) -> None:
    text = text.encode(errors="replace").decode()
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
    assert [ids.tolist() for ids in TOKENIZER.encode_batch([text, text])] == [TOKENIZER.encode(text)] * 2


@given(st.binary())
@settings(max_examples=100, deadline=None)
def test_token_bytes_add_up(data: bytes) -> None:
    text = data.decode(errors="replace")
    assert TOKENIZER.token_bytes()[TOKENIZER.encode(text)].sum() == len(text.encode())


def test_names_of_special_tokens_in_texts_are_text() -> None:
    text = f"a{EOT}b<|im_start|>c"
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.eot_id not in ids and TOKENIZER.eot_id not in TOKENIZER.encode_batch([text])[0]
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.encode(text, specials=True).count(TOKENIZER.eot_id) == 1
    assert TOKENIZER.decode(TOKENIZER.encode(text, specials=True), specials=False) == "abc"


def test_the_vocabulary_is_round_and_whole() -> None:
    assert TOKENIZER.vocab_size == 512  # 500 in whole sixty-fours
    lengths = TOKENIZER.token_bytes()
    assert lengths.shape == (512,) and lengths[TOKENIZER.eot_id] == 0
    assert (lengths == 0).sum() == 14  # three of ChatML, eleven reserved
    assert sorted(TOKENIZER.decode([i]) for i in np.flatnonzero(lengths == 0))[0] == EOT
    small = Tokenizer.train(["ab"], 8192)
    assert small.vocab_size % 64 == 0 and small.vocab_size < 400


def test_learning_is_deterministic() -> None:
    assert Tokenizer.train(TEXTS, 448).encode(TEXTS[3]) == Tokenizer.train(iter(TEXTS), 448).encode(TEXTS[3])


def test_transformers_loads_the_folder_and_agrees(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    TOKENIZER.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == TOKENIZER.vocab_size
    assert (theirs.eos_token, theirs.eos_token_id) == (EOT, TOKENIZER.eot_id)
    for text in [*TEXTS[::10], "naïve  café\n\n\t日本語 🙂", EOT + "x"]:
        assert theirs(text, add_special_tokens=False)["input_ids"] == TOKENIZER.encode(text, specials=True)
    for messages, tools in ((MESSAGES, None), (MESSAGES[1:], TOOLS), ([*MESSAGES, CALL], TOOLS)):
        for prompt in (False, True):
            text = theirs.apply_chat_template(messages, tools=tools, add_generation_prompt=prompt, tokenize=False)
            assert text == TOKENIZER.render(messages, prompt, tools or ())


def test_a_conversation_is_chatml() -> None:
    assert TOKENIZER.render(MESSAGES[1:], add_generation_prompt=False) == (
        "<|im_start|>user\nOù est le phare ?<|im_end|>\n<|im_start|>assistant\nAu bout de la baie.<|im_end|>\n"
    )
    assert TOKENIZER.render(MESSAGES[:2], add_generation_prompt=True).endswith("<|im_start|>assistant\n")
    called = TOKENIZER.render([CALL, {"role": "tool", "content": "15:20"}], tools=TOOLS)
    assert '<tool_call>\n{"name": "tide", "arguments": {"when": "l\'été"}}\n</tool_call>' in called
    assert "<tool_response>\n15:20\n</tool_response>" in called


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert (again.eot_id, again.vocab_size) == (TOKENIZER.eot_id, TOKENIZER.vocab_size)
    assert again.encode(TEXTS[0]) == TOKENIZER.encode(TEXTS[0])
    assert again.render(MESSAGES) == TOKENIZER.render(MESSAGES)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no usable tokenizer"):
        Tokenizer.load(tmp_path)
    TOKENIZER.save(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="holds no usable tokenizer"):
        Tokenizer.load(tmp_path)
