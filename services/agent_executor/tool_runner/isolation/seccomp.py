"""Seccomp: the system calls that a worker may make, as a filter program for the kernel.

What is not on the list is answered with EPERM. A call in another architecture's numbering, x32
included, kills the process, since the list says nothing about it. The filter is a binary search
over ranges of numbers, as the kernel evaluates it for every number when a worker loads it.

Standard library only: the launcher loads it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_executor.tool_runner.isolation.kernel import syscall

ALLOW: Final = 0x7FFF_0000
KILL_PROCESS: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000
DENY: Final = _ERRNO | errno.EPERM
# C libraries ask for clone3 first and take this as "use clone", which is denied properly.
NOT_IMPLEMENTED: Final = _ERRNO | errno.ENOSYS

LOAD: Final = 0x20
JUMP_IF_EQUAL: Final = 0x15
JUMP_IF_AT_LEAST: Final = 0x35
JUMP_IF_ANY_BIT: Final = 0x45
RETURN: Final = 0x06

NUMBER_OFFSET: Final = 0
ARCHITECTURE_OFFSET: Final = 4
_ARGUMENTS_OFFSET: Final = 16
_JUMP_MAX: Final = 255
_NUMBER_END: Final = 1 << 32
_CLONE3: Final = 435
_SECCOMP_SET_MODE_FILTER: Final = 1

# A file may be opened for reading only, whatever Landlock of an older kernel says. O_TMPFILE needs
# one of the first two, and creates nothing without.
_OPEN_FLAGS_REFUSED: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Not F_SETOWN or F_SETFL: with them the kernel sends signals to other processes in our name.
_FCNTL_COMMANDS: Final = (fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of classic BPF."""

    code: int
    operand: int
    if_true: int = 0
    if_false: int = 0


@dataclass(frozen=True, slots=True)
class Architecture:
    """How a machine numbers its system calls.

    Attributes:
        audit_number: The kernel's number of the architecture.
        seccomp: The number of seccomp(2).
        allowed: Names and numbers of what is allowed without a look at the arguments.
        openat: Allowed for reading alone.
        fcntl: Allowed for a few commands.
        prlimit: Allowed for reading one's own limits.
        foreign_from: From this number on it is another numbering of the same architecture.
    """

    audit_number: int
    seccomp: int
    allowed: Mapping[str, int]
    openat: int
    fcntl: int
    prlimit: int
    foreign_from: int | None = None


X86_64: Final = Architecture(
    audit_number=0xC000_003E,
    seccomp=317,
    openat=257,
    fcntl=72,
    prlimit=302,
    foreign_from=0x4000_0000,
    allowed={
        "read": 0,
        "write": 1,
        "close": 3,
        "stat": 4,
        "fstat": 5,
        "lstat": 6,
        "lseek": 8,
        "mmap": 9,
        "mprotect": 10,
        "munmap": 11,
        "brk": 12,
        "rt_sigaction": 13,
        "rt_sigprocmask": 14,
        "rt_sigreturn": 15,
        "pread64": 17,
        "readv": 19,
        "writev": 20,
        "access": 21,
        "sched_yield": 24,
        "mremap": 25,
        "madvise": 28,
        "nanosleep": 35,
        "getpid": 39,
        "exit": 60,
        "getcwd": 79,
        "gettimeofday": 96,
        "getrlimit": 97,
        "getrusage": 98,
        "times": 100,
        "getuid": 102,
        "getgid": 104,
        "geteuid": 107,
        "getegid": 108,
        "sigaltstack": 131,
        "gettid": 186,
        "time": 201,
        "futex": 202,
        "getdents64": 217,
        "restart_syscall": 219,
        "clock_gettime": 228,
        "clock_getres": 229,
        "clock_nanosleep": 230,
        "exit_group": 231,
        "newfstatat": 262,
        "faccessat": 269,
        "getrandom": 318,
        "statx": 332,
        "rseq": 334,
        "faccessat2": 439,
    },
)
AARCH64: Final = Architecture(
    audit_number=0xC000_00B7,
    seccomp=277,
    openat=56,
    fcntl=25,
    prlimit=261,
    allowed={
        "getcwd": 17,
        "faccessat": 48,
        "close": 57,
        "getdents64": 61,
        "lseek": 62,
        "read": 63,
        "write": 64,
        "readv": 65,
        "writev": 66,
        "pread64": 67,
        "newfstatat": 79,
        "fstat": 80,
        "exit": 93,
        "exit_group": 94,
        "futex": 98,
        "nanosleep": 101,
        "clock_gettime": 113,
        "clock_getres": 114,
        "clock_nanosleep": 115,
        "sched_yield": 124,
        "restart_syscall": 128,
        "sigaltstack": 132,
        "rt_sigaction": 134,
        "rt_sigprocmask": 135,
        "rt_sigreturn": 139,
        "times": 153,
        "getrlimit": 163,
        "getrusage": 165,
        "gettimeofday": 169,
        "getpid": 172,
        "getuid": 174,
        "geteuid": 175,
        "getgid": 176,
        "getegid": 177,
        "gettid": 178,
        "brk": 214,
        "munmap": 215,
        "mremap": 216,
        "mmap": 222,
        "mprotect": 226,
        "madvise": 233,
        "getrandom": 278,
        "statx": 291,
        "rseq": 293,
        "faccessat2": 439,
    },
)
_ARCHITECTURE_OF_MACHINE: Final = {"x86_64": X86_64, "aarch64": AARCH64}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class Filter:
    """A filter that is ready to be loaded by this machine's kernel."""

    def __init__(self, architecture: Architecture) -> None:
        """See the class."""
        instructions = assemble(architecture)
        self._number = architecture.seccomp
        # The structure points into the text, so the text must live as long.
        self._text = encode(instructions)
        self._program = _Program(length=len(instructions), filter=self._text)

    def load(self) -> None:
        """Puts this process under the filter for good; it must have given up new privileges.

        Raises:
            OSError: The kernel has no seccomp filters, or does not allow one here.
        """
        syscall(self._number, _SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(self._program))


