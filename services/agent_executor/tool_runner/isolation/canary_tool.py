"""Attacks on the sandbox, as a custom tool whose result names those that succeeded.

The pool runs this file's text inside a real worker; nothing imports it. Every attack is harmless
where it succeeds.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from agent_executor import ToolBase

_X32: Final = 0x4000_0000
_GETPID: Final = {"x86_64": 39, "aarch64": 172}
_PTRACE: Final = {"x86_64": 101, "aarch64": 117}
_SOCKET: Final = {"x86_64": 41, "aarch64": 198}
_MEMFD_CREATE: Final = {"x86_64": 319, "aarch64": 279}
_IO_URING_SETUP: Final = 425
_PTRACE_TRACEME: Final = 0
# Where everyone may write.
_WRITABLE: Final = "/dev/shm/canary"  # noqa: S108 -- it must fail
_AF_UNIX, _AF_INET, _SOCK_STREAM = 1, 2, 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Canary(ToolBase):
    """Tries to get out."""

    def __init__(self) -> None:
        super().__init__(name="canary", description="Tries to get out of the sandbox.")

    def _execute_impl(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._machine = arguments["machine"]
        if arguments.get("x32"):
            # This one kills the process.
            return {"succeeded": [f"x32 system call {self._call(_X32 | 39)}"]}
        attacks: dict[str, Callable[[], bool]] = {
            "reading /etc/passwd": lambda: _opens("/etc/passwd", os.O_RDONLY),
            "reading /proc/self/environ": lambda: _opens("/proc/self/environ", os.O_RDONLY),
            "listing /": lambda: bool(os.listdir("/")),  # noqa: PTH208 -- a path object would open it later
            "writing a file": lambda: _opens(_WRITABLE, os.O_WRONLY | os.O_CREAT),
            "having an environment": lambda: bool(os.environ),  # noqa: TID251 -- it must be empty
            "opening an internet socket": lambda: self._opens_socket(_AF_INET),
            "opening a local socket": lambda: self._opens_socket(_AF_UNIX),
            "forking": _forks,
            "starting a thread": _starts_thread,
            "signalling a process": _signals,
            "tracing": lambda: self._call(_PTRACE[self._machine], _PTRACE_TRACEME) == 0,
            "io_uring": lambda: self._call(_IO_URING_SETUP, 1, bytes(120)) >= 0,
            "memory without a limit": lambda: self._call(_MEMFD_CREATE[self._machine], b"", 0) >= 0,
            "more memory than allowed": lambda: bool(bytearray(arguments["memory_bytes"])),
            "inheriting a descriptor": _has_more_descriptors,
            "running a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 -- it must fail
        }
        return {"succeeded": [name for name, attack in attacks.items() if _succeeds(attack)]}

    def _call(self, number: int, *arguments: Any) -> int:
        return int(_libc.syscall(ctypes.c_long(number), *arguments))

    def _opens_socket(self, family: int) -> bool:
        return self._call(_SOCKET[self._machine], family, _SOCK_STREAM, 0) >= 0


def _succeeds(attack: Callable[[], bool]) -> bool:
    try:
        return attack()
    except (OSError, MemoryError, RuntimeError):
        return False


def _opens(path: str, flags: int) -> bool:
    os.close(os.open(path, flags, 0o600))
    return True


def _signals() -> bool:
    os.kill(os.getpid(), 0)
    return True


def _forks() -> bool:
    if os.fork() == 0:
        os._exit(0)
    return True


def _starts_thread() -> bool:
    import _thread

    _thread.start_new_thread(signal.getsignal, (signal.SIGINT,))
    return True


def _has_more_descriptors() -> bool:
    return any(_is_open(descriptor) for descriptor in range(4, 1024))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
