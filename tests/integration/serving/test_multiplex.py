from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from agent_executor.api.ledger.v1 import usage_service_pb2
from agent_executor.error_status import from_rpc_error
from agent_executor.errors import (
    AgentExecutorError,
    DeadlineExceededError,
    InvalidArgumentError,
    LimitExceededError,
    UnavailableError,
)
from agent_executor.serving.grants import GRANT_METADATA_KEY
from agent_executor.serving.multiplex_frames import FRAME_BYTES_MAX
from agent_executor.serving.multiplex_server import MultiplexedServer
from tests.integration.serving.multiplex_peer import (
    GRANT,
    TIMEOUT_SECONDS,
    Connection,
    RunningPeer,
    connected_to,
    make_grant,
    make_pipeline,
    make_request,
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


async def test_each_call_gets_its_own_answer_and_many_share_a_message(
    connection: Connection,
) -> None:
    ids = [f"call-{number}" for number in range(500)]
    answers = await asyncio.gather(*map(connection.reserve, ids))
    assert [answer.id for answer in answers] == ids
    assert sum(connection.messages) == len(ids)
    assert len(connection.messages) < len(ids) / 10


async def test_answers_come_in_any_order(connection: Connection, running: RunningPeer) -> None:
    hanging = asyncio.create_task(connection.reserve("hang-1"))
    assert (await connection.reserve("call-1")).id == "call-1"
    assert not hanging.done()
    running.peer.release.set()
    assert (await hanging).id == "hang-1"


async def test_every_method_has_its_handler(connection: Connection) -> None:
    entry = await connection.stream.call(
        "settle",
        usage_service_pb2.SettleUsageRequest(
            entry_id="entry-1", agent_id="agent", run_id="run", model="claude", usage={}
        ),
        timeout_seconds=TIMEOUT_SECONDS,
        grant=GRANT,
    )
    void = await connection.stream.call(
        "void",
        usage_service_pb2.VoidReservationRequest(reservation_id="void-1"),
        timeout_seconds=TIMEOUT_SECONDS,
        grant=GRANT,
    )
    assert (entry.id, void.id) == ("entry-1", "void-1")


async def test_each_call_acts_for_the_caller_in_its_own_grant(connection: Connection) -> None:
    organizations = [f"organization-{number % 7}" for number in range(100)]
    grants = {organization: make_grant(organization) for organization in organizations}
    answers = await asyncio.gather(
        *(connection.reserve("call", grant=grants[organization]) for organization in organizations)
    )
    assert [answer.state for answer in answers] == organizations


async def test_a_deadline_ends_the_call_at_both_ends(
    connection: Connection, running: RunningPeer
) -> None:
    await connection.reserve("call-0")
    with pytest.raises(DeadlineExceededError):
        await connection.reserve("hang-1", timeout_seconds=0.2)
    await until(lambda: running.peer.cancelled == ["hang-1"])
    with pytest.raises(DeadlineExceededError):
        await connection.reserve("call-1", timeout_seconds=0)
    assert running.peer.begun == ["call-0", "hang-1"]


async def test_a_cancelled_caller_cancels_the_call_of_the_server(
    connection: Connection, running: RunningPeer
) -> None:
    calls = [asyncio.create_task(connection.reserve(f"hang-{number}")) for number in range(3)]
    await until(lambda: len(running.peer.begun) == 3)
    calls[1].cancel()
    await until(lambda: running.peer.cancelled == ["hang-1"])
    assert calls[1].cancelled()
    running.peer.release.set()
    assert [(await call).id for call in (calls[0], calls[2])] == ["hang-0", "hang-2"]


async def test_a_call_that_is_cancelled_before_it_is_sent_is_never_made(
    connection: Connection, running: RunningPeer
) -> None:
    await connection.reserve("call-1")
    call = asyncio.create_task(connection.reserve("call-2"))
    other = asyncio.create_task(connection.reserve("call-3"))
    await asyncio.sleep(0)
    call.cancel()
    await other
    assert running.peer.begun == ["call-1", "call-3"]


async def unary_error(connection: Connection, reservation_id: str, grant: object) -> object:
    metadata = [] if grant is None else [(GRANT_METADATA_KEY, grant.SerializeToString())]  # type: ignore[attr-defined]  # a SignedGrant
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await connection.stub.ReserveUsage(
            make_request(reservation_id), timeout=TIMEOUT_SECONDS, metadata=metadata
        )
    return describe(from_rpc_error(caught.value))


def describe(error: AgentExecutorError) -> object:
    return (
        type(error),
        error.message,
        error.metadata,
        error.tool_name,
        error.retry_after_seconds,
        getattr(error, "field_violations", None),
    )


@pytest.mark.parametrize(
    ("reservation_id", "grant"),
    [
        ("refuse-1", GRANT),
        ("later-1", GRANT),
        ("crash-1", GRANT),
        ("", GRANT),
        ("call-1", None),
        ("call-1", make_grant(audience="tool-runner")),
        ("call-1", make_grant(lifetime_seconds=-1)),
    ],
    ids=["refused", "limited", "crashed", "invalid", "no grant", "other audience", "expired"],
)
async def test_an_error_is_the_one_that_the_unary_rpc_gives(
    connection: Connection, reservation_id: str, grant: object
) -> None:
    with pytest.raises(AgentExecutorError) as caught:
        await connection.reserve(reservation_id, grant=grant)  # type: ignore[arg-type]  # as above
    assert describe(caught.value) == await unary_error(connection, reservation_id, grant)
    assert "ZeroDivisionError" not in caught.value.message
    assert (await connection.reserve("call-2")).id == "call-2"


async def test_a_handler_that_cancels_itself_does_not_leave_its_caller_waiting(
    connection: Connection,
) -> None:
    with pytest.raises(UnavailableError):
        await connection.reserve("abandon-1")


async def test_a_client_refuses_what_it_cannot_keep_pending(running: RunningPeer) -> None:
    async with connected_to(running.port, max_pending=2) as connection:
        calls = [asyncio.create_task(connection.reserve(f"hang-{number}")) for number in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(LimitExceededError) as caught:
            await connection.reserve("call-1")
        assert caught.value.metadata == {"pendingCallsMax": "2"}
        running.peer.release.set()
        await asyncio.gather(*calls)
        assert (await connection.reserve("call-1")).id == "call-1"


async def test_a_server_refuses_what_exceeds_its_concurrent_calls() -> None:
    async with running_peer(max_concurrent=2) as running, connected_to(running.port) as connection:
        calls = [asyncio.create_task(connection.reserve(f"hang-{number}")) for number in range(2)]
        await until(lambda: len(running.peer.begun) == 2)
        with pytest.raises(LimitExceededError) as caught:
            await connection.reserve("call-1")
        assert caught.value.metadata == {"concurrentCallsMax": "2"}
        running.peer.release.set()
        await asyncio.gather(*calls)
        assert (await connection.reserve("call-1")).id == "call-1"


async def test_what_is_too_large_is_refused_and_harms_no_other_call(
    connection: Connection, running: RunningPeer
) -> None:
    hanging = asyncio.create_task(connection.reserve("hang-1"))
    await until(lambda: running.peer.begun == ["hang-1"])
    with pytest.raises(LimitExceededError, match="call is too large"):
        await connection.reserve("call-1", model="x" * FRAME_BYTES_MAX)
    with pytest.raises(LimitExceededError, match="answer is too large"):
        await connection.reserve("large-1")
    running.peer.release.set()
    await hanging
    assert connection.connections == [True]


async def test_many_large_calls_arrive_in_several_messages(connection: Connection) -> None:
    # Invalid, so the answers are short; what matters is that no message was too large for gRPC.
    calls = [connection.reserve("call", model="x" * 300_000) for _ in range(40)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {InvalidArgumentError}
    assert max(connection.messages) <= 3
    assert connection.connections == [True]


async def test_a_closed_stream_fails_its_calls_and_those_of_the_server(
    connection: Connection, running: RunningPeer
) -> None:
    call = asyncio.create_task(connection.reserve("hang-1"))
    await until(lambda: running.peer.begun == ["hang-1"])
    await connection.stream.close()
    with pytest.raises(UnavailableError):
        await call
    await until(lambda: running.peer.cancelled == ["hang-1"])
    with pytest.raises(UnavailableError):
        await connection.reserve("call-1")
    await connection.stream.close()
    assert not connection.stream.connected
    assert connection.connections == [True, False]


async def test_a_stream_can_be_connected_before_the_first_call(connection: Connection) -> None:
    assert not connection.stream.connected
    connection.stream.start()
    connection.stream.start()
    await until(lambda: connection.stream.connected)
    assert connection.connections == [True]


async def test_only_requests_of_the_stream_can_be_called(connection: Connection) -> None:
    for method, request in [
        ("cancel", make_request("call-1")),
        ("settle", make_request("call-1")),
        ("execute", make_request("call-1")),
    ]:
        with pytest.raises(TypeError):
            await connection.stream.call(method, request, timeout_seconds=TIMEOUT_SECONDS)


def test_every_method_needs_a_handler() -> None:
    with pytest.raises(ValueError, match="methods"):
        MultiplexedServer(
            usage_service_pb2.StreamUsageRequest,
            usage_service_pb2.StreamUsageResponse,
            {},
            make_pipeline(),
        )
