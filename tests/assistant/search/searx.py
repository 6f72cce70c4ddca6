"""A real searx server (Debian's package) whose only engine is the search of a local site."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

_SETTINGS = """
general: {{debug: false, instance_name: local}}
search:
  safe_search: 0
  autocomplete: ""
  default_lang: ""
  ban_time_on_fail: 0
  max_ban_time_on_fail: 0
  formats: [html, json]
server:
  port: {port}
  bind_address: 127.0.0.1
  secret_key: for-tests-alone
  base_url: false
  image_proxy: false
  http_protocol_version: "1.0"
  method: GET
ui:
  static_path: {share}/static
  templates_path: {share}/templates
  default_theme: oscar
  default_locale: ""
outgoing: {{request_timeout: 5.0}}
engines:
  - name: local
    engine: json_engine
    enable_http: true
    shortcut: lo
    search_url: {site}/find?q={{query}}
    results_query: results
    url_query: url
    title_query: title
    content_query: content
    categories: general
    timeout: 5.0
locales: {{en: English, fr: French}}
doi_resolvers: {{oadoi.org: "https://oadoi.org/"}}
default_doi_resolver: oadoi.org
"""
SHARE = Path("/usr/share/python3-searx")


@contextlib.asynccontextmanager
async def searx(folder: Path, site: str) -> AsyncIterator[str]:
    """The address of a server that runs.

    Args:
        folder: for its settings.
        site: asked by its engine at `/find?q=`.
    """
    program = shutil.which("searx-run")
    if program is None:
        message = "searx is not installed (Debian: apt install searx)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    file = folder / "settings.yml"
    file.write_text(_SETTINGS.format(port=port, site=site, share=SHARE))
    with (folder / "searx.log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            program,
            env={"PATH": os.defpath, "SEARX_SETTINGS_PATH": str(file), "HOME": str(folder)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session:
            for _ in range(600):
                assert server.returncode is None, (folder / "searx.log").read_text()
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{url}/config") as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.05)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        await server.wait()
