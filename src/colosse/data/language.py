"""Which language a text is in."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from py3langid.langid import MODEL_FILE, LanguageIdentifier

SAMPLE = 512
"""Characters of a long text that are looked at, in three places; twice as many told no page of prose better apart."""
LEAST = 0.65
"""Confidence below which a text counts as being in no language; FineWeb's threshold (arXiv:2406.17557, section 3.2)."""


def identify(text: str) -> tuple[str, float]:
    """ISO 639-1 code and confidence (0 to 1), by py3langid (Lui and Baldwin, "langid.py", ACL 2012)."""
    if len(text) > SAMPLE:
        third = SAMPLE // 3
        starts = (0, (len(text) - third) // 2, len(text) - third)
        text = "\n".join(text[start : start + third] for start in starts)
    language, confidence = _identifier().classify(text)
    return str(language), float(confidence)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
