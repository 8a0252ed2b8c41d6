"""The tool-runner over gRPC: which versions are asked for, and which answers are used again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from agent_executor.api.tool_runner.v1 import (
    tool_call_service_pb2,
    tool_call_service_pb2_grpc,
    tool_pb2,
    tool_service_pb2,
    tool_service_pb2_grpc,
)
from agent_executor.errors import (
    AgentExecutorError,
    LimitExceededError,
    OutcomeUnknownError,
    PermissionDeniedError,
    UnavailableError,
)
from agent_executor.executor.peers import tools_grpc
from agent_executor.executor.peers.tools import ToolRequest
from agent_executor.executor.peers.tools_grpc import GrpcToolRunner
from agent_executor.serving.cancellation import StopSignal
from agent_executor.serving.grants import ServiceKey
from agent_executor.serving.security import SecurityContext

ADA = SecurityContext("acme", "ada", frozenset({"*"}))
EVE = SecurityContext("other", "eve", frozenset({"*"}))
NAMES = ("calculator", "weather")


class Tools(tool_service_pb2_grpc.ToolServiceServicer):
    """A registry with ``calculator``, and ``weather`` at versions that a test sets."""

    def __init__(self) -> None:
        self.versions = ["aa"]
        self.asked: list[dict[str, str]] = []
        self.refusals: list[grpc.StatusCode] = []

    async def DescribeTools(  # noqa: N802 -- the contract's name
        self, request: tool_service_pb2.DescribeToolsRequest, context: Any
    ) -> tool_service_pb2.DescribeToolsResponse:
        if self.refusals:
            await context.abort(self.refusals.pop(), "not now")
        self.asked.append(dict(request.tool_versions))
        tools = [tool_pb2.ToolSpecification(name="calculator")]
        version = request.tool_versions.get("weather") or (self.versions or [""])[-1]
        if version in self.versions:
            tools.append(tool_pb2.ToolSpecification(name="weather", version=version))
        for tool in tools:
            tool.input_schema_json, tool.enabled = "{}", True
        return tool_service_pb2.DescribeToolsResponse(
            tools=[tool for tool in tools if tool.name in request.tool_names]
        )


class StoppingCalls(tool_call_service_pb2_grpc.ToolCallServiceServicer):
    """A replica that is asked to stop a call.

    Args:
        outcome: What it says; None for nothing.
        hangs: Whether it does not answer.
        refusal: Why it does not say; OK if it does.
    """

    def __init__(
        self,
        outcome: str | None = None,
        *,
        hangs: bool = False,
        refusal: grpc.StatusCode = grpc.StatusCode.OK,
    ) -> None:
        self._outcome = outcome
        self._hangs = hangs
        self._refusal = refusal

    async def StopToolCall(  # noqa: N802 -- the contract's name
        self, request: tool_call_service_pb2.StopToolCallRequest, context: Any
    ) -> tool_call_service_pb2.StopToolCallResponse:
        if self._hangs:
            await asyncio.Event().wait()
        if self._refusal is not grpc.StatusCode.OK:
            await context.abort(self._refusal, "not here")
        response = tool_call_service_pb2.StopToolCallResponse()
        if self._outcome is not None:
            response.outcome.success, response.outcome.result_json = True, self._outcome
        return response


class Stream:
    """Takes calls as the replicas of a tool-runner do.

    Attributes:
        channels: To all of them.
    """

    def __init__(self) -> None:
        self.channels: list[grpc.aio.Channel] = []
        self.requests: list[Any] = []
        self.refusals: list[AgentExecutorError] = []
        self.asked = asyncio.Event()

    @property
    def channel(self) -> grpc.aio.Channel:
        return self.channels[0]

    async def call(self, name: str, request: Any, **_: object) -> Any:
        self.requests.append((name, request))
        self.asked.set()
        if self.refusals:
            raise self.refusals.pop()
        return tool_call_service_pb2.ExecuteToolCallResponse(success=True, result_json="1")


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
async def runner(tools: Tools, stream: Stream) -> AsyncIterator[GrpcToolRunner]:
    server = grpc.aio.server()
    tool_service_pb2_grpc.add_ToolServiceServicer_to_server(tools, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream.channels.append(channel)
        yield GrpcToolRunner(stream, ServiceKey(b"k" * 32))  # type: ignore[arg-type]  # a test's own
    await server.stop(None)


async def versions(
    runner: GrpcToolRunner, wanted: dict[str, str], security: SecurityContext = ADA
) -> dict[str, str]:
    return {tool.name: tool.version for tool in await runner.describe(NAMES, security, wanted)}


async def test_a_new_version_is_in_the_next_run_and_not_in_the_one_under_way(
    runner: GrpcToolRunner, tools: Tools
) -> None:
    assert await versions(runner, {}) == {"calculator": "", "weather": "aa"}
    tools.versions.append("bb")
    assert await versions(runner, {}) == {"calculator": "", "weather": "bb"}
    assert await versions(runner, {"weather": "aa"}) == {"calculator": "", "weather": "aa"}


async def test_a_run_s_later_descriptions_are_answered_from_the_first(
    runner: GrpcToolRunner, tools: Tools
) -> None:
    first = await versions(runner, {})
    for _ in range(3):
        assert await versions(runner, {"weather": "aa"}) == first
    assert tools.asked == [{}]
    await versions(runner, {"weather": "aa"}, EVE)
    assert tools.asked == [{}, {"weather": "aa"}], "another organization was given the answer"


async def test_what_was_changed_is_asked_for_again(runner: GrpcToolRunner, tools: Tools) -> None:
    wanted = {"weather": "aa"}
    for security in (ADA, EVE):
        await versions(runner, wanted, security)
    runner.forget("acme", "weather")
    await versions(runner, wanted, EVE)
    assert len(tools.asked) == 2
    await versions(runner, wanted, ADA)
    assert len(tools.asked) == 3
    runner.forget_all()
    await versions(runner, wanted, EVE)
    assert len(tools.asked) == 4


async def test_what_is_changed_while_it_is_asked_for_is_not_remembered(
    runner: GrpcToolRunner, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = runner._ask

    async def changed_meanwhile(*arguments: Any) -> Any:
        answer = await ask(*arguments)
        runner.forget("acme", "weather")
        return answer

    monkeypatch.setattr(runner, "_ask", changed_meanwhile)
    for _ in range(2):
        await versions(runner, {"weather": "aa"})
    assert len(tools.asked) == 2


async def test_a_version_of_a_tool_that_is_not_asked_for_makes_no_difference(
    runner: GrpcToolRunner, tools: Tools
) -> None:
    for wanted in ({}, {"slack": "cc"}, {"calculator": ""}):
        await runner.describe(["calculator"], ADA, wanted)
    assert len(tools.asked) == 1


async def test_a_missing_tool_is_asked_for_again(runner: GrpcToolRunner, tools: Tools) -> None:
    tools.versions = []
    assert await versions(runner, {}) == {"calculator": ""}
    assert await versions(runner, {"weather": "aa"}) == {"calculator": ""}
    tools.versions = ["aa"]
    assert await versions(runner, {"weather": "aa"}) == {"calculator": "", "weather": "aa"}
    assert await versions(runner, {}) == {"calculator": "", "weather": "aa"}


async def test_a_call_says_which_version_it_is_for(runner: GrpcToolRunner, stream: Stream) -> None:
    request = ToolRequest("call", "weather", "{}", "run", "agent", tool_version="aa")
    await runner.execute(request, ADA, timeout_seconds=1.0)
    ((name, sent),) = stream.requests
    assert (name, sent.tool_name, sent.tool_version) == ("execute", "weather", "aa")


CALL = ToolRequest("run_1_0", "calculator", "{}", "run", "agent")


async def test_a_tool_runner_that_is_away_is_asked_again(
    runner: GrpcToolRunner, tools: Tools
) -> None:
    tools.refusals = [grpc.StatusCode.UNAVAILABLE] * 2
    assert await versions(runner, {}) == {"calculator": "", "weather": "aa"}
    tools.refusals = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED]
    with pytest.raises(LimitExceededError):
        await versions(runner, {}, EVE)
    assert tools.refusals == [grpc.StatusCode.UNAVAILABLE], "another answer is an answer"


async def test_a_call_that_is_broken_off_is_repeated_under_its_id(
    runner: GrpcToolRunner, stream: Stream
) -> None:
    stream.refusals = [UnavailableError("stopping"), UnavailableError("may run elsewhere")]
    outcome = await runner.execute(CALL, ADA, timeout_seconds=60.0)
    assert outcome.success
    assert [request.tool_call_id for _, request in stream.requests] == ["run_1_0"] * 3


async def test_a_call_is_repeated_no_longer_than_it_may_take(
    runner: GrpcToolRunner, stream: Stream
) -> None:
    stream.refusals = [UnavailableError("away")] * 10_000
    with pytest.raises(UnavailableError):
        await runner.execute(CALL, ADA, timeout_seconds=0.3)
    assert 2 <= len(stream.requests) < 10


async def test_another_refusal_is_no_reason_to_repeat_a_call(
    runner: GrpcToolRunner, stream: Stream
) -> None:
    stream.refusals = [LimitExceededError("too many calls")]
    with pytest.raises(LimitExceededError):
        await runner.execute(CALL, ADA, timeout_seconds=60.0)


async def test_a_call_that_is_stopped_is_not_repeated_and_its_outcome_is_not_known(
    runner: GrpcToolRunner, stream: Stream
) -> None:
    stream.refusals = [UnavailableError("away", retry_after_seconds=30.0)]
    stop = StopSignal()
    calling = asyncio.create_task(runner.execute(CALL, ADA, timeout_seconds=60.0, stop=stop))
    await stream.asked.wait()
    stop.set()
    with pytest.raises(OutcomeUnknownError):
        await calling
    assert len(stream.requests) == 1


AWAY = StoppingCalls(refusal=grpc.StatusCode.UNAVAILABLE)
HANGS = StoppingCalls(hangs=True)
REFUSES = StoppingCalls(refusal=grpc.StatusCode.PERMISSION_DENIED)
KNOWS_NOTHING = StoppingCalls()
RUNS_IT = StoppingCalls("7")


async def stopped(*replicas: StoppingCalls) -> str | None:
    """Returns the result of a call that all replicas are asked to stop."""
    stream, request = Stream(), ToolRequest("c1", "calculator", "{}", "r1", "a1")
    async with contextlib.AsyncExitStack() as opened:
        for replica in replicas:
            server = grpc.aio.server()
            tool_call_service_pb2_grpc.add_ToolCallServiceServicer_to_server(replica, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            opened.push_async_callback(server.stop, None)
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
            stream.channels.append(await opened.enter_async_context(channel))
        runner = GrpcToolRunner(stream, ServiceKey(b"k" * 32))  # type: ignore[arg-type]  # a test's own
        outcome = await runner.stop(request, ADA)
    return None if outcome is None else outcome.result_json


@pytest.mark.parametrize("other", [AWAY, HANGS, REFUSES, KNOWS_NOTHING])
async def test_the_replica_that_runs_a_call_stops_it_whatever_another_one_says(
    other: StoppingCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    if other is not HANGS:
        monkeypatch.setattr(tools_grpc, "STOP_TIMEOUT_SECONDS", 60.0)
    assert await stopped(other, RUNS_IT) == "7"


async def test_a_call_of_which_all_replicas_know_nothing_is_not_known() -> None:
    assert await stopped(KNOWS_NOTHING, KNOWS_NOTHING) is None


@pytest.mark.parametrize(
    ("replicas", "error"),
    [
        ((KNOWS_NOTHING, AWAY), UnavailableError),
        ((AWAY, REFUSES), PermissionDeniedError),
        ((), UnavailableError),
    ],
)
async def test_where_a_replica_was_not_heard_nobody_says_that_nothing_is_known(
    replicas: tuple[StoppingCalls, ...], error: type[AgentExecutorError]
) -> None:
    with pytest.raises(error):
        await stopped(*replicas)


async def test_a_tool_runner_that_is_silent_is_asked_again_and_then_away(
    tools: Tools, runner: GrpcToolRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.refusals = [grpc.StatusCode.DEADLINE_EXCEEDED]
    assert await runner.describe(["calculator"], ADA, {})
    monkeypatch.setattr(tools_grpc, "DESCRIBE_TIMEOUT_SECONDS", 0.0)
    runner.forget_all()
    tools.refusals = [grpc.StatusCode.DEADLINE_EXCEEDED] * 9
    with pytest.raises(UnavailableError, match="did not describe"):
        await runner.describe(["calculator"], ADA, {})
