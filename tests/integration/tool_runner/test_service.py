from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from agent_executor.api.tool_runner.v1 import audit_service_pb2, tool_service_pb2
from agent_executor.error_status import from_rpc_error
from agent_executor.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ToolCallConflictError,
    UnauthenticatedError,
)
from agent_executor.tool_runner.builtin.calculator import CalculatorTool
from agent_executor.tool_runner.calls.attempts import UNKNOWN_OUTCOME
from tests.integration.tool_runner.running_tool_runner import (
    Caller,
    Platform,
    Running,
    environment_of,
    make_request,
    running_tool_runner,
    tool_runner_process,
)
from tests.unit.tool_runner.tools_of_tests import GateTool, until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
BOTH_PATHS = pytest.mark.parametrize("path", ["unary", "stream"])


@pytest.fixture
def gate() -> GateTool:
    return GateTool("unsafe")


@pytest.fixture
async def running(tmp_path: Path, gate: GateTool) -> AsyncIterator[Running]:
    async with running_tool_runner(tmp_path, gate) as running:
        yield running


async def audit_events(
    running: Running, organization: str = "acme", **request: Any
) -> list[audit_service_pb2.AuditEvent]:
    response = await running.caller.audit.ListAuditEvents(
        audit_service_pb2.ListAuditEventsRequest(**request),
        metadata=running.platform.token("policy:admin", organization=organization),
    )
    return list(response.audit_events)


@BOTH_PATHS
async def test_a_call_by_grant_gives_its_result(running: Running, path: str) -> None:
    request = make_request(run_id="run-1", agent_id="agent-1")
    grant = running.platform.grant(request)
    response = await running.caller.execute(path, request, grant, traceparent=TRACEPARENT)
    assert response.success
    assert json.loads(response.result_json) == {"operation": "add", "result": 42}
    assert (response.tool_call_id, response.tool_name) == ("call-1", "calculator")
    assert (response.error, response.code) == ("", "")
    assert response.timestamp.seconds > 1_700_000_000
    (event,) = await audit_events(running)
    assert (event.id, event.user_id, event.run_id, event.agent_id) == (
        "1",
        "ada",
        "run-1",
        "agent-1",
    )
    assert (event.decision, event.rule, event.outcome, event.code) == ("allowed", "", "success", "")
    assert (event.tool_name, event.tool_call_id) == ("calculator", "call-1")
    if path == "stream":
        # The unary call's own span, where one is made, is of the same trace.
        assert event.trace_id == TRACE_ID


@BOTH_PATHS
@pytest.mark.parametrize(
    "changes",
    [
        {"tool_call_id": "call-2"},
        {"tool_call_id": ""},
        {"tool_name": "gate"},
        {"tool_name": ""},
        {"arguments_digest": b"x" * 32},
        {"arguments_digest": b""},
        {"audience": "ledger"},
        {"lifetime_seconds": -1},
        {"organization": ""},
    ],
    ids=str,
)
async def test_a_grant_is_good_for_its_own_call_only(
    running: Running, path: str, changes: dict[str, Any]
) -> None:
    request = make_request()
    with pytest.raises(UnauthenticatedError):
        await running.caller.execute(path, request, running.platform.grant(request, **changes))
    assert await audit_events(running) == []


@BOTH_PATHS
async def test_a_grant_of_somebody_else_is_refused(
    running: Running, path: str, tmp_path: Path
) -> None:
    request = make_request()
    forged = Platform.in_folder(tmp_path / "forger").grant(request)
    with pytest.raises(UnauthenticatedError):
        await running.caller.execute(path, request, forged)
    changed = running.platform.grant(request)
    changed.grant = changed.grant.replace(b"acme", b"evil")
    with pytest.raises(UnauthenticatedError):
        await running.caller.execute(path, request, changed)
    with pytest.raises(UnauthenticatedError):
        await running.caller.execute(path, request, None)


@BOTH_PATHS
async def test_what_a_grant_does_not_permit_is_a_result(running: Running, path: str) -> None:
    request = make_request()
    grant = running.platform.grant(request, permissions=("tool:gate",))
    response = await running.caller.execute(path, request, grant)
    assert (response.success, response.code, response.result_json) == (
        False,
        "PERMISSION_DENIED",
        "null",
    )
    (event,) = await audit_events(running)
    assert (event.decision, event.rule) == ("refused", "permission")


