"""The launcher: a process without secrets that forks workers, each of which serves one call.

The tool-runner starts it with an empty environment and no descriptor but the control socket, and
asks it for workers. It answers with messages of its own: what it is, each worker's socket and
pidfd, and each worker's end. It never sees a call: the tool-runner talks to a worker over the
worker's own socket, and kills it by its pidfd.

Standard library only, and single-threaded, so that a fork is safe and cheap.
"""

from __future__ import annotations

import _socket
import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import agent_executor
from agent_executor.tool_runner import isolation
from agent_executor.tool_runner.isolation import frames, kernel, landlock, namespaces, worker
from agent_executor.tool_runner.isolation.launcher_messages import (
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
from agent_executor.tool_runner.isolation.restrictions import CHANNEL, Restrictions
from agent_executor.tool_runner.isolation.seccomp import Filter, architecture_of_machine

# What tools import most; the rest of the library is loaded from its files when it is asked for.
# Some need libraries of the system, which a worker can no longer open.
PRELOADED: Final = (
    "base64", "bisect", "calendar", "collections", "contextlib", "copy", "csv", "ctypes",
    "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq",
    "hmac", "html", "io", "itertools", "json", "math", "operator", "random", "re", "secrets",
    "statistics", "string", "textwrap", "time", "typing", "unicodedata", "urllib.parse", "uuid",
    "zlib",
)  # fmt: skip
# What a tool may import of the platform; the names of the package that are among it.
_PUBLIC_NAMES: Final = (
    "AgentExecutorError", "ContextLengthExceededError", "RateLimitExceededError", "ToolBase",
    "ToolExecutionError", "ToolNotFoundError",
)  # fmt: skip
_NICE: Final = 10


def main(argument: str) -> None:
    """Runs a launcher until its control socket is closed.

    Args:
        argument: ``LauncherOptions`` as a JSON object.
    """
    options = LauncherOptions(**json.loads(argument))
    # The interpreter itself has put a variable there.
    os.environ.clear()  # noqa: TID251 -- it is emptied, not read
    _die_with_parent()
    if os.getppid() != options.parent_pid:
        return
    control = _socket.socket(fileno=options.control)
    control.setblocking(True)
    try:
        tier, restrictions = _confine(options, control)
    except UnfitError as error:
        control.send(UNFIT + json.dumps(vars(error)).encode())
        return
    message = STARTED + json.dumps([tier, landlock.landlock_abi()]).encode()
    # The tool-runner ends the first process of a namespace to end them all.
    own_pidfd = os.pidfd_open(os.getpid())
    _send_descriptors(control, message, own_pidfd)
    os.close(own_pidfd)
    _Nursery(control, restrictions, options.output_bytes).run()


def _confine(options: LauncherOptions, control: _socket.socket) -> tuple[str, Restrictions]:
    """Puts this process where its workers are to be, and returns the tier of that."""
    architecture = architecture_of_machine()
    if architecture is None:
        raise UnfitError(["a known processor"], "Run the tool-runner on x86_64 or aarch64.")
    if not landlock.landlock_abi():
        raise UnfitError(
            ["Landlock"],
            "Run Linux 5.13 or newer with Landlock among its security modules (lsm=landlock,…), "
            "in a container whose seccomp profile allows landlock_create_ruleset.",
        )
    as_root = namespaces.is_root()
    tier = _enter_tier(options.tier, as_root=as_root)
    _preload(options.source_root)
    folders = [folder for folder in sys.path if Path(folder).is_dir()]
    restrictions = Restrictions(
        ruleset=landlock.create_ruleset(folders),
        system_calls=Filter(architecture),
        memory_bytes=options.memory_bytes,
        cpu_seconds=options.cpu_seconds,
    )
    if tier == "namespaces":
        try:
            namespaces.build_root(_without_nested(folders))
        except OSError as error:
            raise _no_namespaces(error, options.tier) from None
        _continue_as_first_process(control, as_root=as_root)
    os.chdir("/")
    _become_nobody(as_root=as_root)
    return tier, restrictions


def _enter_tier(tier: str, *, as_root: bool) -> str:
    if tier == "landlock":
        return tier
    try:
        namespaces.enter_namespaces(as_root=as_root)
    except OSError as error:
        raise _no_namespaces(error, tier) from None
    return "namespaces"


def _no_namespaces(error: OSError, tier: str) -> UnfitError:
    return UnfitError(
        [f"namespaces ({error.strerror})"],
        "Allow user namespaces: user.max_user_namespaces above 0, and no AppArmor or container "
        "profile that forbids them.",
        next_tier="landlock" if tier == "best" else "",
    )


def _become_nobody(*, as_root: bool) -> None:
    try:
        namespaces.become_nobody(as_root=as_root)
    except OSError as error:
        raise UnfitError(
            [f"the right to give up root ({error.strerror})"],
            "Run the tool-runner as an ordinary user, or give it CAP_SETUID and CAP_SETGID.",
        ) from None
    # A change of the user makes the kernel forget it.
    _die_with_parent()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    os.umask(0o077)
    # Where strangers' code and the services want the processor, the services come first.
    os.nice(_NICE)
    try:
        with Path(os.__file__).open("rb"):
            return
    except OSError:
        raise UnfitError(
            ["an interpreter whose standard library an ordinary user can read"],
            f"Make {Path(os.__file__).parent} readable for everyone, or run the tool-runner "
            "as an ordinary user who can read it.",
        ) from None


def _die_with_parent() -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _continue_as_first_process(control: _socket.socket, *, as_root: bool) -> None:
    """Goes on as the first process of the new namespace; this one waits for it to end.

    When the first process of a namespace dies, the kernel kills all others.
    """
    process = os.fork()
    if process == 0:
        return
    try:
        control.close()
        namespaces.become_nobody(as_root=as_root)
        _die_with_parent()
        os.waitpid(process, 0)
    finally:
        os._exit(0)


def _without_nested(folders: Sequence[str]) -> list[str]:
    return [
        folder for folder in folders if not any(folder.startswith(other + "/") for other in folders)
    ]


def _preload(source_root: str) -> None:
    """Loads what tools need, and leaves nothing else of the platform to be found."""
    for name in PRELOADED:
        # An interpreter may be built without some.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in _PUBLIC_NAMES:
        getattr(agent_executor, name)
    sys.path.remove(source_root)
    sys.path_importer_cache.pop(source_root, None)
    for package in (agent_executor, sys.modules["agent_executor.tool_runner"], isolation):
        package.__path__ = []
    vars(agent_executor)["__getattr__"] = _refuse_name


def _refuse_name(name: str) -> Any:
    if name in agent_executor.__all__:
        raise ImportError(
            f"{name} is not available in the sandbox; of agent_executor it has "
            f"{', '.join(_PUBLIC_NAMES)}."
        )
    raise AttributeError(f"module 'agent_executor' has no attribute {name!r}")


def _send_descriptors(control: _socket.socket, message: bytes, *descriptors: int) -> None:
    packed = struct.pack(f"@{len(descriptors)}i", *descriptors)
    control.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)])


