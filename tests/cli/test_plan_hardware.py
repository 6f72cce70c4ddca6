from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Colosse = Callable[..., CompletedProcess[str]]


def test_everything(colosse: Colosse) -> None:
    text = colosse("plan", "hardware").stdout
    for words in ("H100-SXM-80GB", "Azure-ND-H100-v5", "llama3", "azure_lustre_500", "12.29"):
        assert words in text
    everything = json.loads(colosse("plan", "hardware", "--json").stdout)
    assert set(everything) == {"gpus", "nodes", "fabrics", "storages"}
    assert all(entry["source"] for section in everything.values() for entry in section)


def test_one(colosse: Colosse) -> None:
    text = colosse("plan", "hardware", "b200").stdout
    for words in ("148", "bfloat16 2250", "DGX-B200", "nebius.com/prices", "on demand"):
        assert words in text
    shown = json.loads(colosse("plan", "hardware", "dgx-h100", "--json").stdout)
    assert (shown["is"], shown["gpu"], shown["gpus"]) == ("node", "H100-SXM-80GB", 8)


def test_prices(colosse: Colosse) -> None:
    rows = json.loads(colosse("plan", "hardware", "--prices", "--json").stdout)
    assert {"on_demand", "reserved", "spot"} == {row["kind"] for row in rows}
    text = colosse("plan", "hardware", "Azure-ND-H100-v5", "--prices").stdout
    assert "12.29" in text
    assert "Azure Retail Prices API" in text


def test_own_hardware(colosse: Colosse, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[nodes.Ours]\ngpu = 'h100'\ngpus = 4\ndomain = 4\nnic_gb_per_s = 100\n")
    shown = json.loads(colosse("plan", "hardware", "ours", "--hardware", path, "--json").stdout)
    assert (shown["gpu"], shown["provider"]) == ("H100-SXM-80GB", "own")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["h10o"], "did you mean 'h100'?"),
        (["zzzz"], "`colosse plan hardware` lists"),
        (["--hardware", "none.toml"], "cannot read none.toml"),
    ],
)
def test_what_is_refused(colosse: Colosse, arguments: list[str], words: str) -> None:
    done = colosse("plan", "hardware", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