@BOTH_PATHS
@pytest.mark.parametrize(
    ("request_fields", "code"),
    [
        ({"tool_name": "missing"}, "TOOL_NOT_FOUND"),
        ({"arguments_json": ""}, "INVALID_ARGUMENT"),
        ({"arguments_json": '{"operation":"divide","a":1,"b":0}'}, "INVALID_ARGUMENT"),
        ({"arguments_json": '{"operation":"power","a":9,"b":387420489}'}, "LIMIT_EXCEEDED"),
        ({"rate_limits": {"calculator": 0}}, "RATE_LIMIT_EXCEEDED"),
    ],
)
async def test_a_bad_call_is_a_result(
    running: Running, path: str, request_fields: dict[str, Any], code: str
) -> None:
    request = make_request(**request_fields)
    response = await running.caller.execute(path, request, running.platform.grant(request))
    assert (response.success, response.code) == (False, code)
    assert response.error


@BOTH_PATHS
@pytest.mark.parametrize(
    "request_fields",
    [
        {"tool_name": ""},
        {"tool_name": "x" * 129},
        {"run_id": "x" * 129},
        {"arguments_json": " " * 1_048_577},
        {"rate_limits": {"calculator": -1}},
    ],
    ids=range(5),
)
async def test_a_malformed_call_is_an_error(
    running: Running, path: str, request_fields: dict[str, Any]
) -> None:
    request = make_request(**request_fields)
    with pytest.raises(InvalidArgumentError):
        await running.caller.execute(path, request, running.platform.grant(request))


async def test_a_repeat_gets_the_record_on_whichever_path(running: Running) -> None:
    request = make_request()
    grant = running.platform.grant(request)
    responses = [
        await running.caller.execute(path, request, grant) for path in ("stream", "unary", "stream")
    ]
    assert responses[0] == responses[1] == responses[2]
    decisions = [event.decision for event in await audit_events(running)]
    assert decisions == ["replayed", "replayed", "allowed"]


@BOTH_PATHS
async def test_another_call_under_the_same_id_is_a_conflict(running: Running, path: str) -> None:
    request = make_request()
    await running.caller.execute(path, request, running.platform.grant(request))
    other = make_request(arguments_json='{"operation":"add","a":1,"b":1}')
    with pytest.raises(ToolCallConflictError) as conflict:
        await running.caller.execute(path, other, running.platform.grant(other))
    assert conflict.value.tool_name == "calculator"


async def test_a_users_token_needs_the_permission_for_the_tool(running: Running) -> None:
    execute = running.caller.calls.ExecuteToolCall
    token = running.platform.token("tool:calculator")
    assert (await execute(make_request(), metadata=token)).success
    refused = await execute(
        make_request(tool_call_id="call-2"), metadata=running.platform.token("run:execute")
    )
    assert refused.code == "PERMISSION_DENIED"
    with pytest.raises(grpc.aio.AioRpcError) as unauthenticated:
        await execute(make_request())
    assert unauthenticated.value.code() is grpc.StatusCode.UNAUTHENTICATED


@BOTH_PATHS
async def test_a_call_ends_at_its_deadline(running: Running, path: str, gate: GateTool) -> None:
    request = make_request("gate", "{}")
    # The answer of the tool-runner and the caller's own timer race; both say the same.
    with contextlib.suppress(DeadlineExceededError):
        response = await running.caller.execute(
            path, request, running.platform.grant(request), timeout_seconds=0.5
        )
        assert response.code == "DEADLINE_EXCEEDED"
    await until(lambda: gate.cancelled == 1)


@BOTH_PATHS
async def test_a_call_that_is_cancelled_stops_its_tool(
    running: Running, path: str, gate: GateTool
) -> None:
    request = make_request("gate", "{}")
    call = asyncio.create_task(
        running.caller.execute(path, request, running.platform.grant(request))
    )
    await gate.reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: gate.cancelled == 1)


async def test_a_lost_stream_does_not_stop_an_unsafe_tool(running: Running, gate: GateTool) -> None:
    request = make_request("gate", "{}")
    grant = running.platform.grant(request)
    other = Caller(running.grpc_port)
    first = asyncio.create_task(other.execute("stream", request, grant))
    await gate.reached.wait()
    await other.close()
    await asyncio.gather(first, return_exceptions=True)
    again = asyncio.create_task(running.caller.execute("stream", request, grant))
    # The second call has joined the first when the tool-runner answers another one after it.
    probe = make_request(tool_call_id="probe")
    await running.caller.execute("stream", probe, running.platform.grant(probe))
    gate.gate.set()
    response = await again
    assert response.success
    assert (gate.calls, gate.cancelled) == (1, 0)


