"""One supervised process: what it is told to be, and its life."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
_STANDARD_ERROR = 2


async def _nothing() -> None:
    """The drain of a child that needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpecification:
    """What a child is.

    Attributes:
        name: What it is called in messages.
        command: The program and its arguments.
        environment: All of its environment variables.
        is_healthy: Whether it does its work now; it answers False rather than raising.
        drain: What is done before it is told to stop; it may raise nothing.
        stop_timeout_seconds: How long it may take to stop before it is killed.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_healthy: Callable[[], Awaitable[bool]]
    drain: Callable[[], Awaitable[None]] = _nothing
    stop_timeout_seconds: float = 15.0


class ChildProcess:
    """A started child. It leads a process group, and its output goes to standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, specification: ChildSpecification) -> ChildProcess:
        """Starts it; a program that does not exist is a child that dies at once."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_DIE_WITH_PARENT), str(os.getpid())),
            *specification.command,
            env=dict(specification.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=_STANDARD_ERROR,
            # Ctrl-C reaches the supervisor alone, which stops its children in their order.
            start_new_session=True,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ended(self) -> str:
        """Waits for its end and says how it ended, after killing what it left behind."""
        exit_code = await self._process.wait()
        self.kill()
        if exit_code < 0:
            return f"was killed by {signal.Signals(-exit_code).name}"
        return f"exited with code {exit_code}"

    async def stop(self, timeout_seconds: float) -> None:
        """Asks it to stop, and kills it when the time is up."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """Kills it and every process of its group, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
