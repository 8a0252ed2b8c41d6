from __future__ import annotations

import asyncio
import gc
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agent_executor.errors import (
    AgentExecutorError,
    LimitExceededError,
    NotFoundError,
    SandboxUnavailableError,
    ToolCallConflictError,
    UnavailableError,
)
from agent_executor.serving.cancellation import CONNECTION_LOST
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.calls import attempts
from agent_executor.tool_runner.calls.attempt import Attempt
from agent_executor.tool_runner.calls.attempts import UNKNOWN_OUTCOME
from agent_executor.tool_runner.calls.audit import AuditRecord
from agent_executor.tool_runner.calls.audit_chain import EMPTY, linked
from agent_executor.tool_runner.calls.record import CallRecord
from agent_executor.tool_runner.calls.store_memory import MemoryCallStore
from agent_executor.tool_runner.policy.sandbox import ToolSandbox
from agent_executor.tool_runner.tool_base import Effect
from tests.unit.tool_runner.tools_of_tests import (
    ADA,
    EVE,
    FunctionTool,
    GateTool,
    Runner,
    ThreadTool,
    call,
    until,
)

ADDITION = '{"operation":"add","a":15,"b":27}'
EFFECTS: list[Effect] = ["read_only", "idempotent", "unsafe"]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_call_gives_its_result_and_leaves_a_record_of_who_and_what() -> None:
    runner = Runner()
    result = await runner.calls.execute(call("calculator", ADDITION), ADA)
    assert result.success
    assert json.loads(result.result_json) == {"operation": "add", "result": 42}
    assert (result.tool_call_id, result.tool_name) == ("call-1", "calculator")
    assert (result.error, result.code) == ("", "")
    assert result.timestamp == datetime.fromtimestamp(runner.now, UTC)
    (record,) = await runner.audit()
    assert record == linked(
        AuditRecord(
            organization_id="acme",
            user_id="ada",
            run_id="run-1",
            agent_id="agent-1",
            tool_call_id="call-1",
            tool_name="calculator",
            arguments_sha256=sha256(ADDITION),
            decision="allowed",
            rule="",
            outcome="success",
            code="",
            result_sha256=sha256(result.result_json),
            duration_ms=result.duration_ms,
            trace_id="",
            created_at_ms=1_700_000_000_000,
        ),
        EMPTY,
    )


async def test_decimal_arguments_reach_the_calculator_exactly() -> None:
    arguments = '{"operation":"add","a":0.12345678901234567891,"b":0,"precision":20}'
    result = await Runner().calls.execute(call("calculator", arguments), ADA)
    assert json.loads(result.result_json)["result"] == "0.12345678901234567891"


@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_repeat_is_answered_from_the_record(effect: Effect) -> None:
    def take_a_while(_: object) -> int:
        runner.uptime += 1.5
        return tool.calls

    tool = FunctionTool(take_a_while, effect=effect)
    runner = Runner(tool)
    first = await runner.calls.execute(call(), ADA)
    assert first.duration_ms == 1_500
    runner.now += 60
    assert await runner.calls.execute(call(), ADA) == first
    assert tool.calls == 1
    assert await runner.decisions() == [
        ("allowed", "", "success", ""),
        ("replayed", "call_record", "success", ""),
    ]
    first_audit, second_audit = await runner.audit()
    assert second_audit.result_sha256 == first_audit.result_sha256 != ""
    assert (first_audit.duration_ms, second_audit.duration_ms) == (1_500, 0)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize(
    "refusal",
    [
        SandboxUnavailableError("No Landlock."),
        LimitExceededError("Too many wait.", metadata={"limit": "queued_calls"}),
    ],
    ids=("no sandbox", "no place"),
)
async def test_a_call_that_the_sandbox_refused_before_the_tool_had_it_may_be_repeated(
    effect: Effect, refusal: AgentExecutorError
) -> None:
    refusals = [refusal]

    def refuse_once(_: object) -> int:
        if refusals:
            raise refusals.pop()
        return tool.calls

    tool = FunctionTool(refuse_once, effect=effect)
    runner = Runner(tool)
    refused = await runner.calls.execute(call(), ADA)
    assert (refused.success, refused.code) == (False, refusal.reason)
    assert await runner.store.unfinished() == []
    assert (await runner.calls.execute(call(), ADA)).result_json == "2"
    assert await runner.decisions() == [
        ("allowed", "", "error", refusal.reason),
        ("allowed", "", "success", ""),
    ]


