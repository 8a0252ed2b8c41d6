"""Tool-runners that share one PostgreSQL database, and the audit log as they serve it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf import timestamp_pb2
from pydantic import SecretStr

from agent_executor.api.tool_runner.v1 import audit_service_pb2, tool_service_pb2
from agent_executor.errors import UnavailableError
from agent_executor.storage.migrations_postgres import upgrade_postgres
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.tool_runner.calls.audit import AuditRecord
from agent_executor.tool_runner.calls.audit_chain import verify
from agent_executor.tool_runner.calls.audit_scan import scan_postgres
from agent_executor.tool_runner.calls.runner_presence import RunnerPresence
from agent_executor.tool_runner.calls.store_postgres import PostgresCallStore
from agent_executor.tool_runner.schema import MIGRATIONS
from tests.integration.tool_runner.running_tool_runner import (
    Running,
    make_request,
    running_tool_runner,
)
from tests.unit.tool_runner.tools_of_tests import FunctionTool, GateTool


@pytest.fixture
def gate() -> GateTool:
    return GateTool("unsafe")


@pytest.fixture
async def replicas(
    tmp_path: Path, gate: GateTool, postgres_url: str
) -> AsyncIterator[list[Running]]:
    """Yields two tool-runners; the gate of the first one is closed, that of the second open."""
    url = SecretStr(postgres_url)
    async with contextlib.AsyncExitStack() as stack:
        tools = [gate, FunctionTool(name="gate", effect="unsafe")]
        yield [
            await stack.enter_async_context(running_tool_runner(tmp_path, tool, database_url=url))
            for tool in tools
        ]


async def execute(replica: Running, *arguments: str, **request: Any) -> Any:
    call = make_request(*arguments, **request)
    return await replica.caller.execute("unary", call, replica.platform.grant(call))


async def audit_events(replica: Running, **request: Any) -> list[audit_service_pb2.AuditEvent]:
    response = await replica.caller.audit.ListAuditEvents(
        audit_service_pb2.ListAuditEventsRequest(**request),
        metadata=replica.platform.token("policy:admin"),
    )
    return list(response.audit_events)


async def test_a_call_has_one_result_whichever_is_asked(replicas: list[Running]) -> None:
    first, second = replicas
    result = await execute(first)
    again = await execute(second)
    assert (result.result_json, again.result_json) == (result.result_json,) * 2
    assert result.timestamp == again.timestamp
    assert [event.decision for event in await audit_events(second)] == ["replayed", "allowed"]


async def test_what_one_runs_the_other_neither_runs_nor_settles(
    tmp_path: Path, gate: GateTool, replicas: list[Running], postgres_url: str
) -> None:
    first, second = replicas
    execution = asyncio.create_task(execute(first, "gate", "{}"))
    # The gate is reached once the intent is durable.
    await gate.reached.wait()
    with pytest.raises(UnavailableError, match="Another tool-runner"):
        await execute(second, "gate", "{}")
    async with running_tool_runner(tmp_path, database_url=SecretStr(postgres_url)) as third:
        assert await audit_events(third) == []
    execution.cancel()
    await asyncio.gather(execution, return_exceptions=True)


async def test_many_calls_of_both_are_one_chain(replicas: list[Running], postgres_url: str) -> None:
    await asyncio.gather(
        *(
            execute(replica, tool_call_id=f"call-{number}-{which}")
            for number in range(30)
            for which, replica in enumerate(replicas)
        )
    )
    records: list[AuditRecord] = []
    async for page in scan_postgres(postgres_url, "acme"):
        records += page
    assert [record.sequence for record in records] == list(range(1, 61))
    assert verify(records) is None


@pytest.mark.parametrize(("name", "version"), [("weather__\0", ""), ("weather__map", "\0")])
async def test_a_name_that_no_database_holds_is_that_of_no_tool(
    replicas: list[Running], name: str, version: str
) -> None:
    asked = tool_service_pb2.GetToolRequest(tool_name=name, version=version)
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await replicas[0].caller.tools.GetTool(
            asked, metadata=replicas[0].platform.token("tool:read")
        )
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_events_are_served_with_their_chain_and_found_by_what_is_asked(
    replicas: list[Running],
) -> None:
    replica = replicas[0]
    await execute(replica)
    call = make_request(tool_call_id="call-2")
    grant = replica.platform.grant(call, permissions=("tool:other",))
    await replica.caller.execute("unary", call, grant)
    second, first = await audit_events(replica)
    assert (first.previous_sha256, second.previous_sha256) == ("0" * 64, first.sha256)
    assert len(second.sha256) == 64
    assert (first.tool_version, list(first.facts)) == ("", [])
    assert await audit_events(replica, decision="refused") == [second]
    assert await audit_events(replica, user_id="ada") == [second, first]
    assert await audit_events(replica, user_id="bob") == []
    assert await audit_events(replica, created_from=first.created_at) == [second, first]
    assert await audit_events(replica, created_before=first.created_at) == []
    after = timestamp_pb2.Timestamp()
    after.FromNanoseconds(second.created_at.ToNanoseconds() + 1)
    assert await audit_events(replica, created_from=after) == []
    assert await audit_events(replica, created_before=after) == [second, first]


async def until_seen(store: PostgresCallStore, presence: RunnerPresence, *, is_alive: bool) -> None:
    """Looks until a process is seen to live, or to be dead."""
    async with asyncio.timeout(60):
        while await store.is_alive(presence.runner_id) != is_alive:  # noqa: ASYNC110 -- only the server knows
            await asyncio.sleep(0.01)


async def test_a_process_is_seen_to_live_by_its_lock(postgres_url: str) -> None:
    await upgrade_postgres(postgres_url, MIGRATIONS)
    database = PostgresDatabase(postgres_url)
    store, presence = PostgresCallStore(database, 90.0), RunnerPresence(postgres_url)
    try:
        assert not await store.is_alive(presence.runner_id)
        await presence.start()
        looks = [store.is_alive(presence.runner_id) for _ in range(10)]
        assert all(await asyncio.gather(*looks))
        # The server ends the connection, and the lock is taken again on another.
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1",
            presence.runner_id,
        )
        await connection.close()
        await until_seen(store, presence, is_alive=True)
        await presence.close()
        await until_seen(store, presence, is_alive=False)
    finally:
        await presence.close()
        await database.close()