async def test_after_a_lost_stream_the_tool_still_ends_at_its_deadline(
    running: Running, gate: GateTool
) -> None:
    request = make_request("gate", "{}")
    other = Caller(running.grpc_port)
    call = asyncio.create_task(
        other.execute("stream", request, running.platform.grant(request), timeout_seconds=1)
    )
    await gate.reached.wait()
    await other.close()
    await asyncio.gather(call, return_exceptions=True)
    async with asyncio.timeout(60):
        while not (events := await audit_events(running)):
            pass
    assert [event.code for event in events] == ["DEADLINE_EXCEEDED"]
    assert gate.cancelled == 1


async def test_stopping_the_service_stops_its_tools_and_says_so(
    tmp_path: Path, gate: GateTool
) -> None:
    request = make_request("gate", "{}")
    async with running_tool_runner(tmp_path, gate) as running:
        grant = running.platform.grant(request)
        call = asyncio.create_task(running.caller.execute("stream", request, grant))
        await gate.reached.wait()
    assert gate.cancelled == 1
    await asyncio.gather(call, return_exceptions=True)
    async with running_tool_runner(tmp_path, gate) as running:
        (event,) = await audit_events(running)
        assert (event.decision, event.outcome, event.code) == (
            "allowed",
            "unknown",
            "RUN_CANCELLED",
        )
        response = await running.caller.execute("stream", request, grant)
    assert (response.success, response.error) == (False, UNKNOWN_OUTCOME)
    assert gate.calls == 1


async def test_a_thousand_calls_at_once(running: Running) -> None:
    requests = [
        make_request(
            arguments_json=f'{{"operation":"multiply","a":{number},"b":2}}',
            tool_call_id=f"call-{number}",
        )
        for number in range(1_000)
    ]
    responses = await asyncio.gather(
        *(
            running.caller.execute("stream", request, running.platform.grant(request))
            for request in requests
        )
    )
    for number, response in enumerate(responses):
        assert json.loads(response.result_json)["result"] == 2 * number
    events = await audit_events(running, page_size=1_000)
    assert [event.id for event in events] == [str(number) for number in range(1_000, 0, -1)]
    assert len({event.tool_call_id for event in events}) == 1_000


async def test_tools_are_listed_and_described(running: Running) -> None:
    tools, token = running.caller.tools, running.platform.token("tool:read")
    listed = await tools.ListTools(tool_service_pb2.ListToolsRequest(page_size=1), metadata=token)
    assert [tool.name for tool in listed.tools] == ["calculator"]
    rest = await tools.ListTools(
        tool_service_pb2.ListToolsRequest(page_token=listed.next_page_token), metadata=token
    )
    assert [tool.name for tool in rest.tools] == ["email", "gate", "http_request", "slack"]
    calculator = await tools.GetTool(
        tool_service_pb2.GetToolRequest(tool_name="calculator"), metadata=token
    )
    assert (calculator.effect, calculator.enabled, calculator.built_in) == ("read_only", True, True)
    assert json_format.MessageToDict(calculator.input_schema) == CalculatorTool().input_schema
    described = await tools.DescribeTools(
        tool_service_pb2.DescribeToolsRequest(tool_names=["gate", "missing", "calculator"]),
        metadata=token,
    )
    assert [tool.name for tool in described.tools] == ["gate", "calculator"]
    schema = json.loads(described.tools[1].input_schema_json)
    assert schema == CalculatorTool().input_schema


