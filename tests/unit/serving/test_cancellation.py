"""A signal to stop: who hears it, and what it breaks off."""

from __future__ import annotations

import asyncio

import pytest

from agent_executor.serving.cancellation import StopSignal, end_now


async def never() -> None:
    await asyncio.Event().wait()


async def test_everybody_who_listens_is_called_once() -> None:
    signal, calls = StopSignal(), []
    with signal.calling(lambda: calls.append(1)), signal.calling(lambda: calls.append(2)):
        signal.set()
        signal.set()
    with signal.calling(lambda: calls.append(3)):
        pass
    assert calls == [1, 2, 3]


async def test_who_listens_no_more_is_not_called() -> None:
    signal, calls = StopSignal(), []
    with signal.calling(lambda: calls.append(1)):
        pass
    signal.set()
    assert calls == []


async def test_work_that_ends_first_has_its_result() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await StopSignal().bound(work()) == 7


async def test_the_signal_breaks_work_off() -> None:
    signal = StopSignal()
    waiting = asyncio.create_task(signal.bound(never()))
    await asyncio.sleep(0)
    signal.set()
    async with asyncio.timeout(60):
        await waiting
        # Given before, it is as good.
        await signal.bound(never())
        await signal.sleep(1_000)


async def test_a_wait_that_expires_in_the_same_instant_keeps_nobody_from_hearing() -> None:
    signal, heard, loop = StopSignal(), list[int](), asyncio.get_running_loop()
    timeout = asyncio.timeout(None)

    async def wait() -> None:
        async with timeout:
            with signal.calling(lambda: end_now(timeout)), signal.calling(lambda: heard.append(1)):
                timeout.reschedule(loop.time())
                loop.call_soon(signal.set)
                await never()

    with pytest.raises(TimeoutError):
        await wait()
    assert heard == [1]


async def test_errors_and_cancellations_pass() -> None:
    async def late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await StopSignal().bound(late())
    waiting = asyncio.create_task(StopSignal().bound(never()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
