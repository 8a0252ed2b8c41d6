"""What becomes of calls when the stream, the server or its process is lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from agent_executor.api.ledger.v1 import usage_pb2, usage_service_pb2, usage_service_pb2_grpc
from agent_executor.errors import AgentExecutorError, DeadlineExceededError, UnavailableError
from agent_executor.serving.multiplex_client import MultiplexedStream, StreamCall
from agent_executor.serving.multiplex_frames import RECONNECT_SECONDS_MIN
from tests.integration.serving.multiplex_peer import (
    GRANT,
    TIMEOUT_SECONDS,
    RunningPeer,
    connected_to,
    find_free_port,
    make_request,
    running_peer,
    until,
)

REPOSITORY = Path(__file__).parents[3]


async def test_a_peer_that_is_not_there_is_unavailable() -> None:
    async with connected_to(find_free_port()) as connection:
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await connection.reserve("call-1", timeout_seconds=0.3)
        assert time.monotonic() - started >= 0.3
        assert not connection.stream.connected
        assert connection.connections == []


async def test_calls_wait_for_a_peer_that_is_late() -> None:
    running = RunningPeer()
    running.port = find_free_port()
    async with connected_to(running.port) as connection:
        calls = [asyncio.create_task(connection.reserve(f"call-{number}")) for number in range(9)]
        with pytest.raises(UnavailableError):
            await connection.reserve("call-9", timeout_seconds=0.2)
        await running.start()
        assert [(await call).id for call in calls] == [f"call-{number}" for number in range(9)]
        assert Counter(running.peer.begun) == Counter(f"call-{number}" for number in range(9))
        await running.stop()


async def test_a_peer_that_says_nothing_is_bounded_by_the_deadline() -> None:
    # The kernel completes the connection, and then nobody reads.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with connected_to(listener.getsockname()[1]) as connection:
            with pytest.raises(UnavailableError):
                await connection.reserve("call-1", timeout_seconds=0.3)


async def test_a_stream_that_cannot_be_opened_is_tried_again() -> None:
    async with running_peer() as running, connected_to(running.port) as connection:
        attempts = 0

        def open_stream() -> StreamCall:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise grpc.aio.UsageError
            return connection.stub.StreamUsage()

        stream = MultiplexedStream(open_stream, usage_service_pb2.StreamUsageRequest, name="ledger")
        answer = await stream.call(
            "reserve", make_request("call-1"), timeout_seconds=TIMEOUT_SECONDS, grant=GRANT
        )
        assert (answer.id, attempts) == ("call-1", 2)
        await stream.close()


class ConfusedPeer(usage_service_pb2_grpc.UsageServiceServicer):
    """Answers calls that were not made, and the first one as another method would."""

    async def StreamUsage(  # noqa: N802 -- the contract's
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        del context
        async for message in request_iterator:
            for frame in message.frames:
                reservation = usage_pb2.Reservation(id=frame.reserve.reservation_id)
                method = "void" if reservation.id == "call-1" else "reserve"
                outcomes: list[dict[str, Any]] = [
                    {"id": frame.header.id + 1000, "reserve": reservation},
                    {"id": frame.header.id, method: reservation},
                ]
                yield usage_service_pb2.StreamUsageResponse(
                    frames=[usage_service_pb2.UsageOutcomeFrame(**each) for each in outcomes]
                )


async def test_an_answer_that_does_not_fit_fails_its_call_alone() -> None:
    server = grpc.aio.server()
    usage_service_pb2_grpc.add_UsageServiceServicer_to_server(ConfusedPeer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connected_to(port) as connection:
        with pytest.raises(AgentExecutorError, match="does not fit"):
            await connection.reserve("call-1")
        assert (await connection.reserve("call-2")).id == "call-2"
        assert connection.connections == [True]
    await server.stop(None)


async def test_pending_calls_are_sent_again_after_a_restart_and_answered_once() -> None:
    async with running_peer() as running, connected_to(running.port) as connection:
        await connection.reserve("call-0")
        ids = [f"hang-{number}" for number in range(20)]
        calls = [asyncio.create_task(connection.reserve(each)) for each in ids]
        await until(lambda: len(running.peer.begun) == 21)
        first = running.peer
        await running.stop()
        await until(lambda: sorted(first.cancelled) == sorted(ids))
        await until(lambda: not connection.stream.connected)
        new = asyncio.create_task(connection.reserve("call-1"))

        await running.start()
        running.peer.release.set()
        assert [(await call).id for call in calls] == ids
        assert (await new).id == "call-1"
        assert Counter(running.peer.begun) == Counter([*ids, "call-1"])
        assert connection.connections == [True, False, True]


async def test_the_deadline_of_a_call_that_was_sent_passes_while_the_peer_is_away() -> None:
    async with running_peer() as running, connected_to(running.port) as connection:
        await connection.reserve("call-0")
        call = asyncio.create_task(connection.reserve("hang-1", timeout_seconds=1))
        await until(lambda: running.peer.begun == ["call-0", "hang-1"])
        await running.stop()
        # It may have been made, so it is not "unavailable".
        with pytest.raises(DeadlineExceededError):
            await call
        await running.start()
        await connection.reserve("call-1")
        assert running.peer.begun == ["call-1"]


async def test_a_call_that_is_cancelled_while_the_peer_is_away_is_not_sent_again() -> None:
    async with running_peer() as running, connected_to(running.port) as connection:
        call = asyncio.create_task(connection.reserve("hang-1"))
        await until(lambda: running.peer.begun == ["hang-1"])
        await running.stop()
        await until(lambda: not connection.stream.connected)
        call.cancel()
        await asyncio.wait([call])
        await running.start()
        await connection.reserve("call-1")
        assert running.peer.begun == ["call-1"]


async def test_a_draining_server_answers_its_running_calls_and_ends_the_stream() -> None:
    async with running_peer() as running, connected_to(running.port) as connection:
        running_call = asyncio.create_task(connection.reserve("hang-1"))
        abandoned = asyncio.create_task(connection.reserve("hang-2"))
        await until(lambda: running.peer.begun == ["hang-1", "hang-2"])
        running.peer.multiplexed.drain()
        refused = asyncio.create_task(connection.reserve("call-1"))
        abandoned.cancel()
        await until(lambda: running.peer.cancelled == ["hang-2"])
        stopping = asyncio.create_task(running.server.stop(TIMEOUT_SECONDS))
        assert not refused.done()
        running.peer.release.set()
        assert (await running_call).id == "hang-1"
        # Without the drain the stream would last as long as the grace.
        async with asyncio.timeout(TIMEOUT_SECONDS / 2):
            await stopping
        assert running.peer.begun == ["hang-1", "hang-2"]

        await running.start()
        assert (await refused).id == "call-1"


async def test_a_stream_that_is_refused_is_not_opened_without_pause() -> None:
    async with running_peer() as running, connected_to(running.port) as connection:
        running.peer.multiplexed.drain()
        started = time.monotonic()
        connection.stream.start()
        await until(lambda: connection.connections.count(True) == 4)
        assert time.monotonic() - started >= 3 * RECONNECT_SECONDS_MIN


@contextlib.asynccontextmanager
async def peer_process(port: int, behaviour: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.serving.peer_process",
        str(port),
        behaviour,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    try:
        assert await read_line(process) == "ready"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def read_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT_SECONDS):
        return (await process.stdout.readline()).decode().strip()


async def test_calls_survive_a_killed_process() -> None:
    port = find_free_port()
    ids = [f"hang-{number}" for number in range(10)]
    async with connected_to(port) as connection:
        async with peer_process(port, "hangs") as process:
            calls = [asyncio.create_task(connection.reserve(each)) for each in ids]
            assert sorted([await read_line(process) for _ in ids]) == ids
            process.kill()
            await process.wait()
        await until(lambda: not connection.stream.connected)
        async with peer_process(port, "answers") as process:
            assert [(await call).id for call in calls] == ids
            assert sorted([await read_line(process) for _ in ids]) == ids


async def test_a_stopped_process_costs_a_call_no_more_than_its_deadline() -> None:
    port = find_free_port()
    async with connected_to(port) as connection, peer_process(port, "answers") as process:
        await connection.reserve("call-1")
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(DeadlineExceededError):
            await connection.reserve("call-2", timeout_seconds=0.3)
        process.send_signal(signal.SIGCONT)
        assert (await connection.reserve("call-3")).id == "call-3"


class StuckStream:
    """A stream that ends at once and whose writing cannot be broken off before ``released``."""

    def __init__(self) -> None:
        self.is_ended = asyncio.Event()
        self.released = asyncio.Event()

    async def wait_for_connection(self) -> None:
        """Is connected at once."""

    async def read(self) -> object:
        await asyncio.sleep(0)
        return grpc.aio.EOF

    async def write(self, message: object) -> None:
        while not self.released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.released.wait()
        raise asyncio.CancelledError

    def cancel(self) -> None:
        self.is_ended.set()


async def test_a_stream_that_is_closed_while_it_ends_is_counted_out() -> None:
    lost, told = StuckStream(), list[bool]()
    stream = MultiplexedStream(
        lambda: lost,  # type: ignore[arg-type,return-value]  # a test's own
        usage_service_pb2.StreamUsageRequest,
        name="ledger",
        on_connection=told.append,
    )
    call = asyncio.create_task(
        stream.call("reserve", make_request("a"), timeout_seconds=TIMEOUT_SECONDS)
    )
    await lost.is_ended.wait()
    closing = asyncio.create_task(stream.close())
    await asyncio.sleep(0)
    lost.released.set()
    await closing
    with pytest.raises(UnavailableError):
        await call
    assert told == [True, False]
