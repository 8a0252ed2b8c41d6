from __future__ import annotations

import asyncio
import contextvars
import math
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import pytest

from agent_executor.errors import (
    AgentExecutorError,
    DeadlineExceededError,
    LimitExceededError,
    SandboxUnavailableError,
    ToolExecutionError,
    UnavailableError,
)
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.calls.dispatch import Dispatcher
from agent_executor.tool_runner.policy.call_policy import Admitted
from agent_executor.tool_runner.registry import RegisteredTool, ToolRegistry
from agent_executor.tool_runner.tool_base import ToolBase
from agent_executor.tool_runner.tool_program import ToolProgram
from tests.unit.tool_runner.tools_of_tests import (
    FunctionTool,
    GateTool,
    ThreadGateTool,
    ThreadTool,
    until,
)

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


def registered(tool: ToolBase) -> RegisteredTool:
    registry = ToolRegistry()
    registry.register(tool)
    return registry.list()[0]


def admitted(tool: ToolBase, **arguments: Any) -> Admitted:
    context = CallContext("acme", tool.name, "call-1")
    return Admitted(registered(tool), arguments, tool.effect, context)


async def run(tool: ToolBase, timeout_seconds: float = 30.0, **limits: Any) -> str:
    return await Dispatcher(**limits).run(admitted(tool, x=1), timeout_seconds)


class AsyncTool(FunctionTool):
    runs_inline = False

    async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        return self.function(arguments)


@pytest.mark.parametrize("tool_class", [FunctionTool, ThreadTool, AsyncTool])
async def test_each_kind_of_tool_is_run(tool_class: type[FunctionTool]) -> None:
    assert await run(tool_class()) == '{"x":1}'


async def test_only_a_tool_that_may_block_gets_a_thread() -> None:
    here = threading.get_ident()
    idents: dict[type, int] = {}
    for tool_class in (FunctionTool, ThreadTool, AsyncTool):
        idents[tool_class] = int(await run(tool_class(lambda _: threading.get_ident())))
    assert idents[FunctionTool] == idents[AsyncTool] == here
    assert idents[ThreadTool] != here


async def test_a_thread_sees_the_context_of_the_call() -> None:
    VARIABLE.set("seen")
    assert await run(ThreadTool(lambda _: VARIABLE.get())) == '"seen"'


