"""Programs of every language that is there are compiled and run inside."""

import pytest

from colosse.assistant.sandbox import PYTHON, run, toolchains
from tests.assistant.sandbox.conftest import QUICK

SOURCES = {
    "python": "print(6 * 7)",
    "c": '#include <stdio.h>\nint main(void) { printf("%d\\n", 6 * 7); }',
    "cpp": "#include <iostream>\nint main() { std::cout << 6 * 7 << std::endl; }",
    "javascript": "console.log(6 * 7)",
    "typescript": "const n: number = 6 * 7; console.log(n)",
    "java": "public class Main { public static void main(String[] a) { System.out.println(6 * 7); } }",
    "go": 'package main\nimport "fmt"\nfunc main() { fmt.Println(6 * 7) }',
    "rust": 'fn main() { println!("{}", 6 * 7); }',
}


@pytest.mark.parametrize("language", SOURCES)
async def test_languages(language):
    tool = toolchains()[language]
    if tool.missing:
        pytest.skip(tool.missing)
    file = f"main{tool.suffix}"
    files: dict[str, bytes | str] = {file: SOURCES[language]}
    if tool.compiler:
        compiled = await run(tool.compile(file), files=files, keep=["program"], env=tool.env)
        assert compiled.exit_code == 0, compiled.stderr
        files = dict(compiled.files)
    ran = await run(tool.run(file), files=files, env=tool.env)
    assert ran.stdout == "42\n", ran


async def test_limits_are_enough_for_tests_inside():
    code = "from hypothesis import given, strategies as st\n@given(st.integers())\ndef test_x(n): assert n == n"
    ran = await run([PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider"], files={"test_x.py": code}, limits=QUICK)
    assert ran.exit_code == 0 and "1 passed" in ran.stdout, ran
