"""What every record of calls and audit log must do, on every adapter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.tool_runner.calls.audit import AuditFilter, AuditLog, AuditRecord
from agent_executor.tool_runner.calls.audit_chain import FIRST_PREVIOUS_SHA256, verify
from agent_executor.tool_runner.calls.record import CallRecord, CallRecords
from agent_executor.tool_runner.calls.store_memory import MemoryCallStore
from agent_executor.tool_runner.calls.store_postgres import PostgresCallStore
from agent_executor.tool_runner.calls.store_sqlite import SqliteCallStore
from agent_executor.tool_runner.calls.tool_call import ToolResult, utc_of
from agent_executor.tool_runner.schema import MIGRATIONS
from tests.postgres import DEADLOCK_TIMEOUT_SECONDS, PostgresServer
from tests.sqlite import migrated_file


class CallStore(CallRecords, AuditLog, Protocol):
    """Both ports, as every adapter has them."""


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[CallStore]]:
    """Yields each adapter, empty: twice, as two processes have it, where several may write."""
    if request.param == "memory":
        yield [MemoryCallStore()]
    elif request.param == "sqlite":
        path = tmp_path / "tool_runner.sqlite3"
        migrated_file(path, MIGRATIONS)
        database = SqliteDatabase(path)
        yield [SqliteCallStore(database)]
        await database.close()
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        databases = [PostgresDatabase(server.url(name)) for _ in range(2)]
        yield [PostgresCallStore(database, 90.0) for database in databases]
        for each in databases:
            await each.close()
        await server.drop_database(name)


@pytest.fixture
def store(stores: list[CallStore]) -> CallStore:
    """Returns each adapter, empty."""
    return stores[0]


@pytest.fixture
def other(stores: list[CallStore]) -> CallStore:
    """Returns the same records and audit log as another process has them, where there may be one."""
    return stores[-1]


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


async def audit_ids(
    store: CallStore,
    limit: int = 100,
    *,
    organization_id: str = "acme",
    before_sequence: int | None = None,
    **conditions: Any,
) -> list[str]:
    """Returns the tool call ids in the audit log, newest first."""
    records = await store.list_audit_records(
        organization_id,
        limit,
        before_sequence=before_sequence,
        matching=AuditFilter(**conditions),
    )
    return [record.tool_call_id for record in records]


async def chain_of(store: CallStore, organization_id: str = "acme") -> list[AuditRecord]:
    """Returns the whole audit log, oldest first."""
    return (await store.list_audit_records(organization_id, 1_000))[::-1]


async def test_a_call_that_is_not_known_is_not_found(store: CallStore) -> None:
    assert await store.find("acme", "call-1") is None
    assert await store.unfinished() == []


async def test_an_intent_is_found_as_one(store: CallStore) -> None:
    await store.begin(new_record())
    assert await store.find("acme", "call-1") == new_record()
    assert await store.unfinished() == [new_record()]
    assert await audit_ids(store) == []


async def test_a_call_that_is_known_is_not_begun_again(store: CallStore, other: CallStore) -> None:
    assert await store.begin(new_record()) is None
    assert await other.begin(new_record(user_id="bob")) == new_record()
    assert await store.find("acme", "call-1") == new_record()
    await store.finish(finished(new_record()), new_audit())
    assert await other.begin(new_record(user_id="bob")) == finished(new_record())
    assert await store.find("acme", "call-1") == finished(new_record())
    await store.forget(new_record("call-2"), new_audit())
    assert await other.begin(new_record("call-2")) is None


async def test_of_many_that_begin_one_call_one_does(store: CallStore, other: CallStore) -> None:
    records = [new_record(user_id=str(number)) for number in range(20)]
    known = await asyncio.gather(
        *(stores.begin(record) for record in records for stores in (store, other))
    )
    assert known.count(None) == 1
    begun = await store.find("acme", "call-1")
    assert {record.user_id for record in known if record} == {begun.user_id if begun else ""}


async def test_of_many_results_of_one_call_the_first_stays(
    store: CallStore, other: CallStore
) -> None:
    await store.begin(new_record())
    results = [finished(new_record(), result_json=str(number)) for number in range(20)]
    firsts = await asyncio.gather(
        *(each.finish(result, new_audit()) for result in results for each in (store, other))
    )
    assert firsts.count(None) == 1
    stored = await store.find("acme", "call-1")
    assert all(first == stored for first in firsts if first)
    assert await audit_ids(store) == ["call-1"]


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


async def test_forgetting_does_not_touch_what_another_has_begun_anew(store: CallStore) -> None:
    lost = new_record()
    anew = new_record(started_at_ms=lost.started_at_ms + 90_000)
    await store.begin(anew)
    await store.forget(lost, new_audit())
    assert await store.unfinished() == [anew]


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
        tool_version="12" * 32,
        facts=("screening:sql_injection", 'a "quoted" é😀'),
    )
    await store.append_audit_record(audit)
    (stored,) = await store.list_audit_records("acme", 10)
    assert stored == msgspec.structs.replace(
        audit, sequence=1, previous_sha256=FIRST_PREVIOUS_SHA256, sha256=stored.sha256
    )


async def test_sequences_have_no_gap_in_any_organization(store: CallStore) -> None:
    for number in range(10):
        organization_id = "acme" if number % 3 else "other"
        await store.append_audit_record(new_audit(organization_id=organization_id))
    for organization_id, count in (("acme", 6), ("other", 4)):
        records = await store.list_audit_records(organization_id, 100)
        assert [record.sequence for record in records] == list(range(count, 0, -1))


async def test_the_audit_records_of_each_organization_are_a_chain(
    store: CallStore, other: CallStore
) -> None:
    await asyncio.gather(
        *(
            each.append_audit_record(
                new_audit(str(number), organization_id=f"organization-{number % 3}", facts=("é",))
            )
            for number in range(60)
            for each in (store, other)
        )
    )
    for organization in range(3):
        chain = await chain_of(store, f"organization-{organization}")
        assert [record.sequence for record in chain] == list(range(1, 41))
        assert verify(chain) is None
        assert len({record.sha256 for record in chain}) == 40


async def test_processes_that_write_in_other_orders_do_not_block_each_other(
    store: CallStore, other: CallStore
) -> None:
    names = [f"organization-{number}" for number in range(20)]
    started = time.monotonic()
    await asyncio.gather(
        *(
            each.finish(
                finished(new_record(f"{position}", organization_id=name)),
                new_audit(organization_id=name),
            )
            for each, order in ((store, names), (other, names[::-1]))
            for position, name in enumerate(order)
        )
    )
    assert time.monotonic() - started < DEADLOCK_TIMEOUT_SECONDS
    for name in names:
        assert verify(await chain_of(store, name)) is None


async def test_a_character_that_a_database_cannot_hold_fails_nothing(store: CallStore) -> None:
    name = "no\0tool"
    await store.begin(new_record(name, tool_name=name))
    assert await store.find("acme", name) is not None
    await store.finish(
        finished(new_record(name), error=name), new_audit(name, tool_name=name, facts=(name,))
    )
    (record,) = await chain_of(store)
    assert verify([record]) is None
    assert len(await audit_ids(store, tool_name=name)) == 1


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


async def test_audit_records_are_found_by_user_decision_and_time(store: CallStore) -> None:
    decisions = ["allowed", "refused", "replayed"]
    for number in range(6):
        await store.append_audit_record(
            new_audit(
                str(number),
                user_id="ada" if number < 4 else "bob",
                decision=decisions[number % 3],
                created_at_ms=1_000 + 10 * number,
            )
        )
    assert await audit_ids(store, user_id="bob") == ["5", "4"]
    assert await audit_ids(store, user_id="carl") == []
    assert await audit_ids(store, decision="refused") == ["4", "1"]
    assert await audit_ids(store, decision="allowed") == ["3", "0"]
    assert await audit_ids(store, created_from_ms=1_030) == ["5", "4", "3"]
    assert await audit_ids(store, created_before_ms=1_030) == ["2", "1", "0"]
    assert await audit_ids(store, created_from_ms=1_001, created_before_ms=1_041) == [
        *("4", "3", "2", "1")
    ]
    assert await audit_ids(store, 2, created_from_ms=1_010, before_sequence=5) == ["3", "2"]
    assert await audit_ids(
        store, user_id="ada", decision="replayed", created_before_ms=1_050, tool_name="calculator"
    ) == ["2"]


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
