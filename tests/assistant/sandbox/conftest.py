import textwrap

import pytest

from colosse.assistant.sandbox import PYTHON, Limits, Ran, require, run
from colosse.core.errors import ColosseError

QUICK = Limits(cpu_s=5, wall_s=5, memory_mb=256)


@pytest.fixture(scope="session", autouse=True)
def isolation():
    try:
        require()
    except ColosseError as error:
        pytest.skip(str(error))


async def python(code: str, **options) -> Ran:
    """Run Python code inside."""
    options.setdefault("limits", QUICK)
    return await run([PYTHON, "-c", textwrap.dedent(code)], **options)
