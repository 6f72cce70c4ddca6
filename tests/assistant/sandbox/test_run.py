"""What a run gives back, what it refuses, and that nothing of it stays."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from colosse.assistant.sandbox import PYTHON, WORKDIR, Limits, bubblewrap, require, run
from colosse.core.errors import ColosseError, TooLargeError, UserError
from tests.assistant.sandbox.conftest import python


async def test_files_in_and_out():
    files = {"a/b/c.txt": "été", "data.bin": b"\x00\xff", "./x": b""}
    ran = await python("open('out.txt', 'w').write(open('a/b/c.txt').read() * 2)", files=files, keep=["*.txt", "x"])
    assert ran.files == {"a/b/c.txt": "été".encode(), "out.txt": "étéété".encode(), "x": b""}
    assert (ran.exit_code, ran.stopped, ran.stderr) == (0, "", "")


async def test_nothing_is_kept_unless_asked_for():
    assert (await python("open('x', 'w').write('x')")).files == {}


async def test_input_output_and_where_it_runs():
    ran = await python(
        "import os, sys; sys.stdout.write(sys.stdin.read()); sys.stderr.write(os.getcwd())", stdin=b"a\nb\n"
    )
    assert (ran.stdout, ran.stderr) == ("a\nb\n", WORKDIR)


async def test_input_that_begins_with_nothing():
    assert (await run(["cat"], stdin=b"\n\n\\n x \n")).stdout == "\n\n\\n x \n"


async def test_large_input_comes_back_whole():
    data = bytes(range(32, 127)) * 8000
    ran = await run(["cat"], stdin=data, limits=Limits(output_bytes=len(data)))
    assert ran.stdout.encode() == data and not ran.stopped


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -SEGV $$", 139), ("nosuchprogram", 127)])
async def test_exit_codes(script, code):
    ran = await run(["sh", "-c", script])
    assert ran.exit_code == code and not ran.stopped


async def test_a_program_that_is_not_there():
    ran = await run(["nosuchprogram"])
    assert ran.exit_code == 127 and "nosuchprogram" in ran.stderr


async def test_arguments_are_not_read_by_a_shell():
    ran = await run(["printf", "%s|", "$HOME", "a b", "'", '"', "--", "*"])
    assert ran.stdout == "$HOME|a b|'|\"|--|*|"


async def test_scripts_can_be_executed():
    assert (await run(["./x"], files={"x": "#!/bin/sh\necho hi\n"})).stdout == "hi\n"


async def test_environment():
    ran = await run(["sh", "-c", "echo $GIVEN $HOME $TMPDIR"], env={"GIVEN": "é"})
    assert ran.stdout == f"é {WORKDIR} /tmp\n"


async def test_packages_of_the_interpreter_are_there():
    ran = await python("import pydantic, pytest, sys; print(sys.executable)")
    assert ran.stdout.strip() == PYTHON == sys.executable, ran.stderr


async def test_multiprocessing_works():
    code = """
        from concurrent.futures import ProcessPoolExecutor
        if __name__ == '__main__':
            with ProcessPoolExecutor(3) as pool: print(sum(pool.map(abs, range(-10, 0))))
    """
    assert (await python(code)).stdout == "55\n"


async def test_what_it_took():
    code = (
        "import time\ndata = b'x' * 50_000_000\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    )
    ran = await python(code)
    assert 0.3 <= ran.cpu_seconds < 2 and ran.seconds >= 0.3 and 50 < ran.peak_memory_mb < 120


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", ".", "a\0b"])
async def test_paths_that_leave_the_folder(name):
    with pytest.raises(UserError, match="not a path inside"):
        await run(["true"], files={name: b""})


async def test_inputs_that_cannot_be():
    for argv, env in (([], {}), ([""], {}), (["a\0"], {}), (["true"], {"A=B": ""}), (["true"], {"A": "\0"})):
        with pytest.raises(UserError):
            await run(argv, env=env)
    with pytest.raises(TooLargeError):
        await run(["true"], files={f"{i}": b"" for i in range(501)})
    with pytest.raises(TooLargeError):
        await run(["true"], files={"x": b"x" * 3_000_000}, limits=Limits(disk_mb=2))
    with pytest.raises(UserError, match="Argument list too long"):
        await run(["true", "x" * 200_000])


async def test_one_path_inside_another():
    with pytest.raises(ColosseError, match="could not be built"):
        await run(["true"], files={"a": b"", "a/b": b""})


async def test_much_environment_goes_through():
    ran = await run(["sh", "-c", "echo ${#BIG}"], env={"BIG": "x" * 100_000})
    assert ran.stdout == "100000\n"


def _left() -> tuple[int, int, set[str]]:
    """Open files of ours, sandboxes that run, entries of the temporary folder with our name."""
    children = Path(f"/proc/{os.getpid()}/task")
    running = sum(bool((task / "children").read_text().strip()) for task in children.iterdir())
    return len([*Path("/proc/self/fd").iterdir()]), running, {p.name for p in Path("/tmp").glob("*sandbox*")}


async def test_fifty_runs_at_once_leave_nothing():
    await run(["true"])  # the threads' own things are there
    await asyncio.gather(*(run(["true"]) for _ in range(8)))
    before = _left()
    code = """
        import os, time
        open('/tmp/x', 'w').write('x')
        if not os.fork():
            os.setsid()
            time.sleep(60)
        print(open('n').read())
    """
    runs = await asyncio.gather(*(python(code, files={"n": f"{n}"}, keep=["n"]) for n in range(50)))
    assert [ran.stdout for ran in runs] == [f"{n}\n" for n in range(50)]
    assert [ran.files["n"] for ran in runs] == [f"{n}".encode() for n in range(50)]
    assert _left() == before


async def test_cancelling_ends_it_at_once():
    mark = f"colosse-cancelled-{os.getpid()}"
    await run(["true"])
    before = _left()
    task = asyncio.create_task(run([PYTHON, "-c", "import time; time.sleep(60)", mark]))
    while not _running(mark):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _running(mark) and _left() == before


async def test_it_ends_when_colosse_is_killed():
    mark = f"colosse-orphan-{os.getpid()}"
    code = (
        "import asyncio; from colosse.assistant.sandbox import PYTHON, run\n"
        f"asyncio.run(run([PYTHON, '-c', 'import time; time.sleep(60)', '{mark}']))"
    )
    parent = await asyncio.create_subprocess_exec(PYTHON, "-c", code)
    program = f"{PYTHON}\0-c\0import time; time.sleep(60)\0{mark}\0"
    while not _running(program, whole=True):
        await asyncio.sleep(0.02)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(5):
        while _running(program):
            await asyncio.sleep(0.02)


async def test_cancelling_one_that_waits_for_its_turn():
    tasks = [asyncio.create_task(run(["sleep", "60"])) for _ in range(20)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    start = time.monotonic()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended) and time.monotonic() - start < 10
    assert (await run(["echo", "on"])).stdout == "on\n"


def _running(mark: str, whole: bool = False) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
            if line == mark.encode() if whole else mark.encode() in line:
                return True
        except OSError:
            continue
    return False


async def test_where_isolation_is_impossible_nothing_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(bubblewrap, "_programs", lambda: ["/bin/false"])
    monkeypatch.setattr(bubblewrap, "_setting", lambda name: "1" if "apparmor" in name else "")
    bubblewrap.bubblewrap.cache_clear()
    try:
        with pytest.raises(ColosseError, match="cannot be isolated here: bubblewrap ended with exit code 1") as caught:
            require()
        assert "AppArmor" in caught.value.hint
        with pytest.raises(ColosseError, match="cannot be isolated"):
            await run(["touch", str(tmp_path / "ran")])
        monkeypatch.setattr(bubblewrap, "_programs", list)
        with pytest.raises(ColosseError, match="bubblewrap is missing"):
            require()
        monkeypatch.setattr(bubblewrap.sys, "platform", "darwin")
        with pytest.raises(ColosseError, match="cannot be isolated on"):
            require()
    finally:
        monkeypatch.undo()
        bubblewrap.bubblewrap.cache_clear()
    assert not (tmp_path / "ran").exists()
    require()
