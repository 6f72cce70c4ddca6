"""Code: written, fixed, made faster. Nothing is run here, so no result is `verified`: checks are of form alone."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import PurePath

from colosse.assistant.chat import count_tokens
from colosse.assistant.checks import not_empty
from colosse.assistant.prompts import Language, SkillPrompts
from colosse.assistant.skill import Check, Judged, Listener, Result, Work
from colosse.core.errors import TooLargeError, UserError
from colosse.engines.client import Client

LANGUAGES = {
    "python": ("Python", ("py", "python3", "pyi")),
    "javascript": ("JavaScript", ("js", "mjs", "cjs", "jsx", "node")),
    "typescript": ("TypeScript", ("ts", "tsx")),
    "bash": ("Bash", ("sh", "shell", "zsh")),
    "c": ("C", ("h",)),
    "cpp": ("C++", ("c++", "cc", "cxx", "hpp")),
    "csharp": ("C#", ("cs", "c#")),
    "go": ("Go", ("golang",)),
    "rust": ("Rust", ("rs",)),
    "java": ("Java", ()),
    "kotlin": ("Kotlin", ("kt",)),
    "swift": ("Swift", ()),
    "ruby": ("Ruby", ("rb",)),
    "php": ("PHP", ()),
    "r": ("R", ()),
    "julia": ("Julia", ("jl",)),
    "lua": ("Lua", ()),
    "perl": ("Perl", ("pl",)),
    "scala": ("Scala", ()),
    "haskell": ("Haskell", ("hs",)),
    "sql": ("SQL", ()),
    "html": ("HTML", ("htm",)),
    "css": ("CSS", ("scss",)),
    "json": ("JSON", ()),
    "toml": ("TOML", ()),
    "yaml": ("YAML", ("yml",)),
}
"""Name in a code fence: name in prose, and other names and file suffixes."""

WRITE_TOKENS = 1500
LOG_TOKENS = 800
"""Of an error log the end is kept: that is where the message is."""

_BLOCK = re.compile(
    r"^[ \t]*(```+|~~~+)[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)


def parse_code_language(name: str) -> str:
    """The fence name of a programming language given by name or suffix.

    Raises:
        UserError: unknown; names the nearest.
    """
    from colosse.core.errors import nearest

    wanted = name.strip().lower().removeprefix(".")
    for fence, (title, others) in LANGUAGES.items():
        if wanted in (fence, title.lower(), *others):
            return fence
    raise UserError(f"unknown programming language {name!r}", hint=nearest(wanted, LANGUAGES), code="unknown_language")


def language_of_file(name: str) -> str:
    """The language that a file name's suffix tells; an empty string when it does not."""
    suffix = PurePath(name).suffix.lstrip(".").lower()
    return next((fence for fence, (_, others) in LANGUAGES.items() if suffix and suffix in (fence, *others)), "")


def extract(text: str) -> tuple[str, str]:
    """(code, what was said after it, or else before) of an answer: its longest code block, or all of it without one."""
    blocks = list(_BLOCK.finditer(text))
    if not blocks:
        return text.strip(), ""
    best = max(blocks, key=lambda block: len(block[3]))
    around = (_BLOCK.sub("", part).strip() for part in (text[best.end() :], text[: best.start()]))
    return best[3].strip("\n") + "\n", re.sub(r"\s*\n\s*", " ", next(filter(None, around), ""))


def check_syntax(code: str, language: str) -> list[Check]:
    """Whether `code` parses, for the languages that can be parsed here; nothing is run."""
    try:
        match language:
            case "python":
                ast.parse(code)
            case "json":
                json.loads(code)
            case "toml":
                tomllib.loads(code)
            case _:
                return []
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [Check(name="syntax", passed=False, detail=_one_line(error))]
    return [Check(name="syntax", passed=True)]


class CodePrompts(SkillPrompts):
    """One request a verb; `error` shows what went wrong when it is known."""

    system: str
    write: str
    fix: str
    error: str
    optimize: str
    retry: str


