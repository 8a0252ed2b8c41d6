"""The pool: deadlines, cancelling, waiting, and what is left when something dies."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agent_executor.errors import (
    AgentExecutorError,
    DeadlineExceededError,
    LimitExceededError,
    OutcomeUnknownError,
    SandboxUnavailableError,
    ToolExecutionError,
)
from agent_executor.tool_runner.isolation import canaries
from agent_executor.tool_runner.isolation.launcher_process import LauncherDiedError
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.pool import WorkerPool
from agent_executor.tool_runner.isolation.worker_handle import WorkerHandle
from agent_executor.tool_runner.tool_program import ToolProgram
from tests.integration.tool_runner.isolation.sandboxes import CLASS_NAME, TOOL_NAME, tool
from tests.unit.tool_runner.tools_of_tests import until

SMALL = SandboxLimits(
    idle_workers=2, busy_workers_max=2, queued_calls_max=3, launchers=1, cpu_seconds=1
)
ECHO = ToolProgram(TOOL_NAME, tool("return arguments"), CLASS_NAME)
SLEEP = ToolProgram(TOOL_NAME, tool("import time\ntime.sleep(600)"), CLASS_NAME)
# It asks the broker once, so that the test knows that it runs, and then does not end.
HANG = ToolProgram(
    TOOL_NAME,
    tool("self.http.request('GET', 'https://started/')\nimport time\ntime.sleep(600)"),
    CLASS_NAME,
)


@asynccontextmanager
async def running(limits: SandboxLimits = SMALL) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(limits)
    await pool.start()
    try:
        assert pool.status.available, pool.status
        yield pool
    finally:
        await pool.close()


def is_whole(pool: WorkerPool, limits: SandboxLimits = SMALL) -> Callable[[], bool]:
    def check() -> bool:
        status = pool.status
        return (
            status.available
            and status.idle_workers == limits.idle_workers
            and status.busy_workers == 0
            and len(pool.launcher_pids) == limits.launchers
        )

    return check


def children_of(pid: int) -> set[int]:
    """Returns the processes that a process has started."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return {int(c) for task in tasks for c in (task / "children").read_text().split()}
    except OSError:
        return set()


