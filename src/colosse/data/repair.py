"""Unicode repair: text as its author meant it, in one normal form."""

from __future__ import annotations

import re
import unicodedata

import ftfy
import ftfy.badness

CONFIG = ftfy.TextFixerConfig(unescape_html=False, uncurl_quotes=False, fix_latin_ligatures=True)
"""Quotes stay as they are (French needs them), and so do entities (code and HTML need those)."""

_CONTROLS = {code: None for code in [*range(32), 0x7F, 0xFEFF] if code not in (9, 10)}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufeff]")
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SUSPECT = re.compile(
    "[\x80-\x9f\ufb00-\ufb06\uff01-\uffef\u3000\ud800-\udfff\ufff9-\ufffd\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3]"
)
"""What ftfy's quick repairs touch besides mojibake: C1 controls, ligatures, full-width forms, surrogates."""


def repair(text: str) -> str:
    """Mend mojibake (`Ã©` for `é`), line ends and control characters; NFC.

    Equal to `ftfy.fix_text` (https://ftfy.readthedocs.io) of each line with `CONFIG`; ftfy, which is slow, sees only
    the lines in which its own quick tests find something to mend.
    """
    if "\r" in text or "\x0c" in text or "\x0b" in text:
        text = _LINE_END.sub("\n", text)
    if text.isascii():
        return text.translate(_CONTROLS) if _CONTROL.search(text) else text
    text = _LINE_END.sub("\n", text)
    if _SUSPECT.search(text) or ftfy.badness.is_bad(text):
        text = "\n".join(
            ftfy.fix_text(line, CONFIG) if not line.isascii() and _needs_ftfy(line) else line
            for line in text.split("\n")
        )
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return text.translate(_CONTROLS) if _CONTROL.search(text) else text


def _needs_ftfy(line: str) -> bool:
    return bool(_SUSPECT.search(line)) or ftfy.badness.is_bad(line)
