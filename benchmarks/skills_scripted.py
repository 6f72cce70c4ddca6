"""The skills with an engine whose answers are known to be good or bad: `python -m benchmarks.skills --scripted`.

What a good answer must become is `verified`; a bad one never, or what is bad about it must not be in the answer. The
bad ones are of the kinds that each skill promises to see: wrong and evasive code, changed numbers and negations, other
languages, claims that no source makes. The exit code is 1 when one case goes otherwise.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.skills_search import served

from colosse.assistant import code
from colosse.assistant.search import search
from colosse.assistant.skill import Result
from colosse.assistant.summarize import summarize
from colosse.assistant.translate import translate
from colosse.core.settings import SearchSettings
from colosse.engines.schema import ChatRequest, Delta, ModelInfo, Usage

Reply = Callable[[str], str]
"""The last message to the answer."""


class Scripted:
    """What skills need of a client, with answers of one's own making."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    async def ensure(self, model: str = "") -> ModelInfo:
        """The one model."""
        return ModelInfo(id=model or "scripted", state="ready", engine="scripted", max_model_len=8192)

    async def chat(self, request: ChatRequest, *, affinity: str = "") -> AsyncGenerator[Delta, None]:
        """The answer in one piece."""
        text = self.reply(str(request.messages[-1].content))
        count = len(text.split())
        yield Delta(content=text, finish_reason="stop", usage=Usage(completion_tokens=count, total_tokens=count))


class Case(NamedTuple):
    """An answer of the engine: `bad` is what is wrong with it, and `never` what a verified answer must not have then.

    Where `never` is empty, nothing may be verified at all.
    """

    skill: str
    reply: Reply
    bad: str = ""
    never: str = ""


def _block(text: str) -> Reply:
    return lambda _: f"```python\n{text.strip()}\n```\n"


TASK = (
    "Write even_sum(numbers), the sum of the even ones: even_sum([1, 2, 4]) == 6, even_sum([]) == 0, even_sum([3]) == 0"
)
ONE = "Write even_sum(numbers), the sum of the even ones.\nIt must pass this test:\nassert even_sum([1, 2, 4]) == 6"
RIGHT = "def even_sum(numbers):\n    return sum(n for n in numbers if n % 2 == 0)\n"
OWN = "```python\nassert even_sum([2, 8]) == 10\nassert even_sum([5]) == 0\nassert even_sum([]) == 0\n```"
BUG = "def double(x):\n    return x + 2\n\n\ndef half(x):\n    return x / 2\n"
FILES = {
    "calc.py": BUG,
    "test_calc.py": "from calc import double, half\n\n\ndef test_double():\n    assert double(3) == 6\n\n\n"
    "def test_half():\n    assert half(4) == 2\n",
}
TESTS_CHANGED = "test_calc.py\n<<<<<<< SEARCH\n    assert double(3) == 6\n=======\n    assert True\n>>>>>>> REPLACE\n"
SLOW = (
    "def common(a, b):\n    found = []\n    for x in a:\n        for y in b:\n"
    "            if x == y and x not in found:\n                found.append(x)\n    return found\n"
)
FAST = "def common(a, b):\n    wanted = set(b)\n    return list(dict.fromkeys(x for x in a if x in wanted))\n"
ENGLISH = "You have 12 new messages today, and none of them is for the doctor."
FRENCH = "Vous avez 12 nouveaux messages aujourd'hui, et aucun d'eux n'est pour le médecin."
TEXT = (
    "The ship Aurora was lost in the storm of 1974 on its way from Bergen to Reykjavik. It carried 23 sailors.\n"
    "A team led by Ingrid Solberg searched the sea for two years. The work cost 3.4 million euros.\n"
    "The wreck was found in March 2020 off Norway. Its bell was not damaged and lies in a museum now.\n"
)
HONEST = "The ship Aurora was lost in the storm of 1974 with 23 sailors. The wreck was found off Norway in March 2020."
QUESTION = "When was the ship Aurora lost?"
PAGE = {"/aurora": ("Aurora", [("The loss", TEXT)])}


def _written(text: str) -> Reply:
    """That code; asked for tests, right ones."""
    return lambda asked: OWN if "Write 8 tests" in asked else _block(text)("")


def _said(text: str) -> Reply:
    return lambda asked: QUESTION if "quer" in asked and "passages" not in asked else text


def _claims() -> list[tuple[str, str]]:
    return [
        ("a number changed", "The ship Aurora was lost in the storm of 1975."),
        ("a name changed", "A team led by Astrid Lund searched the sea for two years."),
        ("a negation dropped", "The bell of the ship was damaged."),
        ("made up", "The captain survived and wrote a book about his childhood in Spain."),
    ]


