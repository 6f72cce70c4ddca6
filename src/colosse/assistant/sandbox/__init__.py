"""Programs that nobody read, run in isolation: no network, no files of the host, bounded in everything they take."""

from colosse.assistant.sandbox.run import Limits, Ran, require, run
from colosse.assistant.sandbox.system import PYTHON, WORKDIR
from colosse.assistant.sandbox.toolchains import Toolchain, toolchains

__all__ = ["PYTHON", "WORKDIR", "Limits", "Ran", "Toolchain", "require", "run", "toolchains"]
