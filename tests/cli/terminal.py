"""A program in a terminal of its own (Linux and macOS), to type into and read from."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

_TAKE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>]|\x1b\][^\x07]*\x07")


class Terminal:
    """A child process whose terminal we hold; use as a context manager, which kills what is left."""

    def __init__(self, *command: str, **env: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 100))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **env},
        )
        os.close(slave)
        self.seen = ""
        """Everything so far, without escape sequences."""
        self._raw = b""
        self._read = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def expect(self, text: str, timeout: float = 60.0) -> None:
        """Read until `text` appears after what earlier calls found."""
        deadline = time.monotonic() + timeout
        while (at := self.seen.find(text, self._read)) < 0:
            if not self._more(deadline - time.monotonic()):
                raise AssertionError(f"no {text!r} after {self.seen[self._read :]!r}")
        self._read = at + len(text)

    def wait(self, timeout: float = 60.0) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + timeout
        while self._more(deadline - time.monotonic()):
            pass
        return self.process.wait(max(1.0, deadline - time.monotonic()))

    def _more(self, timeout: float) -> bool:
        ready = select.select([self._master], [], [], max(0.0, timeout))[0]
        data = b""
        with contextlib.suppress(OSError):  # Linux: the other end is closed
            data = os.read(self._master, 65536) if ready else b""
        self._raw += data
        self.seen = _ESCAPES.sub("", self._raw.decode(errors="replace")).replace("\r", "")
        return bool(data)
