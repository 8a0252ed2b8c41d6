"""Custom tools over gRPC, in real workers: shared runs, the cache, deadlines, and a dead sandbox."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agent_executor.api.tool_runner.v1 import (
    audit_service_pb2,
    policy_service_pb2,
    policy_service_pb2_grpc,
    tool_service_pb2,
)
from agent_executor.error_status import from_rpc_error
from agent_executor.errors import DeadlineExceededError
from agent_executor.tool_runner.isolation import canaries
from agent_executor.tool_runner.sandbox_health import HEALTH_NAME
from tests.integration.tool_runner.running_tool_runner import (
    Running,
    make_request,
    running_tool_runner,
)
from tests.platforms import children_of
from tests.unit.tool_runner.tools_of_tests import until
from tests.web_server import HOST, WebServer, running_web_server

ADMIN = ("tool:*", "policy:admin")
SOURCE = """
from agent_executor import ToolBase

class Asking(ToolBase):
    def __init__(self):
        super().__init__("asking", "Asks a server.", effect="read_only")

    def _execute_impl(self, arguments):
        import os
        self.http.request("GET", "{origin}/held/" + arguments["page"])
        return os.urandom(8).hex()
"""
_IDS = itertools.count()


@pytest.fixture
def web() -> Iterator[WebServer]:
    with running_web_server() as server:
        yield server


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    networks = ("127.0.0.0/8", "::1/128")
    async with running_tool_runner(tmp_path / "data", egress_allowed_cidrs=networks) as running:
        yield running


async def register(
    running: Running, web: WebServer, organization: str = "acme", **fields: Any
) -> tool_service_pb2.CreateToolRequest:
    """Registers the tool that asks the server, and lets it."""
    token = running.platform.token(*ADMIN, organization=organization)
    policy = policy_service_pb2_grpc.PolicyServiceStub(running.caller.channel)
    await policy.AddAllowedDomain(
        policy_service_pb2.AddAllowedDomainRequest(domain=HOST), metadata=token
    )
    request = tool_service_pb2.CreateToolRequest(
        **{
            "name": "asking",
            "class_name": "Asking",
            "source": SOURCE.format(origin=web.origin),
            "allowed_origins": [web.origin],
            **fields,
        }
    )
    await running.caller.tools.CreateTool(request, metadata=token)
    return request


async def call(
    running: Running, page: str = "1", organization: str = "acme", timeout_seconds: float = 30.0
) -> Any:
    """Makes a call under an id of its own."""
    request = make_request("asking", json.dumps({"page": page}), f"call-{next(_IDS)}")
    grant = running.platform.grant(request, organization=organization)
    return await running.caller.execute("stream", request, grant, timeout_seconds)


async def audit_facts(running: Running, organization: str = "acme") -> list[list[str]]:
    """Returns the facts of every audit event, the newest first."""
    answer = await running.caller.audit.ListAuditEvents(
        audit_service_pb2.ListAuditEventsRequest(),
        metadata=running.platform.token(*ADMIN, organization=organization),
    )
    return [list(event.facts) for event in answer.audit_events]


async def test_equal_calls_in_flight_share_one_execution(running: Running, web: WebServer) -> None:
    await register(running, web, cache_ttl_seconds=600)
    await register(running, web, "other", cache_ttl_seconds=600)
    calls = [asyncio.create_task(call(running)) for _ in range(20)]
    different = asyncio.create_task(call(running, "2"))
    others = [asyncio.create_task(call(running, organization="other")) for _ in range(5)]
    await asyncio.to_thread(web.wait_for, "/held/1", 2)
    await asyncio.to_thread(web.wait_for, "/held/2")
    web.release()
    results = [answer.result_json for answer in await asyncio.gather(*calls)]
    other_results = [answer.result_json for answer in await asyncio.gather(*others)]
    assert len({*results}) == 1
    assert len({*other_results}) == 1
    assert len({results[0], other_results[0], (await different).result_json}) == 3
    # One request for each organization's run, and one for the other arguments.
    assert len(web.requests_to("/held/1")) == 2
    assert len(web.requests_to("/held/2")) == 1
    # What is asked for later comes from the cache, and says so.
    assert (await call(running)).result_json == results[0]
    assert len(web.requests_to("/held/1")) == 2
    facts = await audit_facts(running)
    assert facts[0][-1] == "cache:hit"
    assert len(facts) == 22


async def test_without_a_time_to_live_each_call_runs(running: Running, web: WebServer) -> None:
    await register(running, web)
    web.release()
    results = {answer.result_json for answer in [await call(running) for _ in range(3)]}
    assert len(results) == 3
    assert len(web.requests_to("/held/1")) == 3


async def test_a_failure_is_not_kept(running: Running, web: WebServer) -> None:
    source = SOURCE.format(origin=web.origin).replace(
        "return", "if len(arguments) == 1: raise ValueError('not now')\n        return"
    )
    await register(running, web, source=source, cache_ttl_seconds=600)
    web.release()
    answers = [await call(running) for _ in range(2)]
    assert [answer.code for answer in answers] == ["TOOL_EXECUTION_ERROR"] * 2
    assert len(web.requests_to("/held/1")) == 2


async def test_one_caller_s_deadline_does_not_end_what_others_wait_for(
    running: Running, web: WebServer
) -> None:
    await register(running, web, cache_ttl_seconds=600)
    patient = asyncio.create_task(call(running))
    await asyncio.to_thread(web.wait_for, "/held/1")
    with pytest.raises(DeadlineExceededError):
        await call(running, timeout_seconds=0.3)
    assert not patient.done()
    web.release()
    assert (await patient).success
    assert len(web.requests_to("/held/1")) == 1


async def test_a_cancelled_call_ends_its_worker(running: Running, web: WebServer) -> None:
    await register(running, web)
    pending = asyncio.create_task(call(running))
    await asyncio.to_thread(web.wait_for, "/held/1")
    assert (await sandbox(running)).busy_workers == 1
    pending.cancel()
    await asyncio.gather(pending, return_exceptions=True)
    async with asyncio.timeout(60):
        while (await sandbox(running)).busy_workers:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.005)
    web.release()
    assert (await call(running)).success


async def sandbox(running: Running) -> tool_service_pb2.Sandbox:
    answer: tool_service_pb2.Sandbox = await running.caller.tools.GetSandbox(
        tool_service_pb2.GetSandboxRequest(), metadata=running.platform.token(*ADMIN)
    )
    return answer


def launchers() -> list[int]:
    """Returns the launchers of the tool-runner that serves in this process."""
    return [
        pid
        for pid in children_of(os.getpid())
        if b"isolation.launcher" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


async def test_a_dead_launcher_is_replaced(running: Running, web: WebServer) -> None:
    await register(running, web)
    web.release()
    before = launchers()
    assert before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: len(launchers()) == len(before) and not {*launchers()} & {*before}, 20.0)
    assert (await call(running)).success


async def test_where_an_attack_gets_through_nothing_runs_and_everyone_is_told(
    tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_tool_runner(tmp_path / "data") as running:
        request = await register(running, web)

    async def one_gets_through(*_: object) -> tuple[str, ...]:
        return ("protection from a test",)

    monkeypatch.setattr(canaries, "attack", one_gets_through)
    async with running_tool_runner(tmp_path / "data") as running:
        status = await sandbox(running)
        assert (status.available, list(status.missing)) == (False, ["protection from a test"])
        assert status.remedy
        answer = await call(running)
        assert (answer.success, answer.code) == (False, "SANDBOX_UNAVAILABLE")
        assert "protection from a test" in answer.error
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.caller.tools.CreateTool(request, metadata=running.platform.token(*ADMIN))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert from_rpc_error(refused.value).reason == "SANDBOX_UNAVAILABLE"
        health = health_pb2_grpc.HealthStub(running.caller.channel)
        served = [
            (await health.Check(health_pb2.HealthCheckRequest(service=name))).status
            for name in (HEALTH_NAME, "")
        ]
        served_as = health_pb2.HealthCheckResponse
        assert served == [served_as.NOT_SERVING, served_as.SERVING]
        # What needs no sandbox goes on.
        addition = make_request()
        grant = running.platform.grant(addition)
        assert (await running.caller.execute("stream", addition, grant)).success
    assert web.requests == []