async def write(
    client: Client,
    task: str,
    *,
    language: str = "python",
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> Result:
    """Write code for `task`.

    Args:
        client: whom to ask.
        task: what it should do.
        language: fence name of the programming language.
        model: its name; empty: the default.
        prompt_language: language to ask in, and of the remark beside the code.
        listener: hears how it gets on.

    Raises:
        UserError: no task, or one that is too long.
    """
    if not task.strip():
        raise UserError("there is nothing to write: the task is empty", code="empty_input")
    work = await Work.start(client, model, CodePrompts, "code", prompt_language, listener)
    request = work.texts.write.format(language=LANGUAGES[language][0], task=task.strip())
    return await _code(work, request, language, "", WRITE_TOKENS)


async def fix(
    client: Client,
    code: str,
    *,
    language: str = "python",
    error: str = "",
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> Result:
    """Find and mend the bugs of a file.

    Args:
        client: whom to ask.
        code: the whole file.
        language: fence name of its language; empty: not said.
        error: a traceback or log of what goes wrong; of a long one, the end is used.
        model: its name; empty: the default.
        prompt_language: language to ask in, and of the remark beside the code.
        listener: hears how it gets on.

    Raises:
        UserError: an empty file.
        TooLargeError: a file that the model cannot read and write again whole.
    """
    work = await Work.start(client, model, CodePrompts, "code", prompt_language, listener)
    texts = work.texts
    log = texts.error.format(log=_tail(error)) if error.strip() else ""
    request = texts.fix.format(language=_title(language), fence=language, code=code.rstrip("\n"), error=log)
    return await _code(work, request, language, code, 0)


async def optimize(
    client: Client,
    code: str,
    *,
    language: str = "python",
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> Result:
    """Make a file faster; arguments and errors as for `fix`. How much faster, if at all, is not measured here."""
    work = await Work.start(client, model, CodePrompts, "code", prompt_language, listener)
    request = work.texts.optimize.format(language=_title(language), fence=language, code=code.rstrip("\n"))
    return await _code(work, request, language, code, 0)


async def _code(work: Work[CodePrompts], request: str, language: str, source: str, limit: int) -> Result:
    """One request for code; `source` is the file that it is made from, whose names must stay."""
    if not limit:
        if not source.strip():
            raise UserError("there is no code: the file is empty", code="empty_input")
        limit = int(count_tokens(source) * 1.2) + 300
    room = work.max_model_len - count_tokens(request) - count_tokens(work.texts.system) - 50
    if room < min(limit, 256) or (source and room < limit):
        fits = (work.max_model_len - 700) // 2
        raise TooLargeError(
            f"about {count_tokens(request)} tokens to read and {limit} to write do not fit into the "
            f"{work.max_model_len} of {work.model.id}",
            hint=f"give it at most about {max(fits, 0)} tokens of code, or a model with a longer context",
            code="context_length_exceeded",
        )
    notes: dict[str, str] = {}

    def judge(written: str) -> Judged:
        code, notes[written] = extract(written)
        found = bool(_BLOCK.search(written)) or all(c.passed for c in check_syntax(code, language))
        checks = [not_empty(code), Check(name="code_block", passed=found), *check_syntax(code, language)]
        if source:
            checks += [
                Check(name="changed", passed=code.strip() != source.strip()),
                *_same_names(source, code, language),
            ]
        return Judged(written, checks)

    judged = await work.attempt(work.texts.system, request, work.texts.retry, judge, max_tokens=min(limit, room))
    return work.result(extract(judged.answer)[0], judged.checks, notes[judged.answer])


def _same_names(source: str, code: str, language: str) -> list[Check]:
    """Whether what a Python file defines at its top level is still there."""
    if language != "python":
        return []
    try:
        missing = sorted(_defined(source) - _defined(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # of the source: that may be the bug
        return []
    return [Check(name="names", passed=not missing, detail=", ".join(missing[:5]))]


def _defined(code: str) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.parse(code).body if isinstance(node, kinds) and not node.name.startswith("_")}


def _title(language: str) -> str:
    return LANGUAGES[language][0] if language else ""


def _tail(log: str) -> str:
    lines = log.strip().splitlines()
    while len(lines) > 1 and count_tokens("\n".join(lines)) > LOG_TOKENS:
        lines = lines[max(1, len(lines) // 8) :]
    return "\n".join(lines)[-4 * LOG_TOKENS :]


def _one_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    return " ".join(str(error).split()) or type(error).__name__