@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_failure_is_answered_from_the_record_too(effect: Effect) -> None:
    def fail(_: object) -> None:
        raise NotFoundError(f"No such thing, {tool.calls}.")

    tool = FunctionTool(fail, effect=effect)
    runner = Runner(tool)
    first = await runner.calls.execute(call(), ADA)
    assert (first.success, first.result_json) == (False, "null")
    assert (first.error, first.code) == ("No such thing, 1.", "NOT_FOUND")
    assert await runner.calls.execute(call(), ADA) == first
    assert await runner.decisions() == [
        ("allowed", "", "error", "NOT_FOUND"),
        ("replayed", "call_record", "error", "NOT_FOUND"),
    ]


@pytest.mark.parametrize(
    ("tool_name", "arguments_json"), [("function", '{"x":1}'), ("calculator", "{}")]
)
async def test_another_call_under_the_same_id_is_a_conflict(
    tool_name: str, arguments_json: str
) -> None:
    tool = FunctionTool()
    runner = Runner(tool)
    await runner.calls.execute(call(), ADA)
    with pytest.raises(ToolCallConflictError) as conflict:
        await runner.calls.execute(call(tool_name, arguments_json), ADA)
    assert conflict.value.tool_name == tool_name
    assert tool.calls == 1
    assert (await runner.decisions())[1:] == [
        ("refused", "call_record", "none", "TOOL_CALL_CONFLICT")
    ]


async def test_ids_of_two_organizations_are_two_calls() -> None:
    tool = FunctionTool(lambda _: tool.calls)
    runner = Runner(tool)
    mine = await runner.calls.execute(call(), ADA)
    theirs = await runner.calls.execute(call(), EVE)
    assert (mine.result_json, theirs.result_json) == ("1", "2")
    assert len(await runner.audit("acme")) == len(await runner.audit("other")) == 1


async def test_a_refused_call_runs_nothing_and_may_be_tried_again() -> None:
    now_ns = 0
    sandbox = ToolSandbox(clock_ns=lambda: now_ns)
    sandbox.set_rate_limit("function", 1, 60)
    tool = FunctionTool()
    runner = Runner(tool, sandbox=sandbox)
    assert (await runner.calls.execute(call(), ADA)).success
    refused = await runner.calls.execute(call(tool_call_id="call-2"), ADA)
    assert (refused.success, refused.code) == (False, "RATE_LIMIT_EXCEEDED")
    assert "Retry after 60.000 s" in refused.error
    # The first call is answered from its record, and costs nothing.
    assert (await runner.calls.execute(call(), ADA)).success
    now_ns = 60_000_000_000
    assert (await runner.calls.execute(call(tool_call_id="call-2"), ADA)).success
    assert tool.calls == 2
    assert await runner.decisions() == [
        ("allowed", "", "success", ""),
        ("refused", "rate_limit", "none", "RATE_LIMIT_EXCEEDED"),
        ("replayed", "call_record", "success", ""),
        ("allowed", "", "success", ""),
    ]


async def test_the_callers_own_limit_is_kept() -> None:
    tool = FunctionTool()
    runner = Runner(tool)
    own = {"function": 2, "other": 0}
    results = [
        await runner.calls.execute(call(tool_call_id=str(n), rate_limits=own), ADA)
        for n in range(3)
    ]
    assert [result.success for result in results] == [True, True, False]


@pytest.mark.parametrize(
    ("tool_name", "arguments_json", "rule", "code"),
    [
        ("missing", "{}", "tool", "TOOL_NOT_FOUND"),
        ("function", "{", "arguments", "INVALID_ARGUMENT"),
        ("function", "[]", "arguments", "INVALID_ARGUMENT"),
        ("function", '{"a":"\ud800"}', "arguments", "INVALID_ARGUMENT"),
        ("function", '{"a":"' + "x" * 1_000 + '"}', "arguments", "LIMIT_EXCEEDED"),
        ("function", '{"a":' * 70 + "1" + "}" * 70, "arguments", "LIMIT_EXCEEDED"),
        ("function", '{"b":1}', "schema", "INVALID_ARGUMENT"),
        ("calculator", '{"operation":"add"}', "schema", "INVALID_ARGUMENT"),
        ("calculator", '{"operation":"add","a":1,"b":[]}', "schema", "INVALID_ARGUMENT"),
    ],
)
async def test_a_bad_call_is_a_result_with_its_reason(
    tool_name: str, arguments_json: str, rule: str, code: str
) -> None:
    schema = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
    tool = FunctionTool(input_schema=schema)
    runner = Runner(tool)
    result = await runner.calls.execute(call(tool_name, arguments_json), ADA)
    assert (result.success, result.code, result.result_json) == (False, code, "null")
    assert result.error
    assert tool.calls == 0
    assert await runner.decisions() == [("refused", rule, "none", code)]


