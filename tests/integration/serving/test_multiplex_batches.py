"""Calls that are served together: each is still its own, and refused as it would be by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from agent_executor.api.call.v1 import call_pb2, grant_pb2
from agent_executor.api.ledger.v1 import usage_service_pb2
from agent_executor.error_status import from_rpc_error, from_status
from agent_executor.errors import AgentExecutorError, UnavailableError
from agent_executor.serving.grants import GRANT_METADATA_KEY
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.multiplex_server import Batched, MultiplexedServer
from agent_executor.serving.observation import DEADLINE_MESSAGE, INTERNAL_ERROR_MESSAGE
from tests.integration.serving.multiplex_peer import (
    GRANT,
    TIMEOUT_SECONDS,
    Connection,
    Peer,
    RunningPeer,
    connected_to,
    make_grant,
    make_pipeline,
    make_request,
    running_peer,
    until,
)

Frame = usage_service_pb2.UsageFrame
Outcome = usage_service_pb2.UsageOutcomeFrame
RESERVE = "/agent_executor.api.ledger.v1.UsageService/ReserveUsage"


class Stream:
    """A stream to a peer in the same process, of which a test sends each message.

    Attributes:
        messages: The outcomes of each message that came back.
    """

    def __init__(self, **options: Any) -> None:
        self.metrics = Metrics()
        self.peer = Peer(make_pipeline(self.metrics), together=True, **options)
        self.messages: list[list[Outcome]] = []
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        self._collecting = asyncio.create_task(self._collect())

    def send(self, *frames: Frame) -> None:
        self._requests.put_nowait(usage_service_pb2.StreamUsageRequest(frames=frames))

    async def end(self) -> dict[int, Outcome]:
        """Sends no more, and returns every outcome by its id."""
        self._requests.put_nowait(None)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self._collecting
        return {frame.id: frame for message in self.messages for frame in message}

    async def lose(self) -> None:
        """Breaks the stream."""
        self._collecting.cancel()
        await asyncio.wait([self._collecting])

    def counted(self, method: str, code: str) -> float | None:
        name = "agent_executor_rpc_requests_total"
        return self.metrics.registry.get_sample_value(name, {"method": method, "code": code})

    async def _requested(self) -> AsyncIterator[Any]:
        while (message := await self._requests.get()) is not None:
            yield message

    async def _collect(self) -> None:
        served = self.peer.multiplexed.serve(self._requested())
        async with contextlib.aclosing(served) as responses:
            async for message in responses:
                self.messages.append(list(message.frames))  # type: ignore[attr-defined]  # a StreamUsageResponse


def make_frame(
    call_id: int,
    reservation_id: str,
    *,
    grant: grant_pb2.SignedGrant | None = GRANT,
    timeout_ms: int = 30_000,
    **fields: Any,
) -> Frame:
    header = call_pb2.CallHeader(id=call_id, timeout_ms=timeout_ms, grant=grant)
    return Frame(header=header, reserve=make_request(reservation_id, **fields))


def make_cancel(call_id: int) -> Frame:
    return Frame(header=call_pb2.CallHeader(id=call_id), cancel=call_pb2.Cancel())


async def test_the_calls_of_one_message_are_served_and_answered_together() -> None:
    stream = Stream()
    stream.send(*(make_frame(number, f"call-{number}") for number in range(1, 101)))
    outcomes = await stream.end()
    assert {number: frame.reserve.id for number, frame in outcomes.items()} == {
        number: f"call-{number}" for number in range(1, 101)
    }
    assert stream.peer.batches == [100]
    assert len(stream.messages) == 1


async def test_the_next_message_does_not_wait_for_the_one_before() -> None:
    stream = Stream()
    stream.send(make_frame(1, "hang-1"), make_frame(2, "call-2"))
    stream.send(make_frame(3, "call-3"))
    await until(lambda: stream.messages)
    assert [frame.id for frame in stream.messages[0]] == [3]
    stream.peer.release.set()
    assert list(await stream.end()) == [3, 1, 2]


async def test_every_method_is_served_by_itself_or_together() -> None:
    stream = Stream()
    header = call_pb2.CallHeader(timeout_ms=30_000, grant=GRANT)
    requests: list[Frame] = [
        Frame(header=header, void={"reservation_id": "void"}),
        Frame(header=header, get={"reservation_id": "get"}),
        Frame(header=header, renew={"reservation_id": "renew", "ttl_seconds": 1}),
        Frame(
            header=header,
            correct={"entry_id": "correct", "corrects_entry_id": "entry", "usage": {}},
        ),
    ]
    for number, frame in enumerate(requests, 1):
        frame.header.id = number
    stream.send(*requests)
    outcomes = await stream.end()
    assert [outcomes[number].WhichOneof("outcome") for number in range(1, 5)] == [
        "void",
        "get",
        "renew",
        "correct",
    ]
    assert stream.peer.batches == [3]


async def test_each_call_acts_for_the_caller_in_its_own_grant() -> None:
    stream = Stream()
    organizations = [f"organization-{number % 7}" for number in range(50)]
    stream.send(
        *(
            make_frame(number, "call", grant=make_grant(organization))
            for number, organization in enumerate(organizations, 1)
        )
    )
    outcomes = await stream.end()
    assert [outcomes[number].reserve.state for number in range(1, 51)] == organizations
    assert stream.peer.batches == [50]


async def test_one_bad_call_harms_no_other() -> None:
    stream = Stream()
    stream.send(
        make_frame(1, "call-1"),
        make_frame(2, "refuse-2"),
        make_frame(3, "crash-3"),
        make_frame(4, "", run_id=""),
        make_frame(5, "call-5", grant=None),
        make_frame(6, "large-6"),
        make_frame(7, "call-7", timeout_ms=0),
        make_frame(8, "call-8", timeout_ms=-5),
        make_frame(9, "call-9"),
    )
    outcomes = await stream.end()
    codes = {number: frame.error.code for number, frame in outcomes.items()}
    assert codes == {
        1: code_pb2.OK,
        2: code_pb2.RESOURCE_EXHAUSTED,
        3: code_pb2.INTERNAL,
        4: code_pb2.INVALID_ARGUMENT,
        5: code_pb2.UNAUTHENTICATED,
        6: code_pb2.RESOURCE_EXHAUSTED,
        7: code_pb2.DEADLINE_EXCEEDED,
        8: code_pb2.DEADLINE_EXCEEDED,
        9: code_pb2.OK,
    }
    assert stream.peer.begun == ["call-1", "refuse-2", "crash-3", "large-6", "call-9"]
    assert stream.counted(RESERVE, "OK") == 3
    assert stream.counted(RESERVE, "INTERNAL") == 1
    assert stream.counted(RESERVE, "DEADLINE_EXCEEDED") == 2
    durations = stream.metrics.registry.get_sample_value(
        "agent_executor_rpc_duration_seconds_count", {"method": RESERVE}
    )
    assert durations == 9


async def test_a_handler_that_breaks_fails_those_it_served() -> None:
    stream = Stream()
    stream.send(make_frame(1, "call-1"), make_frame(2, "call-2", run_id="crash-all"))
    stream.send(make_frame(3, "call-3"))
    outcomes = await stream.end()
    for number in (1, 2):
        error = from_status(outcomes[number].error)
        assert (error.reason, error.message) == ("INTERNAL", INTERNAL_ERROR_MESSAGE)
    assert outcomes[3].reserve.id == "call-3"


async def test_a_call_whose_deadline_passes_meanwhile_is_told_so() -> None:
    stream = Stream()
    stream.send(make_frame(1, "hang-1"), make_frame(2, "call-2", timeout_ms=1))
    await until(lambda: stream.peer.begun == ["hang-1", "call-2"])
    # Long past the millisecond, and nothing but the call's own deadline is waited for.
    await asyncio.sleep(0.01)
    stream.peer.release.set()
    outcomes = await stream.end()
    assert outcomes[1].reserve.id == "hang-1"
    assert from_status(outcomes[2].error).message == DEADLINE_MESSAGE
    assert stream.counted(RESERVE, "DEADLINE_EXCEEDED") == 1


async def test_a_cancellation_does_not_stop_what_may_be_recorded() -> None:
    stream = Stream()
    stream.send(make_frame(1, "hang-1"), make_frame(2, "call-2"))
    await until(lambda: stream.peer.begun == ["hang-1", "call-2"])
    stream.send(make_cancel(1), make_cancel(99))
    stream.send(make_frame(3, "call-3"))
    await until(lambda: stream.messages)
    stream.peer.release.set()
    assert sorted(await stream.end()) == [1, 2, 3]
    assert stream.peer.cancelled == []


async def test_a_cancellation_in_the_same_message_is_nothing() -> None:
    stream = Stream()
    stream.send(make_frame(1, "call-1"), make_cancel(1))
    assert (await stream.end())[1].reserve.id == "call-1"


async def test_a_repeat_of_a_running_call_is_not_run_again() -> None:
    stream = Stream()
    stream.send(make_frame(1, "hang-1"), make_frame(1, "hang-1"))
    stream.send(make_frame(1, "hang-1"))
    await until(lambda: stream.peer.begun == ["hang-1"])
    stream.peer.release.set()
    await stream.end()
    assert [[frame.id for frame in message] for message in stream.messages] == [[1]]
    assert stream.peer.begun == ["hang-1"]


async def test_calls_beyond_the_limit_are_refused_and_the_others_served() -> None:
    stream = Stream(max_concurrent=2)
    stream.send(*(make_frame(number, f"call-{number}") for number in range(1, 4)))
    outcomes = await stream.end()
    assert [outcomes[number].reserve.id for number in (1, 2)] == ["call-1", "call-2"]
    error = from_status(outcomes[3].error)
    assert error.metadata == {"concurrentCallsMax": "2"}


async def test_a_lost_stream_cancels_its_calls() -> None:
    stream = Stream()
    stream.send(make_frame(1, "hang-1"), make_frame(2, "hang-2"))
    await until(lambda: len(stream.peer.begun) == 2)
    await stream.lose()
    assert sorted(stream.peer.cancelled) == ["hang-1", "hang-2"]
    assert not stream.peer.multiplexed.streams
    assert stream.counted(RESERVE, "CANCELLED") == 2


async def test_a_draining_server_answers_what_runs_and_begins_no_more() -> None:
    stream = Stream()
    stream.send(make_frame(1, "hang-1"), make_frame(2, "call-2"))
    await until(lambda: stream.peer.begun == ["hang-1", "call-2"])
    stream.peer.multiplexed.drain()
    stream.send(make_frame(3, "call-3"))
    stream.peer.release.set()
    with pytest.raises(UnavailableError):
        await stream.end()
    assert [frame.id for message in stream.messages for frame in message] == [1, 2]
    assert "call-3" not in stream.peer.begun


async def test_a_handler_that_is_cancelled_does_not_leave_its_callers_waiting() -> None:
    stream = Stream()

    async def abandon(calls: object) -> Any:
        raise asyncio.CancelledError(calls)

    stream.peer.multiplexed.batched = stream.peer.multiplexed.batched._replace(handler=abandon)
    stream.send(make_frame(1, "call-1"), make_frame(2, "call-2"))
    outcomes = await stream.end()
    assert {frame.error.code for frame in outcomes.values()} == {code_pb2.UNAVAILABLE}
    assert len(outcomes) == 2


@pytest.fixture
async def running() -> AsyncIterator[RunningPeer]:
    async with running_peer(together=True) as running:
        yield running


@pytest.fixture
async def connection(running: RunningPeer) -> AsyncIterator[Connection]:
    async with connected_to(running.port) as connection:
        yield connection


async def unary_error(connection: Connection, request: Any, grant: Any) -> object:
    metadata = [] if grant is None else [(GRANT_METADATA_KEY, grant.SerializeToString())]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await connection.stub.ReserveUsage(request, timeout=TIMEOUT_SECONDS, metadata=metadata)
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
    ("request_", "grant"),
    [
        (make_request("refuse-1"), GRANT),
        (make_request("later-1"), GRANT),
        (make_request("crash-1"), GRANT),
        (make_request("", run_id="", max_output_tokens=0, ttl_seconds=-1), GRANT),
        (make_request("call-1", model="m" * 201, processing="flex"), GRANT),
        (make_request("call-1"), None),
        (make_request("call-1"), make_grant(audience="tool-runner")),
        (make_request("call-1"), make_grant(lifetime_seconds=-1)),
        (make_request("call-1"), grant_pb2.SignedGrant(grant=b"g", signature=b"s")),
        (make_request("call-1"), grant_pb2.SignedGrant()),
    ],
    ids=[
        "refused",
        "limited",
        "crashed",
        "invalid",
        "long",
        "no grant",
        "other audience",
        "expired",
        "forged",
        "empty grant",
    ],
)
async def test_a_refusal_is_the_one_that_the_unary_rpc_gives(
    connection: Connection, running: RunningPeer, request_: Any, grant: Any
) -> None:
    with pytest.raises(AgentExecutorError) as caught:
        await connection.stream.call(
            "reserve", request_, timeout_seconds=TIMEOUT_SECONDS, grant=grant
        )
    counts = await counted(running)
    assert describe(caught.value) == await unary_error(connection, request_, grant)
    assert await counted(running) == {key: 2 * count for key, count in counts.items()}


async def counted(running: RunningPeer) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["method"], sample.labels["code"]): sample.value
        for family in running.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "agent_executor_rpc_requests_total"
    }


async def test_many_calls_share_batches_over_grpc(
    connection: Connection, running: RunningPeer
) -> None:
    ids = [f"call-{number}" for number in range(500)]
    answers = await asyncio.gather(*map(connection.reserve, ids))
    assert [answer.id for answer in answers] == ids
    assert sum(running.peer.batches) == 500
    assert len(running.peer.batches) < 50


def test_a_method_is_served_one_way() -> None:
    peer = Peer(make_pipeline(), together=True)
    for methods in ((), ("reserve",), ("reserve", "unheard-of")):
        with pytest.raises(ValueError, match="methods"):
            MultiplexedServer(
                usage_service_pb2.StreamUsageRequest,
                usage_service_pb2.StreamUsageResponse,
                {"get": peer.reserve},
                make_pipeline(),
                batched=Batched(methods, peer.serve_together),
            )
