"""Runs a tool, in the way that it needs, for as long as it may, and makes its result JSON text."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, Protocol

from agent_executor.errors import (
    DeadlineExceededError,
    LimitExceededError,
    SandboxUnavailableError,
    ToolExecutionError,
)
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.calls.context import current_call
from agent_executor.tool_runner.calls.host_http import Broker, HostHttp, broker_of
from agent_executor.tool_runner.own_thread import run_in_own_thread
from agent_executor.tool_runner.policy.call_policy import Admitted
from agent_executor.tool_runner.tool_base import ToolBase, as_tool_failure
from agent_executor.tool_runner.tool_http import current_tool_http
from agent_executor.tool_runner.tool_program import ToolProgram

DEFAULT_RESULT_BYTES_MAX: Final = 1_048_576
DEFAULT_BLOCKING_CALLS_MAX: Final = 32

_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=True, separators=(",", ":")
)


class Sandbox(Protocol):
    """Runs the code that organizations have registered, isolated from everything."""

    async def call(
        self,
        program: ToolProgram,
        arguments_json: str,
        *,
        timeout_seconds: float,
        broker: Broker | None = None,
    ) -> str:
        """Returns the result of one call as JSON text.

        Args:
            program: The code.
            arguments_json: The arguments.
            timeout_seconds: How long the call may take, from now on.
            broker: Makes the requests that the tool asks the host for; None refuses them.

        Raises:
            SandboxUnavailableError: This host cannot isolate custom tools.
            DeadlineExceededError: The call did not end in time.
            LimitExceededError: A limit of the sandbox is exceeded, or too many calls wait.
            OutcomeUnknownError: The worker was lost while it ran.
            ToolExecutionError: The tool failed.
        """
        ...


class Dispatcher:
    """Runs tools: the program's own in its own process, organizations' in the sandbox.

    Args:
        sandbox: Runs what organizations have registered; None where nothing can be registered.
        http_request: Makes the requests that tools ask the host for; None refuses them.
        result_bytes_max: Length of a result as JSON text in UTF-8, at most.
        blocking_calls_max: How many tools that may block run at the same time; others wait.
    """

    def __init__(
        self,
        *,
        sandbox: Sandbox | None = None,
        http_request: HTTPRequestTool | None = None,
        result_bytes_max: int = DEFAULT_RESULT_BYTES_MAX,
        blocking_calls_max: int = DEFAULT_BLOCKING_CALLS_MAX,
    ) -> None:
        self._sandbox = sandbox
        self._http_request = http_request
        self._result_bytes_max = result_bytes_max
        self._places = asyncio.Semaphore(blocking_calls_max)

    async def run(self, admitted: Admitted, timeout_seconds: float) -> str:
        """Returns the tool's result as JSON text.

        A coroutine is stopped at its timeout or when the caller is cancelled, and the sandbox is
        too. A thread cannot be stopped: it goes on, counted among the blocking calls, and what it
        gives is dropped.

        Raises:
            DeadlineExceededError: The tool did not end in time.
            LimitExceededError: The result is too large.
            AgentExecutorError: The tool failed, in its own words if it has raised such an error.
        """
        tool = admitted.tool
        if tool.program is not None:
            return await self._run_in_sandbox(tool.program, admitted, timeout_seconds)
        try:
            if tool.tool.runs_inline:
                result = tool.tool._execute_impl(admitted.arguments)  # noqa: SLF001 -- the method by which a tool is run
            else:
                result = await self._run_in_time(tool.tool, admitted, timeout_seconds)
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a tool raises is its result
            raise as_tool_failure(error, tool.name) from None
        return self._as_json(result, tool.name)

    async def _run_in_sandbox(
        self, program: ToolProgram, admitted: Admitted, timeout_seconds: float
    ) -> str:
        if self._sandbox is None:
            raise SandboxUnavailableError(
                "Custom tools are not run here.", tool_name=admitted.tool.name
            )
        text = await self._sandbox.call(
            program,
            _ENCODER.encode(admitted.arguments),
            timeout_seconds=timeout_seconds,
            broker=self._broker_of(admitted),
        )
        # The sandbox caps what the tool writes; as our own encoder writes it, it may be longer.
        self._check_size(text, admitted.tool.name)
        return text

    async def _run_in_time(self, tool: ToolBase, admitted: Admitted, timeout_seconds: float) -> Any:
        execute, arguments = tool._execute_impl, admitted.arguments  # noqa: SLF001 -- the method by which a tool is run
        call_token = current_call.set(admitted.context)
        http = self._http_of(admitted)
        http_token = current_tool_http.set(http)
        timeout = asyncio.timeout(timeout_seconds)
        try:
            async with timeout:
                if not admitted.tool.is_async:
                    await self._places.acquire()
                    return await run_in_own_thread(
                        lambda: execute(arguments),
                        name="blocking-tool",
                        at_end=self._places.release,
                    )
                return await _without_own_cancellation(execute(arguments), tool.name)
        except TimeoutError:
            if not timeout.expired():
                raise
            raise DeadlineExceededError(
                f"The tool did not end within {timeout_seconds:g} s.", tool_name=tool.name
            ) from None
        finally:
            if http is not None:
                http.close()
            current_tool_http.reset(http_token)
            current_call.reset(call_token)

    def _broker_of(self, admitted: Admitted) -> Broker | None:
        tool = self._http_request
        return None if tool is None else broker_of(tool, admitted.context, admitted.effect)

    def _http_of(self, admitted: Admitted) -> HostHttp | None:
        broker = self._broker_of(admitted)
        if broker is None:
            return None
        return HostHttp(broker, admitted.tool.name, asyncio.get_running_loop())

    def _as_json(self, result: Any, tool_name: str) -> str:
        try:
            text = _ENCODER.encode(result)
            self._check_size(text, tool_name)
        except (TypeError, ValueError, RecursionError):
            raise ToolExecutionError(
                "The tool's result is not a JSON value.", tool_name=tool_name
            ) from None
        return text

    def _check_size(self, text: str, tool_name: str) -> None:
        size_bytes = len(text.encode())
        if size_bytes > self._result_bytes_max:
            raise LimitExceededError(
                f"The tool's result is {size_bytes} bytes; at most {self._result_bytes_max} are "
                "allowed.",
                metadata={
                    "sizeBytes": str(size_bytes),
                    "sizeBytesMax": str(self._result_bytes_max),
                },
                tool_name=tool_name,
            )


async def _without_own_cancellation(awaitable: Any, tool_name: str) -> Any:
    """Awaits a tool; a cancellation that nobody asked for is a failure of the tool."""
    task = asyncio.current_task()
    try:
        return await awaitable
    except asyncio.CancelledError:
        if task is None or task.cancelling():
            raise
        raise ToolExecutionError("The tool cancelled itself.", tool_name=tool_name) from None