async def test_tools_and_audit_events_need_their_permissions(running: Running) -> None:
    token = running.platform.token("run:execute")
    tools, audit = running.caller.tools, running.caller.audit
    get = tool_service_pb2.GetToolRequest(tool_name="calculator")
    calls = [
        tools.ListTools(tool_service_pb2.ListToolsRequest(), metadata=token),
        tools.GetTool(get, metadata=token),
        tools.DescribeTools(
            tool_service_pb2.DescribeToolsRequest(tool_names=["calculator"]), metadata=token
        ),
        audit.ListAuditEvents(audit_service_pb2.ListAuditEventsRequest(), metadata=token),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    missing = tool_service_pb2.GetToolRequest(tool_name="missing")
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await tools.GetTool(missing, metadata=running.platform.token("tool:read"))
    assert from_rpc_error(unknown.value).reason == "TOOL_NOT_FOUND"


async def test_audit_events_are_one_organizations_own(running: Running) -> None:
    for organization in ("acme", "other"):
        for number in range(3):
            request = make_request(tool_call_id=f"{organization}-{number}", run_id=f"run-{number}")
            await running.caller.execute(
                "stream", request, running.platform.grant(request, organization=organization)
            )
    events = await audit_events(running, "other")
    assert [event.tool_call_id for event in events] == ["other-2", "other-1", "other-0"]
    assert [event.id for event in await audit_events(running, "other", run_id="run-1")] == ["2"]
    assert await audit_events(running, "nobody") == []


async def test_an_organization_cannot_take_anothers_call(running: Running) -> None:
    request = make_request()
    await running.caller.execute("stream", request, running.platform.grant(request))
    other = make_request(arguments_json='{"operation":"add","a":1,"b":1}')
    response = await running.caller.execute(
        "stream", other, running.platform.grant(other, organization="other")
    )
    assert json.loads(response.result_json)["result"] == 2


async def test_the_rate_limits_of_the_settings_hold(tmp_path: Path) -> None:
    async with running_tool_runner(tmp_path, user_calls_per_minute=2) as running:
        codes = []
        for number in range(4):
            request = make_request(tool_call_id=str(number))
            grant = running.platform.grant(request)
            codes.append((await running.caller.execute("stream", request, grant)).code)
    assert codes == ["", "", "RATE_LIMIT_EXCEEDED", "RATE_LIMIT_EXCEEDED"]


async def test_calls_are_counted(running: Running) -> None:
    request = make_request()
    await running.caller.execute("stream", request, running.platform.grant(request))
    url = f"http://127.0.0.1:{running.metrics_port}/metrics"

    def read() -> str:
        with urllib.request.urlopen(url) as response:
            return str(response.read().decode())

    metrics = await asyncio.to_thread(read)
    assert 'agent_executor_tool_calls_total{code="OK",tool="calculator"} 1.0' in metrics
    assert 'agent_executor_tool_call_duration_seconds_count{tool="calculator"} 1.0' in metrics
    assert "agent_executor_database_operations_total 1.0" in metrics


async def test_a_killed_tool_runner_repeats_no_unsafe_effect(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    data_dir = tmp_path / "data"
    platform = Platform.in_folder(data_dir)
    requests = {name: make_request(name, "{}", name) for name in ("unsafe", "idempotent")}
    async with tool_runner_process(data_dir, witness) as first:
        addition = make_request()
        before = await first.caller.execute("stream", addition, platform.grant(addition))
        pending = [
            asyncio.create_task(first.caller.execute("stream", request, platform.grant(request)))
            for request in requests.values()
        ]
        await until(lambda: witness.exists() and len(witness.read_text().splitlines()) == 2, 30.0)
        first.process.kill()
        await first.process.wait()
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    async with tool_runner_process(data_dir, witness) as second:
        audit = await second.caller.audit.ListAuditEvents(
            audit_service_pb2.ListAuditEventsRequest(), metadata=platform.token("policy:admin")
        )
        lost = {
            event.tool_call_id: event.outcome
            for event in audit.audit_events
            if event.code == "OUTCOME_UNKNOWN"
        }
        assert lost == {"unsafe": "unknown", "idempotent": "error"}
        results = {
            name: await second.caller.execute("stream", request, platform.grant(request))
            for name, request in requests.items()
        }
        assert await second.caller.execute("stream", addition, platform.grant(addition)) == before
    assert (results["unsafe"].success, results["unsafe"].error) == (False, UNKNOWN_OUTCOME)
    assert results["idempotent"].success
    assert sorted(witness.read_text().splitlines()) == ["idempotent", "idempotent", "unsafe"]


async def test_the_service_starts_as_a_module_and_stops_in_order(tmp_path: Path) -> None:
    Platform.in_folder(tmp_path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "agent_executor.tool_runner"),
        env=environment_of(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(60):
            while "serving gRPC" not in (line := (await process.stdout.readline()).decode()):
                assert line, lines
                lines.append(line)
            process.send_signal(signal.SIGTERM)
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (lines, output)
    database = tmp_path / "tool_runner" / "tool_runner.sqlite3"
    assert database.stat().st_mode & 0o777 == 0o600
