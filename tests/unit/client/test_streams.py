"""Streams: they are taken up where they were cut, without a gap or a repeat."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from google.api import httpbody_pb2

from agent_executor import errors
from agent_executor.api.executor.v1 import run_event_pb2, run_service_pb2
from agent_executor.client import AgentExecutorClient, AsyncAgentExecutorClient
from tests.unit.client.fake_platform import CUT, FakePlatform

Call = Callable[..., Any]
STREAM, FOLLOW = "RunService/StreamAgent", "RunService/StreamRunEvents"


def event(sequence: int, kind: str = "tool_call_started") -> run_event_pb2.RunEvent:
    return run_event_pb2.RunEvent(run_id="r1", sequence=sequence, type=kind)


def update(sequence: int, kind: str = "tool_call_started") -> run_service_pb2.RunUpdate:
    return run_service_pb2.RunUpdate(run_id="r1", sequence=sequence, type=kind)


def text(
    written: str, model_call: str = "m1", *, thinks: bool = False
) -> run_service_pb2.RunUpdate:
    told = update(3, "text_delta")
    delta = told.text_delta
    delta.model_call_id, delta.text, delta.is_thinking = model_call, written, thinks
    return told


def broken(code: str) -> run_service_pb2.RunUpdate:
    return run_service_pb2.RunUpdate(
        run_id="r1",
        type="error",
        sequence=2,
        error=run_service_pb2.StreamError(error="It stops.", code=code),
    )


def texts(updates: list[run_service_pb2.RunUpdate]) -> list[str]:
    return [each.text_delta.text for each in updates if each.type == "text_delta"]


def test_events_are_followed_over_cuts(call: Call, platform: FakePlatform) -> None:
    platform.will_answer(
        FOLLOW,
        [event(3), event(3, "heartbeat"), event(4), CUT],
        CUT,
        [event(4), event(5)],
        [event(6, "run_finished")],
    )
    told = call(lambda client: client.runs.follow(run_id="r1", after_sequence=2))
    assert [each.sequence for each in told] == [3, 4, 5, 6]
    asked = platform.requests(run_service_pb2.StreamRunEventsRequest)
    assert [each.after_sequence for each in asked] == [2, 4, 4, 5]
    assert platform.asked[0].metadata["agent-executor-heartbeat-seconds"] == "30"
    assert (platform.asked[0].timeout_seconds or 0) > 1e6, "it has no deadline"


def test_a_stream_that_brings_nothing_new_ends_with_an_error(
    call: Call, platform: FakePlatform
) -> None:
    platform.will_answer(FOLLOW, [event(1)], [event(1), event(1, "heartbeat")])
    with pytest.raises(errors.UnavailableError, match="was cut"):
        call(lambda client: client.runs.follow(run_id="r1"), max_attempts=3)
    # The first one brought something; three after it did not.
    assert len(platform.asked) == 3


def test_a_run_is_told_once_over_cuts(call: Call, platform: FakePlatform) -> None:
    done = update(6, "done")
    platform.will_answer(
        STREAM,
        [update(1, "run_started"), text("It "), text("is", thinks=True), CUT],
        # Another executor knows it from the log: in other pieces, and with what was missed.
        [update(1, "run_started"), text("It is 4"), broken("UNAVAILABLE")],
        [update(1, "run_started"), text("It"), text(" is 42."), text("is it?", thinks=True), done],
    )
    told = call(lambda client: client.runs.stream(agent_id="a1", input="x"))
    assert [each.type for each in told if each.type != "text_delta"] == ["run_started", "done"]
    assert texts(told) == ["It ", "is", "is 4", "2.", " it?"]
    assert len({asked.metadata["idempotency-key"] for asked in platform.asked}) == 1


def test_a_stream_that_a_gateway_resets_was_cut(call: Call, platform: FakePlatform) -> None:
    reset = (grpc.StatusCode.INTERNAL, "Stream removed (RST_STREAM (error code 2))")
    platform.will_answer(FOLLOW, [event(1), reset], [event(2, "run_finished")])
    told = call(lambda client: client.runs.follow(run_id="r1"))
    assert [each.sequence for each in told] == [1, 2]
    platform.will_answer(FOLLOW, [event(1), grpc.StatusCode.INTERNAL])
    with pytest.raises(errors.AgentExecutorError, match="needed failed"):
        call(lambda client: client.runs.follow(run_id="r1"))


def test_model_calls_are_told_apart(call: Call, platform: FakePlatform) -> None:
    platform.will_answer(
        STREAM,
        [text("abc", "m1"), CUT],
        [text("abc", "m1"), update(4, "model_call_failed"), text("abcd", "m2"), update(6, "done")],
    )
    told = call(lambda client: client.runs.stream(agent_id="a1", input="x"))
    assert texts(told) == ["abc", "abcd"]


def test_an_error_in_a_stream_that_stays_is_raised(call: Call, platform: FakePlatform) -> None:
    platform.will_answer(STREAM, [update(1, "run_started"), broken("PERMISSION_DENIED")])
    with pytest.raises(errors.PermissionDeniedError, match="It stops"):
        call(lambda client: client.runs.stream(agent_id="a1", input="x"))


def test_a_refused_run_is_an_error(call: Call, platform: FakePlatform) -> None:
    platform.will_answer(STREAM, errors.AgentInactiveError("It is off."))
    with pytest.raises(errors.AgentInactiveError):
        call(lambda client: client.runs.stream(agent_id="a1", input="x"))


def test_a_file_that_breaks_off_is_an_error_and_not_begun_again(
    call: Call, platform: FakePlatform
) -> None:
    pieces = [httpbody_pb2.HttpBody(data=b"a"), httpbody_pb2.HttpBody(data=b"b")]
    platform.will_answer("UsageService/ExportUsage", pieces)
    assert call(lambda client: client.usage.export()) == pieces
    platform.will_answer("UsageService/ExportUsage", [pieces[0], grpc.StatusCode.UNAVAILABLE])
    with pytest.raises(errors.UnavailableError):
        call(lambda client: client.usage.export())
    assert len(platform.asked) == 2


def test_a_stream_that_is_left_is_cancelled(platform: FakePlatform) -> None:
    left = threading.Event()
    platform.will_answer(FOLLOW, [event(1), left.wait])

    with AgentExecutorClient(platform.url) as client:
        stream = client.runs.follow(run_id="r1")
        next(stream)
        stream.close()
        _wait_for(lambda: platform.ended == [FOLLOW])
    left.set()


def test_an_aio_stream_that_is_left_is_cancelled(platform: FakePlatform) -> None:
    left = threading.Event()
    platform.will_answer(FOLLOW, [event(1), left.wait])

    async def leave() -> None:
        async with AsyncAgentExecutorClient(platform.url) as client:
            async with aclosing(client.runs.follow(run_id="r1")) as stream:
                async for _ in stream:
                    break
            await asyncio.to_thread(_wait_for, lambda: platform.ended == [FOLLOW])

    asyncio.run(leave())
    left.set()


def test_a_cancelled_task_cancels_its_call(platform: FakePlatform) -> None:
    begun, left = threading.Event(), threading.Event()
    platform.will_answer("RunService/GetRun", [begun.set, left.wait])

    async def cancel() -> None:
        async with AsyncAgentExecutorClient(platform.url) as client:
            waiting = asyncio.ensure_future(client.runs.get(run_id="r1"))
            await asyncio.to_thread(begun.wait, 30)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await asyncio.to_thread(_wait_for, lambda: platform.ended == ["RunService/GetRun"])

    asyncio.run(cancel())
    left.set()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = threading.Event()
    for _ in range(3_000):
        if condition():
            return
        deadline.wait(0.01)
    raise AssertionError("it did not happen")
