"""The llama.cpp engine: what it is told, and a real small model behind it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from colosse.core.errors import ColosseError, EngineError, UnavailableError, UserError
from colosse.core.machine import Gpu, Machine
from colosse.core.settings import EngineSettings, Settings, load_settings
from colosse.engines import llama
from colosse.engines.client import complete
from colosse.engines.engines import Engines
from colosse.engines.gguf import GGUFInfo
from colosse.engines.llama import Options, choose
from colosse.engines.schema import ChatRequest
from colosse.engines.supervisor import Policy
from tests.core.test_process import gone

NAME = "smollm2-135m-instruct"
SECRET = "heliotrope"
HELLO = [{"role": "user", "content": f"Say hello to {SECRET}."}]
QUICK = Policy(pause_s=0.01, health_every_s=0.1)
GB = 1 << 30
INFO = GGUFInfo(
    architecture="qwen2",
    name="",
    context_length=32768,
    num_layers=28,
    num_kv_heads=2,
    head_dim=128,
    vocab_size=151936,
    file_type="Q4_K_M",
    chat_template="",
    kv_bytes_per_token=28672,
    size_bytes=1_117_320_768,
    num_splits=1,
)


def here(gigabytes: float, cpus: int = 2, gpus: tuple[Gpu, ...] = ()) -> Machine:
    memory = int(gigabytes * GB)
    return Machine(cpus=cpus, cpu="", memory_total=memory, memory_available=memory, gpus=gpus, system="")


def chosen(machine: Machine, info: GGUFInfo = INFO, task: llama.Task = "generate", **settings: Any) -> Options:
    return choose(Path("m.gguf"), "m", info, EngineSettings(**settings), machine, task)


@pytest.mark.parametrize(
    ("gigabytes", "slots", "length"),
    [(1.6, 1, 4096), (4, 2, 4096), (7, 2, 8192), (12, 4, 8192), (24, 4, 16384), (64, 4, 32768)],
)
def test_context_grows_with_memory(gigabytes: float, slots: int, length: int) -> None:
    options = chosen(here(gigabytes, cpus=16))
    assert (options.slots, options.max_model_len) == (slots, length)
    used = INFO.size_bytes + slots * length * INFO.kv_bytes_per_token + (options.prompt_cache_mib << 20)
    assert used < gigabytes * GB


def test_settings_go_first() -> None:
    options = chosen(here(24, cpus=8), threads=3, max_model_len=5000, slots=9, gpu_layers=0, speculation=False)
    assert (options.threads, options.max_model_len, options.slots) == (3, 5000, 9)
    assert (options.gpu_layers, options.speculation) == (0, "")
    assert (chosen(here(64), slots=4).draft, chosen(here(64), slots=1).draft) == (31, 48)
    many = chosen(here(64), slots=200, max_model_len=4096)
    assert (many.batch, many.speculation) == (200, "")
    assert chosen(here(24, cpus=8)).threads == 8
    assert chosen(here(64), max_model_len=4096).slots == 4
    assert chosen(here(24, cpus=8), slots=1).max_model_len == 32768
    assert chosen(here(24), max_model_len=32768).max_model_len == 32768


def test_few_processors_get_no_context_that_they_could_not_read() -> None:
    assert (chosen(here(64)).slots, chosen(here(64)).max_model_len) == (4, 2 * llama.LENGTH_PER_CPU)
    assert chosen(here(64, gpus=(Gpu("big", 80 * GB, 80 * GB),))).max_model_len == 32768


def test_never_more_than_it_was_trained_for() -> None:
    short = replace(INFO, context_length=2048)
    assert chosen(here(64), short).max_model_len == 2048
    with pytest.raises(UserError, match="was trained for 2048 tokens"):
        chosen(here(64), short, max_model_len=4096)
    assert chosen(here(64), replace(INFO, context_length=0)).max_model_len == 4096


def test_too_little_memory() -> None:
    with pytest.raises(UnavailableError, match="1 x 4096 tokens"):
        chosen(here(1.2))
    with pytest.raises(UnavailableError, match="8 x 32768"):
        chosen(here(4), max_model_len=32768, slots=8)


def test_a_gpu_takes_bigger_batches_and_its_memory_counts() -> None:
    options = chosen(here(2, gpus=(Gpu("big", 80 * GB, 80 * GB),)))
    assert (options.slots, options.max_model_len, options.batch) == (4, 32768, llama.GPU_BATCH)
    assert options.batch > chosen(here(64)).batch


def test_embeddings_take_a_whole_input_at_once() -> None:
    options = chosen(here(24), task="embed")
    assert options.batch >= options.max_model_len
    assert options.speculation == ""


def test_every_engine_has_its_own_key() -> None:
    assert chosen(here(24)).key != chosen(here(24)).key


def test_without_llama_cpp_there_is_a_hint(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert not llama.installed()


# -- with a real model ------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(smollm2_home: Path) -> Settings:
    return load_settings({"model": NAME, "engine.max_model_len": 2048, "engine.slots": 2}).value


def pid_of(engines: Engines, name: str = NAME) -> int:
    (pid,) = (row.pid for row in engines.status() if row.name == name)
    assert pid is not None
    return pid


async def slots(engines: Engines) -> list[dict[str, Any]]:
    """llama.cpp's own view of what it does."""
    engine = engines._locals[NAME]._supervisor
    headers = {"Authorization": f"Bearer {engine.key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.get(engine.url.removesuffix("/v1") + "/slots") as response,
    ):
        return list(await response.json())


