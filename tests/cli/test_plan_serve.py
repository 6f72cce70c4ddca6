import json
from typing import Any

ASKED = ("plan", "serve", "--model", "llama3-70b", "--users", "2k", "--price", "2-4")


def test_a_fleet_is_shown(colosse: Any) -> None:
    text = colosse(*ASKED).stdout
    for word in ("GPUs", "replicas", "first token", "per million", "max_num_seqs", "kW", "H100-SXM-80GB"):
        assert word in text


def test_as_json(colosse: Any) -> None:
    got = json.loads(colosse(*ASKED, "--ttft", "2s", "--tpot", "40ms", "--cached", "0.5", "--json").stdout)
    assert got["model"] == "llama3-70b"
    assert (got["demand"]["users"], got["demand"]["ttft_s"], got["demand"]["tpot_s"]) == (2000, 2, 0.04)
    assert got["gpus"]["value"] == got["replicas"] * got["gpus_per_replica"] == got["options"][0]["gpus"]
    assert got["usd_per_hour"]["low"] <= got["usd_per_hour"]["central"] <= got["usd_per_hour"]["high"]


def test_mistakes_are_one_line(colosse: Any) -> None:
    for arguments, words in (
        (("--users", "-5"), "--users: '-5'"),
        (("--users", "5", "--tpot", "50"), "--tpot: '50' is not a duration"),
        (("--users", "5", "--gpu", "h1000"), "did you mean"),
        (("--users", "5", "--cached", "2"), "no share"),
    ):
        done = colosse("plan", "serve", "--model", "llama3-8b", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
