from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from colosse.cli.keys import app
from colosse.core.errors import NotFoundError, UserError


def run(*arguments: str) -> object:
    """What the command prints, decoded."""
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    return json.loads(result.stdout)


def test_a_key_is_made_listed_and_revoked(home: Path) -> None:
    made = run("create", "laptop", "--user", "alice", "--scope", "read")
    assert made["key"].startswith("ck-")
    assert len(made["key"]) == 46
    (row,) = run("list")
    assert (row["name"], row["user"], row["scopes"], row["revoked_at"]) == ("laptop", "alice", ["read"], None)
    assert row["prefix"] == made["key"][:8]
    assert made["key"] not in json.dumps(row)
    assert run("revoke", "laptop")["id"] == made["id"]
    assert run("list")[0]["revoked_at"] is not None


def test_text_for_people_goes_where_it_belongs(home: Path) -> None:
    made = CliRunner().invoke(app, ["create"])
    assert made.stdout.strip().startswith("ck-")
    assert "\n" not in made.stdout.strip()
    assert "only now" in made.stderr
    assert made.stdout.strip() not in CliRunner().invoke(app, ["list"]).stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create", "--scope", "cat"], "did you mean 'chat'"),
        (["create", ""], "1 to 100"),
        (["create", "x" * 101], "1 to 100"),
        (["revoke", "laptp"], "did you mean 'laptop'"),
        (["revoke", "twice"], "2 keys are called"),
    ],
)
def test_what_is_refused(home: Path, arguments: list[str], says: str) -> None:
    for name in ("laptop", "twice", "twice"):
        run("create", name)
    with pytest.raises((UserError, NotFoundError), match=says):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
