"""A launcher as the tool-runner sees it: it starts one, asks it for workers, and notices its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import agent_executor
from agent_executor.tool_runner.isolation import frames
from agent_executor.tool_runner.isolation.launcher_messages import (
    COLD_WORKER,
    EXITED,
    EXITED_MESSAGE,
    FORKED,
    FORKED_MESSAGE,
    STARTED,
    UNFIT,
    WARM_WORKER,
    LauncherOptions,
    UnfitError,
)
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.worker_handle import (
    WorkerEnd,
    WorkerHandle,
    send_kill,
)

_SOURCE_ROOT: Final = str(Path(agent_executor.__file__).parent.parent)
_PROGRAM: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from agent_executor.tool_runner.isolation.launcher import main; main(sys.argv[2])"
)
_MESSAGE_BYTES_MAX: Final = 4_096
_DESCRIPTORS_OF_KIND: Final = {STARTED: 1, FORKED: 2}
_DESCRIPTORS_MAX: Final = max(_DESCRIPTORS_OF_KIND.values())
_DIED: Final = "The launcher died."
_READY_FRAME: Final = frames.frame(frames.READY)


class LauncherDiedError(Exception):
    """A launcher ended before it had started."""


class LauncherProcess:
    """One launcher, from its start to its end.

    Attributes:
        started: Its tier and the kernel's version of Landlock, once it can fork workers.
        ended: Done when it is dead.
        forked: Workers that it was asked for.
        starting: Those of them that are not ready yet.
    """

    def __init__(
        self,
        limits: SandboxLimits,
        tier: str,
        *,
        on_ready: Callable[[WorkerHandle], None],
        on_end: Callable[[WorkerHandle], None],
    ) -> None:
        """Starts the process.

        It dies with the thread that starts it, which is the event loop's.

        Args:
            limits: Of its workers.
            tier: What it is to use.
            on_ready: Called with each worker that is ready, but for those that ``take`` waits for.
            on_end: Called with each worker that has ended.

        Raises:
            LauncherDiedError: The system is short of processes, memory or descriptors.
        """
        self._loop = asyncio.get_running_loop()
        self._on_ready = on_ready
        self._on_end = on_end
        self._workers: dict[int, WorkerHandle] = {}
        self._reserved: deque[asyncio.Future[WorkerHandle]] = deque()
        self._retired = False
        self.forked = 0
        self.starting = 0
        self.started: asyncio.Future[tuple[str, int]] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._control, self._process, pidfd = _start(limits, tier)
        self._control.setblocking(False)
        self._closed = False
        # The processes that have to be gone before the launcher is, and what buries each.
        self._burials: dict[int, Callable[[], object]] = {}
        # Of the launcher, the process that forks; until it has started, the one we know of.
        self._forking_pidfd = pidfd
        self._watch(self._forking_pidfd, self._process.wait)
        self._loop.add_reader(self._control.fileno(), self._on_message)

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    @property
    def is_open(self) -> bool:
        """Whether it can be asked for workers."""
        return not (self._retired or self._closed)

    @property
    def workers(self) -> tuple[WorkerHandle, ...]:
        """Its workers that have not ended."""
        return tuple(self._workers.values())

    def request_worker(self, *, is_awaited: bool = False) -> None:
        """Asks for a worker.

        Args:
            is_awaited: A call waits for it, and so has nothing of what a worker does in advance.
        """
        self.forked += 1
        self.starting += 1
        with contextlib.suppress(OSError):
            # If it is dead, its end is on its way to us.
            self._control.send(COLD_WORKER if is_awaited else WARM_WORKER)

    async def take(self) -> WorkerHandle:
        """Returns a new worker, which nobody else gets.

        Raises:
            LauncherDiedError: The launcher died, now or before.
        """
        if self._closed:
            raise LauncherDiedError(_DIED)
        worker: asyncio.Future[WorkerHandle] = self._loop.create_future()
        self._reserved.append(worker)
        self.request_worker()
        try:
            return await worker
        except asyncio.CancelledError:
            if worker.done() and not worker.cancelled() and not worker.exception():
                worker.result().kill()
            raise

    def retire(self) -> None:
        """Ends the launcher as soon as none of its workers is left."""
        self._retired = True
        if not self._workers and not self.starting:
            self.kill()

    def kill(self) -> None:
        """Ends the launcher, and so its workers, at once; may be called again."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        # In namespaces the process that we have started ends when all others are gone.
        send_kill(self._forking_pidfd)
        for worker in self._workers.values():
            self._forget(worker, None)
            send_kill(worker.pidfd)
            self._watch(worker.pidfd, partial(_bury_orphan, worker.pidfd))
        self._workers.clear()
        died = LauncherDiedError(_DIED)
        waiting: list[asyncio.Future[Any]] = [self.started, *self._reserved]
        for future in waiting:
            if not future.done():
                future.set_exception(died)
                # Whoever waits for it may be gone.
                future.exception()

    def _watch(self, pidfd: int, bury: Callable[[], object]) -> None:
        self._burials[pidfd] = bury
        self._loop.add_reader(pidfd, self._on_exit, pidfd)

    def _on_exit(self, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        self.kill()
        self._burials.pop(pidfd)()
        os.close(pidfd)
        if not self._burials:
            self.ended.set_result(None)

    def _on_message(self) -> None:
        while not self._closed:
            try:
                message, descriptors, _, _ = socket.recv_fds(
                    self._control, _MESSAGE_BYTES_MAX, _DESCRIPTORS_MAX
                )
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            kind = message[:1]
            if len(descriptors) != _DESCRIPTORS_OF_KIND.get(kind, 0):
                # We have no descriptors left; what has come through must not use up more.
                for descriptor in descriptors:
                    os.close(descriptor)
                self.kill()
            elif kind == FORKED:
                self._on_forked(FORKED_MESSAGE.unpack(message)[1], *descriptors)
            elif kind == EXITED:
                self._on_exited(*EXITED_MESSAGE.unpack(message)[1:])
            elif kind == STARTED:
                # It is the process that we started, or a child of it, which that one buries.
                self._forking_pidfd = descriptors[0]
                self._watch(self._forking_pidfd, bool)
                if not self.started.done():
                    tier, landlock_abi = json.loads(message[1:])
                    self.started.set_result((tier, landlock_abi))
            elif kind == UNFIT:
                if not self.started.done():
                    self.started.set_exception(UnfitError(**json.loads(message[1:])))
            else:
                self.kill()

    def _on_forked(self, process: int, channel: int, pidfd: int) -> None:
        worker = WorkerHandle(socket.socket(fileno=channel), pidfd)
        self._workers[process] = worker
        self._loop.add_reader(worker.fileno(), self._on_first_frame, worker)

    def _on_first_frame(self, worker: WorkerHandle) -> None:
        self._loop.remove_reader(worker.fileno())
        if worker.receive_now(len(_READY_FRAME)) != _READY_FRAME:
            # A launcher whose workers cannot even start is of no use.
            self.kill()
            return
        self.starting -= 1
        worker.is_ready = True
        while self._reserved:
            waiting = self._reserved.popleft()
            if not waiting.done():
                waiting.set_result(worker)
                return
        if self._retired:
            worker.kill()
            return
        if worker.attest():
            # Nobody has it yet who would close its socket. The test that the next launcher has to
            # pass will say what it is.
            worker.kill()
            self.kill()
            return
        self._on_ready(worker)

    def _on_exited(self, process: int, status: int, cpu_us: int, memory_kib: int) -> None:
        worker = self._workers.pop(process)
        if not worker.is_ready:
            self.kill()
        self._forget(worker, WorkerEnd(status, cpu_us, memory_kib))
        os.close(worker.pidfd)
        if self._retired:
            self.retire()

    def _forget(self, worker: WorkerHandle, end: WorkerEnd | None) -> None:
        if not worker.is_ready:
            # Later on, whoever talks with it waits for its socket.
            self._loop.remove_reader(worker.fileno())
            worker.kill()
        if not worker.end.done():
            worker.end.set_result(end)
            self._on_end(worker)


def _bury_orphan(pidfd: int) -> None:
    # The first process of a container inherits what a dead launcher has left.
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)


