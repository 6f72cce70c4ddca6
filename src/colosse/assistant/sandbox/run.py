"""One program, isolated and bounded: files in, output and files out, and nothing left behind."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import math
import os
import select
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Literal

from colosse.assistant.sandbox.bubblewrap import Descriptors, bubblewrap, check_machine, command, enter_stage, identity
from colosse.assistant.sandbox.watch import MAX_FILES, Inside
from colosse.core.errors import ColosseError, TooLargeError, UserError

if TYPE_CHECKING:
    import resource

Stopped = Literal["", "time", "cpu", "memory", "output", "processes", "files"]

MAX_INPUTS = 500
"""Files that go in: each is an open file while the sandbox is built."""
_INTERVAL_S = 0.02
"""Between two looks at what a sandbox uses."""
_START_S = 20.0
"""A sandbox that is not built by then will not be."""
_MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one run may take.

    Attributes:
        cpu_s: seconds of CPU, all processes together.
        wall_s: seconds on the clock.
        memory_mb: MiB, all processes and the files that they write together.
        processes: processes at once.
        file_mb: MiB of one file.
        output_bytes: standard output and standard error together.
        disk_mb: MiB in the run's folder, and as many in /tmp and in /dev/shm.
    """

    cpu_s: float = 20
    wall_s: float = 30
    memory_mb: int = 1024
    processes: int = 64
    file_mb: int = 64
    output_bytes: int = 1_000_000
    disk_mb: int = 256


@dataclass(frozen=True)
class Ran:
    """How a run ended.

    Attributes:
        exit_code: of the program; 128 + n when signal n ended it, 127 when there is no such program.
        stdout: what it wrote, undecodable bytes replaced.
        stderr: the same.
        seconds: on the clock, without building the sandbox.
        cpu_seconds: of all processes, with the few milliseconds that building the sandbox takes.
        peak_memory_mb: MiB of all processes and their files, looked at every 20 ms.
        stopped: the limit that ended it, empty when it ended by itself.
        files: relative path -> content of what was to be kept.
    """

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    stopped: Stopped = ""
    files: dict[str, bytes] = field(default_factory=dict)


async def run(
    argv: Sequence[str],
    *,
    files: Mapping[str, bytes | str] = {},
    stdin: bytes = b"",
    keep: Sequence[str] = (),
    limits: Limits = Limits(),
    env: Mapping[str, str] = {},
) -> Ran:
    """Run a program in a sandbox of its own; cancelling ends it at once.

    Args:
        argv: the program, by name or path inside, and its arguments.
        files: relative path -> content, written into the run's folder first.
        stdin: what the program reads.
        keep: glob patterns of files of the run's folder to hand back; `*` also crosses folders.
        limits: what it may take.
        env: environment beside PATH, HOME, LANG and TMPDIR.

    Raises:
        UserError: an input that cannot be: a path that leaves the run's folder, no program.
        ColosseError: isolation is not possible here; nothing was run.
    """
    data = {_inside(name): text.encode() if isinstance(text, str) else text for name, text in files.items()}
    _check(argv, data, env, limits)
    job = _Job(argv, data, stdin, keep, limits, env)
    submitted = _pool().submit(job.run)
    future = asyncio.wrap_future(submitted)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        job.cancelled.set()
        if not submitted.cancel():
            await asyncio.wait([future])
        raise


