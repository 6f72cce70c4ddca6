"""What the pages of the server say of its addresses and skills is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from colosse.server.app import openapi
from colosse.server.skills import SKILLS

DOCS = Path(__file__).parents[2] / "docs"
ROUTE = re.compile(r"`?(GET|POST|PATCH|DELETE)`?(?:, `?(GET|DELETE)`?)? (/[a-z0-9./{}_-]+)")


def plain(path: str) -> str:
    return re.sub(r"\{(?!skill)[^}]*\}", "{}", path)


@pytest.fixture(scope="module")
def known() -> set[tuple[str, str]]:
    paths: dict[str, Any] = openapi()["paths"]
    known = {(method.upper(), plain(path.replace("{skill_", "{"))) for path, item in paths.items() for method in item}
    return known | {("GET", "/openapi.json")}


@pytest.mark.parametrize("page", ["api.md", "server.md"])
def test_every_route_that_is_written_down_is_there(page: str, known: set[tuple[str, str]]) -> None:
    found = ROUTE.findall((DOCS / page).read_text("utf-8"))
    assert len(found) > 2
    for first, second, path in found:
        for skill in SKILLS if "{skill}" in path else [""]:
            for method in filter(None, (first, second)):
                assert (method, plain(path.replace("{skill}", skill))) in known, f"{page}: {method} {path}"


def test_every_route_of_skills_and_documents_is_written_down(known: set[tuple[str, str]]) -> None:
    text = (DOCS / "api.md").read_text("utf-8")
    said = {(method, plain(path)) for method, _, path in ROUTE.findall(text)}
    said |= {("POST", f"/api/skills/{skill}/runs") for skill in SKILLS if f"| `{skill}` |" in text}
    assert {one for one in known if re.match("/api/(skills|documents)", one[1])} <= said


def test_the_fields_of_each_skill_are_written_down() -> None:
    text = (DOCS / "api.md").read_text("utf-8")
    for name, skill in SKILLS.items():
        row = re.search(rf"^\| `{name}` \|(.*?)\|", text, re.MULTILINE)
        assert row is not None, name
        assert set(re.findall("`([a-z_]+)`", row[1])) == set(skill.input.model_fields) - {"model"}, name
