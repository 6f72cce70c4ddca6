"""Reading PDF and Office files: `parse.py` in the sandbox, so that a hostile file meets nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from colosse.assistant import sandbox
from colosse.assistant.documents.blocks import Block, Outline, Read
from colosse.assistant.documents.plain import rows_as_text
from colosse.core.errors import TooLargeError, UserError

LIMITS = sandbox.Limits(cpu_s=90, wall_s=120, memory_mb=1536, processes=16, file_mb=128)
ROWS_OF_A_BLOCK = 20
_RESOURCE = {"memory": "memory", "cpu": "time", "time": "time", "output": "space", "files": "space"}


async def read_isolated(name: str, kind: str, media_type: str, data: bytes) -> Read:
    """Read a file that needs a parser of its own.

    Args:
        name: of the file, for messages.
        kind: `pdf`, `docx`, `pptx` or `xlsx`.
        media_type: of the result.
        data: its bytes.

    Raises:
        UserError: it is damaged, has a password, or is a bomb.
        TooLargeError: it takes more than `LIMITS` to read.
        ColosseError: nothing can be isolated on this machine.
    """
    script = (Path(__file__).parent / "parse.py").read_bytes()
    ran = await sandbox.run(
        [sandbox.PYTHON, "parse.py", kind],
        files={"parse.py": script, "input": data},
        keep=["output.json"],
        limits=LIMITS,
    )
    if ran.stopped:
        what = _RESOURCE.get(ran.stopped, "resources")
        raise TooLargeError(f"{name} takes more {what} to read than is given", hint="give it in parts")
    written = ran.files.get("output.json")
    if ran.exit_code or written is None:
        if "ModuleNotFoundError" in ran.stderr:
            raise UserError(f"{name} needs packages that are not installed", hint="pip install 'colosse[skills]'")
        raise UserError(f"{name} is damaged: reading it failed", hint="save it anew", code="unreadable_document")
    done = json.loads(written)
    if "error" in done:
        raise UserError(
            f"{name} {done['error']}", hint="save it anew, whole and without a password", code="unreadable_document"
        )
    return Read(
        title=done["title"] or "",
        media_type=media_type,
        num_pages=done["num_pages"],
        blocks=list(_blocks(done["items"])),
    )


def _blocks(items: Iterable[dict[str, Any]]) -> Iterator[Block]:
    outline = Outline()
    for item in items:
        kind, page = item["kind"], item.get("page")
        if kind == "heading":
            outline.enter(item["level"], item["text"])
        lines = rows_as_text([row for row in item["rows"] if any(row)]) if kind == "table" else [item["text"]]
        for start in range(0, len(lines), ROWS_OF_A_BLOCK):
            text = "\n".join(lines[start : start + ROWS_OF_A_BLOCK])
            if text.strip():
                yield Block(text=text, page=page, section=outline.path, kind=kind)
