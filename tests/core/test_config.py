"""Configuration: precedence, origins, and one clear line for whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from colosse.core.errors import UserError
from colosse.core.settings import load_settings


def test_flag_beats_environment_beats_file_beats_default(home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text('port = 1\nhost = "::1"\n[engine]\nthreads = 3\n')
    env = {"COLOSSE_HOME": str(home), "COLOSSE_PORT": "2", "COLOSSE_ENGINE__SLOTS": "5"}
    loaded = load_settings({"port": 3}, env=env)
    assert (loaded.value.port, loaded.value.host, loaded.value.engine.threads, loaded.value.engine.slots) == (
        3,
        "::1",
        3,
        5,
    )
    origins = {key: origin for key, _, origin in loaded.rows()}
    assert origins["port"] == "flag"
    assert origins["host"] == f"file {home / 'config.toml'}"
    assert origins["engine.slots"] == "environment COLOSSE_ENGINE__SLOTS"
    assert origins["engine.gpu_layers"] == "default"


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"COLOSSE_PROT": "1"}, ["prot", "COLOSSE_PROT", "did you mean 'port'?"]),
        ({"COLOSSE_PORT": "banana"}, ["port", "COLOSSE_PORT", "integer"]),
        ({"COLOSSE_PORT": "70000"}, ["port", "65535"]),
        ({"COLOSSE_ENGINE__THREDS": "1"}, ["engine.threds", "threads"]),
        ({"COLOSSE_ENDPOINTS": "[{"}, ["TOML"]),
        ({"COLOSSE_ENDPOINTS": '[{name="a", url="ftp://x"}]'}, ["endpoints.0.url", "COLOSSE_ENDPOINTS"]),
        ({"COLOSSE_ENDPOINTS": '[{name="a", ulr="http://x"}]'}, ["endpoints.0.ulr", "COLOSSE_ENDPOINTS", "'url'"]),
    ],
)
def test_wrong_settings_say_what_where_and_how_to_mend(env: dict[str, str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(env=env)
    for word in words:
        assert word in str(caught.value)


def test_broken_file_is_named(home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text("port = \n")
    with pytest.raises(UserError, match=r"config\.toml is not valid TOML"):
        load_settings(env={"COLOSSE_HOME": str(home)})


def test_secrets_are_masked_in_rows() -> None:
    env = {
        "COLOSSE_DATABASE": "postgresql://u:hunter2@h/d",
        "COLOSSE_ENDPOINTS": '[{name="a",url="http://x",api_key="s3"}]',
    }
    loaded = load_settings(env=env)
    assert loaded.value.database_url == "postgresql+asyncpg://u:hunter2@h/d"
    shown = " ".join(str(value) for _, value, _ in loaded.rows())
    assert "hunter2" not in shown
    assert "s3" not in shown