def require() -> None:
    """Return if code can be isolated here.

    Raises:
        ColosseError: it cannot; says why and how to mend it.
    """
    _pool().submit(_prepare).result()


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that each look after one sandbox; further runs wait for one.

    A thread lives longer than its sandbox: bubblewrap ends with the thread that started it.
    """
    return ThreadPoolExecutor(max(4, os.cpu_count() or 1), thread_name_prefix="sandbox")


def _prepare() -> str:
    check_machine()
    enter_stage()
    return bubblewrap()


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise UserError(f"{name!r} is not a path inside a sandbox", hint="give a relative path without '..'")
    return str(path)


def _check(argv: Sequence[str], files: Mapping[str, bytes], env: Mapping[str, str], limits: Limits) -> None:
    if not argv or not argv[0]:
        raise UserError("no program to run in the sandbox", hint="give a command")
    if any("\0" in word for word in [*argv, *env, *env.values()]) or any("=" in key or not key for key in env):
        raise UserError("a command and its environment cannot hold NUL, nor a variable's name '='", hint="leave it out")
    if len(files) > MAX_INPUTS:
        raise TooLargeError(f"{len(files)} files for one run, at most {MAX_INPUTS}", hint="pack them into an archive")
    if sum(map(len, files.values())) > limits.disk_mb * _MB:
        raise TooLargeError(f"the files for a run are larger than {limits.disk_mb} MiB", hint="raise disk_mb")


class _Job:
    """One run, in one thread."""

    def __init__(
        self,
        argv: Sequence[str],
        files: Mapping[str, bytes],
        stdin: bytes,
        keep: Sequence[str],
        limits: Limits,
        env: Mapping[str, str],
    ) -> None:
        self.cancelled = threading.Event()
        self._argv = argv
        self._files = files
        self._input = memoryview(b"\n" + stdin)
        self._keep = keep
        self._limits = limits
        self._env = env
        self._stopped: Stopped = ""
        self._peak, self._cpu_s = 0, 0.0
        self._out = {"stdout": bytearray(), "stderr": bytearray()}

    def run(self) -> Ran:
        """Build the sandbox, look after it until it ends, and take what is to be kept."""
        program = _prepare()
        with Descriptors() as open_:
            argv = command(
                program,
                self._argv,
                open_,
                size=self._limits.disk_mb * _MB,
                files=self._files,
                env=self._env,
                limits=_ulimits(self._limits),
            )
            answers, tell = os.pipe()
            passed = [*open_.numbers, tell]
            open_.numbers += [answers, tell]
            argv[1:1] = ["--info-fd", str(tell)]
            try:
                process = subprocess.Popen(
                    argv, stdin=-1, stdout=-1, stderr=-1, bufsize=0, pass_fds=passed, **identity()
                )
            except OSError as error:
                raise UserError(
                    f"cannot run {self._argv[0]!r}: {error.strerror}", hint="shorten the command"
                ) from error
            with process:
                return self._look_after(process, answers)

    def _look_after(self, process: subprocess.Popen[bytes], answers: int) -> Ran:
        assert process.stdin and process.stdout and process.stderr  # noqa: S101
        try:
            ready, _, _ = select.select([process.stdout], [], [], _START_S)
            if not ready or not process.stdout.read(1):
                process.kill()
                said = process.stderr.read().decode(errors="replace").strip()
                raise ColosseError(f"the sandbox could not be built: {said or 'no answer'}", hint="see docs/sandbox.md")
            inside = Inside(json.loads(os.read(answers, 4096))["child-pid"])
        except BaseException:
            process.kill()
            raise
        try:
            start = time.perf_counter()
            usage, status = self._wait(process, inside, start)
            seconds = time.perf_counter() - start
            return self._ran(status, usage, seconds, inside)
        finally:
            inside.kill()
            inside.close()

    def _wait(
        self, process: subprocess.Popen[bytes], inside: Inside, start: float
    ) -> tuple[resource.struct_rusage, int]:
        """Move input and output and keep the limits until the first process has ended."""
        ended = os.pidfd_open(process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                self._attend(selector, process, ended)
                while selector.get_map():
                    for key, _ in selector.select(_INTERVAL_S):
                        if key.fileobj == ended:
                            selector.unregister(ended)
                            inside.kill()
                        else:
                            self._move(selector, key)
                    if not self._stopped and (self.cancelled.is_set() or self._over(inside, start)):
                        inside.kill()
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            os.close(ended)
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage, process.returncode

    def _attend(self, selector: selectors.BaseSelector, process: subprocess.Popen[bytes], ended: int) -> None:
        selector.register(ended, selectors.EVENT_READ)
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr), ("stdin", process.stdin)):
            assert pipe  # noqa: S101
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_WRITE if name == "stdin" else selectors.EVENT_READ, name)

    def _move(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
        done = False
        with suppress(BlockingIOError):
            if key.data == "stdin":
                try:
                    self._input = self._input[os.write(pipe.fileno(), self._input[:65536]) :]
                    done = not self._input
                except BrokenPipeError:
                    done = True
            else:
                data = os.read(pipe.fileno(), 65536)
                room = self._limits.output_bytes - sum(map(len, self._out.values()))
                self._out[key.data] += data[:room]
                if len(data) > room:
                    self._stopped = self._stopped or "output"
                done = not data
        if done:
            selector.unregister(pipe)
            pipe.close()

    def _over(self, inside: Inside, start: float) -> bool:
        """Whether a limit is passed; says which."""
        limits = self._limits
        now = inside.used(limits.memory_mb * _MB)
        self._peak, self._cpu_s = max(self._peak, now.memory), max(self._cpu_s, now.cpu_s)
        passed: dict[Stopped, bool] = {
            "processes": now.processes - 1 > limits.processes,
            "memory": now.memory > limits.memory_mb * _MB,
            "files": now.files > MAX_FILES,
            "cpu": now.cpu_s > limits.cpu_s,
            "time": time.perf_counter() - start > limits.wall_s,
        }
        self._stopped = next((name for name, over in passed.items() if over), "")
        return bool(self._stopped)

    def _ran(self, exit_code: int, usage: resource.struct_rusage, seconds: float, inside: Inside) -> Ran:
        import resource  # which Windows does not have

        cpu_s = max(self._cpu_s, usage.ru_utime + usage.ru_stime)  # without what was killed, and with it
        if not self._stopped and cpu_s > self._limits.cpu_s and exit_code == 128 + signal.SIGKILL:
            self._stopped = "cpu"  # by the kernel, between two looks
        # A child's peak starts with the size of who started it: only what is larger is its own.
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = max(self._peak, usage.ru_maxrss * 1024 if usage.ru_maxrss > own else 0)
        return Ran(
            exit_code=exit_code,
            stdout=self._out["stdout"].decode(errors="replace"),
            stderr=self._out["stderr"].decode(errors="replace"),
            seconds=seconds,
            cpu_seconds=cpu_s,
            peak_memory_mb=peak / _MB,
            stopped=self._stopped,
            files=self._kept(inside),
        )

    def _kept(self, inside: Inside) -> dict[str, bytes]:
        kept: dict[str, bytes] = {}
        room = self._limits.disk_mb * _MB
        if not self._keep:
            return kept
        for name, number in inside.regular_files():
            size = os.fstat(number).st_size
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self._keep) and size <= room:
                with os.fdopen(os.dup(number), "rb") as file:
                    kept[name] = file.read(size)
                room -= size
        return kept


def _ulimits(limits: Limits) -> list[str]:
    """Limits of each process; the kernel holds them, where the looks from outside are 20 ms apart."""
    tasks = 2 * limits.processes + 64
    return [
        f"-t={math.ceil(limits.cpu_s) + 1}",
        f"-f={limits.file_mb * _MB // 512}",
        # Twice what may be used: programs ask for more than they touch, and threads are tasks as processes are.
        f"-d={2 * limits.memory_mb * 1024}",
        f"-p={tasks}",  # dash and busybox
        f"-u={tasks}",  # bash
        "-n=512",
        "-c=0",
        "-l=1024",
    ]