CASES = [
    Case("code write", _written(RIGHT)),
    Case("code write", _written(RIGHT.replace("== 0", "== 1")), "wrong"),
    Case("code write", _written("def even_sum(numbers):\n    return sum(numbers"), "no Python"),
    Case("code write", lambda _: "Just add the even ones together.", "no code"),
    Case("code write", _written(f"import os\nos._exit(0)\n{RIGHT}"), "leaves the run"),
    Case("code write", _written(f"{RIGHT}\nraise SystemExit(0)\n"), "leaves with success"),
    Case("code write, one example", _written(RIGHT)),
    Case("code write, one example", _written("def even_sum(numbers):\n    return 6\n"), "made to fit the example"),
    Case("code fix", _block(BUG.replace("x + 2", "2 * x"))),
    Case("code fix", _block(BUG), "unchanged"),
    Case("code fix", _block(BUG.replace("x + 2", "2 * x").replace("x / 2", "x")), "breaks another test"),
    Case("code fix", _block(f"import os\nos._exit(0)\n{BUG}"), "leaves the run"),
    Case("code fix", lambda _: TESTS_CHANGED, "changes the tests"),
    Case("code optimize", _block(FAST)),
    Case("code optimize", _block("def common(a, b):\n    return sorted(set(a) & set(b))\n"), "another order"),
    Case("code optimize", _block(SLOW.replace("found = []", "found = list()")), "as slow"),
    Case("code optimize", _block(f"_KEPT = {{}}\n{SLOW.replace('common', '_common')}\n\ndef common(a, b):\n"
        "    key = str((a, b))\n    if key not in _KEPT:\n        _KEPT[key] = _common(a, b)\n    return _KEPT[key]\n"),
        "remembers the results"),
    Case("translate", lambda _: FRENCH),
    Case("translate", lambda _: ENGLISH, "untranslated"),
    Case("translate", lambda _: FRENCH.replace("12", "21"), "a number changed"),
    Case("translate", lambda _: "Sie haben heute 12 neue Nachrichten, und keine ist für den Arzt.", "another language"),
    Case("translate", lambda _: "Vous avez 12 nouveaux messages.", "half of it"),
    Case("translate", lambda _: "Le chat dort depuis 12 heures sur la grande table de la cuisine, près du feu.",
         "another sentence"),
    Case("translate", lambda _: "", "nothing"),
    Case("summarize", lambda _: HONEST),
    *(Case("summarize", lambda asked, claim=claim: claim if "Write one sentence" in asked else f"{HONEST} {claim}",
           bad, claim.rstrip(".")) for bad, claim in _claims()),
    Case("search", _said("The ship Aurora was lost in the storm of 1974 [1].")),
    *(Case("search", _said(f"{claim.rstrip('.')} [1]."), bad, claim.rstrip(".")) for bad, claim in _claims()),
    Case("search", _said("The ship Aurora was lost in the storm of 1974 [7]."), "a source that is none", "[7]"),
]  # fmt: skip


async def _searched(client: Any) -> Result:
    async with served(PAGE) as url:
        given = {"providers": ["searxng"], "searxng_url": url, "delay_s": 0}
        settings = SearchSettings.model_validate({**given, "allow_private": [url.removeprefix("http://")]})
        return await search(client, QUESTION, settings=settings)


SKILLS: dict[str, Callable[[Any], Awaitable[Result]]] = {
    "code write": lambda client: code.write(client, TASK, candidates=1),
    "code write, one example": lambda client: code.write(client, ONE, candidates=2),
    "code fix": lambda client: code.fix(client, FILES, command="pytest -q", candidates=1),
    "code optimize": lambda client: code.optimize(
        client, SLOW, bench="common(range(300), range(150, 450))", candidates=1
    ),
    "translate": lambda client: translate(client, ENGLISH, "fr", source="en"),
    "summarize": lambda client: summarize(client, TEXT),
    "search": _searched,
}
PARTS = {"code": ("code write", "code write, one example", "code fix"), "optimize": ("code optimize",)}


async def verified(case: Case) -> bool:
    """Whether a good answer is verified, or a bad one shown as if it were right."""
    result = await SKILLS[case.skill](Scripted(case.reply))
    return result.verified and (not case.bad or not case.never or case.never in result.answer)


async def measure(skills: Sequence[str]) -> list[tuple[Case, bool]]:
    """Every case of some skills."""
    found = []
    for case in CASES:
        if case.skill in skills:
            start = time.perf_counter()
            found.append((case, await verified(case)))
            seconds = time.perf_counter() - start
            print(f"{case.skill}: {case.bad or 'good'}, {seconds:.1f} s", file=sys.stderr, flush=True)
    return found


def main(parts: Sequence[str]) -> int:
    """Run the cases, print a table: 0 when all went as they must."""
    found = asyncio.run(measure([name for part in parts for name in PARTS.get(part, (part,))]))
    print(f"{'skill':26}{'good answers verified':>24}{'bad ones shown as right':>26}")
    for skill in dict.fromkeys(case.skill for case, _ in found):
        good = [yes for case, yes in found if case.skill == skill and not case.bad]
        bad = [yes for case, yes in found if case.skill == skill and case.bad]
        print(f"{skill:26}{f'{sum(good)} of {len(good)}':>24}{f'{sum(bad)} of {len(bad)}':>26}")
    wrong = [case for case, yes in found if yes == bool(case.bad)]
    for case in wrong:
        print(f"wrong: {case.skill}: {case.bad or 'a good answer'} {'was' if case.bad else 'was not'} verified")
    return int(bool(wrong))
