"""The prompts of every skill: one data file a skill and language, the same keys in each language.

Texts in braces are filled by the skill. A change of wording raises `version`, which results carry, so that a measured
answer can be traced to the prompt that asked for it. A table `[small]` holds shorter texts, which take the place of the
others for small models; `[problems]` says what is told to the model of each failed check.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from colosse.core.config import Config

Language = Literal["en", "fr"]
LANGUAGES: tuple[Language, ...] = ("en", "fr")
SMALL = "small"


class SkillPrompts(Config):
    """Base of the prompts of one skill in one language; a subclass beside the skill names its texts.

    Attributes:
        version: raised by every change of wording.
        problems: name of a check to what the model is told when it failed, with `{detail}`.
    """

    version: int
    problems: dict[str, str] = {}


Texts = TypeVar("Texts", bound=SkillPrompts)


def prompts(shape: type[Texts], skill: str, language: Language, *, small: bool = False) -> Texts:
    """The prompts of `skill` in `language`.

    Args:
        shape: the class that names them.
        skill: name of its files.
        language: to ask in.
        small: whether the model is a small one, which gets the shorter texts where there are some.
    """
    texts = _file(language, skill)
    shorter = texts.get(SMALL, {}) if small else {}
    return shape.model_validate({**{key: text for key, text in texts.items() if key != SMALL}, **shorter})


def language_names(language: Language) -> dict[str, str]:
    """Code of every language that is known by name, to what it is called in `language`."""
    return _file(language, "languages")


@cache
def _file(language: Language, name: str) -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / language / f"{name}.toml").read_text(encoding="utf-8"))