@pytest.mark.parametrize("tool_class", [FunctionTool, ThreadTool, AsyncTool])
@pytest.mark.parametrize(
    "error",
    [ValueError("secret"), TimeoutError("secret"), StopIteration("secret"), SystemExit("secret")],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_it_raises_is_a_failure_without_its_text(
    tool_class: type[FunctionTool], error: BaseException
) -> None:
    def fail(_: object) -> Any:
        raise error

    with pytest.raises(ToolExecutionError) as failed:
        await run(tool_class(fail))
    assert failed.value.message == "The tool failed."


@pytest.mark.parametrize("tool_class", [FunctionTool, ThreadTool, AsyncTool])
async def test_its_own_words_are_kept(tool_class: type[FunctionTool]) -> None:
    def fail(_: object) -> Any:
        raise LimitExceededError("Too much.")

    with pytest.raises(LimitExceededError, match="Too much"):
        await run(tool_class(fail))


async def test_a_coroutine_is_stopped_at_its_timeout() -> None:
    tool = GateTool()
    with pytest.raises(DeadlineExceededError, match=r"within 0\.01 s"):
        await run(tool, 0.01)
    assert tool.cancelled == 1


async def test_a_tool_that_cancels_itself_has_failed() -> None:
    class Quitter(AsyncTool):
        async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
            raise asyncio.CancelledError

    with pytest.raises(ToolExecutionError, match="cancelled itself"):
        await run(Quitter())


async def test_cancelling_the_caller_is_no_failure_of_the_tool() -> None:
    tool = GateTool()
    task = asyncio.create_task(run(tool))
    await tool.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tool.cancelled == 1


async def test_a_thread_that_does_not_end_keeps_its_place_and_nobody_waiting() -> None:
    tool = ThreadGateTool()
    stuck = admitted(tool)
    dispatcher = Dispatcher(blocking_calls_max=2)
    for _ in range(2):
        with pytest.raises(DeadlineExceededError):
            await dispatcher.run(stuck, 0.01)
    quick = admitted(ThreadTool())
    with pytest.raises(DeadlineExceededError):
        await dispatcher.run(quick, 0.01)
    assert tool.running == 2
    tool.gate.set()
    assert await dispatcher.run(quick, 30) == "{}"


async def test_no_more_threads_than_may_run() -> None:
    tool = ThreadGateTool()
    dispatcher = Dispatcher(blocking_calls_max=3)
    waiting = [asyncio.create_task(dispatcher.run(admitted(tool), 30)) for _ in range(10)]
    await until(lambda: tool.running == 3)
    tool.gate.set()
    await asyncio.gather(*waiting)
    assert tool.running_max == 3


async def test_what_a_thread_gives_after_its_loop_is_gone_is_dropped() -> None:
    tool = ThreadGateTool()
    threads = threading.active_count()

    def in_another_loop() -> None:
        with pytest.raises(DeadlineExceededError):
            asyncio.run(run(tool, 0.01))

    await asyncio.to_thread(in_another_loop)
    tool.gate.set()
    await until(lambda: tool.running == 0)
    assert threading.active_count() <= threads + 1


def test_a_tool_that_hangs_does_not_keep_the_process_alive() -> None:
    program = """
import asyncio, threading
from tests.unit.tool_runner.test_dispatch import run
from tests.unit.tool_runner.tools_of_tests import ThreadTool
try:
    asyncio.run(run(ThreadTool(lambda _: threading.Event().wait()), 0.01))
except Exception as error:
    print(type(error).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "DeadlineExceededError\n"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "null"),
        ({"a": [1, 2.5, "é", True]}, '{"a":[1,2.5,"é",true]}'),
        ((1, 2), "[1,2]"),
        ({1: "a"}, '{"1":"a"}'),
    ],
)
async def test_results_are_json_text(result: Any, text: str) -> None:
    assert await run(FunctionTool(lambda _: result)) == text


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "result",
    [math.nan, math.inf, {1, 2}, object(), b"x", "\ud800", circle(), deep(), {(1, 2): 3}],
    ids=range(9),
)
async def test_what_is_not_json_is_a_failure(result: Any) -> None:
    with pytest.raises(ToolExecutionError, match="not a JSON value"):
        await run(FunctionTool(lambda _: result))


async def test_results_are_capped() -> None:
    assert len(await run(FunctionTool(lambda _: "x" * 98), result_bytes_max=100)) == 100
    with pytest.raises(LimitExceededError) as refused:
        await run(FunctionTool(lambda _: "é" * 60), result_bytes_max=100)
    assert refused.value.metadata == {"sizeBytes": "122", "sizeBytesMax": "100"}
    assert isinstance(refused.value, AgentExecutorError)


PROGRAM = ToolProgram("custom", "source", "Custom")


class FakeSandbox:
    """A sandbox that tells what it was asked to run."""

    def __init__(self) -> None:
        self.asked: list[tuple[ToolProgram, str, float, bool]] = []
        self.error: Exception | None = None
        self.result_json = '"from the sandbox"'

    async def call(
        self,
        program: ToolProgram,
        arguments_json: str,
        *,
        timeout_seconds: float,
        broker: Any = None,
    ) -> str:
        self.asked.append((program, arguments_json, timeout_seconds, broker is not None))
        if self.error is not None:
            raise self.error
        return self.result_json


def custom_call(**arguments: Any) -> Admitted:
    call = admitted(FunctionTool(name="custom"), **arguments)
    return replace(call, tool=replace(call.tool, program=PROGRAM))


async def test_a_custom_tool_runs_in_the_sandbox_and_nowhere_else() -> None:
    sandbox = FakeSandbox()
    call = custom_call(x="é")
    dispatcher = Dispatcher(sandbox=sandbox, http_request=HTTPRequestTool())
    assert await dispatcher.run(call, 7.0) == '"from the sandbox"'
    assert sandbox.asked == [(PROGRAM, '{"x":"é"}', 7.0, True)]
    tool = call.tool.tool
    assert isinstance(tool, FunctionTool)
    assert tool.calls == 0


async def test_a_custom_tool_has_no_network_where_there_is_no_http_request() -> None:
    sandbox = FakeSandbox()
    await Dispatcher(sandbox=sandbox).run(custom_call(), 7.0)
    assert sandbox.asked[0][3] is False


async def test_a_custom_tool_is_not_run_without_a_sandbox() -> None:
    call = custom_call()
    with pytest.raises(SandboxUnavailableError):
        await Dispatcher().run(call, 7.0)
    tool = call.tool.tool
    assert isinstance(tool, FunctionTool)
    assert tool.calls == 0


async def test_a_result_of_the_sandbox_is_no_larger_than_any_other() -> None:
    sandbox = FakeSandbox()
    dispatcher = Dispatcher(sandbox=sandbox, result_bytes_max=10)
    sandbox.result_json = '"12345678"'
    assert await dispatcher.run(custom_call(), 7.0) == '"12345678"'
    sandbox.result_json = '"123456789"'
    with pytest.raises(LimitExceededError, match="11 bytes; at most 10"):
        await dispatcher.run(custom_call(), 7.0)


async def test_what_the_sandbox_refuses_is_not_run_elsewhere() -> None:
    sandbox = FakeSandbox()
    sandbox.error = SandboxUnavailableError("No seccomp.")
    with pytest.raises(SandboxUnavailableError, match="No seccomp"):
        await Dispatcher(sandbox=sandbox).run(custom_call(), 7.0)


async def test_a_thread_that_cannot_start_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    dispatcher = Dispatcher(blocking_calls_max=1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await dispatcher.run(admitted(ThreadTool()), 1.0)
    assert await dispatcher.run(admitted(ThreadTool()), 30.0) == "{}"
