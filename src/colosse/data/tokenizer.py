"""Byte-level BPE: text to token ids and back, without loss; and a conversation to the text that a model sees."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from colosse.core.errors import UserError
from colosse.core.files import write_atomic
from colosse.data.bpe import PATTERN, Ids, WordEncoder

EOT = "<|endoftext|>"
SPECIALS = (EOT, "<|im_start|>", "<|im_end|>")
"""End of a document; the marks of a message (ChatML). Text never becomes one of them."""
TOOL_CALLS = ("<tool_call>", "</tool_call>")
RESERVED = 11
"""Free special tokens, at least, for what a model learns later; 16 in all with those above."""
ROUND_TO = 64
"""The vocabulary is a multiple of this: matrices of a round size are faster, and can be cut among ranks."""


class Tokenizer:
    """A tokenizer in Hugging Face's format, with the chat template kept beside it.

    Attributes:
        eot_id: the token that ends every document.
        vocab_size: number of tokens, special and reserved ones included.
    """

    def __init__(self, core: tokenizers.Tokenizer, config: Mapping[str, Any], chat_template: str) -> None:
        self._core = core
        self._config = dict(config)
        self._chat_template = chat_template
        self._core.encode_special_tokens = True  # "<|im_end|>" in a text is text, whoever wrote it
        self._specials: tokenizers.Tokenizer | None = None
        self._words = WordEncoder(core) if WordEncoder.fits(core) else None
        self.vocab_size = core.get_vocab_size(with_added_tokens=True)
        found = core.token_to_id(EOT)
        found = core.token_to_id(_content(config.get("eos_token"))) if found is None else found
        if found is None:
            raise UserError("this tokenizer has no token that ends a text", hint=f"it needs {EOT} or an eos_token")
        self.eot_id = found

    @staticmethod
    def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """Learn merges from `texts`.

        Args:
            texts: the sample, read once.
            vocab_size: tokens in all, rounded up to a multiple of 64; a small sample may end with fewer.
        """
        size = -(-vocab_size // ROUND_TO) * ROUND_TO
        core = tokenizers.Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        core.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size - len(SPECIALS) - len(TOOL_CALLS) - RESERVED,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        core.train_from_iterator(texts, trainer)
        core.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIALS])
        core.add_tokens([AddedToken(name, special=False, normalized=False) for name in TOOL_CALLS])
        free = -(core.get_vocab_size() + RESERVED) % ROUND_TO + RESERVED
        core.add_special_tokens([AddedToken(f"<|reserved_{n}|>", special=True, normalized=False) for n in range(free)])
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": EOT,
            "pad_token": EOT,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 1 << 30,
        }
        return Tokenizer(core, config, (Path(__file__).with_name("chat_template.jinja")).read_text(encoding="utf-8"))

    @staticmethod
    def load(folder: Path) -> Tokenizer:
        """Open a tokenizer folder of Hugging Face's layout.

        Raises:
            UserError: there is none, it is damaged, or it names no token that ends a text.
        """
        file = folder / "tokenizer.json"
        try:
            core = tokenizers.Tokenizer.from_file(str(file))
            config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        except Exception as error:  # tokenizers raises bare Exceptions
            raise UserError(
                f"{folder} holds no usable tokenizer: {error}",
                hint="it needs tokenizer.json and tokenizer_config.json",
            ) from None
        template = folder / "chat_template.jinja"
        text = template.read_text(encoding="utf-8") if template.is_file() else config.get("chat_template") or ""
        return Tokenizer(core, config, text if isinstance(text, str) else "")

    def save(self, folder: Path) -> None:
        """Write a folder that `transformers.AutoTokenizer` loads."""
        files = {
            "tokenizer.json": self._core.to_str(pretty=True),
            "tokenizer_config.json": _json({**self._config, "chat_template": self._chat_template or None}),
            "special_tokens_map.json": _json({k: v for k, v in self._config.items() if k.endswith("_token") and v}),
            "chat_template.jinja": self._chat_template,
        }
        for name, text in files.items():
            write_atomic(folder / name, text.encode())

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Token ids of a text; with `specials`, names of special tokens in it become those tokens."""
        core = self._with_specials() if specials else self._core
        return list(core.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text [tokens]; names of special tokens in them are text. The quick way for many."""
        found = [self._words.encode(text) if self._words is not None else None for text in texts]
        slow = [number for number, ids in enumerate(found) if ids is None]
        encoded = self._core.encode_batch_fast([texts[number] for number in slow], add_special_tokens=False)
        for number, encoding in zip(slow, encoded, strict=True):
            found[number] = np.array(encoding.ids, dtype=np.uint32)
        return [ids for ids in found if ids is not None]

    def decode(self, ids: Sequence[int], *, specials: bool = True) -> str:
        """Text of token ids; without `specials`, those leave no trace. Halves of characters become U+FFFD."""
        return str(self._core.decode(list(ids), skip_special_tokens=not specials))

    def token_bytes(self) -> NDArray[np.int64]:
        """UTF-8 bytes that each token stands for [vocab_size]; 0 for special ones. Makes nats into bits per byte."""
        lengths = np.zeros(self.vocab_size, dtype=np.int64)
        added = self._core.get_added_tokens_decoder()
        byte_level = "ByteLevel" in str(self._core.decoder)
        for token, number in self._core.get_vocab(with_added_tokens=True).items():
            if number in added:
                lengths[number] = 0 if added[number].special else len(token.encode())
            elif byte_level:  # one character of the vocabulary stands for one byte
                lengths[number] = len(token)
            else:  # sentencepiece: "▁" is a space, "<0x0A>" a byte
                lengths[number] = 1 if token.startswith("<0x") else len(token.replace("▁", " ").encode())
        return lengths

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool = False,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """The text of a conversation by the chat template; `encode(..., specials=True)` makes tokens of it.

        Raises:
            UserError: the tokenizer has no chat template, or the template refuses the messages.
        """
        import jinja2
        import jinja2.sandbox

        if not self._chat_template:
            raise UserError("this tokenizer has no chat template", hint="put a chat_template.jinja into its folder")
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
        environment.globals["raise_exception"] = _refuse
        try:
            return environment.from_string(self._chat_template).render(
                messages=messages,
                tools=list(tools) or None,
                add_generation_prompt=add_generation_prompt,
                bos_token=_content(self._config.get("bos_token")),
                eos_token=_content(self._config.get("eos_token")),
            )
        except jinja2.TemplateError as error:
            raise UserError(f"the chat template refuses these messages: {error}") from None

    def _with_specials(self) -> tokenizers.Tokenizer:
        if self._specials is None:
            self._specials = tokenizers.Tokenizer.from_str(self._core.to_str())
            self._specials.encode_special_tokens = False
        return self._specials


def _content(token: Any) -> str:
    """The text of a token that a configuration names directly or as an object."""
    return str(token["content"]) if isinstance(token, Mapping) else str(token or "")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _refuse(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)
