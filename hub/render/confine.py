"""What a worker takes from itself before it reads anything: the network, and files that are not its own.

Landlock (Linux 5.13) for files, seccomp for sockets and for system calls that reach into other processes; both
need no rights and hold for every thread and program that the process starts afterwards. Where the kernel lacks
one, the worker says so and goes on: the limits on time, memory and output hold everywhere.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_GET_VERSION = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""All that each version of Landlock knows to deny; from version 5 on also ioctl on devices."""
_RIGHTS_5 = (1 << 16) - 1
_NET, _SCOPES = 3, 3
_NET_VERSION, _SCOPE_VERSION, _IOCTL_VERSION = 4, 6, 5

# System calls denied by machine: (audit architecture, numbers). socket, ptrace, process_vm_readv and _writev,
# mount, unshare, setns, keyctl, bpf, perf_event_open, userfaultfd, io_uring_setup.
_MACHINES = {
    "x86_64": (0xC000003E, (41, 101, 310, 311, 165, 272, 308, 250, 321, 298, 323, 425)),
    "aarch64": (0xC00000B7, (198, 117, 270, 271, 40, 97, 268, 219, 280, 241, 282, 425)),
}
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001


@dataclass(frozen=True, slots=True)
class Confinement:
    """What is in force: the kernel's version of Landlock (0 for none), and whether system calls are filtered."""

    landlock: int
    seccomp: bool


def confine(*, read: Iterable[str], write: Iterable[str]) -> Confinement:
    """Give up everything but reading (and running) below `read` and writing below `write`. Cannot be undone.

    Paths that do not exist are left out. Call it before any thread is started.
    """
    if sys.platform != "linux":
        return Confinement(0, seccomp=False)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return Confinement(0, seccomp=False)
    return Confinement(_landlock(libc, list(read), list(write)), seccomp=_seccomp(libc))


def system_paths() -> list[str]:
    """What Python, its libraries and a program in Go read; nothing of the user's or the hub's."""
    root = __file__.removesuffix("/hub/render/confine.py")
    found = [sys.prefix, sys.base_prefix, sys.exec_prefix, f"{root}/agent", f"{root}/hub"]
    found += [path for path in sys.path if path and path != root]
    found += ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime"]
    found += ["/dev/null", "/dev/urandom", "/dev/random", "/dev/zero", "/sys/kernel/mm/transparent_hugepage"]
    return found


def _landlock(libc: ctypes.CDLL, read: list[str], write: list[str]) -> int:
    version = libc.syscall(_CREATE_RULESET, None, 0, _GET_VERSION)
    if version < 1:
        return 0
    rights = _RIGHTS_5 if version >= _IOCTL_VERSION else _RIGHTS[min(version, 3)]
    attributes = struct.pack("=Q", rights)
    if version >= _NET_VERSION:
        attributes += struct.pack("=Q", _NET)
    if version >= _SCOPE_VERSION:
        attributes += struct.pack("=Q", _SCOPES)
    rules = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return 0
    try:
        for path in read:
            _allow(libc, rules, path, _READ & rights)
        for path in write:
            _allow(libc, rules, path, rights)
        _allow(libc, rules, "/dev/null", (_READ_FILE | _WRITE_FILE) & rights)
        return int(version) if libc.syscall(_RESTRICT_SELF, rules, 0) == 0 else 0
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - workers import little
            rights &= _ON_FILES
        rule = struct.pack("=Qi", rights, handle)
        libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0)
    finally:
        os.close(handle)


def _seccomp(libc: ctypes.CDLL) -> bool:
    known = _MACHINES.get(platform.machine())
    if known is None:
        return False
    audit, denied = known
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _EPERM), (_LOAD, 0, 0, 0)]
    program += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _EPERM)]
    for number in denied:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    program.append((_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a count, padding, a pointer
    head = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, head, 0, 0) == 0)
