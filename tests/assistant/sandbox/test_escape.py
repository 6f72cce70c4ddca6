"""What hostile programs try; each must be contained, and what it tried must have had no effect outside."""

import os
import socket
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pytest

from colosse.assistant.sandbox import PYTHON, WORKDIR, Limits, run
from colosse.assistant.sandbox.system import prefixes
from tests.assistant.sandbox.conftest import QUICK, python

LIBC = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"


async def denied(call: str) -> None:
    """A call into the C library inside fails with EPERM, ENOSYS, EACCES or EAFNOSUPPORT."""
    ran = await python(LIBC + f"r = {call}\nprint(r, ctypes.get_errno())")
    result, error = map(int, ran.stdout.split())
    assert result == -1 and error in (1, 13, 38, 97), ran


# What programs take


async def test_fork_bomb():
    ran = await run(["sh", "-c", "f() { f | f & f; }; f"], limits=QUICK)
    assert ran.stopped == "processes" or "Cannot fork" in ran.stderr


async def test_processes_that_only_sleep():
    ran = await python("import os, time\nfor _ in range(100):\n  if not os.fork(): time.sleep(60)\ntime.sleep(60)")
    assert ran.stopped == "processes"


async def test_threads_without_end():
    ran = await python(
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    assert "can't start new thread" in ran.stderr


async def test_memory_of_one_process():
    ran = await python("data = []\nwhile True: data.append(bytearray(b'x' * 4_000_000))")
    assert ran.stopped == "memory" and ran.peak_memory_mb < 600


async def test_memory_of_many_processes():
    ran = await python("""
        import os, time
        for _ in range(10):
            if not os.fork():
                data = bytearray(b'x' * 60_000_000)
                time.sleep(60)
        time.sleep(60)
    """)
    assert ran.stopped == "memory" and ran.peak_memory_mb < 700


async def test_memory_in_one_piece():
    ran = await python("bytearray(100_000_000_000)")
    assert "MemoryError" in ran.stderr and ran.exit_code == 1


async def test_shared_memory():
    ran = await python(
        "import mmap\nkeep = []\nwhile True:\n  m = mmap.mmap(-1, 8_000_000); m.write(b'x' * 8_000_000); keep.append(m)"
    )
    assert ran.stopped == "memory"


async def test_memory_in_sockets():
    ran = await python("""
        import os, socket, time
        for _ in range(4): os.fork()
        keep = [socket.socketpair() for _ in range(200)]
        for pair in keep:
            for end in pair:
                end.setblocking(False)
                try:
                    while True: end.send(b'x' * 50_000)
                except BlockingIOError: pass
        time.sleep(60)
    """)
    assert ran.stopped == "memory", ran


async def test_limits_of_the_kernel():
    ran = await run(["cat", "/proc/self/limits"], limits=Limits(cpu_s=3, memory_mb=100, processes=10, file_mb=1))
    found = {line[:26].strip(): line[26:].split()[:2] for line in ran.stdout.splitlines()[1:]}
    assert found["Max cpu time"] == ["4"] * 2
    assert found["Max file size"] == [f"{1 << 20}"] * 2
    assert found["Max data size"] == [f"{200 << 20}"] * 2
    assert found["Max processes"] == ["84"] * 2
    assert found["Max open files"] == ["512"] * 2
    assert found["Max core file size"] == ["0"] * 2
    assert found["Max locked memory"] == [f"{1 << 20}"] * 2


async def test_memory_that_belongs_to_nobody():
    await denied("libc.memfd_create(b'x', 0)")
    await denied("libc.shmget(0, 1 << 30, 0o1600)")
    await denied("libc.msgget(0, 0o1600)")
    await denied("libc.semget(0, 1, 0o1600)")


async def test_a_gigabyte_of_output():
    ran = await python("import os\nfor _ in range(1000): os.write(1, b'x' * 1_000_000)")
    assert ran.stopped == "output" and len(ran.stdout) == QUICK.output_bytes


async def test_output_on_both_streams():
    ran = await python("import os\nfor _ in range(1000): os.write(1, b'x' * 9999); os.write(2, b'y' * 9999)")
    assert ran.stopped == "output" and len(ran.stdout) + len(ran.stderr) == QUICK.output_bytes


async def test_endless_file():
    ran = await python("f = open('x', 'wb')\nwhile True: f.write(b'x' * 1_000_000)", keep=["x"])
    assert "File too large" in ran.stderr and len(ran.files["x"]) <= QUICK.file_mb << 20


async def test_full_disk():
    limits = Limits(disk_mb=16, wall_s=5)
    ran = await python("for i in range(99): open(f'{i}', 'wb').write(b'x' * 1_000_000)", limits=limits)
    assert "No space left" in ran.stderr
    ran = await python("open('/tmp/x', 'wb').write(b'x' * 20_000_000)", limits=limits)
    assert "No space left" in ran.stderr
    ran = await python("open('/dev/shm/x', 'wb').write(b'x' * 20_000_000)", limits=limits)
    assert "No space left" in ran.stderr


async def test_files_count_as_memory():
    ran = await python("for i in range(40):\n  for d in ('.', '/tmp'): open(f'{d}/{i}', 'wb').write(b'x' * 8_000_000)")
    assert ran.stopped == "memory"


async def test_a_hundred_thousand_files():
    ran = await python("import os\nfor i in range(100_000): os.close(os.open(f'{i}', os.O_CREAT))")
    assert ran.stopped == "files"


async def test_open_files():
    ran = await python("keep = []\nwhile True: keep.append(open('/dev/null'))")
    assert "Too many open files" in ran.stderr


async def test_cpu_of_one_and_of_many():
    limits = Limits(cpu_s=0.4, wall_s=10)
    assert (await python("while True: pass", limits=limits)).stopped == "cpu"
    code = """
        import os
        while True:
            if not os.fork():
                for _ in range(3_000_000): pass
                os._exit(0)
            os.wait()
    """
    ran = await python(code, limits=limits)
    assert ran.stopped == "cpu" and ran.cpu_seconds < 2


@pytest.mark.parametrize(
    "code", ["import time; time.sleep(60)", "import sys; sys.stdin.read(); import os; os.read(os.pipe()[0], 1)"]
)
async def test_waiting_for_ever(code):
    ran = await python(code, limits=Limits(wall_s=0.3))
    assert ran.stopped == "time" and ran.exit_code == 137 and ran.seconds < 2


async def test_ignoring_every_signal():
    code = """
        import signal, time
        for n in range(1, 65):
            try: signal.signal(n, signal.SIG_IGN)
            except (OSError, ValueError): pass
        while True: time.sleep(1)
    """
    assert (await python(code, limits=Limits(wall_s=0.3))).stopped == "time"


async def test_input_that_nobody_reads():
    ran = await run(["true"], stdin=b"x" * 5_000_000)
    assert ran.exit_code == 0
    ran = await run(["sleep", "60"], stdin=b"x" * 5_000_000, limits=Limits(wall_s=0.3))
    assert ran.stopped == "time"


async def test_daemons_end_with_the_run():
    mark = f"colosse-daemon-{os.getpid()}"
    code = f"""
        import os, sys, time
        for _ in range(3):
            if not os.fork():
                os.setsid()
                if os.fork(): os._exit(0)
                os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(300)', '{mark}'])
        time.sleep(0.3)
        print('left')
    """
    ran = await python(code)
    assert ran.stdout == "left\n" and not ran.stopped
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _content(p)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


# What programs look for


async def test_processes_of_the_host_are_not_there():
    ran = await python("import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))")
    assert ran.stdout == "[1, 2]\n"


async def test_environment_of_the_host_is_not_there(monkeypatch):
    monkeypatch.setenv("COLOSSE_API_KEY", "secret-of-the-host")
    code = (
        "import os\nprint(sorted(os.environ)); print(open('/proc/1/environ').read(), open('/proc/self/environ').read())"
    )
    ran = await python(code)
    assert "secret-of-the-host" not in ran.stdout
    assert set(eval(ran.stdout.splitlines()[0])) <= {
        "PATH",
        "HOME",
        "LANG",
        "TMPDIR",
        "PWD",
        "OLDPWD",
        "_",
        "SHLVL",
        "LC_CTYPE",
    }


async def test_root_of_the_first_process_is_the_sandbox():
    ran = await python("import os; print(os.listdir('/proc/1/root/sandbox'), os.path.exists('/proc/1/root/root/.ssh'))")
    assert "True" not in ran.stdout


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/root/.ssh", "/home", "/var", "/run", "/srv", "/boot", "/sys", "/mnt", "/opt", __file__]
)
async def test_files_of_the_host_are_not_there(path):
    ran = await run(["ls", path])
    assert ran.exit_code == 2 and "No such file" in ran.stderr


