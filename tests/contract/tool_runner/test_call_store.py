"""What every record of calls and audit log must do, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.tool_runner.audit import AuditLog, AuditRecord
from agent_executor.tool_runner.call_record import CallRecord, CallRecords
from agent_executor.tool_runner.call_store_memory import MemoryCallStore
from agent_executor.tool_runner.call_store_sqlite import SqliteCallStore
from agent_executor.tool_runner.schema import MIGRATIONS
from agent_executor.tool_runner.tool_call import ToolResult, utc_of


class CallStore(CallRecords, AuditLog, Protocol):
    """Both ports, as every adapter has them."""


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CallStore]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        yield MemoryCallStore()
        return
    path = tmp_path / "tool_runner.sqlite3"
    upgrade(path, MIGRATIONS)
    database = SqliteDatabase(path)
    yield SqliteCallStore(database)
    await database.close()


def new_record(tool_call_id: str = "call-1", **changes: Any) -> CallRecord:
    """Returns an intent."""
    record = CallRecord(
        organization_id="acme",
        tool_call_id=tool_call_id,
        user_id="ada",
        run_id="run-1",
        agent_id="agent-1",
        tool_name="calculator",
        arguments_sha256="ab" * 32,
        effect="unsafe",
        trace_id="cd" * 16,
        started_at_ms=1_700_000_000_123,
    )
    return msgspec.structs.replace(record, **changes)


def finished(record: CallRecord, **changes: Any) -> CallRecord:
    """Returns the call with a result."""
    result = ToolResult(
        tool_call_id=record.tool_call_id,
        tool_name=record.tool_name,
        success=True,
        result_json='{"result":"é😀"}',
        error="",
        code="",
        timestamp=utc_of(1_700_000_000_987),
        duration_ms=864,
    )
    return msgspec.structs.replace(record, result=msgspec.structs.replace(result, **changes))


def new_audit(tool_call_id: str = "call-1", **changes: Any) -> AuditRecord:
    """Returns an audit record that is not stored."""
    audit = AuditRecord(
        organization_id="acme",
        user_id="ada",
        run_id="run-1",
        agent_id="agent-1",
        tool_call_id=tool_call_id,
        tool_name="calculator",
        arguments_sha256="ab" * 32,
        decision="allowed",
        rule="",
        outcome="success",
        code="",
        result_sha256="ef" * 32,
        duration_ms=864,
        trace_id="cd" * 16,
        created_at_ms=1_700_000_000_987,
    )
    return msgspec.structs.replace(audit, **changes)


async def audit_ids(store: CallStore, limit: int = 100, **filters: Any) -> list[str]:
    """Returns the tool call ids in the audit log, newest first."""
    return [
        record.tool_call_id
        for record in await store.list_audit_records(
            filters.pop("organization_id", "acme"), limit, **filters
        )
    ]


async def test_a_call_that_is_not_known_is_not_found(store: CallStore) -> None:
    assert await store.find("acme", "call-1") is None
    assert await store.unfinished() == []


async def test_an_intent_is_found_as_one(store: CallStore) -> None:
    await store.begin(new_record())
    assert await store.find("acme", "call-1") == new_record()
    assert await store.unfinished() == [new_record()]
    assert await audit_ids(store) == []


async def test_a_result_takes_the_place_of_its_intent(store: CallStore) -> None:
    await store.begin(new_record())
    await store.finish(finished(new_record()), new_audit())
    assert await store.find("acme", "call-1") == finished(new_record())
    assert await store.unfinished() == []
    assert await audit_ids(store) == ["call-1"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"success": False, "result_json": "null", "error": "No.", "code": "NOT_FOUND"},
        {"duration_ms": 0, "result_json": "[" + "1," * 100_000 + "1]"},
    ],
)
async def test_a_result_needs_no_intent_and_comes_back_whole(
    store: CallStore, changes: dict[str, Any]
) -> None:
    record = finished(new_record(effect="read_only", run_id="", agent_id=""), **changes)
    await store.finish(record, new_audit())
    assert await store.find("acme", "call-1") == record


async def test_the_first_result_stays(store: CallStore) -> None:
    first = finished(new_record())
    assert await store.finish(first, new_audit("first")) is None
    second = finished(new_record(user_id="bob", arguments_sha256="00" * 32), result_json="2")
    assert await store.finish(second, new_audit("second")) == first
    assert await store.find("acme", "call-1") == first
    assert await audit_ids(store) == ["first"]


async def test_a_call_that_is_forgotten_leaves_its_audit_record(store: CallStore) -> None:
    await store.begin(new_record())
    await store.forget(new_record(), new_audit())
    assert await store.find("acme", "call-1") is None
    assert await store.unfinished() == []
    await store.forget(new_record(), new_audit())
    assert await audit_ids(store) == ["call-1", "call-1"]


async def test_forgetting_does_not_touch_a_result(store: CallStore) -> None:
    await store.finish(finished(new_record()), new_audit())
    await store.forget(new_record(), new_audit())
    assert await store.find("acme", "call-1") == finished(new_record())


async def test_organizations_do_not_see_each_other(store: CallStore) -> None:
    await store.finish(finished(new_record()), new_audit())
    other = new_record(organization_id="other")
    assert await store.find("other", "call-1") is None
    assert await audit_ids(store, organization_id="other") == []
    await store.begin(other)
    await store.append_audit_record(new_audit("x", organization_id="other"))
    assert await store.find("acme", "call-1") == finished(new_record())
    assert await store.find("other", "call-1") == other
    assert await audit_ids(store, organization_id="other") == ["x"]


async def test_an_audit_record_comes_back_whole(store: CallStore) -> None:
    audit = new_audit(
        decision="refused",
        rule="schema",
        outcome="none",
        code="INVALID_ARGUMENT",
        run_id="",
        tool_name="a'; DROP TABLE audit_events; --",
        result_sha256="",
        duration_ms=0,
        trace_id="",
    )
    await store.append_audit_record(audit)
    assert await store.list_audit_records("acme", 10) == [
        msgspec.structs.replace(audit, sequence=1)
    ]


async def test_sequences_have_no_gap_in_any_organization(store: CallStore) -> None:
    for number in range(10):
        organization_id = "acme" if number % 3 else "other"
        await store.append_audit_record(new_audit(organization_id=organization_id))
    for organization_id, count in (("acme", 6), ("other", 4)):
        records = await store.list_audit_records(organization_id, 100)
        assert [record.sequence for record in records] == list(range(count, 0, -1))


async def test_audit_records_are_found_newest_first_in_pages(store: CallStore) -> None:
    for number in range(6):
        await store.append_audit_record(
            new_audit(
                str(number),
                run_id=f"run-{number % 2}",
                tool_name="calculator" if number < 4 else "other",
            )
        )
    assert await audit_ids(store) == ["5", "4", "3", "2", "1", "0"]
    assert await audit_ids(store, 2) == ["5", "4"]
    assert await audit_ids(store, 2, before_sequence=5) == ["3", "2"]
    assert await audit_ids(store, before_sequence=1) == []
    assert await audit_ids(store, run_id="run-0") == ["4", "2", "0"]
    assert await audit_ids(store, tool_name="other") == ["5", "4"]
    assert await audit_ids(store, 1, before_sequence=5, run_id="run-1", tool_name="calculator") == [
        "3"
    ]
    assert await audit_ids(store, run_id="run-9") == []


async def test_many_writes_at_once_are_all_there(store: CallStore) -> None:
    records = [new_record(str(number)) for number in range(200)]
    await asyncio.gather(
        *(store.finish(finished(record), new_audit(record.tool_call_id)) for record in records)
    )
    for record in records:
        assert await store.find("acme", record.tool_call_id) == finished(record)
    stored = await store.list_audit_records("acme", 1_000)
    assert [record.sequence for record in stored] == list(range(200, 0, -1))
    assert {record.tool_call_id for record in stored} == {str(number) for number in range(200)}


async def test_a_writer_that_is_cancelled_has_written(store: CallStore) -> None:
    task = asyncio.create_task(store.finish(finished(new_record()), new_audit()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.append_audit_record(new_audit("last"))
    assert await store.find("acme", "call-1") == finished(new_record())
    assert await audit_ids(store) == ["last", "call-1"]
