"""Encoding at several times the speed of `tokenizers`: every word is merged once and then remembered.

A corpus has few different words. `tokenizers` remembers them too, but pays for offsets, locks and copies on every one;
here a word costs a match of a compiled expression and a look-up. The ids are the same: words that are new are given to
`tokenizers`, and texts on which the two libraries' Unicode tables may disagree go there whole.
"""

from __future__ import annotations

import json
import re

import numpy as np
import regex  # type: ignore[import-untyped]  # it has no stubs
import tokenizers
from numpy.typing import NDArray

Ids = NDArray[np.uint32]

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How text is cut before merging: that of Qwen2 (github.com/QwenLM/Qwen2.5), which llama.cpp knows as `qwen2`."""
_ASCII = re.compile(
    r"'(?:[sStTmMdD]|[rRvV][eE]|[lL]{2})|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    re.ASCII,
)
"""The same for text without other characters, at twice the speed."""
_UNICODE = regex.compile(PATTERN)
_UNSURE = re.compile(
    "[\u0558\u058b\u058c\u088f\u0c5c\u0cdc\u208f\u209d-\u209f\ua7cb-\ua7f1\uab6c\uab6d"
    "\U00010000-\U0001efff\U0001fb00-\U0001ffff\U0002a6e0-\U0010ffff]"
)
"""Characters that came to Unicode late: one library may know as letters what the other does not know yet."""
LONGEST_WORD = 64
MOST_WORDS = 1 << 19
"""Remembered at once: at most some 100 MB."""


def _byte_characters() -> dict[int, str]:
    """Byte to the character that stands for it in a byte-level vocabulary (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


_CHARACTERS = _byte_characters()


class WordEncoder(dict[str, bytes]):
    """Words to their ids as bytes of uint32, filled as words come."""

    def __init__(self, core: tokenizers.Tokenizer) -> None:
        super().__init__()
        self._model = core.model
        added = core.get_added_tokens_decoder().values()
        self._names = [token.content for token in added if not token.special]

    @staticmethod
    def fits(core: tokenizers.Tokenizer) -> bool:
        """Whether a tokenizer cuts and merges as this class does: byte-level BPE with `PATTERN` and nothing before."""
        state = json.loads(core.to_str())
        cuts = (state["pre_tokenizer"] or {}).get("pretokenizers", [])
        model = state["model"]
        return (
            state["normalizer"] is None
            and [cut["type"] for cut in cuts] == ["Split", "ByteLevel"]
            and (cuts[0]["pattern"], cuts[0]["behavior"], cuts[0]["invert"]) == ({"Regex": PATTERN}, "Isolated", False)
            and not (cuts[1]["add_prefix_space"] or cuts[1]["use_regex"])
            and model["type"] == "BPE"
            and not (model["dropout"] or model["ignore_merges"] or model["byte_fallback"])
        )

    def encode(self, text: str) -> Ids | None:
        """Token ids [tokens]; None for a text that only `tokenizers` itself can be trusted with."""
        if any(name in text for name in self._names):
            return None
        if text.isascii():
            words = _ASCII.findall(text)
        elif _UNSURE.search(text):
            return None
        else:
            words = _UNICODE.findall(text)
        ids = np.frombuffer(b"".join(map(self.__getitem__, words)), dtype=np.uint32)
        if len(self) > MOST_WORDS:
            self.clear()
        return ids

    def __missing__(self, word: str) -> bytes:
        characters = word.encode().decode("latin-1").translate(_CHARACTERS)
        ids = np.array([token.id for token in self._model.tokenize(characters)], dtype=np.uint32).tobytes()
        if len(word) <= LONGEST_WORD:
            self[word] = ids
        return ids