async def test_permission_comes_before_everything_else() -> None:
    tool = FunctionTool()
    sandbox = ToolSandbox()
    sandbox.set_rate_limit("function", 1, 3600)
    runner = Runner(tool, sandbox=sandbox)
    nobody = SecurityContext("acme", "bob", frozenset({"tool:calculator", "run:execute"}))
    refused = await runner.calls.execute(call(), nobody)
    assert (refused.success, refused.code) == (False, "PERMISSION_DENIED")
    assert "tool:function" in refused.error
    # Not even the result of a call that was made is shown.
    assert (await runner.calls.execute(call(), ADA)).success
    assert (await runner.calls.execute(call(), nobody)).code == "PERMISSION_DENIED"
    assert await runner.decisions() == [
        ("refused", "permission", "none", "PERMISSION_DENIED"),
        ("allowed", "", "success", ""),
        ("refused", "permission", "none", "PERMISSION_DENIED"),
    ]


async def test_calls_of_one_id_in_flight_share_one_execution() -> None:
    tool = GateTool()
    runner = Runner(tool)
    waiting = [asyncio.create_task(runner.calls.execute(call("gate"), ADA)) for _ in range(10)]
    await tool.reached.wait()
    tool.gate.set()
    results = await asyncio.gather(*waiting)
    assert tool.calls == 1
    assert all(result == results[0] for result in results)
    decisions = await runner.decisions()
    assert decisions.count(("allowed", "", "success", "")) == 1
    assert decisions.count(("replayed", "call_record", "success", "")) == 9


async def test_another_call_under_an_id_in_flight_is_a_conflict() -> None:
    tool = GateTool()
    runner = Runner(tool)
    waiting = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    with pytest.raises(ToolCallConflictError):
        await runner.calls.execute(call("gate", '{"x":1}'), ADA)
    tool.gate.set()
    assert (await waiting).success


async def test_a_call_in_flight_is_not_shared_without_permission() -> None:
    tool = GateTool()
    runner = Runner(tool)
    waiting = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    nobody = SecurityContext("acme", "bob", frozenset())
    assert (await runner.calls.execute(call("gate"), nobody)).code == "PERMISSION_DENIED"
    tool.gate.set()
    assert (await waiting).success


async def test_the_tool_stops_when_its_last_caller_is_cancelled() -> None:
    tool = GateTool()
    runner = Runner(tool)
    first = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    second = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert tool.cancelled == 0
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert (first.cancelled(), second.cancelled()) == (True, True)
    await until(lambda: tool.cancelled == 1)
    await until(lambda: not runner.calls._running)
    assert await runner.decisions() == [("allowed", "", "error", "RUN_CANCELLED")]


async def test_a_lost_connection_does_not_stop_the_tool() -> None:
    tool = GateTool(effect="unsafe")
    runner = Runner(tool)
    first = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    first.cancel(CONNECTION_LOST)
    await asyncio.gather(first, return_exceptions=True)
    again = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await asyncio.sleep(0)
    tool.gate.set()
    assert (await again).success
    assert (tool.calls, tool.cancelled) == (1, 0)


@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_call_that_was_stopped_runs_again_only_if_that_is_harmless(
    effect: Effect,
) -> None:
    tool = GateTool(effect)
    runner = Runner(tool)
    first = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await until(lambda: not runner.calls._running)
    tool.gate.set()
    again = await runner.calls.execute(call("gate"), ADA)
    if effect == "unsafe":
        assert (again.success, again.code, again.error) == (
            False,
            "OUTCOME_UNKNOWN",
            UNKNOWN_OUTCOME,
        )
        assert tool.calls == 1
    else:
        assert again.success
        assert tool.calls == 2