def architecture_of_machine() -> Architecture | None:
    """Returns this machine's architecture, or None if there is no filter for it."""
    if sys.maxsize <= _NUMBER_END:
        return None
    return _ARCHITECTURE_OF_MACHINE.get(os.uname().machine)


def assemble(architecture: Architecture) -> list[Instruction]:
    """Returns the filter of an architecture."""
    special = {
        architecture.openat: _check_open_flags(),
        architecture.fcntl: _check_fcntl_command(),
        architecture.prlimit: _check_prlimit(),
        _CLONE3: [_return(NOT_IMPLEMENTED)],
    }
    plain = {number: [_return(ALLOW)] for number in architecture.allowed.values()}
    ranges = _ranges({**plain, **special}, architecture.foreign_from)
    return [
        Instruction(LOAD, ARCHITECTURE_OFFSET),
        Instruction(JUMP_IF_EQUAL, architecture.audit_number, 1, 0),
        _return(KILL_PROCESS),
        Instruction(LOAD, NUMBER_OFFSET),
        *_search(ranges),
    ]


def encode(instructions: Sequence[Instruction]) -> bytes:
    """Returns instructions as the kernel reads them."""
    return b"".join(
        struct.pack("=HBBI", each.code, each.if_true, each.if_false, each.operand)
        for each in instructions
    )


def _ranges(
    actions: Mapping[int, list[Instruction]], foreign_from: int | None
) -> list[tuple[int, list[Instruction]]]:
    """Returns where each range of numbers with one action begins, from 0 on, in order."""
    starts: list[tuple[int, list[Instruction]]] = []

    def begin(number: int, action: list[Instruction]) -> None:
        if starts and starts[-1][0] == number:
            starts.pop()
        if not starts or starts[-1][1] != action:
            starts.append((number, action))

    begin(0, [_return(DENY)])
    for number, action in sorted(actions.items()):
        begin(number, action)
        begin(number + 1, [_return(DENY)])
    if foreign_from is not None:
        begin(foreign_from, [_return(KILL_PROCESS)])
    return starts


def _search(ranges: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle]), _search(ranges[middle:])
    if len(below) > _JUMP_MAX:
        raise ValueError("The filter has a jump that is too long.")
    return [Instruction(JUMP_IF_AT_LEAST, ranges[middle][0], len(below), 0), *below, *above]


def _check_open_flags() -> list[Instruction]:
    return [
        Instruction(LOAD, _low_half(2)),
        Instruction(JUMP_IF_ANY_BIT, _OPEN_FLAGS_REFUSED, 0, 1),
        _return(DENY),
        _return(ALLOW),
    ]


def _check_fcntl_command() -> list[Instruction]:
    count = len(_FCNTL_COMMANDS)
    return [
        Instruction(LOAD, _low_half(1)),
        *(
            Instruction(JUMP_IF_EQUAL, command, count - index, 0)
            for index, command in enumerate(_FCNTL_COMMANDS)
        ),
        _return(DENY),
        _return(ALLOW),
    ]


def _check_prlimit() -> list[Instruction]:
    # The process 0 is one's own, and without new limits they are only read.
    words = (_low_half(0), _low_half(2), _low_half(2) + 4)
    checks: list[Instruction] = []
    for index, word in enumerate(words):
        to_deny = 2 * (len(words) - index) - 1
        checks += [Instruction(LOAD, word), Instruction(JUMP_IF_EQUAL, 0, 0, to_deny)]
    return [*checks, _return(ALLOW), _return(DENY)]


def _low_half(argument: int) -> int:
    # Both architectures are little-endian.
    return _ARGUMENTS_OFFSET + 8 * argument


def _return(action: int) -> Instruction:
    return Instruction(RETURN, action)
