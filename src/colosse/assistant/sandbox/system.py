"""What of the host a sandboxed program sees: programs and libraries, read-only, and nothing that is anybody's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

WORKDIR = "/sandbox"
"""The run's own folder as the program sees it; a name that no interpreter or toolchain lives under."""
PYTHON = sys.executable
"""The interpreter inside: the same as outside, at the same path, with the same packages."""
USER = 1000
"""User and group inside."""

_PROGRAMS = ("gcc", "g++", "clang", "clang++", "node", "java", "javac", "go")
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "java", "mime.types")
FILES = {
    "/etc/passwd": f"user:x:{USER}:{USER}:user:{WORKDIR}:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "/etc/group": f"user:x:{USER}:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
"""Files of the sandbox's own."""


@cache
def prefixes() -> tuple[Path, ...]:
    """Folders outside /usr that hold the interpreter, its packages and the compilers; each is shown at its own path."""
    found = [Path(sys.prefix), Path(sys.base_prefix), *_homes(PYTHON)]
    for name in _PROGRAMS:
        found += _homes(shutil.which(name) or "")
    if rust := _rust():
        found.append(rust)
    return tuple(sorted({path for path in found if _worth_showing(path)}))


@cache
def search_path() -> str:
    """PATH inside."""
    folders = [str(Path(PYTHON).parent), *(str(path / "bin") for path in prefixes() if (path / "bin").is_dir())]
    return os.pathsep.join(dict.fromkeys([*folders, "/usr/local/bin", "/usr/bin", "/bin"]))


@cache
def system_mounts() -> tuple[str, ...]:
    """Bubblewrap's options for the system's folders."""
    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    for path in [*(Path("/etc", name) for name in _ETC), *Path("/etc").glob("java-*-openjdk")]:
        if path.exists():
            options += ["--ro-bind", str(path.resolve()), str(path)]
    return tuple(options)


def _homes(program: str) -> list[Path]:
    """The folder above `bin` where a program is really installed; nothing for a program that is not there."""
    folder = Path(program).resolve().parent if program else Path("/usr/bin")
    return [folder.parent] if folder.name == "bin" else [folder]


def _rust() -> Path | None:
    """The toolchain behind rustup's stand-ins, without the folder that also holds the registry's keys."""
    program = shutil.which("rustc")
    if not program:
        return None
    asked = subprocess.run([program, "--print", "sysroot"], capture_output=True, text=True, check=False)
    return Path(asked.stdout.strip()) if asked.returncode == 0 else None


def _worth_showing(path: Path) -> bool:
    """Whether a folder is neither part of /usr, nor so high up that it would show what is not a program's."""
    if path.is_relative_to("/usr") or not path.is_dir():
        return False
    return not Path.home().is_relative_to(path) and len(path.parts) > 2