@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_call_that_takes_too_long_runs_again_only_if_that_is_harmless(
    effect: Effect,
) -> None:
    tool = GateTool(effect)
    runner = Runner(tool)
    late = await runner.calls.execute(call("gate", timeout_seconds=0.01), ADA)
    assert (late.success, late.code) == (False, "DEADLINE_EXCEEDED")
    assert "0.01 s" in late.error
    assert tool.cancelled == 1
    tool.gate.set()
    again = await runner.calls.execute(call("gate"), ADA)
    if effect == "unsafe":
        assert "not known" in late.error
        assert again == late
    else:
        assert again.success
    assert (await runner.decisions())[0] == ("allowed", "", "error", "DEADLINE_EXCEEDED")


async def test_a_caller_cannot_have_more_time_than_there_is() -> None:
    tool = GateTool()
    runner = Runner(tool, timeout_seconds=0.01)
    for timeout_seconds in (None, 3600.0):
        result = await runner.calls.execute(call("gate", timeout_seconds=timeout_seconds), ADA)
        assert result.code == "DEADLINE_EXCEEDED"


async def test_a_repeat_after_a_restart_is_answered_from_the_record() -> None:
    first = Runner(before := FunctionTool(lambda _: "before"))
    result = await first.calls.execute(call(), ADA)
    sandbox = ToolSandbox(clock_ns=lambda: 0)
    sandbox.set_rate_limit("function", 1, 60)
    after = FunctionTool(lambda _: "after")
    heir = Runner(after, store=first.store, sandbox=sandbox)
    # Let through by the rate limit, then not, and then known to this process.
    for _ in range(3):
        assert await heir.calls.execute(call(), ADA) == result
    with pytest.raises(ToolCallConflictError):
        await heir.calls.execute(call(arguments_json='{"x":1}'), ADA)
    refused = await heir.calls.execute(call(tool_call_id="call-2"), ADA)
    assert refused.code == "RATE_LIMIT_EXCEEDED"
    assert before.calls == 1
    assert await heir.decisions() == [
        ("allowed", "", "success", ""),
        *[("replayed", "call_record", "success", "")] * 3,
        ("refused", "call_record", "none", "TOOL_CALL_CONFLICT"),
        ("refused", "rate_limit", "none", "RATE_LIMIT_EXCEEDED"),
    ]


async def test_a_repeat_is_answered_also_when_the_call_would_be_refused_now() -> None:
    first = Runner(FunctionTool(lambda _: "before"))
    result = await first.calls.execute(call(), ADA)
    sandbox = ToolSandbox()
    sandbox.set_rate_limit("function", 0, 60)
    heir = Runner(FunctionTool(), store=first.store, sandbox=sandbox)
    assert await heir.calls.execute(call(), ADA) == result
    without_the_tool = Runner(store=first.store)
    assert await without_the_tool.calls.execute(call(), ADA) == result


async def test_another_call_after_a_restart_is_a_conflict() -> None:
    first = Runner(FunctionTool())
    await first.calls.execute(call(), ADA)
    heir = Runner(FunctionTool(), store=first.store)
    with pytest.raises(ToolCallConflictError):
        await heir.calls.execute(call(arguments_json='{"x":1}'), ADA)
    assert (await heir.decisions())[1:] == [
        ("refused", "call_record", "none", "TOOL_CALL_CONFLICT")
    ]


async def test_what_is_remembered_of_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "RECENT_CALLS_MAX", 3)
    runner = Runner(FunctionTool())
    for number in range(10):
        await runner.calls.execute(call(tool_call_id=str(number)), ADA)
    assert list(runner.calls._attempts._recent) == [("acme", "7"), ("acme", "8"), ("acme", "9")]
    assert (await runner.calls.execute(call(tool_call_id="0"), ADA)).success
    assert (await runner.decisions())[-1][0] == "replayed"


