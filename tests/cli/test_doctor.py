"""`colosse doctor`."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.scripted import Scripted

NOWHERE = "http://127.0.0.1:9"
OFFLINE = {"COLOSSE_HUB_URL": NOWHERE, "PIP_INDEX_URL": f"{NOWHERE}/simple"}


def examine(colosse: Any, code: int = 0, **env: str) -> dict[str, dict[str, Any]]:
    done = colosse("doctor", "--json", **{**OFFLINE, **env})
    assert done.returncode == code, done.stdout + done.stderr
    return {finding["name"]: finding for finding in json.loads(done.stdout)}


def test_what_it_looks_at(colosse: Any, home: Path) -> None:
    found = examine(colosse, COLOSSE_PORT="0")
    looked = {"python", "colosse", "llama.cpp", "vllm", "torch", "processor", "gpu", "memory", "disk", "home", "models"}
    assert found.keys() == looked | {"web page", "sandbox", "server", "port", "hub", "package index", "database"}
    assert all(f["status"] in ("ok", "warn", "missing") and f["detail"] for f in found.values())
    assert all(f["mend"] for f in found.values() if f["status"] != "ok")
    assert found["hub"]["status"] == found["package index"]["status"] == "warn"
    assert found["models"]["mend"].startswith("colosse models pull ")
    assert found["database"]["status"] == "ok"
    assert not home.exists()


def test_table(colosse: Any) -> None:
    done = colosse("doctor", **OFFLINE, COLOSSE_PORT="0")
    assert done.returncode == 0
    assert "✓ ok" in done.stdout
    assert "→ colosse models pull" in done.stdout


def test_what_answers_is_reached(colosse: Any, scripted: Scripted, scripted_settings: Any) -> None:
    found = examine(colosse, COLOSSE_HUB_URL=scripted.url, PIP_INDEX_URL=scripted.url)
    assert [found[name]["status"] for name in ("hub", "package index", "endpoint scripted")] == ["ok"] * 3
    assert found["endpoint scripted"]["detail"].startswith("1 models")
    scripted.healthy = False
    scripted.api_key = "secret"
    assert examine(colosse)["endpoint scripted"]["status"] == "warn"


def test_a_damaged_database_is_an_error(colosse: Any, home: Path) -> None:
    home.mkdir()
    (home / "colosse.db").write_bytes(b"this is no database, whatever its name says" * 100)
    found = examine(colosse, code=1)
    assert (found["database"]["status"], found["database"]["required"]) == ("missing", True)
    assert "not a database" in found["database"]["detail"]


def test_a_database_server_that_is_not_there_is_an_error(colosse: Any) -> None:
    pytest.importorskip("asyncpg")
    found = examine(colosse, code=1, COLOSSE_DATABASE="postgresql://me:secret@127.0.0.1:9/x")
    assert found["database"]["status"] == "missing"
    assert "secret" not in json.dumps(found)


def test_a_home_that_cannot_be_made_is_an_error(colosse: Any, home: Path) -> None:
    home.write_text("a file")
    assert examine(colosse, code=1)["home"]["status"] == "missing"


def test_a_taken_port_and_a_damaged_model_are_warnings(colosse: Any, home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "empty.gguf").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = examine(colosse, COLOSSE_PORT=str(taken.getsockname()[1]))
    assert found["port"]["status"] == "warn"
    assert "is taken" in found["port"]["detail"]
    assert found["model empty"]["status"] == "warn"
    assert found["models"]["status"] == "warn"


def test_no_engine_at_all(colosse: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a base installation: the distribution of the engine is not to be found."""
    (tmp_path / "hidden").mkdir()
    hide = (
        "import importlib.metadata as m\nfound = m.version\n"
        "def version(name):\n    if name in ('xllamacpp', 'vllm'):\n        raise m.PackageNotFoundError(name)\n"
        "    return found(name)\nm.version = version\n"
    )
    (tmp_path / "hidden" / "sitecustomize.py").write_text(hide)
    found = examine(colosse, code=1, PYTHONPATH=str(tmp_path / "hidden"))
    assert (found["llama.cpp"]["status"], found["llama.cpp"]["required"]) == ("missing", True)
    assert "colosse[llama]" in found["llama.cpp"]["mend"]
    endpoint = f'[{{name = "far", url = "{NOWHERE}/v1"}}]'
    assert (
        examine(colosse, PYTHONPATH=str(tmp_path / "hidden"), COLOSSE_ENDPOINTS=endpoint)["llama.cpp"]["status"]
        == "warn"
    )
