"""The web page: the built files of `static/`, and `index.html` for every address of the app.

Files under `assets/` carry a hash in their name and are kept by browsers for good; everything else is asked for anew.
Where a file has a compressed twin (`.br`, `.gz`), that is sent to browsers that take it.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
_MISSING = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Colosse</title>
<h1>The web page is not built</h1>
<p>The server works: its API is under <code>/v1</code> and <code>/api</code>.</p>
<p>To build the page, run <code>make web</code> in the source tree, then reload.</p>
<hr lang="fr">
<p lang="fr">La page n’est pas construite ; le serveur et son API fonctionnent.
Pour la construire : <code>make web</code> dans les sources, puis rechargez.</p>
"""


class Pages:
    """Answers every address that no route has: an ASGI application.

    Args:
        static: the folder with the build; it may be missing.
    """

    def __init__(self, static: Path = STATIC) -> None:
        self._root = static.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            HTTPException: 404, as for any address that nothing is at.
        """
        path = scope["path"].lstrip("/")
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or path.split("/", 1)[0] in ("api", "v1"):
            raise HTTPException(404)
        await self._answer(path, Headers(scope=scope))(scope, receive, send)

    def _answer(self, path: str, headers: Headers) -> Response:
        file = _inside(self._root, path)
        if file is not None:
            lasting = path.startswith("assets/")
            return _send(file, headers, "public, max-age=31536000, immutable" if lasting else "no-cache")
        if "." in path.rsplit("/", 1)[-1]:  # a file that should be there; a page would only confuse who asked
            raise HTTPException(404)
        index = self._root / "index.html"
        if not index.is_file():
            return HTMLResponse(_MISSING, 503, {"cache-control": "no-store"})
        return _send(index, headers, "no-cache")


def _inside(root: Path, path: str) -> Path | None:
    """The file that `path` names below `root`, unless it leads elsewhere."""
    try:
        file = (root / path).resolve()
        return file if file.is_relative_to(root) and file.is_file() else None
    except (OSError, ValueError):  # a name too long, or with a NUL
        return None


def _send(file: Path, headers: Headers, cache: str) -> Response:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    extra = {"cache-control": cache, "vary": "accept-encoding"}
    accepted = {part.partition(";")[0].strip() for part in headers.get("accept-encoding", "").split(",")}
    for encoding, suffix in _ENCODINGS:
        twin = file.with_name(file.name + suffix)
        if encoding in accepted and twin.is_file():
            return FileResponse(twin, media_type=kind, headers={**extra, "content-encoding": encoding})
    return FileResponse(file, media_type=kind, headers=extra)
