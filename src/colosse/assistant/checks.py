"""Cheap checks of a text that was made from another: what must be the same in both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from colosse.assistant.languages import is_in
from colosse.assistant.skill import Check

_NUMBER = re.compile(r"\d+(?:(?:[.,’'\u202f\u00a0]| (?=\d{3}(?!\d)))\d+)*")
_KEPT = re.compile(
    r"https?://[^\s<>\"')\]]*[^\s<>\"')\].,;:!?]"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|\{\{[^{}\n]+\}\}|\$?\{[^{}\s]*\}"
    r"|%(?:\(\w+\))?[sdif]\b"
    r"|</?[A-Za-z][^<>\n]*>"
    r"|`[^`\n]+`"
)
"""What a translation must not touch: addresses, placeholders, tags, inline code."""
_SHOWN = 5


def numbers(text: str) -> Counter[str]:
    """The numbers of a text by their digits alone, since separators differ between languages (3.5 and 3,5)."""
    return Counter(_digits(found) for found in _NUMBER.findall(text))


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)


def with_numbers_mended(source: str, answer: str) -> str:
    """The answer without the space that small models put into decimals (`3. 4` for 3.4), where the source has them."""
    known = numbers(source)

    def joined(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}{found[3]}" if found[1] + found[3] in known else found[0]

    return re.sub(r"(\d+)([.,]) (\d+)", joined, answer)


def not_empty(answer: str) -> Check:
    """There is an answer."""
    return Check(name="not_empty", passed=bool(answer.strip()))


def same_numbers(source: str, answer: str) -> Check:
    """Every number of the source is in the answer, as often, and no other one."""
    before, after = numbers(source), numbers(answer)
    written = {_digits(number): number for number in _NUMBER.findall(answer) + _NUMBER.findall(source)}
    differing = [*(before - after).elements(), *(after - before).elements()]
    return _check("numbers", [written[number] for number in differing])


def no_new_numbers(source: str, answer: str) -> Check:
    """Every number of the answer is in the source."""
    known = numbers(source)
    return _check("new_numbers", [number for number in _NUMBER.findall(answer) if _digits(number) not in known])


def same_kept(source: str, answer: str) -> Check:
    """Links, addresses, placeholders, tags and inline code of the source are in the answer, letter for letter."""
    wanted = Counter(_KEPT.findall(source))
    return _check("kept", [item for item, times in wanted.items() if answer.count(item) < times])


def same_lines(source: str, answer: str) -> Check:
    """As many lines as the source."""
    before, after = len(source.splitlines()), len(answer.splitlines())
    return Check(name="lines", passed=before == after, detail="" if before == after else f"{after} != {before}")


def in_language(answer: str, code: str, name: str) -> Check:
    """Not clearly in another language than `code`; `name` is what it is called."""
    passed = is_in(answer, code)
    return Check(name="language", passed=passed, detail="" if passed else name)


def merged(checks: Iterable[Check]) -> list[Check]:
    """Checks of several pieces as one of each name: passed when all did, with the details of those that did not."""
    together: dict[str, Check] = {}
    for check in checks:
        seen = together.get(check.name)
        if seen is None:
            together[check.name] = check
        elif not check.passed:
            details = dict.fromkeys(d for d in (*seen.detail.split("; "), check.detail) if d)
            together[check.name] = Check(name=check.name, passed=False, detail="; ".join(details))
    return list(together.values())


def _check(name: str, wrong: list[str]) -> Check:
    shown = ", ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")
    return Check(name=name, passed=not wrong, detail=shown)
