"""A worker as the tool-runner sees it: a socket to talk over and a pidfd to kill it by."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from typing import Final

from agent_executor.tool_runner.isolation.frames import HEADER, FrameError, frame

# Much more than most frames, and little enough to have once per busy worker.
_READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """How a worker ended.

    Attributes:
        status: As wait(2) gives it.
        cpu_us: What it computed, in microseconds.
        memory_kib: The most memory that it had, in KiB.
    """

    status: int
    cpu_us: int
    memory_kib: int

    @property
    def signal(self) -> int:
        """The signal that ended it; 0 if it ended by itself."""
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else 0


class WorkerHandle:
    """One worker. Whoever takes it kills it, too.

    Attributes:
        pidfd: The process; closed, and not to be used, when ``end`` is done.
        is_ready: It has said that it is restricted and waits for a call.
        end: How it ended, or None if its launcher died before it could say.
    """

    def __init__(self, channel: socket.socket, pidfd: int) -> None:
        """See the class; takes over both."""
        channel.setblocking(False)
        self._channel = channel
        self.pidfd = pidfd
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._closed = False
        self.is_ready = False
        self.end: asyncio.Future[WorkerEnd | None] = self._loop.create_future()

    def fileno(self) -> int:
        """The descriptor of its socket."""
        return self._channel.fileno()

    def receive_now(self, count: int) -> bytes:
        """Returns what it has written, up to so many bytes."""
        try:
            return self._channel.recv(count)
        except (BlockingIOError, ConnectionError):
            return b""

    async def send(self, kind: int, payload: bytes) -> None:
        """Sends it a frame, and waits until the kernel has taken it.

        Raises:
            ConnectionError: It has ended.
        """
        await self._loop.sock_sendall(self._channel, frame(kind, payload))

    async def receive(self, size_bytes_max: dict[int, int]) -> tuple[int, bytes]:
        """Waits for a frame, and returns its type and payload; reads not more than that takes.

        Args:
            size_bytes_max: The types that are expected now, each with the cap on its payload.

        Raises:
            FrameTooLargeError: The frame is of such a type, and too large.
            FrameError: It is of another type.
            EOFError: The worker has ended, or closed its socket.
        """
        await self._fill(HEADER.size)
        length, kind = HEADER.unpack_from(self._received)
        cap = size_bytes_max.get(kind)
        if cap is None:
            raise FrameError(f"A frame of type {kind} is out of turn.")
        if length > cap:
            raise FrameTooLargeError(kind)
        end = HEADER.size + length
        await self._fill(end)
        payload = bytes(memoryview(self._received)[HEADER.size : end])
        del self._received[:end]
        return kind, payload

    def attest(self) -> str:
        """Returns what the kernel says is missing of its restrictions; empty if nothing is."""
        if self.end.done():
            return ""
        try:
            # Asks whether we may kill it, and does nothing.
            signal.pidfd_send_signal(self.pidfd, 0)
            info = _read(f"/proc/self/fdinfo/{self.pidfd}")
            process = info.partition(b"\nPid:\t")[2].partition(b"\n")[0]
            status = _read(f"/proc/{process.decode()}/status")
        except ProcessLookupError:
            return ""
        except OSError as error:
            return "" if self._is_gone() else f"sight of a worker ({error.strerror})"
        if b"\nNoNewPrivs:\t1\n" not in status:
            return "no_new_privs"
        if b"\nSeccomp:\t2\n" not in status:
            return "seccomp"
        return ""

    def kill(self) -> None:
        """Ends the worker at once; may be called again."""
        if self._closed:
            return
        self._closed = True
        self._channel.close()
        if not self.end.done():
            send_kill(self.pidfd)

    def _is_gone(self) -> bool:
        try:
            signal.pidfd_send_signal(self.pidfd, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    async def _fill(self, count: int) -> None:
        while len(self._received) < count:
            try:
                missing = count - len(self._received)
                chunk = await self._loop.sock_recv(
                    self._channel,
                    _READ_BYTES if not self._received else min(missing, 16 * _READ_BYTES),
                )
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise EOFError
            self._received += chunk


def _read(path: str) -> bytes:
    # Once for every worker, so without the comfort of a file object.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _READ_BYTES)
    finally:
        os.close(descriptor)


def send_kill(pidfd: int) -> None:
    """Ends a process at once, unless it has ended."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


class FrameTooLargeError(FrameError):
    """A frame is larger than its type may be.

    Attributes:
        kind: Its type.
    """

    def __init__(self, kind: int) -> None:
        super().__init__(f"A frame of type {kind} is too large.")
        self.kind = kind