class FailingStore(MemoryCallStore):
    """A store that fails from some write on."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.writes_left = writes

    def _write(self) -> None:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise UnavailableError("The database cannot be written to at the moment.")

    async def begin(self, record: CallRecord) -> CallRecord | None:
        self._write()
        return await super().begin(record)

    async def finish(self, record: CallRecord, audit: AuditRecord) -> CallRecord | None:
        self._write()
        return await super().finish(record, audit)


async def test_without_a_durable_intent_an_unsafe_tool_is_not_run() -> None:
    tool = FunctionTool(effect="unsafe")
    runner = Runner(tool, store=FailingStore(writes=0))
    with pytest.raises(UnavailableError):
        await runner.calls.execute(call(), ADA)
    assert tool.calls == 0


@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_result_that_could_not_be_written_is_not_answered(effect: Effect) -> None:
    tool = FunctionTool(lambda _: tool.calls, effect=effect)
    store = FailingStore(writes=0 if effect == "read_only" else 1)
    runner = Runner(tool, store=store)
    with pytest.raises(UnavailableError):
        await runner.calls.execute(call(), ADA)
    assert tool.calls == 1
    store.writes_left = 10
    again = await runner.calls.execute(call(), ADA)
    if effect == "unsafe":
        assert (again.code, again.error) == ("OUTCOME_UNKNOWN", UNKNOWN_OUTCOME)
        assert tool.calls == 1
    else:
        assert again.result_json == "2"


def shared_store() -> MemoryCallStore:
    store = MemoryCallStore()
    store.others_run_seconds = 90.0
    return store


@pytest.mark.parametrize("effect", ["idempotent", "unsafe"])
async def test_a_call_that_another_process_runs_is_not_run_again(effect: Effect) -> None:
    store = shared_store()
    theirs = GateTool(effect)
    ours = FunctionTool(name="gate", effect=effect)
    other = Runner(theirs, store=store)
    runner = Runner(ours, store=store)
    execution = asyncio.create_task(other.calls.execute(call("gate"), ADA))
    await theirs.reached.wait()
    await runner.calls.recover()
    with pytest.raises(UnavailableError, match="Another tool-runner") as refused:
        await runner.calls.execute(call("gate"), ADA)
    assert refused.value.retry_after_seconds == 1.0
    theirs.gate.set()
    result = await execution
    assert await runner.calls.execute(call("gate"), ADA) == result
    assert ours.calls == 0


async def test_a_call_that_another_process_began_in_this_moment_is_not_run_again() -> None:
    class RacingStore(MemoryCallStore):
        async def find(self, organization_id: str, tool_call_id: str) -> CallRecord | None:
            return None

    store = RacingStore()
    first, second = (FunctionTool(lambda _: 1, effect="unsafe") for _ in range(2))
    result = await Runner(first, store=store).calls.execute(call(), ADA)
    assert await Runner(second, store=store).calls.execute(call(), ADA) == result
    assert (first.calls, second.calls) == (1, 0)


async def test_a_call_that_another_process_has_left_is_settled_after_its_time() -> None:
    store = shared_store()
    tool = FunctionTool(effect="unsafe")
    runner = Runner(tool, store=store)
    intent = Attempt(call(), ADA).record("unsafe", 1_700_000_000_000)
    await store.begin(intent)
    runner.now += 89.9
    await runner.calls.recover()
    assert await store.unfinished() == [intent]
    runner.now += 0.2
    result = await runner.calls.execute(call(), ADA)
    assert (result.error, tool.calls) == (UNKNOWN_OUTCOME, 0)


async def test_a_failure_that_nobody_waits_for_is_no_warning() -> None:
    warnings: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: warnings.append(context))
    tool = GateTool()
    runner = Runner(tool, store=FailingStore(writes=0))
    waiting = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    waiting.cancel(CONNECTION_LOST)
    await asyncio.gather(waiting, return_exceptions=True)
    del waiting
    tool.gate.set()
    await until(lambda: not runner.calls._running)
    gc.collect()
    assert warnings == []


async def test_a_read_only_tool_needs_one_write() -> None:
    tool = FunctionTool()
    store = FailingStore(writes=1)
    assert (await Runner(tool, store=store).calls.execute(call(), ADA)).success
    assert store.writes_left == 0


async def test_what_a_dead_process_left_is_settled() -> None:
    store = MemoryCallStore()
    left = Runner(
        unsafe := GateTool("unsafe", "unsafe"),
        idempotent := GateTool("idempotent", "idempotent"),
        store=store,
    )
    tasks = [
        asyncio.create_task(left.calls.execute(call(name, tool_call_id=name), ADA))
        for name in ("unsafe", "idempotent")
    ]
    await unsafe.reached.wait()
    await idempotent.reached.wait()

    done = FunctionTool(name="unsafe", effect="unsafe")
    again = FunctionTool(name="idempotent", effect="idempotent")
    heir = Runner(done, again, store=store)
    heir.now += 5
    await heir.calls.recover()
    assert await heir.decisions() == [
        ("allowed", "", "unknown", "OUTCOME_UNKNOWN"),
        ("allowed", "", "error", "OUTCOME_UNKNOWN"),
    ]
    assert (await heir.audit())[0].run_id == "run-1"
    assert await store.unfinished() == []
    await heir.calls.recover()
    assert len(await heir.audit()) == 2

    lost = await heir.calls.execute(call("unsafe", tool_call_id="unsafe"), ADA)
    assert (lost.success, lost.error) == (False, UNKNOWN_OUTCOME)
    assert (lost.code, lost.duration_ms) == ("OUTCOME_UNKNOWN", 5_000)
    assert (await heir.calls.execute(call("idempotent", tool_call_id="idempotent"), ADA)).success
    assert (done.calls, again.calls) == (0, 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("effect", EFFECTS)
async def test_closing_stops_what_runs_and_tells_who_waits(effect: Effect) -> None:
    tool = GateTool(effect)
    runner = Runner(tool)
    waiting = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    await runner.calls.close()
    with pytest.raises(UnavailableError, match="stopping"):
        await waiting
    assert tool.cancelled == 1
    outcome = "unknown" if effect == "unsafe" else "error"
    assert await runner.decisions() == [("allowed", "", outcome, "RUN_CANCELLED")]
    with pytest.raises(UnavailableError, match="stopping"):
        await runner.calls.execute(call("gate"), ADA)


async def test_more_calls_than_may_run_are_refused() -> None:
    tool = GateTool()
    runner = Runner(tool, concurrent_calls_max=2)
    waiting = [
        asyncio.create_task(runner.calls.execute(call("gate", tool_call_id=str(n)), ADA))
        for n in range(2)
    ]
    await tool.reached.wait()
    with pytest.raises(LimitExceededError) as refused:
        await runner.calls.execute(call("gate", tool_call_id="3"), ADA)
    assert refused.value.retry_after_seconds is not None
    assert await runner.decisions() == [("refused", "concurrency", "none", "LIMIT_EXCEEDED")]
    tool.gate.set()
    assert all(result.success for result in await asyncio.gather(*waiting))
    assert (await runner.calls.execute(call("gate", tool_call_id="3"), ADA)).success


async def test_nothing_is_kept_of_calls_that_ended() -> None:
    runner = Runner(ThreadTool())
    await asyncio.gather(*(runner.calls.execute(call(tool_call_id=str(n)), ADA) for n in range(20)))
    await until(lambda: not runner.calls._running)


async def test_an_unforeseen_error_does_not_show_its_text() -> None:
    def fail(_: object) -> Any:
        raise ValueError("password hunter2")

    for tool in (FunctionTool(fail), ThreadTool(fail)):
        result = await Runner(tool).calls.execute(call(), ADA)
        assert (result.code, result.error) == ("TOOL_EXECUTION_ERROR", "The tool failed.")


class SlowStore(MemoryCallStore):
    """A store whose intents take as long as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def begin(self, record: CallRecord) -> CallRecord | None:
        self.begun.set()
        await self.may_go_on.wait()
        return await super().begin(record)


