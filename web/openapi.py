"""Print the part of the server's OpenAPI document that the page uses: `/api`, and what its addresses refer to.

`npm run api` makes `src/api/schema.d.ts` of it. The bodies of server-sent events, which OpenAPI does not know, are
added from the server's own models.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from pydantic.json_schema import models_json_schema

from colosse.server.api import schema
from colosse.server.app import openapi

PREFIX = "#/components/schemas/"
EVENTS = (schema.Snapshot, schema.Step, schema.Delta, schema.Done)


def document() -> dict[str, Any]:
    """The document, with nothing in it that the page does not reach."""
    whole = openapi()
    paths = {path: item for path, item in whole["paths"].items() if path.startswith("/api/")}
    _, events = models_json_schema([(model, "serialization") for model in EVENTS], ref_template=PREFIX + "{model}")
    known = {**whole["components"]["schemas"], **events["$defs"]}
    used: dict[str, Any] = {}
    names = [model.__name__ for model in EVENTS] + _references(paths)
    while names:
        name = names.pop()
        if name not in used:
            used[name] = known[name]
            names += _references(known[name])
    parts = _shape({"paths": paths, "components": {"schemas": dict(sorted(used.items()))}})
    return {"openapi": whole["openapi"], "info": {"title": "Colosse", "version": "0"}, **parts}


def _shape(part: Any) -> Any:
    """`part` without its prose: types do not change when words do. A property may have one of these names, too."""
    if isinstance(part, list):
        return [_shape(item) for item in part]
    if not isinstance(part, dict):
        return part
    prose = ("description", "summary", "title")
    return {name: _shape(value) for name, value in part.items() if not (name in prose and isinstance(value, str))}


def _references(part: Any) -> list[str]:
    return re.findall(f'"{PREFIX}([^"]+)"', json.dumps(part))


if __name__ == "__main__":
    json.dump(document(), sys.stdout)
