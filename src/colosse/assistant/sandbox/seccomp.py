"""The system calls that a sandboxed program may not make, as a classic BPF program for seccomp(2).

Namespaces already take away what most of these calls could reach; the filter takes away the calls themselves, so that a
hole in one of the rarely used parts of the kernel is out of reach too.
"""

from __future__ import annotations

import errno
import platform
import struct
from functools import cache

_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
"""Of linux/bpf_common.h: BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_ALU|AND|K, BPF_RET|K."""
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
"""Places in struct seccomp_data; each argument takes 8 bytes, its low half first on both machines."""
_X32 = 0x40000000
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_CLONE_NEW = 0x7E020080
"""Every CLONE_NEW* flag: user, pid, net, ipc, uts, cgroup, mount, time."""
_TERMINAL_INPUT = (0x5412, 0x541C)
"""The ioctls TIOCSTI and TIOCLINUX: typing into somebody's terminal."""
_DEFAULT_PERSONALITIES = (0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, Linux32 of uname, and the question which one it is; the rest switches off protections such as ASLR."""

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Machines that the filter is written for, with the kernel's word for them."""

_X86_64 = {
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "process_madvise": 440, "kcmp": 312,
    "add_key": 248, "request_key": 249, "keyctl": 250,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "open_tree_attr": 467,
    "unshare": 272, "setns": 308,
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427, "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313,
    "delete_module": 176, "reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163, "quotactl": 179,
    "quotactl_fd": 443, "syslog": 103, "settimeofday": 164, "clock_settime": 227, "clock_adjtime": 305,
    "adjtimex": 159, "sethostname": 170, "setdomainname": 171, "iopl": 172,
    "ioperm": 173, "modify_ldt": 154, "uselib": 134, "ustat": 136, "sysfs": 139, "_sysctl": 156, "lookup_dcookie": 212,
    "nfsservctl": 180, "vhangup": 153, "open_by_handle_at": 304, "name_to_handle_at": 303, "fanotify_init": 300,
    "mbind": 237, "set_mempolicy": 238, "migrate_pages": 256, "move_pages": 279, "vmsplice": 278,
    "pidfd_getfd": 438, "sync": 162, "syncfs": 306,
    "memfd_create": 319, "memfd_secret": 447, "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240,
}  # fmt: skip
_AARCH64 = {
    "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "process_madvise": 440, "kcmp": 272,
    "add_key": 217, "request_key": 218, "keyctl": 219,
    "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "open_tree_attr": 467,
    "unshare": 97, "setns": 268,
    "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425, "io_uring_enter": 426,
    "io_uring_register": 427, "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273,
    "delete_module": 106, "reboot": 142, "swapon": 224, "swapoff": 225, "acct": 89, "quotactl": 60,
    "quotactl_fd": 443, "syslog": 116, "settimeofday": 170, "clock_settime": 112, "clock_adjtime": 266,
    "adjtimex": 171, "sethostname": 161, "setdomainname": 162, "lookup_dcookie": 18, "nfsservctl": 42,
    "vhangup": 58, "open_by_handle_at": 265, "name_to_handle_at": 264, "fanotify_init": 262,
    "mbind": 235, "set_mempolicy": 237, "migrate_pages": 238, "move_pages": 239, "vmsplice": 75,
    "pidfd_getfd": 438, "sync": 81, "syncfs": 267,
    "memfd_create": 279, "memfd_secret": 447, "shmget": 194, "msgget": 186, "semget": 190, "mq_open": 180,
}  # fmt: skip
"""The last line of each: memory that belongs to no process and to no folder, so that nobody could count it."""
_DENIED = {"x86_64": _X86_64, "aarch64": _AARCH64}
_DEVICES = (0x2000, 0x6000)
"""S_IFCHR and S_IFBLK of a mode's S_IFMT."""
_CHECKED = {
    "x86_64": {
        "clone": 56, "clone3": 435, "socket": 41, "socketpair": 53, "ioctl": 16, "personality": 135, "mknod": 133,
        "mknodat": 259,
    },
    "aarch64": {
        "clone": 220, "clone3": 435, "socket": 198, "socketpair": 199, "ioctl": 29, "personality": 92, "mknodat": 33
    },
}  # fmt: skip
"""Calls that are allowed with some arguments."""


@cache
def seccomp_filter(machine: str = "") -> bytes:
    """The filter as an array of struct sock_filter; empty for a machine that it is not written for.

    Args:
        machine: `x86_64` or `aarch64`; empty: this one.
    """
    machine = machine or platform.machine()
    if machine not in AUDIT_ARCH:
        return b""
    checked = _CHECKED[machine]
    program = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, AUDIT_ARCH[machine]), (_RETURN, 0, 0, _KILL)]
    program.append((_LOAD, 0, 0, _NUMBER))
    if machine == "x86_64":  # the same numbers again, with 32-bit pointers
        program += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    for number in _DENIED[machine].values():
        program += _when(number, [_fail(errno.EPERM)])
    # ENOSYS sends the C library back to clone, whose flags are in a register and can be looked at.
    program += _when(checked["clone3"], [_fail(errno.ENOSYS)])
    program += _when(checked["clone"], [_argument(0), *_masked(_CLONE_NEW), *_only((0,), errno.EPERM)])
    program += _when(checked["socket"], [_argument(0), *_only((_AF_UNIX, _AF_INET, _AF_INET6), errno.EAFNOSUPPORT)])
    program += _when(checked["socketpair"], [_argument(0), *_only((_AF_UNIX,), errno.EAFNOSUPPORT)])
    program += _when(checked["personality"], [_argument(0), *_only(_DEFAULT_PERSONALITIES, errno.EPERM)])
    program += _when(checked["ioctl"], [_argument(1), *_never(_TERMINAL_INPUT, errno.EPERM)])
    for name, mode in (("mknod", 1), ("mknodat", 2)):
        if name in checked:
            program += _when(checked[name], [_argument(mode), *_masked(0xF000), *_never(_DEVICES, errno.EPERM)])
    program.append(_allow())
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


_Instruction = tuple[int, int, int, int]


def _when(number: int, then: list[_Instruction]) -> list[_Instruction]:
    """`then`, which returns, for one system call; the call's number stays loaded for what follows."""
    return [(_EQUAL, 0, len(then), number), *then]


def _only(values: tuple[int, ...], error: int) -> list[_Instruction]:
    """Allow the call if what is loaded is one of these."""
    tests = [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [*tests, _fail(error), _allow()]


def _never(values: tuple[int, ...], error: int) -> list[_Instruction]:
    """Allow the call if what is loaded is none of these."""
    tests = [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [*tests, _allow(), _fail(error)]


def _masked(bits: int) -> list[_Instruction]:
    return [(_AND, 0, 0, bits)]


def _argument(index: int) -> _Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _fail(error: int) -> _Instruction:
    return (_RETURN, 0, 0, _ERRNO | error)


def _allow() -> _Instruction:
    return (_RETURN, 0, 0, _ALLOW)