@pytest.mark.parametrize("effect", ["idempotent", "unsafe"])
async def test_a_call_that_is_cancelled_before_its_tool_is_run_may_be_made_later(
    effect: Effect,
) -> None:
    store, tool = SlowStore(), FunctionTool(effect=effect)
    runner = Runner(tool, store=store)
    cancelled = asyncio.create_task(runner.calls.execute(call(), ADA))
    await store.begun.wait()
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    store.may_go_on.set()
    await until(lambda: not runner.calls._running)
    assert tool.calls == 0
    assert await store.unfinished() == []
    assert await runner.decisions() == [("allowed", "", "none", "RUN_CANCELLED")]
    assert (await runner.calls.execute(call(), ADA)).success
    assert tool.calls == 1


async def test_a_call_that_is_cancelled_leaves_the_intent_of_another_process() -> None:
    store = SlowStore()
    runner = Runner(FunctionTool(effect="unsafe"), store=store)
    cancelled = asyncio.create_task(runner.calls.execute(call(), ADA))
    await store.begun.wait()
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    theirs = Attempt(call(), ADA).record("unsafe", 1_700_000_000_000)
    await MemoryCallStore.begin(store, theirs)
    store.may_go_on.set()
    await until(lambda: not runner.calls._running)
    assert await store.unfinished() == [theirs]
    assert await runner.decisions() == []


