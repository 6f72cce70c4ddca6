import json
from typing import Any


def test_advice_is_shown(colosse: Any) -> None:
    text = colosse("plan", "advise", "--budget", "5k$", "--price", "2.5").stdout
    for word in ("2 000 GPU-hours", "chinchilla", "same budget", "same loss", "nats per token", "learning rate"):
        assert word in text


def test_as_json(colosse: Any) -> None:
    asked = ("plan", "advise", "--deadline", "2d", "--gpus", "8", "--overtrain", "4x", "--law", "llama3", "--json")
    got = json.loads(colosse(*asked).stdout)
    assert (got["gpus"], got["gpu_hours"]["value"], got["law"]) == (8, 384, "llama3")
    assert got["best"]["loss"]["low"] < got["best"]["loss"]["value"] < got["best"]["loss"]["high"]
    assert got["best"]["model"]["dim"] > 0
    assert got["layout"]["dp_shard"] * got["layout"]["dp_replicate"] <= 8


def test_mistakes_are_one_line(colosse: Any) -> None:
    for arguments, words in (
        ((), "how much may it take?"),
        (("--budget", "100 €"), "not in US dollars"),
        (("--budget", "-5$"), "--budget: '-5$'"),
        (("--gpu-hours", "5k", "--gpus", "-1"), "below 1"),
        (("--gpu-hours", "5k", "--gpus", "0"), "below 1"),
        (("--gpu-hours", "1e12"), "more than there are"),
        (("--gpu-hours", "1e30"), "more than can be meant"),
        (("--gpu-hours", "5k", "--overtrain", "lots"), "--overtrain: 'lot"),
    ):
        done = colosse("plan", "advise", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
