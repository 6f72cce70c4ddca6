"""JSON: string values, never keys; layout, escapes and everything else byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from colosse.assistant.translate.document import Format, Slot, Source
from colosse.assistant.translate.formats.messages import message_parts
from colosse.assistant.translate.formats.text import has_letter
from colosse.core.errors import UserError

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?')
_NAME = re.compile(r"#?[\w./:@$%&?=+~-]*[_/:@.#\d-][\w./:@$%&?=+~-]*|[a-z]+(?:[A-Z][a-z0-9]*)+")
"""Values without a space that are names, paths, addresses, colours, dates, rather than words."""


def read(text: str) -> Source:
    """A slot for every string value that has words.

    Raises:
        UserError: not JSON.
    """
    try:
        json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        said = error if isinstance(error, ValueError) else "nested too deeply"
        raise UserError(
            f"this is not JSON: {said}", hint="mend it, or choose another --format", code="bad_json"
        ) from None
    slots = []
    for found in _STRING.finditer(text):
        if found[2]:
            continue
        value = json.loads(f'"{found[1]}"', strict=False)
        if has_letter(value) and not _NAME.fullmatch(value):
            slots.append(Slot(found.start(1), found.end(1), message_parts(value), finish=_escape(found[1])))
    return Source(text, tuple(slots))


def _escape(raw: str) -> Callable[[str], str]:
    """Escapes a whole string, in ASCII where its source has escapes for letters."""
    in_ascii = re.search(r"\\u(?!00[01]|2028|2029)[0-9a-fA-F]{4}", raw) is not None
    return lambda text: json.dumps(text, ensure_ascii=in_ascii)[1:-1]


FORMAT = Format("json", (".json", ".arb"), read)