def processes_below(pid: int) -> set[int]:
    """Returns the processes that a process has started, and those that they have, and so on."""
    children = children_of(pid)
    return children.union(*(processes_below(child) for child in children))


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def is_alive(pid: int) -> bool:
    """Tells whether a process is there, and not only waits for its parent to bury it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def workers_of(pool: WorkerPool) -> set[int]:
    """Returns the processes that have no child and are not a launcher."""
    return {
        pid
        for launcher in pool.launcher_pids
        for pid in processes_below(launcher)
        if not processes_below(pid)
    }


class Started:
    """A broker that tells when a tool has asked it for the first time, and how often it did."""

    def __init__(self) -> None:
        self.calls = 0
        self.event = asyncio.Event()

    async def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        self.event.set()
        return {}


async def hang(pool: WorkerPool, timeout_seconds: float = 60) -> asyncio.Task[str]:
    """Starts a call that does not end, and returns when its tool runs."""
    started = Started()
    call = asyncio.create_task(
        pool.call(HANG, "{}", timeout_seconds=timeout_seconds, broker=started)
    )
    await started.event.wait()
    return call


async def test_calls_are_answered_each_by_a_worker_of_its_own() -> None:
    async with running() as pool:
        source = tool("import os, random\nreturn [os.getpid(), random.random()]")
        program = ToolProgram(TOOL_NAME, source, CLASS_NAME)
        results = [await pool.call(program, "{}", timeout_seconds=60) for _ in range(8)]
        assert len(set(results)) == 8
        await until(is_whole(pool))


async def test_the_deadline_kills_the_worker_and_covers_the_wait_for_one() -> None:
    async with running() as pool:
        await until(is_whole(pool))
        before = workers_of(pool)
        calls = [pool.call(SLEEP, "{}", timeout_seconds=0.3) for _ in range(4)]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in errors] == [DeadlineExceededError] * 4
        assert str(errors[0]) == "The tool did not end within 0.3 s."
        await until(is_whole(pool))
        await until(lambda: not before & workers_of(pool))
        assert await pool.call(ECHO, '{"a":1}', timeout_seconds=60) == '{"a":1}'


async def test_cancelling_a_call_kills_its_worker() -> None:
    async with running() as pool:
        await until(is_whole(pool))
        workers = workers_of(pool)
        call = await hang(pool)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(is_whole(pool))
        await until(lambda: len(workers & workers_of(pool)) == 1)


async def test_cancelling_a_call_that_waits_costs_nobody_a_worker() -> None:
    async with running() as pool:
        busy = [await hang(pool), await hang(pool)]
        waiting = asyncio.create_task(pool.call(ECHO, "{}", timeout_seconds=60))
        next_one = asyncio.create_task(pool.call(ECHO, '{"n":2}', timeout_seconds=60))
        await asyncio.sleep(0)
        waiting.cancel()
        busy[0].cancel()
        assert await next_one == '{"n":2}'
        busy[1].cancel()
        await asyncio.gather(*busy, waiting, return_exceptions=True)
        await until(is_whole(pool))


async def test_calls_wait_in_order_and_beyond_the_queue_are_refused() -> None:
    async with running() as pool:
        busy = [await hang(pool), await hang(pool)]
        order: list[int] = []

        async def call(number: int) -> None:
            await pool.call(ECHO, "{}", timeout_seconds=60)
            order.append(number)

        waiting = [asyncio.create_task(call(number)) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(LimitExceededError) as refused:
            await pool.call(ECHO, "{}", timeout_seconds=60)
        assert refused.value.metadata["limit"] == "queued_calls"
        assert refused.value.retry_after_seconds is not None
        assert refused.value.retry_after_seconds >= 0.1
        busy[0].cancel()
        await asyncio.gather(*waiting)
        assert order == [0, 1, 2]
        busy[1].cancel()
        await asyncio.gather(*busy, return_exceptions=True)


@pytest.mark.parametrize(
    "ignored", ["", "import signal\nsignal.signal(signal.SIGXCPU, lambda *_: 0)\n"]
)
async def test_a_tool_computes_no_longer_than_its_limit(ignored: str) -> None:
    source = tool(f"{ignored}while True: x = 1")
    async with running() as pool:
        with pytest.raises(LimitExceededError) as refused:
            await pool.call(ToolProgram(TOOL_NAME, source, CLASS_NAME), "{}", timeout_seconds=30)
        assert refused.value.metadata["limit"] == "cpu_seconds"
        assert refused.value.message == "The tool computed for more than 1 s."


async def test_a_worker_that_is_killed_from_outside_leaves_an_unknown_outcome() -> None:
    async with running() as pool:
        await until(is_whole(pool))
        idle = workers_of(pool)
        call = await hang(pool)
        # The pool replaces the worker only once the call is over, so it is one of those. One that
        # was attacked at the start may be among them too, and be gone by now.
        for pid in idle:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(OutcomeUnknownError):
            await call
        await until(is_whole(pool), 1)


async def test_a_launcher_that_is_killed_is_replaced_within_a_second() -> None:
    async with running() as pool:
        for _ in range(5):
            call = await hang(pool)
            launcher = pool.launcher_pids[0]
            below = processes_below(launcher)
            os.kill(launcher, signal.SIGKILL)
            with pytest.raises(OutcomeUnknownError):
                await call
            await until(is_whole(pool), 1)
            assert not {pid for pid in below if is_alive(pid)}


async def test_calls_that_wait_go_on_when_the_launcher_dies() -> None:
    async with running() as pool:
        busy = [await hang(pool), await hang(pool)]
        waiting = [asyncio.create_task(pool.call(ECHO, "{}", timeout_seconds=60)) for _ in range(3)]
        await asyncio.sleep(0)
        os.kill(pool.launcher_pids[0], signal.SIGKILL)
        assert await asyncio.gather(*waiting) == ["{}"] * 3
        errors = await asyncio.gather(*busy, return_exceptions=True)
        assert [type(error) for error in errors] == [OutcomeUnknownError] * 2


async def test_one_organization_with_calls_that_hang_leaves_the_others_workers() -> None:
    limits = SandboxLimits(idle_workers=2, busy_workers_max=4, queued_calls_max=8, launchers=1)
    hog = dataclasses.replace(SLEEP, organization_id="hog")
    async with running(limits) as pool:
        hanging: list[asyncio.Task[str]] = []

        def hang_more(calls: int) -> None:
            more = [pool.call(hog, "{}", timeout_seconds=600) for _ in range(calls)]
            hanging.extend(map(asyncio.create_task, more))

        hang_more(limits.busy_workers_of_one_max)
        await until(lambda: pool.status.busy_workers == 3)
        hang_more(limits.queued_calls_of_one_max)
        await asyncio.sleep(0)
        with pytest.raises(LimitExceededError) as refused:
            await pool.call(hog, "{}", timeout_seconds=30)
        assert refused.value.metadata == {"limit": "queued_calls", "limitValue": "6"}
        for organization_id in ("other", "third", "other"):
            program = dataclasses.replace(ECHO, organization_id=organization_id)
            assert await pool.call(program, "{}", timeout_seconds=30) == "{}"
        for call in hanging:
            call.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_organizations_take_turns() -> None:
    limits = SandboxLimits(idle_workers=1, busy_workers_max=1, launchers=1)
    served: list[str] = []

    async def call(pool: WorkerPool, organization_id: str) -> None:
        program = dataclasses.replace(ECHO, organization_id=organization_id)
        await pool.call(program, "{}", timeout_seconds=60)
        served.append(organization_id)

    async with running(limits) as pool:
        waiting = [asyncio.create_task(call(pool, name)) for name in ("a", "a", "a", "b", "c", "b")]
        await asyncio.gather(*waiting)
    assert served == ["a", "b", "c", "a", "b", "a"]


async def test_a_launcher_is_replaced_after_its_calls_and_no_call_fails() -> None:
    limits = SandboxLimits(idle_workers=2, busy_workers_max=2, launchers=1, calls_per_launcher=10)
    async with running(limits) as pool:
        first = pool.launcher_pids
        for _ in range(30):
            assert await pool.call(ECHO, "{}", timeout_seconds=60) == "{}"
        await until(lambda: pool.launcher_pids != first)
        await until(is_whole(pool, limits))


async def test_an_attack_that_succeeds_makes_the_sandbox_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    confession = tool("return {'succeeded': ['forking']}").replace(CLASS_NAME, "Canary")
    async with running() as pool:
        monkeypatch.setattr(canaries, "_source", lambda: confession)
        status = await pool.check()
        assert (status.available, status.tier) == (False, "none")
        assert "protection from forking" in status.missing
        with pytest.raises(SandboxUnavailableError, match="protection from forking"):
            await pool.call(ECHO, "{}", timeout_seconds=60)
        monkeypatch.undo()
        assert (await pool.check()).available
        assert await pool.call(ECHO, "{}", timeout_seconds=60) == "{}"


@pytest.mark.parametrize("attacks_begun", [1, 2])
async def test_a_launcher_killed_in_its_self_test_says_nothing_about_the_host(
    monkeypatch: pytest.MonkeyPatch, attacks_begun: int
) -> None:
    begin, begun = canaries._start, 0

    async def begin_and_die(*arguments: Any) -> Any:
        nonlocal begun
        conversation = await begin(*arguments)
        begun += 1
        if begun == attacks_begun:
            os.kill(pool.launcher_pids[0], signal.SIGKILL)
        return conversation

    async with running() as pool:
        monkeypatch.setattr(canaries, "_start", begin_and_die)
        assert (await pool.check()).available
        await until(is_whole(pool))
        assert await pool.call(ECHO, "{}", timeout_seconds=60) == "{}"


async def test_a_dead_launcher_is_not_waited_for() -> None:
    async with running() as pool:
        launcher = pool._launchers()[0]
        launcher.kill()
        with pytest.raises(LauncherDiedError):
            await asyncio.wait_for(launcher.take(), 5)


async def test_a_worker_without_its_restrictions_costs_a_launcher_and_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as pool:
        await until(is_whole(pool))
        descriptors, launchers = open_descriptors(), pool.launcher_pids
        attest, faults = WorkerHandle.attest, ["seccomp"]
        monkeypatch.setattr(
            WorkerHandle, "attest", lambda worker: faults.pop() if faults else attest(worker)
        )
        assert await pool.call(ECHO, "{}", timeout_seconds=60) == "{}"
        await until(lambda: not faults)
        await until(lambda: pool.launcher_pids not in ((), launchers))
        await until(is_whole(pool))
        await until(lambda: open_descriptors() == descriptors)


async def test_a_pool_whose_first_test_fails_serves_nobody_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    children = children_of(os.getpid())
    monkeypatch.setattr(canaries, "_source", lambda: "def f(:")
    pool = WorkerPool(SMALL)
    await pool.start()
    assert not pool.status.available
    assert pool.status.remedy
    assert pool.launcher_pids == ()
    await until(lambda: children_of(os.getpid()) == children)
    with pytest.raises(SandboxUnavailableError):
        await pool.call(ECHO, "{}", timeout_seconds=60)
    monkeypatch.undo()
    assert (await pool.check()).available
    await pool.close()


@pytest.mark.skipif(
    os.access(os.__file__, os.R_OK, effective_ids=True) and os.geteuid() != 0,
    reason="an ordinary user cannot change the user",
)
async def test_root_without_namespaces_needs_a_library_that_others_can_read() -> None:
    others_can_read = all(folder.stat().st_mode & 0o001 for folder in Path(os.__file__).parents)
    pool = WorkerPool(SMALL, tier="landlock")
    await pool.start()
    try:
        assert pool.status.available is others_can_read
        if not others_can_read:
            assert "standard library" in pool.status.missing[0]
            assert "readable for everyone" in pool.status.remedy
    finally:
        await pool.close()


async def test_a_pool_that_is_closed_leaves_nothing() -> None:
    # Of other tests this process may have children too.
    children, descriptors = children_of(os.getpid()), open_descriptors()
    tasks = asyncio.all_tasks()
    async with running(SandboxLimits()) as pool:
        calls = [asyncio.create_task(pool.call(SLEEP, "{}", timeout_seconds=60)) for _ in range(20)]
        await until(lambda: pool.status.busy_workers > 4)
        processes = set(pool.launcher_pids).union(*map(processes_below, pool.launcher_pids))
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(error, AgentExecutorError) for error in errors)
    assert children_of(os.getpid()) == children
    assert not any(map(is_alive, processes))
    assert asyncio.all_tasks() == tasks
    assert open_descriptors() == descriptors
    with pytest.raises(SandboxUnavailableError):
        await pool.call(ECHO, "{}", timeout_seconds=1)


async def test_hostile_calls_do_not_disturb_the_others() -> None:
    hostile = [
        SLEEP,
        ToolProgram(TOOL_NAME, tool("while True: pass"), CLASS_NAME),
        ToolProgram(
            TOOL_NAME, tool("x = []\nwhile True: x.append(bytearray(1 << 20))"), CLASS_NAME
        ),
        ToolProgram(TOOL_NAME, tool("import os\nwhile True: os.write(3, b'x' * 4096)"), CLASS_NAME),
        ToolProgram(TOOL_NAME, tool("import os\nos._exit(1)"), CLASS_NAME),
    ]
    async with running(SandboxLimits()) as pool:
        bad = [pool.call(hostile[n % 5], "{}", timeout_seconds=0.5) for n in range(30)]
        good = [pool.call(ECHO, f'{{"n":{n}}}', timeout_seconds=60) for n in range(60)]
        results = await asyncio.gather(*bad, *good, return_exceptions=True)
        assert [
            result for result in results[:30] if not isinstance(result, AgentExecutorError)
        ] == []
        assert results[30:] == [f'{{"n":{n}}}' for n in range(60)]
        await until(is_whole(pool, SandboxLimits()))


async def test_a_broker_that_fails_fails_the_call_and_ends_the_worker() -> None:
    async def broken(request: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError

    async with running() as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.call(HANG, "{}", timeout_seconds=60, broker=broken)
        await until(is_whole(pool))


def test_the_pool_works_in_another_event_loop() -> None:
    async def scenario() -> None:
        async with running() as pool:
            assert await pool.call(ECHO, '{"a":1}', timeout_seconds=60) == '{"a":1}'
            call = await hang(pool)
            call.cancel()
            crash = ToolProgram(TOOL_NAME, tool("import os\nos._exit(1)"), CLASS_NAME)
            with pytest.raises(ToolExecutionError):
                await pool.call(crash, "{}", timeout_seconds=60)
            killed = pool.launcher_pids
            os.kill(killed[0], signal.SIGKILL)
            await until(lambda: pool.launcher_pids not in ((), killed))
            await until(is_whole(pool))
            large = '{"text":"' + "x" * 1_000_000 + '"}'
            assert await pool.call(ECHO, large, timeout_seconds=60) == large

    uvloop.run(scenario())


async def test_a_pool_without_descriptors_left_recovers_when_there_are_some() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with running() as pool:
        await until(is_whole(pool))
        # Those that are open stay open, and their numbers are the lowest.
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            os.kill(pool.launcher_pids[0], signal.SIGKILL)
            await until(lambda: pool.launcher_pids == ())
            with pytest.raises(AgentExecutorError):
                await pool.call(ECHO, "{}", timeout_seconds=0.5)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(is_whole(pool))
        assert await pool.call(ECHO, "{}", timeout_seconds=60) == "{}"
