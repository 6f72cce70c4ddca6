"""What Colosse adds to llama.cpp, and what another gateway does: time to first token, time per token, throughput.

One llama.cpp engine, started with Colosse's own choices, is asked in three ways: directly, through `colosse serve`, and
through the LiteLLM proxy, which gets a virtual environment of its own in the cache folder. All three answer the same
number of tokens to prompts of the same length; no two prompts of a run begin alike and the prompt cache is off, so that
nobody profits from an earlier request (checked: the engine counts cached tokens).

Ways are interleaved: every round asks each of them, in turning order, and they are compared within a round, since a
machine's speed drifts more than gateways differ. Printed are medians over rounds; a ratio is the median of the rounds'
ratios to the direct way, with their quartiles.

    python benchmarks/serve_overhead.py                       # the 0.5 B model, about 20 minutes on two cores
    python benchmarks/serve_overhead.py --rounds 3 --streams 1,4 --without-litellm --json overhead.json

Phases: `first`, short prompts answered by one token, twenty in a row, for the time to the first token; `prefill`, long
prompts answered by one token; `decode`, short prompts answered by many. A process's CPU time
per token is measured too: it does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import platform
import random
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from colosse.core.machine import machine
from colosse.core.settings import EngineSettings, load_settings
from colosse.engines import llama
from colosse.engines.gguf import read_gguf
from colosse.engines.store import ModelStore

MODEL = "qwen2.5-coder-0.5b-instruct"
# 1.82.7 and 1.82.8 were hijacked and stole credentials: never those.
LITELLM = "1.104.3"
DIRECT, COLOSSE, LITELLM_PROXY = "llama.cpp", "colosse", "litellm"
WORDS = Path(__file__).read_text().split()


@dataclass(frozen=True)
class Way:
    """One way to ask the engine. `pid` is of the process between us and the engine; 0 for none."""

    name: str
    url: str
    key: str
    pid: int


@dataclass(frozen=True)
class Batch:
    """What `streams` requests at once through one way took.

    Attributes:
        ttft_ms: median time to the first token.
        tpot_ms: median time per further token; 0 when there was one token.
        tokens_per_s: of answers in the decode phase, else of prompts; all streams together.
        cpu_ms: CPU time of the process between us and the engine, per token answered.
    """

    way: str
    phase: str
    streams: int
    round: int
    ttft_ms: float
    tpot_ms: float
    tokens_per_s: float
    cpu_ms: float


@dataclass(frozen=True)
class Phase:
    """Lengths in tokens; `prompt` is what its words come to, roughly. `requests` are made by all streams together."""

    name: str
    prompt: int
    answer: int
    requests: int = 1


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def process(argv: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A child that ends with the block."""
    with log.open("wb") as out:
        child: subprocess.Popen[bytes] = subprocess.Popen(argv, stderr=out, **({"stdout": out} | options))
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.contextmanager
def engine(gguf: Path, model: str, slots: int, length: int, folder: Path) -> Iterator[tuple[Way, dict[str, Any]]]:
    """llama.cpp as Colosse starts it, with `slots` slots of `length` tokens and no prompt cache."""
    settings = EngineSettings(slots=slots, max_model_len=length)
    options = llama.choose(gguf, model, read_gguf(gguf), settings, machine())
    options = dataclasses.replace(options, prompt_cache_mib=0, speculation="")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": {**os.environ, **llama.ENVIRONMENT}}
    with process(llama.argv(), folder / "engine.log", **pipes) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(options.line())
        child.stdin.flush()
        line = child.stdout.readline()
        if not line:
            raise SystemExit(f"the engine did not start: see {folder / 'engine.log'}")
        told = {k: v for k, v in asdict(options).items() if k not in ("key", "path", "parent")}
        yield Way(DIRECT, json.loads(line)["url"], options.key, 0), told


@contextlib.contextmanager
def colosse(direct: Way, model: str, folder: Path) -> Iterator[Way]:
    """A real `colosse serve` whose endpoint is the engine."""
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("COLOSSE_")}
    env |= {
        "COLOSSE_HOME": str(folder / "home"),
        "COLOSSE_PORT": str(port),
        "COLOSSE_MODEL": model,
        "COLOSSE_ENDPOINTS": f'[{{name = "engine", url = "{direct.url}", api_key = "{direct.key}"}}]',
    }
    argv = [sys.executable, "-m", "colosse.cli.main", "serve", "--no-open"]
    with process(argv, folder / "colosse.log", env=env) as child:
        yield Way(COLOSSE, f"http://127.0.0.1:{port}/v1", "none", child.pid)