async def processing(engines: Engines, wanted: bool) -> None:
    async with asyncio.timeout(60):
        while any(slot["is_processing"] for slot in await slots(engines)) is not wanted:
            await asyncio.sleep(0.05)


@pytest.mark.model
async def test_answers(settings: Settings) -> None:
    async with Engines(settings) as engines:
        assert [m.state for m in engines.models()] == ["available"]
        info = await engines.ensure()
        assert (info.state, info.max_model_len, info.engine) == ("ready", 2048, "llama.cpp")

        text, usage = await complete(engines, HELLO, max_tokens=8, temperature=0)
        assert text
        assert usage.completion_tokens <= 8 < usage.prompt_tokens
        assert (await complete(engines, HELLO, max_tokens=8, temperature=0))[0] == text

        several = await engines.request("/chat/completions", {"messages": HELLO, "n": 2, "max_tokens": 3})
        assert len(several["choices"]) == 2
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        typed, _ = await complete(engines, HELLO, response_format=wanted, max_tokens=40)
        assert isinstance(json.loads(typed)["n"], int)

        vectors = await engines.request("/embeddings", {"input": ["a cat", "a dog", "a cat"]})
        one, two, three = (row["embedding"] for row in vectors["data"])
        assert one == pytest.approx(three, abs=1e-3)
        assert one != pytest.approx(two, abs=1e-3)
        assert {row.name for row in engines.status()} == {NAME, f"{NAME}.embed"}

        with pytest.raises(UserError) as caught:
            await complete(engines, [{"role": "user", "content": "word " * 3000}])
        assert caught.value.code == "context_length_exceeded"
        assert "takes 2048" in str(caught.value)
        with pytest.raises(UserError) as caught:
            await engines.request("/embeddings", {"input": "word " * 3000})
        assert caught.value.code == "context_length_exceeded"
        pids = [pid_of(engines), pid_of(engines, f"{NAME}.embed")]
    for pid in pids:
        await gone(pid)
    for log in settings.log_dir.iterdir():
        assert SECRET not in log.read_text()


@pytest.mark.model
async def test_speculation_does_not_change_the_answer(settings: Settings, smollm2_home: Path) -> None:
    request = [
        {"role": "user", "content": "Repeat exactly: " + "one two three four five six seven eight nine ten. " * 4}
    ]
    texts = []
    for speculation in (True, False):
        changed = settings.model_copy(
            update={"engine": settings.engine.model_copy(update={"speculation": speculation})}
        )
        async with Engines(changed) as engines:
            texts.append((await complete(engines, request, max_tokens=60, temperature=0))[0])
    assert texts[0] == texts[1]


@pytest.mark.model
async def test_every_slot_may_guess_at_once(settings: Settings) -> None:
    """llama.cpp ends when what all slots guess does not fit into one batch."""
    words = " ".join(f"word{n}" for n in range(30))
    body = {"prompt": f"{words}\n" * 3, "max_tokens": 900, "temperature": 0, "model": NAME}
    async with Engines(
        settings.model_copy(update={"engine": settings.engine.model_copy(update={"slots": 4})})
    ) as engines:
        await engines.ensure()
        answers = await asyncio.gather(*(engines.request("/completions", body) for _ in range(4)))
        assert {answer["choices"][0]["text"][:100] for answer in answers} == {f"{words}\n"[:100]}


@pytest.mark.model
async def test_nobody_else_may_use_it(settings: Settings) -> None:
    async with Engines(settings) as engines:
        await engines.ensure()
        url = engines._locals[NAME]._supervisor.url
        assert url.startswith("http://127.0.0.1:")
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{url}/chat/completions", json={"messages": HELLO}) as response,
        ):
            assert response.status == 401