async def test_users_of_the_host_are_not_there():
    ran = await run(["cat", "/etc/passwd"])
    assert ran.stdout.startswith("user:x:1000") and len(ran.stdout.splitlines()) == 2


def beside_the_interpreter(paths: str) -> list[str]:
    """Without the folders of the interpreter and those above them: an installation may lie in /tmp."""
    shown = prefixes()
    return [p for p in paths.splitlines() if not any(s.is_relative_to(p) or Path(p).is_relative_to(s) for s in shown)]


async def test_temporary_folder_of_the_host_is_not_there(tmp_path):
    ran = await run(["find", "/tmp", "/dev/shm", "-mindepth", "1"])
    assert ran.exit_code == 0 and beside_the_interpreter(ran.stdout) == []


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/hostname",
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/proc/1/uid_map",
    ],
)
async def test_kernel_settings_cannot_be_written(path):
    ran = await python(f"open({path!r}, 'wb', buffering=0).write(b'0')")
    assert ran.exit_code == 1 and any(
        w in ran.stderr for w in ("Permission denied", "Read-only", "not permitted", "No such")
    )


@pytest.mark.parametrize("path", ["/usr/bin/x", "/etc/x", "/x", "/dev/x", "/bin/x", f"{Path(PYTHON).parent}/x"])
async def test_system_is_read_only(path):
    ran = await python(f"open({path!r}, 'w')")
    assert "Read-only file system" in ran.stderr or "Permission denied" in ran.stderr
    assert not Path(path).exists()


