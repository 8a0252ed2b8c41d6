"""What each adapter does that the other does not; what both do is in the contract suite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.tool_runner.audit import AuditRecord
from agent_executor.tool_runner.call_store_memory import MemoryCallStore
from agent_executor.tool_runner.call_store_sqlite import (
    _CALL_COLUMNS,
    _FIND_CALL,
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
    assert [record.sequence for record in await runner.audit()] == [3, 4, 5, 6]


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
    assert tuple(column.name for column in AUDIT_EVENTS.columns) == AuditRecord.__struct_fields__
    assert ", ".join(column.name for column in TOOL_CALLS.columns) == _CALL_COLUMNS


@pytest.mark.parametrize(
    ("statement", "values", "searched"),
    [
        (*audit_query("acme", 5, 7, "run-1", "calculator"), "INDEX audit_events_by_run"),
        (*audit_query("acme", 5, 7, "", "calculator"), "PRIMARY KEY"),
        (_LIST_INTENTS, [], "INDEX tool_calls_intents"),
        (_FIND_CALL, ["acme", "call-1"], "PRIMARY KEY"),
    ],
)
def test_nothing_is_searched_row_by_row(
    tmp_path: Path, statement: str, values: list[object], searched: str
) -> None:
    path = tmp_path / "tool_runner.sqlite3"
    upgrade(path, MIGRATIONS)
    with closing(sqlite3.connect(path)) as connection:
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall())
    assert searched in plan
    assert "TEMP B-TREE" not in plan