@pytest.mark.model
async def test_killed_in_the_middle_of_an_answer(settings: Settings) -> None:
    async with Engines(settings, policy=QUICK) as engines:
        await engines.ensure()
        first = pid_of(engines)
        received = ""
        request = ChatRequest.model_validate({"messages": HELLO, "max_tokens": 1000, "ignore_eos": True})
        with pytest.raises(EngineError, match="in the middle of its answer"):
            async for step in engines.chat(request):
                received += step.content
                if received and pid_of(engines) == first:
                    os.kill(first, signal.SIGKILL)
        assert received
        assert (await complete(engines, HELLO, max_tokens=4))[1].completion_tokens <= 4
        assert pid_of(engines) != first
        assert engines.status()[0].restarts == 1


@pytest.mark.model
async def test_killed_while_idle(settings: Settings) -> None:
    """The next request waits for the restart and knows nothing of it."""
    async with Engines(settings, policy=QUICK) as engines:
        await engines.ensure()
        os.kill(pid_of(engines), signal.SIGKILL)
        assert (await complete(engines, HELLO, max_tokens=4))[0]


@pytest.mark.model
@pytest.mark.parametrize("whole", [False, True])
async def test_cancelling_stops_the_generation(settings: Settings, whole: bool) -> None:
    async with Engines(settings) as engines:
        await engines.ensure()
        body = {"messages": HELLO, "max_tokens": 2000, "ignore_eos": True}
        if whole:
            task = asyncio.create_task(engines.request("/chat/completions", body))
            await processing(engines, True)
            task.cancel()
        else:
            async with aclosing(engines.stream("/chat/completions", body)) as payloads:
                async for _ in payloads:
                    break
                await processing(engines, True)
        await processing(engines, False)


KILLED_PARENT = """
import asyncio, sys, time
from colosse.core.settings import load_settings
from colosse.engines.engines import Engines
async def main():
    engines = Engines(load_settings().value)
    await engines.ensure("{name}")
    print(engines.status()[0].pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.model
async def test_no_orphan_when_we_are_killed(settings: Settings) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", KILLED_PARENT.format(name=NAME)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        assert psutil.pid_exists(pid)
    finally:
        parent.kill()
        parent.wait()
        if parent.stdout is not None:
            parent.stdout.close()
    await gone(pid)


@pytest.mark.model
async def test_the_one_unused_for_longest_makes_room(settings: Settings, smollm2: Path) -> None:
    for name in ("second", "third"):
        (settings.models_dir / f"{name}.gguf").symlink_to(smollm2)
    async with Engines(settings) as engines:
        for name in (NAME, "second", NAME, "third"):
            await complete(engines, HELLO, model=name, max_tokens=1)
        states = {m.id: m.state for m in engines.models()}
        assert states == {NAME: "ready", "second": "available", "third": "ready"}

        body = {"messages": HELLO, "max_tokens": 2000, "ignore_eos": True}
        one = engines.settings.model_copy(
            update={"engine": settings.engine.model_copy(update={"start_timeout_s": 1.0})}
        )
        engines.settings = one
        async with (
            aclosing(engines.stream("/chat/completions", {**body, "model": NAME})) as first,
            aclosing(engines.stream("/chat/completions", {**body, "model": "third"})) as second,
        ):
            await anext(first)
            await anext(second)
            with pytest.raises(UnavailableError, match="2 models are loaded and busy"):
                await engines.ensure("second")
            waiting = asyncio.create_task(engines.ensure("second"))
            await asyncio.sleep(0)
            await first.aclose()
            assert (await waiting).state == "ready"  # it waited until one was idle
            await anext(second)  # and never took one in use


@pytest.mark.model
async def test_a_model_that_llama_cpp_refuses(settings: Settings, smollm2: Path) -> None:
    """A whole GGUF file of an architecture that nobody knows: no restart, a reason, and no second try for a while."""
    data = smollm2.read_bytes()
    strange = settings.models_dir / "strange.gguf"
    at = data.index(b"general.architecture") + len(b"general.architecture")
    assert data[at + 12 : at + 17] == b"llama"
    strange.write_bytes(data[: at + 12] + b"lloma" + data[at + 17 :].replace(b"llama.", b"lloma."))
    async with Engines(settings) as engines:
        with pytest.raises(EngineError, match="unknown model architecture: 'lloma'") as caught:
            await engines.ensure("strange")
        assert "strange.log" in str(caught.value)
        log = (settings.log_dir / "strange.log").read_text()
        with pytest.raises(ColosseError, match="lloma"):
            await complete(engines, HELLO, model="strange")
        assert (settings.log_dir / "strange.log").read_text() == log  # nothing was started for it
        (row,) = engines.status()
        assert (row.state, row.restarts, row.pid) == ("failed", 0, None)
        assert {m.id: m.state for m in engines.models()}["strange"] == "failed"