async def test_devices():
    ran = await python("import os; print(sorted(os.listdir('/dev')))")
    assert not set(eval(ran.stdout)) - {
        "console", "core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    }  # fmt: skip
    ran = await python("open('/proc/kcore', 'rb').read(1)")
    assert ran.exit_code == 1


async def test_device_nodes_cannot_be_made():
    await denied("libc.mknod(b'/tmp/disk', 0o60666, 0x800)")


# Whom programs talk to


@pytest.fixture
def listening():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


async def test_tcp_to_a_server_of_the_host(listening):
    ran = await python(f"import socket; socket.create_connection(('127.0.0.1', {listening}), 1)")
    assert "ConnectionRefusedError" in ran.stderr


async def test_udp_to_the_host():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        port = server.getsockname()[1]
        await python(f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'hello', ('127.0.0.1', {port}))")
        with pytest.raises(TimeoutError):
            server.recv(10)


async def test_the_world_cannot_be_reached():
    ran = await python("import socket; socket.create_connection(('192.0.2.1', 80), 1)")
    assert "Network is unreachable" in ran.stderr
    ran = await python("import socket; socket.getaddrinfo('example.org', 80)")
    assert "gaierror" in ran.stderr


async def test_abstract_sockets_of_the_host():
    name = f"\0colosse-test-{os.getpid()}"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(name)
        server.listen()
        ran = await python(f"import socket; socket.socket(socket.AF_UNIX).connect({name!r})")
    assert "ConnectionRefusedError" in ran.stderr


@pytest.mark.parametrize("family", [16, 17, 40, 38, 29, 31, 44])  # netlink, packet, vsock, alg, can, bluetooth, xdp
async def test_rare_sockets(family):
    await denied(f"libc.socket({family}, 3, 0)")


# What programs ask the kernel for


async def test_ptrace_and_memory_of_others():
    await denied("libc.ptrace(16, 1, 0, 0)")
    await denied("libc.process_vm_readv(1, None, 0, None, 0, 0)")


async def test_keys():
    await denied("libc.syscall(250 if os.uname().machine == 'x86_64' else 219, 0, -3, 1, 0, 0)")


async def test_mounts():
    await denied("libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None)")
    await denied("libc.umount2(b'/proc', 2)")
    await denied("libc.syscall(155 if os.uname().machine == 'x86_64' else 41, b'/tmp', b'/tmp')")
    await denied("libc.chroot(b'/tmp')")


@pytest.mark.parametrize("flag", [0x10000000, 0x20000, 0x40000000, 0x20000000])
async def test_new_namespaces(flag):
    await denied(f"libc.unshare({flag})")
    await denied(f"libc.syscall(56 if os.uname().machine == 'x86_64' else 220, {flag} | 17, 0, 0, 0, 0)")


async def test_clone3_is_not_there():
    ran = await python(LIBC + "print(libc.syscall(435, 0, 0), ctypes.get_errno())")
    assert ran.stdout == "-1 38\n"


@pytest.mark.parametrize("call", [(321, 280), (298, 241), (323, 282), (425, 425), (175, 105), (246, 104), (304, 265)])
async def test_rare_parts_of_the_kernel(call):
    await denied(f"libc.syscall({call[0]} if os.uname().machine == 'x86_64' else {call[1]}, 0, 0, 0, 0, 0)")


async def test_disks_of_the_host_are_not_made_to_write():
    await denied("libc.syncfs(1)")


async def test_nothing_open_is_inherited():
    ran = await python("import os; print(*(os.readlink(f'/proc/1/fd/{n}') for n in sorted(os.listdir('/proc/1/fd'))))")
    assert all(name.startswith("pipe:") or name == "/dev/null" for name in ran.stdout.split()), ran


async def test_cpu_of_children_that_nobody_waits_for():
    code = """
        import os, signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if not os.fork():
                for _ in range(20_000): pass
                os._exit(0)
    """
    ran = await python(code, limits=Limits(cpu_s=0.3, wall_s=2))
    assert ran.stopped and ran.seconds < 4


async def test_personality():
    await denied("libc.personality(0x0040000)")
    assert (await python(LIBC + "print(libc.personality(0xffffffff))")).stdout == "0\n"


async def test_clock_and_names():
    await denied("libc.sethostname(b'x', 1)")
    await denied("libc.settimeofday(ctypes.byref((ctypes.c_long * 2)(1, 0)), None)")
    assert (await run(["uname", "-n"])).stdout == "sandbox\n" != os.uname().nodename


async def test_typing_into_a_terminal():
    ran = await python("import fcntl, os; m, s = os.openpty(); fcntl.ioctl(s, 0x5412, b'x')")
    assert "PermissionError" in ran.stderr
    ran = await python("open('/dev/tty')")
    assert "No such device" in ran.stderr


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="other numbers of the same calls exist on x86_64 alone")
async def test_calls_of_other_machines(tmp_path):
    code = 'int main() { long r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(20)); return 0; }'
    (tmp_path / "a.c").write_text(code)
    if subprocess.run(["gcc", "-o", tmp_path / "a", tmp_path / "a.c"], check=False).returncode:
        pytest.skip("no compiler")
    ran = await run(["./a"], files={"a": (tmp_path / "a").read_bytes()})
    assert ran.exit_code == 128 + 31
    ran = await python(LIBC + "libc.syscall(0x40000000 | 39)")
    assert ran.exit_code == 128 + 31


