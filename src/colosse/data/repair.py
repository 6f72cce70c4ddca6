"""Unicode repair: text as its author meant it, in one normal form."""

from __future__ import annotations

import re
import unicodedata

import ftfy
from ftfy.badness import BADNESS_RE

CONFIG = ftfy.TextFixerConfig(unescape_html=False, uncurl_quotes=False)
"""Quotes stay as they are (French needs them), and so do entities (code and HTML need those)."""

_CONTROLS = {code: None for code in [*range(32), 0x7F, 0xFEFF] if code not in (9, 10)}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufeff]")
_ESCAPE = re.compile("\x1b\\[[\\d;]*[A-Za-z]")
_LINE_END = re.compile("\r\n?|[\x0b\x0c\u2028\u2029]")
_LINE_ENDS = "\r\x0b\x0c\u2028\u2029"
_SUSPECT = re.compile(
    "[\x80-\x9f\ufb00-\ufb06\uff01-\uffef\u3000\ud800-\udfff\ufff9-\ufffd\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3]"
)
"""What ftfy mends besides mojibake: C1 controls, ligatures, full-width forms, surrogates."""
_CANDIDATES = tuple(re.compile(candidate) for candidate in ("[^\x00-\x7f]{2,}", "[Œœ](?![A-Za-z])", "[ÃÂ] "))
"""Every alternative of ftfy's expression for mojibake but the C1 controls holds one of these, with at most 3 characters
around it; searching for them first is ten times as fast."""
_AROUND = 3


def repair(text: str) -> str:
    """Mend mojibake (`Ã©` for `é`), line ends and control characters; NFC.

    Equal to `ftfy.fix_text` (https://ftfy.readthedocs.io) of each line with `CONFIG`; ftfy, which is slow, sees only
    the lines in which there is something to mend.
    """
    if any(end in text for end in _LINE_ENDS):
        text = _LINE_END.sub("\n", text)
    if not text.isascii():
        if _needs_ftfy(text):
            text = "\n".join(
                ftfy.fix_text(line, CONFIG) if not line.isascii() and _needs_ftfy(line) else line
                for line in text.split("\n")
            )
        if not unicodedata.is_normalized("NFC", text):
            text = unicodedata.normalize("NFC", text)
    if _CONTROL.search(text):
        text = _ESCAPE.sub("", text).translate(_CONTROLS)
    return text


def _needs_ftfy(text: str) -> bool:
    if _SUSPECT.search(text):
        return True
    return any(
        BADNESS_RE.search(text, max(0, found.start() - _AROUND), found.end() + _AROUND)
        for candidate in _CANDIDATES
        for found in candidate.finditer(text)
    )
