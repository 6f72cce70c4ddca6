"""The filter of system calls, for machines that the tests do not run on too."""

import struct

import pytest

from colosse.assistant.sandbox import seccomp


def _decide(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What the kernel would make of a call: a small interpreter of classic BPF."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("=HBBI", program))
    place = value = 0
    while True:
        operation, yes, no, constant = code[place]
        place += 1
        if operation == 0x20:
            value = struct.unpack_from("=I", data, constant)[0]
        elif operation == 0x54:
            value &= constant
        elif operation == 0x06:
            return constant
        else:
            place += yes if (value == constant if operation == 0x15 else value >= constant) else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter(machine):
    program, arch = seccomp.seccomp_filter(machine), seccomp.AUDIT_ARCH[machine]
    allowed, kill = 0x7FFF0000, 0x80000000
    assert _decide(program, 0x40000003, 1) == kill
    for name, number in seccomp._DENIED[machine].items():
        assert _decide(program, arch, number) == 0x50001, name
    calls = seccomp._CHECKED[machine]
    assert _decide(program, arch, calls["clone3"]) == 0x50000 | 38
    assert _decide(program, arch, calls["clone"], 0x1200011) == allowed
    assert _decide(program, arch, calls["clone"], 0x10000011) == 0x50001
    assert [_decide(program, arch, calls["socket"], f) for f in (1, 2, 10, 16)] == [allowed] * 3 + [0x50000 | 97]
    assert _decide(program, arch, calls["ioctl"], 0, 0x5412) == 0x50001
    assert _decide(program, arch, calls["ioctl"], 0, 0x5401) == allowed
    assert _decide(program, arch, calls["personality"], 0) == allowed
    assert _decide(program, arch, calls["personality"], 0x40000) == 0x50001
    assert _decide(program, arch, calls["mknodat"], 0, 0, 0o10600) == allowed
    assert _decide(program, arch, calls["mknodat"], 0, 0, 0o60600) == 0x50001
    assert _decide(program, arch, 0) == allowed
    assert len(program) // 8 < 4096


def test_no_filter_for_other_machines():
    assert seccomp.seccomp_filter("riscv64") == b""
