"""What a server makes of frames that no well-behaved client sends, and of streams that end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.rpc import code_pb2

from agent_executor.api.call.v1 import call_pb2
from agent_executor.api.ledger.v1 import usage_service_pb2
from agent_executor.errors import UnavailableError
from tests.integration.serving.multiplex_peer import (
    GRANT,
    Peer,
    make_pipeline,
    make_request,
    until,
)

Frame = usage_service_pb2.UsageFrame
Outcome = usage_service_pb2.UsageOutcomeFrame


@pytest.fixture
def peer() -> Peer:
    return Peer(make_pipeline(), max_concurrent=4)


class Requests:
    """The requests of a stream, as a test sends them.

    Attributes:
        taken: How many messages the server took.
    """

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self.taken = 0

    def send(self, *frames: Frame) -> None:
        self._messages.put_nowait(usage_service_pb2.StreamUsageRequest(frames=frames))

    def end(self) -> None:
        self._messages.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (message := await self._messages.get()) is not None:
            self.taken += 1
            yield message


def make_frame(call_id: int, reservation_id: str) -> Frame:
    header = call_pb2.CallHeader(id=call_id, timeout_ms=30_000, grant=GRANT)
    return Frame(header=header, reserve=make_request(reservation_id))


def make_cancel(call_id: int) -> Frame:
    return Frame(header=call_pb2.CallHeader(id=call_id), cancel=call_pb2.Cancel())


async def collect(peer: Peer, requests: Requests) -> list[Outcome]:
    async with contextlib.aclosing(peer.multiplexed.serve(requests)) as responses:
        return [frame async for message in responses for frame in message.frames]  # type: ignore[attr-defined]  # a StreamUsageResponse


async def test_calls_that_run_when_the_requests_end_are_answered(peer: Peer) -> None:
    requests = Requests()
    requests.send(make_frame(1, "hang-1"), make_frame(2, "call-2"))
    requests.end()
    collecting = asyncio.create_task(collect(peer, requests))
    await until(lambda: len(peer.begun) == 2)
    peer.release.set()
    frames = await collecting
    assert [(frame.id, frame.reserve.id) for frame in frames] == [(2, "call-2"), (1, "hang-1")]
    assert not peer.multiplexed.streams


async def test_a_repeat_of_a_running_call_is_not_run_again(peer: Peer) -> None:
    requests = Requests()
    requests.send(make_frame(1, "hang-1"), make_frame(1, "hang-1"))
    requests.send(make_frame(1, "hang-1"))
    requests.end()
    peer.release.set()
    frames = await collect(peer, requests)
    assert [frame.id for frame in frames] == [1]
    assert peer.begun == ["hang-1"]


async def test_frames_that_make_no_sense_are_refused_or_ignored(peer: Peer) -> None:
    requests = Requests()
    requests.send(make_cancel(99), Frame(header=call_pb2.CallHeader(id=7)))
    requests.send(Frame(header=call_pb2.CallHeader(id=8), reserve=make_request("call-8")))
    requests.send(make_frame(9, "call-9"))
    requests.end()
    frames = await collect(peer, requests)
    codes = {frame.id: frame.error.code for frame in frames}
    assert codes == {
        7: code_pb2.INVALID_ARGUMENT,
        8: code_pb2.DEADLINE_EXCEEDED,
        9: code_pb2.OK,
    }
    assert peer.begun == ["call-9"]


async def test_a_lost_stream_cancels_its_calls(peer: Peer) -> None:
    requests = Requests()
    requests.send(make_frame(1, "hang-1"), make_frame(2, "hang-2"))
    collecting = asyncio.create_task(collect(peer, requests))
    await until(lambda: len(peer.begun) == 2)
    collecting.cancel()
    await asyncio.wait([collecting])
    assert collecting.cancelled()
    assert sorted(peer.cancelled) == ["hang-1", "hang-2"]
    assert not peer.multiplexed.streams


async def test_a_caller_that_takes_no_answers_gets_to_ask_no_more(peer: Peer) -> None:
    requests = Requests()
    for call_id in range(1, 101):
        requests.send(Frame(header=call_pb2.CallHeader(id=call_id)))
    requests.end()
    async with contextlib.aclosing(peer.multiplexed.serve(requests)) as responses:
        first = await anext(responses)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert requests.taken < 10
        frames = [*first.frames]  # type: ignore[attr-defined]  # a StreamUsageResponse
        async for message in responses:
            frames += message.frames  # type: ignore[attr-defined]  # as above
    assert [frame.id for frame in frames] == list(range(1, 101))


async def test_a_draining_server_takes_no_stream(peer: Peer) -> None:
    peer.multiplexed.drain()
    requests = Requests()
    requests.send(make_frame(1, "call-1"))
    with pytest.raises(UnavailableError):
        await collect(peer, requests)
    assert peer.begun == []