class _Nursery:
    """Forks workers when it is asked to, and tells of their ends."""

    def __init__(
        self, control: _socket.socket, restrictions: Restrictions, output_bytes: int
    ) -> None:
        self._control = control
        self._restrictions = restrictions
        self._output_bytes = output_bytes
        self._poller = select.epoll()
        self._process_of_pidfd: dict[int, int] = {}

    def run(self) -> None:
        """Returns when the tool-runner has closed its end."""
        self._poller.register(self._control.fileno(), select.EPOLLIN)
        worker.answer_of(frames.CALL, worker.WARM_UP, self._output_bytes)
        gc.collect()
        # No worker's collection touches, and so copies, what is there now.
        gc.freeze()
        gc.disable()
        while True:
            for descriptor, _ in self._poller.poll():
                if descriptor != self._control.fileno():
                    self._reap(descriptor)
                    continue
                wanted = self._receive()
                if not wanted:
                    return
                self._fork(is_warm=wanted == WARM_WORKER)

    def _receive(self) -> bytes:
        try:
            return self._control.recv(1)
        except ConnectionError:
            # Closed with something unread in it.
            return b""

    def _fork(self, *, is_warm: bool) -> None:
        ours, workers = _socket.socketpair()
        parent = os.getpid()
        process = os.fork()
        if process == 0:
            self._become_worker(workers.fileno(), parent, is_warm=is_warm)
        workers.close()
        pidfd = os.pidfd_open(process)
        self._process_of_pidfd[pidfd] = process
        self._poller.register(pidfd, select.EPOLLIN)
        _send_descriptors(self._control, FORKED_MESSAGE.pack(FORKED, process), ours.fileno(), pidfd)
        ours.close()

    def _become_worker(self, channel: int, parent: int, *, is_warm: bool) -> NoReturn:
        try:
            self._restrictions.apply(channel, parent)
            sys.dont_write_bytecode = True
            random.seed()
            if is_warm:
                worker.answer_of(frames.CALL, worker.WARM_UP, self._output_bytes)
            gc.enable()
            frames.write_frame(CHANNEL, frames.READY)
            worker.serve(CHANNEL, self._output_bytes)
        finally:
            os._exit(0)

    def _reap(self, pidfd: int) -> None:
        process = self._process_of_pidfd.pop(pidfd)
        self._poller.unregister(pidfd)
        os.close(pidfd)
        _, status, usage = os.wait4(process, 0)
        cpu_us = round((usage.ru_utime + usage.ru_stime) * 1e6)
        self._control.send(EXITED_MESSAGE.pack(EXITED, process, status, cpu_us, usage.ru_maxrss))
