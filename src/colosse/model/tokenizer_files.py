"""What the files of a tokenizer folder say, read without a tokenizer library; and copying them beside weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colosse.core.errors import NotFoundError, UserError

FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
    "vocab.json", "merges.txt", "added_tokens.json", "tokenizer.model",
)  # fmt: skip
"""Files of a Hugging Face tokenizer folder; only the first must be there."""


@dataclass(frozen=True)
class AddedToken:
    """A token that is matched whole before anything is split."""

    id: int
    text: str
    special: bool


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer as its folder describes it.

    Attributes:
        folder: where it lies.
        definition: `tokenizer.json`, decoded.
        added: tokens matched whole, by id.
        size: ids that it can produce: the greatest and one.
        bos_id: token that begins a text; None where it has none.
        eos_id: token that ends one.
        pad_id: token that fills up a batch.
        stop_ids: tokens at which an answer is over: `eos_id`, and the one that ends a chat message.
        adds_bos: whether encoding a text puts `bos_id` first.
        chat_template: Jinja source; empty for none.
    """

    folder: Path
    definition: dict[str, Any]
    added: tuple[AddedToken, ...]
    size: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    stop_ids: tuple[int, ...]
    adds_bos: bool
    chat_template: str

    @property
    def vocab(self) -> dict[str, int]:
        """Token to id, without the added ones."""
        return dict(self.definition["model"]["vocab"])


def read_tokenizer(folder: Path) -> TokenizerFiles:
    """Read a tokenizer folder.

    Raises:
        NotFoundError: there is no `tokenizer.json`.
        UserError: it or its configuration cannot be understood.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise NotFoundError(f"there is no tokenizer in {folder}: {path.name} is missing")
    definition, config = read_json(path), read_json(folder / "tokenizer_config.json", missing_ok=True)
    try:
        added = tuple(
            AddedToken(int(token["id"]), str(token["content"]), bool(token.get("special")))
            for token in sorted(definition.get("added_tokens") or [], key=lambda token: int(token["id"]))
        )
        vocab = definition["model"]["vocab"]
        # Unigram models have a list of (token, score), all others a table.
        ids = {text: i for i, (text, _) in enumerate(vocab)} if isinstance(vocab, list) else dict(vocab)
        ids |= {token.text: token.id for token in added}
        size = max(ids.values(), default=-1) + 1
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a tokenizer: {type(error).__name__} {error}") from None

    def id_of(key: str) -> int | None:
        text = config.get(key)
        return ids.get(text["content"] if isinstance(text, dict) else text) if text else None

    bos, eos = id_of("bos_token"), id_of("eos_token")
    ends = [eos, ids.get("<|im_end|>"), ids.get("<|endoftext|>")]
    template = config.get("chat_template")
    beside = folder / "chat_template.jinja"
    return TokenizerFiles(
        folder=folder,
        definition=definition,
        added=added,
        size=size,
        bos_id=bos,
        eos_id=eos,
        pad_id=id_of("pad_token"),
        stop_ids=tuple(dict.fromkeys(end for end in ends if end is not None)),
        adds_bos=bool(config.get("add_bos_token", False)) or _template_begins_with(definition, bos),
        chat_template=beside.read_text(encoding="utf-8") if beside.is_file() else _first_template(template),
    )


def _template_begins_with(definition: dict[str, Any], bos: int | None) -> bool:
    """Whether the post-processor puts the token `bos` before a text."""
    steps = definition.get("post_processor") or {}
    for step in steps.get("processors", [steps]):
        if step.get("type") == "TemplateProcessing" and bos is not None:
            first = step["single"][0].get("SpecialToken")
            if first and bos in step["special_tokens"][first["id"]]["ids"]:
                return True
    return False


def _first_template(template: Any) -> str:
    """The chat template; of several named ones the default."""
    if isinstance(template, list):
        named = {item["name"]: item["template"] for item in template}
        template = named.get("default", "")
    return template or ""


def check_fits(tokenizer: TokenizerFiles, vocab_size: int) -> None:
    """Refuse a tokenizer that cannot be this model's. One with fewer tokens may be: embeddings are often padded.

    Raises:
        UserError: it has tokens for which the model has no row.
    """
    if tokenizer.size > vocab_size:
        raise UserError(
            f"the tokenizer in {tokenizer.folder} has {tokenizer.size} tokens and the model {vocab_size}",
            hint="give the folder of the tokenizer that the model was trained with",
            code="tokenizer_mismatch",
        )


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files, and nothing else of its folder."""
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def read_json(path: Path, *, missing_ok: bool = False) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        NotFoundError: there is no such file (unless `missing_ok`: then an empty object).
        UserError: it is no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        if missing_ok:
            return {}
        raise NotFoundError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", hint="fetch it again", code="corrupt_model") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object", code="corrupt_model")
    return value
