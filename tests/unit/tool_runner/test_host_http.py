from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError as ThreadCancelledError
from typing import Any

import pytest

from agent_executor.errors import PermissionDeniedError, ToolExecutionError
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.calls.dispatch import Dispatcher
from agent_executor.tool_runner.calls.host_http import Broker, HostHttp, broker_of
from agent_executor.tool_runner.policy.call_policy import Admitted
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.tool_base import Effect, ToolBase

CONTEXT = CallContext("acme", "custom", "call-1")


class FakeRequestTool(HTTPRequestTool):
    """``http_request`` that notes what it would send, and waits if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[dict[str, Any], CallContext, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = 0

    async def perform(
        self, arguments: Mapping[str, Any], context: CallContext, *, sequence: int = 0
    ) -> dict[str, Any]:
        self.sent.append((dict(arguments), context, sequence))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {"status_code": 200}


@pytest.mark.parametrize(
    ("effect", "method", "is_made"),
    [
        ("read_only", "GET", True),
        ("read_only", "head", True),
        ("read_only", "PUT", False),
        ("read_only", "POST", False),
        ("idempotent", "OPTIONS", True),
        ("idempotent", "DELETE", True),
        ("idempotent", "PATCH", False),
        ("unsafe", "POST", True),
        # What is no method is taken for the worst, and refused as such where it gets through.
        ("idempotent", "LOCK", False),
        ("read_only", ["GET"], False),
        ("read_only", None, False),
    ],
)
async def test_a_tool_makes_only_requests_of_the_effect_that_it_declares(
    effect: Effect, method: object, is_made: bool
) -> None:
    tool = FakeRequestTool()
    make = broker_of(tool, CONTEXT, effect)
    arguments = {"method": method, "url": "https://a.test"}
    if is_made:
        assert await make(arguments) == {"status_code": 200}
    else:
        with pytest.raises(PermissionDeniedError, match=f"declared {effect}") as refused:
            await make(arguments)
        assert refused.value.metadata["rule"] == "effect"
    assert len(tool.sent) == is_made


async def test_each_request_of_a_call_has_its_number_and_a_refused_one_takes_none() -> None:
    tool = FakeRequestTool()
    make = broker_of(tool, CONTEXT, "idempotent")
    for method in ("GET", "POST", "PUT"):
        try:
            await make({"method": method})
        except PermissionDeniedError:
            assert method == "POST"
    assert [(sent["method"], sequence) for sent, _, sequence in tool.sent] == [
        ("GET", 0),
        ("PUT", 1),
    ]
    assert all(context is CONTEXT for _, context, _ in tool.sent)
    again = broker_of(tool, CONTEXT, "idempotent")
    await again({"method": "PUT"})
    assert tool.sent[-1][2] == 0


async def echo(arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments


async def test_a_thread_gets_its_response_and_sends_no_more_than_it_has_set() -> None:
    http = HostHttp(echo, "custom", asyncio.get_running_loop())
    sent = await asyncio.to_thread(
        lambda: http.request("GET", "https://a.test", json=False, credential="")
    )
    assert sent == {"method": "GET", "url": "https://a.test", "json": False, "timeout": 30}


async def test_a_coroutine_is_told_that_it_cannot_wait() -> None:
    http = HostHttp(echo, "custom", asyncio.get_running_loop())
    with pytest.raises(ToolExecutionError, match="plain def"):
        http.request("GET", "https://a.test")


async def test_no_request_is_made_after_the_call_has_ended() -> None:
    tool = FakeRequestTool()
    make: Broker = broker_of(tool, CONTEXT, "unsafe")
    http = HostHttp(make, "custom", asyncio.get_running_loop())
    http.close()
    with pytest.raises(ToolExecutionError, match="has ended"):
        await asyncio.to_thread(lambda: http.request("POST", "https://a.test"))
    assert tool.sent == []


async def test_a_call_that_ran_out_of_time_stops_its_request_and_makes_no_other() -> None:
    tool = FakeRequestTool()
    tool.gate.clear()
    outcomes: list[type[BaseException]] = []
    ended = threading.Event()

    class Caller(ToolBase):
        def _execute_impl(self, arguments: dict[str, Any]) -> Any:
            for _ in range(2):
                try:
                    self.http.request("POST", "https://a.test")
                except (ToolExecutionError, ThreadCancelledError) as error:
                    outcomes.append(type(error))
            ended.set()

    registry = ToolRegistry()
    registry.register(Caller("custom", "Posts."))
    call = Admitted(registry.list()[0], {}, "unsafe", CONTEXT)
    with pytest.raises(Exception, match="did not end within"):
        await Dispatcher(http_request=tool).run(call, 0.2)
    assert await asyncio.to_thread(ended.wait, 10)
    assert outcomes == [ThreadCancelledError, ToolExecutionError]
    assert (len(tool.sent), tool.cancelled) == (1, 1)