async def test_processes_of_the_host_cannot_be_killed():
    with subprocess.Popen(["sleep", "60"]) as victim:
        ran = await python(
            f"import os\nfor p in ({victim.pid}, {os.getpid()}, 1, -1):\n"
            "  try: os.kill(p, 9)\n  except ProcessLookupError: print('gone')\n  except PermissionError: print('no')"
        )
        assert victim.poll() is None
        victim.kill()
    assert not ran.stderr


async def test_setuid_programs_give_nothing():
    ran = await run(
        ["sh", "-c", "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; su root -c id; id -u"]
    )
    assert ran.stdout.split() == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2", "1000"]


async def test_other_users():
    for call in ("libc.setuid(0)", "libc.setgid(0)", "libc.setgroups(0, None)", "libc.chown(b'/sandbox', 0, 0)"):
        ran = await python(LIBC + f"print({call}, ctypes.get_errno())")
        assert ran.stdout.split() in (["-1", "1"], ["-1", "22"])


async def test_programs_may_be_written_and_run():
    ran = await run(["sh", "-c", "cp /bin/echo /tmp/e && chmod 4755 /tmp/e && /tmp/e hello"])
    assert ran.stdout == "hello\n"


# What comes back


async def test_links_in_results_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    code = f"""
        import os
        os.symlink({str(secret)!r}, 'a'); os.symlink('/etc/shadow', 'b'); os.symlink('/', 'c'); os.symlink('../..', 'd')
        os.symlink('/proc/self/environ', 'e'); os.mkfifo('f'); os.mkdir('g'); os.symlink('/etc', 'g/h')
        open('real', 'w').write('real'); os.link('real', 'hard')
        import socket; socket.socket(socket.AF_UNIX).bind('s')
    """
    ran = await python(code, keep=["*"])
    assert ran.files == {"real": b"real", "hard": b"real"}, ran


