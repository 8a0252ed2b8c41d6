"""What each adapter does that the other does not; what both do is in the contract suite."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from agent_executor.storage.migrations import upgrade
from agent_executor.storage.migrations_postgres import upgrade_postgres
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.tool_runner.calls.audit import EVERY_RECORD, AuditFilter
from agent_executor.tool_runner.calls.audit_chain import verify
from agent_executor.tool_runner.calls.record import CallRecords
from agent_executor.tool_runner.calls.store_memory import MemoryCallStore
from agent_executor.tool_runner.calls.store_postgres import PostgresCallStore
from agent_executor.tool_runner.calls.store_rows import AUDIT_NAMES, CALL_NAMES
from agent_executor.tool_runner.calls.store_sqlite import (
    _FIND_CALL,
    _FIND_HEAD,
    _LIST_INTENTS,
    SqliteCallStore,
    audit_query,
)
from agent_executor.tool_runner.schema import MIGRATIONS
from agent_executor.tool_runner.tables import AUDIT_EVENTS, METADATA, TOOL_CALLS
from tests.unit.tool_runner.tools_of_tests import ADA, FunctionTool, GateTool, Runner, call


async def test_memory_is_bounded() -> None:
    store = MemoryCallStore(calls_max=3, audit_records_max=4)
    tool = FunctionTool(lambda _: tool.calls)
    runner = Runner(tool, store=store)
    for number in range(6):
        await runner.calls.execute(call(tool_call_id=str(number)), ADA)
    assert await store.find("acme", "2") is None
    assert await store.find("acme", "3") is not None
    audit = await runner.audit()
    assert [record.sequence for record in audit] == [3, 4, 5, 6]
    assert [record.previous_sha256 for record in audit[1:]] == [
        record.sha256 for record in audit[:-1]
    ]


async def test_results_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "tool_runner.sqlite3"
    results, calls_made = [], []
    for _ in range(2):
        upgrade(path, MIGRATIONS)
        database = SqliteDatabase(path)
        tool = FunctionTool(lambda _: "made once", effect="unsafe")
        runner = Runner(tool, store=SqliteCallStore(database))
        await runner.calls.recover()
        results.append(await runner.calls.execute(call(), ADA))
        calls_made.append(tool.calls)
        await database.close()
    assert results[0] == results[1]
    assert calls_made == [1, 0]


async def test_an_intent_is_durable_before_its_tool_runs(tmp_path: Path) -> None:
    path = tmp_path / "tool_runner.sqlite3"
    upgrade(path, MIGRATIONS)
    database = SqliteDatabase(path)
    tool = GateTool("unsafe")
    runner = Runner(tool, store=SqliteCallStore(database))

    def seen_by_another_process() -> tuple[str, int | None]:
        with closing(sqlite3.connect(path)) as connection:
            row: tuple[str, int | None] = connection.execute(
                "SELECT tool_name, success FROM tool_calls"
            ).fetchone()
            return row

    tool.gate.set()
    tool_saw = []
    execute = tool._execute_impl

    async def look_and_execute(arguments: dict[str, object]) -> object:
        tool_saw.append(seen_by_another_process())
        return await execute(arguments)

    tool._execute_impl = look_and_execute  # type: ignore[method-assign]  # to look at that very moment
    assert (await runner.calls.execute(call("gate"), ADA)).success
    assert tool_saw == [("gate", None)]
    assert seen_by_another_process() == ("gate", 1)
    await database.close()


def test_the_migrations_make_the_tables_that_are_declared(tmp_path: Path) -> None:
    path = tmp_path / "tool_runner.sqlite3"
    upgrade(path, MIGRATIONS)
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        differences = [
            difference
            for difference in compare_metadata(context, METADATA)
            if "alembic_version" not in str(difference)
        ]
    engine.dispose()
    assert differences == []


def test_statements_name_the_columns_of_the_tables_in_their_order() -> None:
    assert tuple(column.name for column in AUDIT_EVENTS.columns) == AUDIT_NAMES
    assert tuple(column.name for column in TOOL_CALLS.columns) == CALL_NAMES


@pytest.mark.parametrize(
    ("statement", "values", "searched"),
    [
        (
            *audit_query("acme", 5, 7, AuditFilter(run_id="run-1", tool_name="calculator")),
            "INDEX audit_events_by_run",
        ),
        (
            *audit_query("acme", 5, 7, AuditFilter(user_id="ada", created_from_ms=1)),
            "INDEX audit_events_by_user",
        ),
        (
            *audit_query("acme", 5, 7, AuditFilter(decision="refused", tool_name="calculator")),
            "INDEX audit_events_exceptional",
        ),
        (*audit_query("acme", 5, 7, AuditFilter(decision="allowed")), "PRIMARY KEY"),
        (*audit_query("acme", 5, 7, EVERY_RECORD), "PRIMARY KEY"),
        (_LIST_INTENTS, [], "INDEX tool_calls_intents"),
        (_FIND_CALL, ["acme", "call-1"], "PRIMARY KEY"),
        (_FIND_HEAD, ["acme"], "PRIMARY KEY"),
    ],
)
def test_nothing_is_searched_row_by_row(
    tmp_path: Path, statement: str, values: list[object], searched: str
) -> None:
    plan = plan_of(tmp_path, statement, values)
    assert searched in plan
    assert "TEMP B-TREE" not in plan


def test_a_time_is_found_by_its_index_and_only_what_is_in_it_is_sorted(tmp_path: Path) -> None:
    window = AuditFilter(created_from_ms=1, created_before_ms=9)
    plan = plan_of(tmp_path, *audit_query("acme", 5, 7, window))
    assert "INDEX audit_events_by_time (organization_id=? AND created_at_ms>? AND" in plan


def plan_of(tmp_path: Path, statement: str, values: list[object]) -> str:
    """Returns how SQLite would run a statement."""
    path = tmp_path / "tool_runner.sqlite3"
    upgrade(path, MIGRATIONS)
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall())


async def test_events_of_before_the_chain_are_chained_by_the_migration(tmp_path: Path) -> None:
    path = tmp_path / "tool_runner.sqlite3"
    upgrade(path, folder_of_first_revision(tmp_path))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(OLD_EVENT, OLD_EVENTS)
    upgrade(path, MIGRATIONS)
    database = SqliteDatabase(path)
    await check_chains(SqliteCallStore(database))
    await database.close()


async def test_events_of_before_the_chain_are_chained_by_the_migration_in_postgresql(
    tmp_path: Path, postgres_url: str
) -> None:
    await upgrade_postgres(postgres_url, folder_of_first_revision(tmp_path))
    connection = await asyncpg.connect(postgres_url)
    places = iter(range(1, 17))
    statement = re.sub(r"\?", lambda _: f"${next(places)}", OLD_EVENT)
    await connection.executemany(statement, OLD_EVENTS)
    await connection.close()
    await upgrade_postgres(postgres_url, MIGRATIONS)
    database = PostgresDatabase(postgres_url)
    await check_chains(PostgresCallStore(database, 90.0))
    await database.close()


OLD_EVENT = f"INSERT INTO audit_events VALUES ({', '.join('?' * 16)})"
# More than a page of the migration, and text that JSON writes in more than one way.
OLD_EVENTS = [
    (organization, sequence, 'a"\\/\x01é😀\u2028', "run", "agent", f"call-{sequence}", "tool",
     "ab" * 32, "allowed", "", "success", "", "ef" * 32, 8, "", 1_700_000_000_000 + sequence)
    for organization, count in (("acme", 1_500), ("other", 2), ("éé", 700))
    for sequence in range(1, count + 1)
]  # fmt: skip


def folder_of_first_revision(tmp_path: Path) -> Path:
    """Returns a folder with the first revision alone."""
    versions = tmp_path / "first" / "versions"
    versions.mkdir(parents=True)
    (first,) = (MIGRATIONS / "versions").glob("0001_*.py")
    shutil.copy(first, versions)
    return versions.parent


async def check_chains(store: CallRecords) -> None:
    """Holds the chains of the old events, and one more event after them."""
    reader = Runner(FunctionTool(), store=store)
    await reader.calls.execute(call(), ADA)
    for organization, count in (("acme", 1_501), ("other", 2), ("éé", 700)):
        chain = await whole_log(reader, organization)
        assert [record.sequence for record in chain] == list(range(1, count + 1))
        assert verify(chain) is None
        assert [record.user_id for record in chain[:2]] == ['a"\\/\x01é😀\u2028'] * 2


async def whole_log(runner: Runner, organization_id: str) -> list[Any]:
    """Returns the whole audit log, oldest first."""
    records: list[Any] = await runner.store.list_audit_records(organization_id, 10_000)
    return records[::-1]