async def test_whoever_joins_a_call_that_is_being_stopped_is_told_to_ask_again() -> None:
    class Stubborn(GateTool):
        async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
            try:
                return await super()._execute_impl(arguments)
            finally:
                await stopped.wait()

    stopped = asyncio.Event()
    tool = Stubborn()
    runner = Runner(tool)
    first = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    first.cancel()
    await until(lambda: tool.cancelled == 1)
    second = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await asyncio.sleep(0)
    stopped.set()
    with pytest.raises(UnavailableError, match="ask again"):
        await second


@pytest.mark.parametrize("effect", [ValueError("secret"), SystemExit(), "UNSAFE", None, []])
async def test_a_tool_that_does_not_say_what_it_can_do_is_not_run(effect: object) -> None:
    class Vague(FunctionTool):
        def effect_of(self, arguments: Any) -> Any:
            if isinstance(effect, BaseException):
                raise effect
            return effect

    tool = Vague(effect="unsafe")
    runner = Runner(tool)
    result = await runner.calls.execute(call(), ADA)
    assert (result.success, result.code) == (False, "TOOL_EXECUTION_ERROR")
    assert "secret" not in result.error
    assert tool.calls == 0
    assert await runner.decisions() == [("refused", "effect", "none", "TOOL_EXECUTION_ERROR")]


async def test_the_audit_log_tells_the_limit_that_was_hit() -> None:
    sandbox = ToolSandbox()
    sandbox.set_rate_limit("function", 1, 30)
    runner = Runner(FunctionTool(), sandbox=sandbox)
    for number in range(2):
        await runner.calls.execute(call(tool_call_id=str(number)), ADA)
    assert [record.facts for record in await runner.audit()] == [(), ("rate_limit:1/30s",)]


class Neighbours(MemoryCallStore):
    """A store of several processes, of which this one and those named live."""

    def __init__(self, runner_id: int, *alive: int) -> None:
        super().__init__()
        self.others_run_seconds, self.runner_id, self._alive = 90.0, runner_id, alive

    async def is_alive(self, runner_id: int) -> bool:
        return runner_id in self._alive


async def test_a_call_of_a_process_that_lives_is_left_to_it() -> None:
    store = Neighbours(1, 2)
    await store.begin(Attempt(call(), ADA).record("unsafe", 1_700_000_000_000, 2))
    runner = Runner(FunctionTool(effect="unsafe"), store=store)
    await runner.calls.recover()
    with pytest.raises(UnavailableError, match="Another tool-runner"):
        await runner.calls.execute(call(), ADA)


@pytest.mark.parametrize("left_by", [1, 2], ids=("this process", "a dead one"))
@pytest.mark.parametrize("effect", ["idempotent", "unsafe"])
async def test_a_call_that_nobody_runs_any_more_is_settled_at_once(
    effect: Effect, left_by: int
) -> None:
    store, tool = Neighbours(1), FunctionTool(effect=effect)
    await store.begin(Attempt(call(), ADA).record(effect, 1_700_000_000_000, left_by))
    result = await Runner(tool, store=store).calls.execute(call(), ADA)
    if effect == "unsafe":
        assert (result.error, tool.calls) == (UNKNOWN_OUTCOME, 0)
    else:
        assert (result.success, tool.calls) == (True, 1)


@pytest.mark.parametrize("is_stored", [False, True], ids=("refused", "answer lost"))
@pytest.mark.parametrize("effect", ["idempotent", "unsafe"])
async def test_what_a_tool_did_waits_for_a_storage_that_fails(
    effect: Effect, is_stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "STORAGE_RETRY_SECONDS", 0.0)

    class Unsteady(MemoryCallStore):
        """Fails at the first time of each write."""

        def __init__(self) -> None:
            super().__init__()
            self.failed: set[str] = set()

        async def begin(self, record: CallRecord) -> CallRecord | None:
            return await self._unsteadily("begin", lambda: super(Unsteady, self).begin(record))

        async def finish(self, record: CallRecord, audit: AuditRecord) -> CallRecord | None:
            return await self._unsteadily(
                "finish", lambda: super(Unsteady, self).finish(record, audit)
            )

        async def _unsteadily(self, name: str, write: Any) -> CallRecord | None:
            if name in self.failed:
                found: CallRecord | None = await write()
                return found
            self.failed.add(name)
            if is_stored:
                await write()
            raise UnavailableError("the database is away")

    tool = FunctionTool(effect=effect)
    runner = Runner(tool, store=Unsteady(), storage_patience_seconds=60.0)
    assert (await runner.calls.execute(call(), ADA)).success
    assert tool.calls == 1
