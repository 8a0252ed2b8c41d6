from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agent_executor.cli.child import ChildSpecification
from agent_executor.cli.supervisor import (
    ChildEvent,
    ChildState,
    CrashLoopError,
    SupervisionLimits,
    Supervisor,
)

TIMEOUT_SECONDS = 60
LIMITS = SupervisionLimits(restart_delay_seconds=0.01, health_interval_seconds=0.01)

# Says that it lives, and on SIGTERM that it was asked to stop.
OBEDIENT = """
    import pathlib, signal, sys
    folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    def stop(*_):
        with (folder / "stopped").open("a") as log:
            log.write(name + " ")
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    (folder / name).touch()
    while True:
        signal.pause()
"""
STUBBORN = """
    import pathlib, signal, sys
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (pathlib.Path(sys.argv[1]) / sys.argv[2]).touch()
    while True:
        signal.pause()
"""
CRASHING = "import sys; sys.exit(3)"
CRASHING_ONCE_HEALTHY = """
    import pathlib, sys, time
    (pathlib.Path(sys.argv[1]) / sys.argv[2]).touch()
    while (pathlib.Path(sys.argv[1]) / sys.argv[2]).exists():
        time.sleep(0.005)
    sys.exit(3)
"""
WITH_GRANDCHILD = """
    import pathlib, signal, subprocess, sys
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    (pathlib.Path(sys.argv[1]) / "grandchild").write_text(str(child.pid))
    (pathlib.Path(sys.argv[1]) / sys.argv[2]).touch()
    signal.pause()
"""


@dataclass
class Scene:
    """A supervisor at work, and what it told."""

    supervisor: Supervisor
    folder: Path
    stop: asyncio.Event
    running: asyncio.Task[None]
    events: list[ChildEvent] = field(default_factory=list)

    async def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.events
            assert not self.running.done(), self.running
            await asyncio.sleep(0.005)

    def count(self, state: ChildState) -> int:
        return sum(event.state is state for event in self.events)

    async def until_count(self, state: ChildState, count: int) -> None:
        await self.until(lambda: self.count(state) == count)


def child(folder: Path, name: str, script: str, *, stop_seconds: float = 10) -> ChildSpecification:
    async def is_healthy() -> bool:
        return (folder / name).exists()

    return ChildSpecification(
        name=name,
        command=(sys.executable, "-c", textwrap.dedent(script), str(folder), name),
        environment={},
        is_healthy=is_healthy,
        stop_timeout_seconds=stop_seconds,
    )


@asynccontextmanager
async def supervised(folder: Path, *groups: list[ChildSpecification]) -> AsyncIterator[Scene]:
    events: list[ChildEvent] = []
    supervisor = Supervisor(groups, limits=LIMITS, on_event=events.append)
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    try:
        yield Scene(supervisor, folder, stop, running, events)
    finally:
        supervisor.kill()
        await asyncio.gather(running, return_exceptions=True)


