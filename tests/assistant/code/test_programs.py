"""Programs of every language: what is right passes, what is wrong does not, with tests and without."""

import pytest

from colosse.assistant import code
from colosse.assistant.code import programs
from colosse.engines.engines import Engines
from tests.fixtures.scripted import Scripted

JUDGED = {
    "c": ("int twice(int n) { return 2 * n; }", '#include "solution.c"\nint main(void) { return twice(4) != 8; }'),
    "cpp": ("int twice(int n) { return 2 * n; }", '#include "solution.cpp"\nint main() { return twice(4) != 8; }'),
    "javascript": (
        "module.exports = { twice: n => 2 * n }",
        "const { twice } = require('./solution.js')\nif (twice(4) !== 8) throw new Error('no')",
    ),
    "typescript": (
        "interface Named { name: string }\nexport function twice(n: number): number { return 2 * n }",
        "import { twice } from './solution.ts'\nif (twice(4) !== 8) throw new Error('no')",
    ),
    "java": (
        "public class Solution { static int twice(int n) { return 2 * n; } }",
        "public class Tests { public static void main(String[] args) {"
        " if (Solution.twice(4) != 8) throw new AssertionError(); } }",
    ),
    "go": (
        "package main\n\nfunc twice(n int) int { return 2 * n }",
        'package main\n\nfunc main() { if twice(4) != 8 { panic("no") } }',
    ),
    "rust": (
        "pub fn twice(n: i64) -> i64 { 2 * n }",
        "mod solution;\nuse solution::*;\nfn main() { assert_eq!(twice(4), 8); }",
    ),
}
BROKEN = {
    "c": "int twice(int n) { return 2 * m; }",
    "cpp": "int twice(int n) { return 2 * m; }",
    "javascript": "export function twice(n { return 2 * n }",
    "typescript": "export function twice(n: number: number { return 2 * n }",
    "java": "public class Solution { static int twice(int n) { return 2 * m; } }",
    "go": "package main\n\nfunc twice(n int) int { return 2 * m }",
    "rust": "pub fn twice(n: i64) -> i64 { 2 * m }",
}
ANSWERS = {
    "typescript": (
        "export function twice(n: number): number { return n + 2 }\n",
        "export function twice(n: number): number { return 2 * n }\n",
    ),
    "go": (
        "package main\n\nfunc twice(n int) int { return n + 2 }\n",
        "package main\n\nfunc twice(n int) int { return 2 * n }\n",
    ),
}


def need(language: str) -> None:
    if not programs.present(language):
        pytest.skip(programs.missing(language))


@pytest.mark.parametrize("language", JUDGED)
async def test_right_wrong_and_broken(language: str) -> None:
    need(language)
    right, tests = JUDGED[language]
    assert (await programs.judge(language, right, tests)).ok
    assert (await programs.judge(language, right)).ok
    assert not (await programs.judge(language, right.replace("2 * n", "n + 2"), tests)).ok
    broken = await programs.judge(language, BROKEN[language])
    assert not broken.ok and "olution" in broken.output


async def test_a_script_may_use_what_no_module_may() -> None:
    need("javascript")
    assert (await programs.judge("javascript", "with (Math) module.exports = { half: n => floor(n / 2) }")).ok


@pytest.mark.parametrize("language", ANSWERS)
async def test_written_with_tests(language: str, scripted: Scripted, client: Engines) -> None:
    need(language)
    wrong, right = ANSWERS[language]
    scripted.reply = lambda body: f"```{language}\n{right if body.get('seed') else wrong}```"
    result = await code.write(client, "twice", language=language, tests=JUDGED[language][1], candidates=2)
    assert (result.verified, result.answer) == (True, right)
