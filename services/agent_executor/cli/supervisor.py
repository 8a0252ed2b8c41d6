"""Keeps child processes alive: starts them, restarts those that die, stops them in order.

It knows nothing of what the children do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from agent_executor.cli.child import ChildProcess, ChildSpecification


class ChildState(Enum):
    """What a child was last seen to do."""

    STARTING = "starting"
    HEALTHY = "healthy"
    DEAD = "dead"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """A change of a child's state.

    Attributes:
        name: The child.
        state: What it does now.
        detail: For a person: how it died.
    """

    name: str
    state: ChildState
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionLimits:
    """How patient a supervisor is.

    Attributes:
        max_deaths_in_a_row: After how many deaths of a child, without having been healthy between
            them, the supervisor gives up.
        restart_delay_seconds: The pause before the second restart in a row, doubled before each
            further one. The first restart is at once.
        health_interval_seconds: The pause between two questions whether a child is healthy yet.
    """

    max_deaths_in_a_row: int = 5
    restart_delay_seconds: float = 0.25
    health_interval_seconds: float = 0.05


class CrashLoopError(Exception):
    """A child dies again and again; the message is a sentence for a person."""


@dataclass(slots=True)
class _Child:
    """A child and what is known of it."""

    specification: ChildSpecification
    process: ChildProcess | None = None
    deaths_in_a_row: int = 0
    healthy: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Runs groups of children.

    All children are started together. The groups are stopped one after another, the last one
    first, and the children of a group together.

    Args:
        groups: The children, those that others need first.
        limits: How patient to be.
        on_event: Is told of every change of a child's state.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[ChildSpecification]],
        *,
        limits: SupervisionLimits | None = None,
        on_event: Callable[[ChildEvent], None] = lambda _: None,
    ) -> None:
        self._groups = [[_Child(specification) for specification in group] for group in groups]
        self._limits = limits or SupervisionLimits()
        self._on_event = on_event
        self._stopping = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps the children alive until it is told to stop, and stops them; none outlives it.

        Args:
            stop: Is set by the caller to end the run.

        Raises:
            CrashLoopError: If a child died too often in a row.
        """
        keepers = [asyncio.create_task(self._keep_alive(child)) for child in self._children()]
        stop_requested = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*keepers, stop_requested], return_when=asyncio.FIRST_COMPLETED)
            self._stopping.set()
            await self._stop_groups()
            await asyncio.gather(*keepers)
        finally:
            self._stopping.set()
            self.kill()
            for task in (*keepers, stop_requested):
                task.cancel()
            await asyncio.gather(*keepers, stop_requested, return_exceptions=True)

    async def wait_until_healthy(self) -> None:
        """Waits until every child has been healthy since it was last started."""
        while not all(child.healthy.is_set() for child in self._children()):
            for child in self._children():
                await child.healthy.wait()

    def pids(self) -> dict[str, int]:
        """Returns the process ids of the children that are running, by name."""
        return {
            child.specification.name: child.process.pid
            for child in self._children()
            if child.process is not None
        }

    def kill(self) -> None:
        """Kills every child at once; none is started again."""
        self._stopping.set()
        for child in self._children():
            if child.process is not None:
                child.process.kill()

    def _children(self) -> list[_Child]:
        return [child for group in self._groups for child in group]

    async def _keep_alive(self, child: _Child) -> None:
        name = child.specification.name
        while not self._stopping.is_set():
            self._on_event(ChildEvent(name, ChildState.STARTING))
            detail = await self._live_once(child)
            if self._stopping.is_set():
                self._on_event(ChildEvent(name, ChildState.STOPPED, detail))
                return
            child.deaths_in_a_row += 1
            self._on_event(ChildEvent(name, ChildState.DEAD, detail))
            if child.deaths_in_a_row >= self._limits.max_deaths_in_a_row:
                msg = f"{name} {detail}; it died {child.deaths_in_a_row} times in a row."
                raise CrashLoopError(msg)
            await self._pause(child.deaths_in_a_row)

    async def _live_once(self, child: _Child) -> str:
        """Starts the child, watches it become healthy and says how it ended."""
        process = child.process = await ChildProcess.start(child.specification)
        if self._stopping.is_set():
            process.kill()
        watch = asyncio.create_task(self._watch_health(child, process))
        try:
            return await process.ended()
        finally:
            child.process = None
            child.healthy.clear()
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch_health(self, child: _Child, process: ChildProcess) -> None:
        """Waits until the child is healthy, or is no longer this process."""
        while not await child.specification.is_healthy():
            if child.process is not process:
                return
            await asyncio.sleep(self._limits.health_interval_seconds)
        child.deaths_in_a_row = 0
        child.healthy.set()
        self._on_event(ChildEvent(child.specification.name, ChildState.HEALTHY))

    async def _pause(self, deaths_in_a_row: int) -> None:
        if deaths_in_a_row == 1:
            return
        delay_seconds = self._limits.restart_delay_seconds * 2 ** (deaths_in_a_row - 2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_seconds):
                await self._stopping.wait()

    async def _stop_groups(self) -> None:
        for group in reversed(self._groups):
            await asyncio.gather(*(self._stop(child) for child in group))

    async def _stop(self, child: _Child) -> None:
        if child.process is None:
            return
        await child.specification.drain()
        if child.process is not None:
            await child.process.stop(child.specification.stop_timeout_seconds)