@contextlib.contextmanager
def litellm(direct: Way, model: str, cache: Path, folder: Path) -> Iterator[Way]:
    """The LiteLLM proxy, one worker, before the engine."""
    home = cache / f"litellm-{LITELLM}"
    python = home / "bin" / "python"
    if not (home / "installed").exists():
        print(f"installing LiteLLM {LITELLM} in {home}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "-q", "install", f"litellm[proxy]=={LITELLM}"], check=True)
        (home / "installed").touch()
    port, key = free_port(), f"sk-{secrets.token_hex(8)}"
    params = {"model": f"openai/{model}", "api_base": direct.url, "api_key": direct.key}
    config = {
        "model_list": [{"model_name": model, "litellm_params": params}],
        "general_settings": {"master_key": key},
        "litellm_settings": {"telemetry": False},
    }
    (folder / "litellm.yaml").write_text(json.dumps(config))  # JSON is YAML
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    argv = [str(home / "bin" / "litellm"), "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1"]
    with process([*argv, "--port", str(port), "--num_workers", "1"], folder / "litellm.log", env=env) as child:
        yield Way(LITELLM_PROXY, f"http://127.0.0.1:{port}/v1", key, child.pid)


async def ready(http: aiohttp.ClientSession, way: Way) -> None:
    """Return when the way lists its models."""
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with http.get(f"{way.url}/models", headers=headers(way)) as response:
                if response.status == 200:
                    return
        if time.monotonic() > deadline:
            raise SystemExit(f"{way.name} did not start within two minutes")
        await asyncio.sleep(0.2)


def headers(way: Way) -> dict[str, str]:
    """What a request through this way carries."""
    return {"authorization": f"Bearer {way.key}"}


def prompt(phase: Phase, *seed: object) -> str:
    """Words of this file in an order that only these seeds give; the first ones differ already."""
    rng = random.Random(repr(seed))
    number = str(rng.random())
    words = [number, *rng.choices(WORDS, k=phase.prompt // 3)]
    return " ".join(words)


async def ask(http: aiohttp.ClientSession, way: Way, model: str, phase: Phase, text: str) -> tuple[float, float, int]:
    """Stream one answer: seconds to its first token, seconds to its last, tokens of the prompt."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": phase.answer,
        "temperature": 0,
        "seed": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "cache_prompt": False,
    }
    start = time.perf_counter()
    first = last = 0.0
    usage: dict[str, Any] = {}
    async with http.post(f"{way.url}/chat/completions", json=body, headers=headers(way)) as response:
        if response.status != 200:
            raise SystemExit(f"{way.name} answers {response.status}: {(await response.text())[:300]}")
        async for line in response.content:
            if line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                usage = chunk.get("usage") or usage
                if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                    last = time.perf_counter() - start
                    first = first or last
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    if usage.get("completion_tokens") != phase.answer or cached:
        raise SystemExit(f"{way.name}: wanted {phase.answer} tokens and none from the cache, got {usage}")
    return first, last, int(usage["prompt_tokens"])


def cpu_seconds(pid: int) -> float:
    """CPU time that a process and its children have used."""
    if not pid:
        return 0.0
    top = psutil.Process(pid)
    return sum(sum(p.cpu_times()[:2]) for p in [top, *top.children(recursive=True)])


async def batch(http: aiohttp.ClientSession, way: Way, model: str, phase: Phase, streams: int, round: int) -> Batch:
    """Ask `streams` times at once, as often as the phase wants."""
    repeats = range(max(1, phase.requests // streams))
    texts = [[prompt(phase, round, phase.name, streams, i, k, way.name) for i in range(streams)] for k in repeats]
    cpu, start = cpu_seconds(way.pid), time.perf_counter()
    answers = []
    for at_once in texts:
        answers += await asyncio.gather(*(ask(http, way, model, phase, text) for text in at_once))
    wall = time.perf_counter() - start
    cpu = cpu_seconds(way.pid) - cpu
    answered = phase.answer * len(answers)
    tokens = answered if phase.answer > 1 else sum(a[2] for a in answers)
    return Batch(
        way=way.name,
        phase=phase.name,
        streams=streams,
        round=round,
        ttft_ms=1000 * statistics.median(a[0] for a in answers),
        tpot_ms=1000 * statistics.median((a[1] - a[0]) / max(1, phase.answer - 1) for a in answers),
        tokens_per_s=tokens / wall,
        cpu_ms=1000 * cpu / answered,
    )


async def measure(ways: list[Way], model: str, phases: list[Phase], streams: list[int], rounds: int) -> list[Batch]:
    """Every way, phase and number of streams in every round, the ways in turning order; after a round to warm up."""
    found = []
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True), timeout=timeout
    ) as http:
        for way in ways:
            await ready(http, way)
            await batch(http, way, model, Phase("warm-up", 30, 8), max(streams), 0)
        for round in range(rounds):
            turned = ways[round % len(ways) :] + ways[: round % len(ways)]
            for phase in phases:
                for number in streams:
                    for way in turned:
                        print(f"round {round + 1}/{rounds} {phase.name} x{number} {way.name}", file=sys.stderr)
                        found.append(await batch(http, way, model, phase, number, round))
    return found


def compare(found: list[Batch]) -> list[dict[str, Any]]:
    """One row for each phase, number of streams and way: medians, and the rounds' comparison with the direct way."""
    cells: dict[tuple[str, int, str], list[Batch]] = {}
    for each in found:
        cells.setdefault((each.phase, each.streams, each.way), []).append(each)
    rows = []
    for (phase, streams, way), batches in cells.items():
        direct = cells[phase, streams, DIRECT]
        ratios = sorted(b.tokens_per_s / d.tokens_per_s for b, d in zip(batches, direct, strict=True))
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        rows.append(
            {
                "phase": phase,
                "streams": streams,
                "way": way,
                "ttft_ms": statistics.median(b.ttft_ms for b in batches),
                "added_ttft_ms": statistics.median(b.ttft_ms - d.ttft_ms for b, d in zip(batches, direct, strict=True)),
                "tpot_ms": statistics.median(b.tpot_ms for b in batches),
                "tokens_per_s": statistics.median(b.tokens_per_s for b in batches),
                "throughput_ratio": middle,
                "ratio_quartiles": [low, high],
                "cpu_ms_per_token": statistics.median(b.cpu_ms for b in batches),
            }
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    lines = [
        f"{'phase':8} {'streams':>7} {'way':10} {'TTFT ms':>9} {'added':>7} {'TPOT ms':>8} {'tokens/s':>9} "
        f"{'ratio':>7} {'quartiles':>15} {'CPU ms/token':>12}"
    ]
    for row in rows:
        low, high = row["ratio_quartiles"]
        lines.append(
            f"{row['phase']:8} {row['streams']:7} {row['way']:10} {row['ttft_ms']:9.1f} {row['added_ttft_ms']:+7.1f} "
            f"{row['tpot_ms']:8.2f} {row['tokens_per_s']:9.1f} {row['throughput_ratio']:7.3f} "
            f"{f'{low:.3f}-{high:.3f}':>15} {row['cpu_ms_per_token']:12.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--gguf", type=Path, help=f"weights; the installed {MODEL} when not given")
    parser.add_argument("--streams", default="1,4,16", help="numbers of requests at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=256, help="tokens of a prompt in the prefill phase, roughly")
    parser.add_argument("--answer", type=int, default=64, help="tokens of an answer in the decode phase")
    parser.add_argument("--without-litellm", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/colosse-benchmarks"), help="where LiteLLM goes")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that the children are ended
    streams = [int(n) for n in options.streams.split(",")]
    gguf = options.gguf or ModelStore(load_settings().value).get(MODEL).path
    cache = options.cache.expanduser()
    folder = cache / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    phases = [Phase("first", 24, 1, 20), Phase("prefill", options.prompt, 1), Phase("decode", 24, options.answer)]
    length = -(-(2 * options.prompt + options.answer) // 256) * 256
    with contextlib.ExitStack() as stack:
        direct, told = stack.enter_context(engine(gguf, MODEL, max(streams), length, folder))
        ways = [direct, stack.enter_context(colosse(direct, MODEL, folder))]
        if not options.without_litellm:
            ways.append(stack.enter_context(litellm(direct, MODEL, cache, folder)))
        found = asyncio.run(measure(ways, MODEL, phases, streams, options.rounds))
    rows = compare(found)
    print(table(rows))
    if options.json:
        about = {
            "machine": f"{platform.platform()}, {os.cpu_count()} CPUs",
            "python": platform.python_version(),
            "colosse": version("colosse"),
            "xllamacpp": version("xllamacpp"),
            "litellm": None if options.without_litellm else LITELLM,
            "gguf": gguf.name,
            "engine": told,
            "phases": [asdict(phase) for phase in phases],
            "rounds": options.rounds,
        }
        document = {"about": about, "rows": rows, "batches": [asdict(each) for each in found]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