async def test_names_that_are_no_text():
    ran = await python("open(b'\\xff\\n\\x1b', 'w').write('x')", keep=["*"])
    assert ran.files == {"\ufffd\n\x1b": b"x"}, ran
    ran = await python("import os; os.mkdir(b'\\xff'); open(b'\\xff/\\xfe', 'w').write('x')", keep=["*"])
    assert ran.files == {"\ufffd/\ufffd": b"x"}, ran


async def test_hard_links_to_the_system():
    ran = await python("import os; os.link('/etc/passwd', 'x')")
    assert "Invalid cross-device link" in ran.stderr


async def test_files_that_cannot_be_read_are_left_out():
    ran = await python(
        "import os; open('a', 'w').write('a'); os.mkdir('b'); os.chmod('b', 0); open('c', 'w').write('c')",
        keep=["[ac]"],
    )
    assert ran.files == {"a": b"a", "c": b"c"}


async def test_folders_in_folders():
    code = "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\nopen('deep', 'w')"
    ran = await python(code, keep=["*"])
    assert ran.files == {}


async def test_holes_in_files():
    ran = await python("for i in range(20): open(f'{i}', 'wb').truncate(60_000_000)", keep=["*"])
    assert sum(map(len, ran.files.values())) <= QUICK.disk_mb << 20


async def test_output_that_is_no_text():
    ran = await python("import os; os.write(1, b'\\xff\\x00\\xfe\\xf0\\x9f'); os.write(2, b'\\x80')")
    assert ran.stdout == "\ufffd\0\ufffd\ufffd" and ran.stderr == "\ufffd"


async def test_lies_to_the_first_process():
    code = """
        import os
        for name in os.listdir('/proc/1/fd'):
            try: fd = os.open(f'/proc/1/fd/{name}', os.O_WRONLY); os.write(fd, b'{"child-pid": 1}\\n'); os.close(fd)
            except OSError: pass
        os.kill(1, 9); os.kill(1, 15)
        os._exit(3)
    """
    assert (await python(code)).exit_code == 3


async def test_nothing_of_one_run_is_in_the_next():
    await run(["sh", "-c", f"echo x > {WORKDIR}/x; echo x > /tmp/x; echo x > /dev/shm/x"])
    ran = await run(["find", WORKDIR, "/tmp", "/dev/shm", "-type", "f"])
    assert ran.exit_code == 0 and beside_the_interpreter(ran.stdout) == []


def test_no_thread_of_the_host_sees_the_stage():
    assert threading.current_thread() is threading.main_thread()
    assert not Path("/sys/0").exists()
