"""A caller that stops its call hears what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent_executor.errors import CancelledRunError, OutcomeUnknownError
from agent_executor.serving import multiplex_client
from agent_executor.serving.cancellation import WAS_BEGUN_KEY, StopSignal
from tests.integration.serving.multiplex_peer import (
    Connection,
    RunningPeer,
    connected_to,
    running_peer,
    until,
)


@pytest.fixture
async def running() -> AsyncIterator[RunningPeer]:
    async with running_peer() as running:
        yield running


@pytest.fixture
async def connection(running: RunningPeer) -> AsyncIterator[Connection]:
    async with connected_to(running.port) as connection:
        yield connection


async def stopped(connection: Connection, running: RunningPeer, call_id: str) -> asyncio.Task[str]:
    """Stops a call once it runs at the server."""
    stop = StopSignal()

    async def call() -> str:
        return (await connection.reserve(call_id, stop=stop)).state

    task = asyncio.create_task(call())
    await until(lambda: call_id in running.peer.begun)
    stop.set()
    return task


async def test_the_handlers_word_is_the_outcome(
    connection: Connection, running: RunningPeer
) -> None:
    assert await (await stopped(connection, running, "stop-1")) == "stopped"
    # The stream goes on.
    assert (await connection.reserve("call-2")).id == "call-2"


async def test_a_handler_that_says_nothing_has_stopped(
    connection: Connection, running: RunningPeer
) -> None:
    with pytest.raises(CancelledRunError):
        await (await stopped(connection, running, "hang-1"))
    assert running.peer.cancelled == ["hang-1"]


async def test_only_the_call_that_is_meant_is_stopped(
    connection: Connection, running: RunningPeer
) -> None:
    other = asyncio.create_task(connection.reserve("hang-2"))
    await until(lambda: "hang-2" in running.peer.begun)
    assert await (await stopped(connection, running, "stop-1")) == "stopped"
    running.peer.release.set()
    assert (await other).id == "hang-2"


async def test_a_call_that_was_not_sent_has_not_begun(running: RunningPeer) -> None:
    await running.stop()
    async with connected_to(running.port) as connection:
        stop = StopSignal()
        call = asyncio.create_task(connection.reserve("call-1", stop=stop))
        await asyncio.sleep(0)
        stop.set()
        with pytest.raises(CancelledRunError) as refusal:
            await call
    assert refusal.value.metadata[WAS_BEGUN_KEY] == "false"
    assert running.peer.begun == []


async def test_what_is_stopped_already_is_not_sent(
    connection: Connection, running: RunningPeer
) -> None:
    await connection.reserve("call-1")
    stop = StopSignal()
    stop.set()
    with pytest.raises(CancelledRunError):
        await connection.reserve("call-2", stop=stop)
    await connection.reserve("call-3")
    assert running.peer.begun == ["call-1", "call-3"]


async def test_a_peer_that_does_not_answer_leaves_the_outcome_unknown(
    connection: Connection, running: RunningPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplex_client, "STOP_SECONDS", 0.05)

    class Deaf:
        """In place of the call's task: takes no notice."""

        def cancel(self, message: str) -> None: ...

    stop = StopSignal()
    call = asyncio.create_task(connection.reserve("hang-1", stop=stop))
    await until(lambda: "hang-1" in running.peer.begun)
    (stream,) = running.peer.multiplexed.streams
    calls = dict(stream._running)
    stream._running.update(dict.fromkeys(calls, Deaf()))  # type: ignore[arg-type]  # a test's own
    stop.set()
    with pytest.raises(OutcomeUnknownError):
        await call
    stream._running.update(calls)


async def test_a_stopped_call_is_not_sent_again_on_another_stream(
    connection: Connection, running: RunningPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connection.reserve("call-0")
    # Nothing is written any more, so that the stop does not arrive before the stream is lost.
    monkeypatch.setattr(connection.stream, "_send", lambda waiting: None)
    stop = StopSignal()
    call = asyncio.create_task(connection.reserve("hang-1", stop=stop))
    await asyncio.sleep(0)
    (pending,) = connection.stream._pending.values()
    pending.sent = True
    stop.set()
    await running.stop()
    with pytest.raises(OutcomeUnknownError):
        await call
    monkeypatch.undo()
    await running.start()
    assert (await connection.reserve("call-2")).id == "call-2"
    assert running.peer.begun == ["call-2"]