def exists(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_children_become_healthy_and_stop_in_order(tmp_path: Path) -> None:
    groups = [[child(tmp_path, name, OBEDIENT)] for name in ("ledger", "executor", "gateway")]
    async with supervised(tmp_path, *groups) as scene:
        await asyncio.wait_for(scene.supervisor.wait_until_healthy(), TIMEOUT_SECONDS)
        pids = scene.supervisor.pids()
        assert set(pids) == {"ledger", "executor", "gateway"}
        scene.stop.set()
        await asyncio.wait_for(scene.running, TIMEOUT_SECONDS)

    assert (tmp_path / "stopped").read_text().split() == ["gateway", "executor", "ledger"]
    assert not any(exists(pid) for pid in pids.values())
    assert scene.count(ChildState.STOPPED) == 3


async def test_a_child_is_drained_before_it_is_stopped(tmp_path: Path) -> None:
    log = tmp_path / "stopped"

    async def drain() -> None:
        log.write_text("drained ")

    specification = child(tmp_path, "gateway", OBEDIENT)
    drained = ChildSpecification(
        name=specification.name,
        command=specification.command,
        environment={},
        is_healthy=specification.is_healthy,
        drain=drain,
    )
    async with supervised(tmp_path, [drained]) as scene:
        await asyncio.wait_for(scene.supervisor.wait_until_healthy(), TIMEOUT_SECONDS)
        scene.stop.set()
        await asyncio.wait_for(scene.running, TIMEOUT_SECONDS)
    assert log.read_text().split() == ["drained", "gateway"]


async def test_a_killed_child_is_started_again_and_the_others_stay(tmp_path: Path) -> None:
    group = [child(tmp_path, name, OBEDIENT) for name in ("executor", "ledger")]
    async with supervised(tmp_path, group) as scene:
        await asyncio.wait_for(scene.supervisor.wait_until_healthy(), TIMEOUT_SECONDS)
        before = scene.supervisor.pids()
        os.kill(before["executor"], signal.SIGKILL)
        await scene.until_count(ChildState.HEALTHY, 3)
        after = scene.supervisor.pids()

    assert after["executor"] != before["executor"]
    assert after["ledger"] == before["ledger"]
    assert ChildEvent("executor", ChildState.DEAD, "was killed by SIGKILL") in scene.events


async def test_five_deaths_in_a_row_are_the_end(tmp_path: Path) -> None:
    groups = [[child(tmp_path, "ledger", OBEDIENT)], [child(tmp_path, "executor", CRASHING)]]
    async with supervised(tmp_path, *groups) as scene:
        with pytest.raises(
            CrashLoopError, match="executor exited with code 3; it died 5 times in a row"
        ):
            await asyncio.wait_for(scene.running, TIMEOUT_SECONDS)
    assert scene.count(ChildState.DEAD) == 5
    assert scene.supervisor.pids() == {}


async def test_a_health_check_that_cannot_be_cancelled_holds_nothing_up(tmp_path: Path) -> None:
    async def is_healthy() -> bool:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(TIMEOUT_SECONDS)
        return False

    specification = replace(child(tmp_path, "executor", CRASHING), is_healthy=is_healthy)
    async with supervised(tmp_path, [specification]) as scene:
        with pytest.raises(CrashLoopError):
            await asyncio.wait_for(scene.running, TIMEOUT_SECONDS)


async def test_deaths_after_having_been_healthy_are_not_counted_together(tmp_path: Path) -> None:
    mark = tmp_path / "executor"
    async with supervised(tmp_path, [child(tmp_path, "executor", CRASHING_ONCE_HEALTHY)]) as scene:
        for deaths in range(1, 8):
            await scene.until_count(ChildState.HEALTHY, deaths)
            mark.unlink()
            await scene.until_count(ChildState.DEAD, deaths)
        assert not scene.running.done()


async def test_a_child_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    specification = child(tmp_path, "executor", STUBBORN, stop_seconds=0.1)
    async with supervised(tmp_path, [specification]) as scene:
        await asyncio.wait_for(scene.supervisor.wait_until_healthy(), TIMEOUT_SECONDS)
        pid = scene.supervisor.pids()["executor"]
        scene.stop.set()
        await asyncio.wait_for(scene.running, TIMEOUT_SECONDS)
    assert not exists(pid)


async def test_kill_ends_a_stop_that_takes_too_long(tmp_path: Path) -> None:
    async with supervised(tmp_path, [child(tmp_path, "executor", STUBBORN)]) as scene:
        await asyncio.wait_for(scene.supervisor.wait_until_healthy(), TIMEOUT_SECONDS)
        started = time.monotonic()
        scene.stop.set()
        await asyncio.sleep(0)
        scene.supervisor.kill()
        await asyncio.wait_for(scene.running, TIMEOUT_SECONDS)
    assert time.monotonic() - started < 5


async def test_stopping_while_children_start_leaves_none(tmp_path: Path) -> None:
    async with supervised(tmp_path, [child(tmp_path, "executor", STUBBORN)]) as scene:
        scene.stop.set()
        await asyncio.wait_for(scene.running, TIMEOUT_SECONDS)
    assert scene.supervisor.pids() == {}


async def test_what_a_dead_child_left_behind_is_killed(tmp_path: Path) -> None:
    async with supervised(tmp_path, [child(tmp_path, "executor", WITH_GRANDCHILD)]) as scene:
        await asyncio.wait_for(scene.supervisor.wait_until_healthy(), TIMEOUT_SECONDS)
        grandchild = int((tmp_path / "grandchild").read_text())
        os.kill(scene.supervisor.pids()["executor"], signal.SIGKILL)
        await scene.until_count(ChildState.DEAD, 1)
        await scene.until(lambda: not exists(grandchild))


async def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    missing = ChildSpecification(
        name="gateway",
        command=(str(tmp_path / "no-such-program"),),
        environment={},
        is_healthy=child(tmp_path, "gateway", "").is_healthy,
    )
    async with supervised(tmp_path, [missing]) as scene:
        with pytest.raises(CrashLoopError, match="gateway"):
            await asyncio.wait_for(scene.running, TIMEOUT_SECONDS)


async def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    supervisor = textwrap.dedent("""
        import asyncio, pathlib, sys
        from agent_executor.cli.child import ChildSpecification
        from agent_executor.cli.supervisor import Supervisor
        folder = pathlib.Path(sys.argv[1])
        async def is_healthy():
            return (folder / "executor").exists()
        async def main():
            child = ChildSpecification(
                name="executor",
                command=(sys.executable, "-c", sys.argv[2], str(folder), "executor"),
                environment={},
                is_healthy=is_healthy,
            )
            supervisor = Supervisor([[child]])
            running = asyncio.create_task(supervisor.run(asyncio.Event()))
            await supervisor.wait_until_healthy()
            print(supervisor.pids()["executor"], flush=True)
            await running
        asyncio.run(main())
    """)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", supervisor, str(tmp_path), textwrap.dedent(STUBBORN)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    pid = int(await asyncio.wait_for(process.stdout.readline(), TIMEOUT_SECONDS))
    assert exists(pid)
    process.kill()
    await process.wait()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while exists(pid):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