def _start(limits: SandboxLimits, tier: str) -> tuple[socket.socket, subprocess.Popen[bytes], int]:
    """Returns the control socket, the process and its pidfd of a new launcher.

    Raises:
        LauncherDiedError: The system is short of something.
    """
    with contextlib.ExitStack() as undo:
        try:
            control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(control.close)
            with theirs:
                process = _spawn(theirs.fileno(), limits, tier)
            undo.callback(process.wait)
            undo.callback(process.kill)
            pidfd = os.pidfd_open(process.pid)
        except OSError as error:
            raise LauncherDiedError(f"A launcher cannot be started: {error.strerror}.") from None
        undo.pop_all()
    return control, process, pidfd


def _spawn(control: int, limits: SandboxLimits, tier: str) -> subprocess.Popen[bytes]:
    options = LauncherOptions(
        control=control,
        parent_pid=os.getpid(),
        source_root=_SOURCE_ROOT,
        tier=tier,
        memory_bytes=limits.memory_bytes,
        cpu_seconds=limits.cpu_seconds,
        output_bytes=limits.output_bytes,
    )
    return subprocess.Popen(
        (sys.executable, "-I", "-S", "-c", _PROGRAM, _SOURCE_ROOT, json.dumps(asdict(options))),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        # A person's Ctrl-C is for the tool-runner, which may still have calls to finish.
        start_new_session=True,
        pass_fds=(control,),
    )
