"""Programming languages by name, fence and file suffix."""

from __future__ import annotations

from pathlib import PurePath

from colosse.core.errors import UserError, nearest

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


def parse_code_language(name: str) -> str:
    """The fence name of a programming language given by name or suffix.

    Raises:
        UserError: unknown; names the nearest.
    """
    wanted = name.strip().lower().removeprefix(".")
    for fence, (title, others) in LANGUAGES.items():
        if wanted in (fence, title.lower(), *others):
            return fence
    raise UserError(f"unknown programming language {name!r}", hint=nearest(wanted, LANGUAGES), code="unknown_language")


def language_of_file(name: str) -> str:
    """The language that a file name's suffix tells; an empty string when it does not."""
    suffix = PurePath(name).suffix.lstrip(".").lower()
    return next((fence for fence, (_, others) in LANGUAGES.items() if suffix and suffix in (fence, *others)), "")


def title_of(language: str) -> str:
    """What a language is called in prose; nothing for none."""
    return LANGUAGES[language][0] if language else ""
