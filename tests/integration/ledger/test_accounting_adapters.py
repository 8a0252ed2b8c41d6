"""What the adapters do beyond the contract: by which indexes they look up, and who shares a commit."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting import (
    postgres_statements,
    sqlite_books,
    sqlite_statements,
    store_postgres,
    stored_budgets,
)
from agent_executor.ledger.accounting.commands import (
    Command,
    Correct,
    Record,
    Recorded,
    Renew,
    Reserve,
    Settle,
    Void,
)
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.store_postgres import PostgresAccountingStore
from agent_executor.ledger.accounting.store_sqlite import SqliteAccountingStore
from agent_executor.ledger.accounting.stored_budgets import Asking
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from tests.contract.ledger.accounting_steps import do, reserve, settle
from tests.postgres import PostgresServer
from tests.unit.ledger.accounting_samples import (
    CARD,
    DEARER,
    HOUR_MS,
    NOW_MS,
    ORGANIZATION,
    RAISED,
    amount,
    budget,
    entry,
    hold,
    priced,
    tool_entry,
)

CALLERS = 200
MANY = 20_000
LARGEST_NANO_USD = 9_000_000 * 10**9
COMMANDS: tuple[Command, ...] = (
    Reserve(amount("run", 10_000)),
    Reserve(hold("drawing", parent_id="run"), CARD),
    Reserve(hold("expired", expires_at_ms=NOW_MS + 1), CARD),
    Settle(entry("drawing"), CARD, (tool_entry("tool", 5),)),
    Record(priced("recorded")),
    Correct(priced("corrected", corrects_entry_id="recorded"), TokenUsage(10)),
    Renew(ORGANIZATION, "run", NOW_MS + 2 * HOUR_MS),
    Void(ORGANIZATION, "run"),
)


@pytest.fixture(params=["sqlite", "postgres"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[SqliteAccountingStore | PostgresAccountingStore]:
    """Yields an empty store of each kind but for a card."""
    opened: SqliteAccountingStore | PostgresAccountingStore
    server: PostgresServer | None = None
    name = ""
    if request.param == "sqlite":
        upgrade(tmp_path / "ledger.sqlite3", MIGRATIONS)
        opened = SqliteAccountingStore(SqliteDatabase(tmp_path / "ledger.sqlite3"))
    else:
        server = request.getfixturevalue("postgres_server")
        assert server is not None
        name = await server.new_database(MIGRATIONS)
        opened = PostgresAccountingStore(PostgresDatabase(server.url(name)))
    await opened.put_rate_card(CARD, "test")
    yield opened
    await opened.close()
    if server is not None:
        await server.drop_database(name)


async def test_callers_that_come_together_share_a_transaction(
    store: SqliteAccountingStore | PostgresAccountingStore,
) -> None:
    before = store._database.writer.statistics
    await asyncio.gather(*(reserve(store, f"call-{number}") for number in range(CALLERS)))
    after = store._database.writer.statistics
    assert after.operations - before.operations <= CALLERS // 20


async def test_a_caller_whose_commands_cannot_be_stored_fails_alone(store: AccountingStore) -> None:
    # More than an entry may cost, among callers that wait for the same transaction.
    dear = Record(priced("dear", LARGEST_NANO_USD + 1))
    commands = [Record(priced("one")), dear, Record(priced("two"))]
    answers = await asyncio.gather(
        *(do(store, command) for command in commands), return_exceptions=True
    )
    assert isinstance(answers[1], InvalidArgumentError)
    assert [isinstance(one, Recorded) and one.is_new for one in answers] == [True, False, True]
    recorded = await store.get_entries(ORGANIZATION, ["one", "dear", "two"])
    assert {one.id for one in recorded} == {"one", "two"}


async def test_an_apply_is_recorded_though_its_caller_is_gone(store: AccountingStore) -> None:
    settling = asyncio.create_task(settle(store))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    again = await settle(store, now_ms=NOW_MS + 1)
    assert (again.is_new, again.entry.created_at_ms) == (False, NOW_MS)


async def test_the_callers_of_a_closed_store_are_told(store: AccountingStore) -> None:
    waiting = [asyncio.create_task(reserve(store, f"call-{number}")) for number in range(20)]
    await asyncio.sleep(0)
    await store.close()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, Reservation | Exception) for one in answers)


async def test_a_text_that_cannot_be_stored_is_refused(store: AccountingStore) -> None:
    with pytest.raises(InvalidArgumentError):
        await do(store, Record(priced("lone surrogate \ud800")))
    nul = Record(priced("with a NUL \0"))
    if isinstance(store, PostgresAccountingStore):
        with pytest.raises(InvalidArgumentError):
            await do(store, nul)
        return
    first, again = await do(store, nul), await do(store, nul)
    assert isinstance(first, Recorded)
    assert isinstance(again, Recorded)
    assert (first.is_new, again.is_new) == (True, False)


async def test_ids_are_told_apart_to_the_last_character(store: AccountingStore) -> None:
    ids = ["a", "A", "a ", "ä", "a\u0308", "🜲", "%", "_", "'", '"', "\\", "\\x00", "a'--"]
    outcomes = await store.apply([Record(priced(one)) for one in ids], NOW_MS)
    assert [isinstance(one, Recorded) and one.is_new for one in outcomes] == [True] * len(ids)
    again = await store.apply([Record(priced(one)) for one in reversed(ids)], NOW_MS)
    assert [isinstance(one, Recorded) and one.entry.id for one in again] == ids[::-1]
    assert not any(isinstance(one, Recorded) and one.is_new for one in again)


async def test_a_card_is_read_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    upgrade(path, MIGRATIONS)
    for expected in (None, RAISED):
        opened = SqliteAccountingStore(SqliteDatabase(path))
        assert await opened.get_rate_card(RAISED.id) == expected
        await opened.put_rate_card(RAISED, "test")
        assert await opened.get_rate_card(RAISED.id) == RAISED
        assert await opened.get_rate_card(DEARER.id) is None
        await opened.close()


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    upgrade(path, MIGRATIONS)
    opened = SqliteAccountingStore(SqliteDatabase(path))
    await opened.put_rate_card(CARD, "test")
    await opened.put_budget(budget(alert_percents=(10, 50)), NOW_MS)
    await reserve(opened, "open")
    await reserve(opened)
    settled = await settle(opened)
    status = await opened.get_budget(ORGANIZATION, "all", NOW_MS)
    events = await opened.budget_events(ORGANIZATION, 10)
    assert events
    await opened.close()
    opened = SqliteAccountingStore(SqliteDatabase(path))
    assert await opened.get_budget(ORGANIZATION, "all", NOW_MS) == status
    assert await opened.budget_events(ORGANIZATION, 10) == events
    assert await opened.get_reservation(ORGANIZATION, "open", NOW_MS) == hold("open")
    assert await opened.get_entries(ORGANIZATION, ["call-1"]) == [settled.entry]
    assert not (await settle(opened)).is_new
    assert stat.filemode(path.stat().st_mode) == "-rw-------"
    await opened.close()


async def test_sqlite_refuses_a_float(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    upgrade(path, MIGRATIONS)
    opened = SqliteAccountingStore(SqliteDatabase(path))
    await opened.put_budget(budget(), NOW_MS)
    await opened.close()
    refused = pytest.raises(sqlite3.IntegrityError, match="REAL")
    with closing(sqlite3.connect(path)) as connection, refused:
        connection.execute("UPDATE budgets SET limit_nano_usd = 0.5")


class ExplainingConnection(sqlite3.Connection):
    """Keeps the plan of each statement."""

    plans: dict[str, list[str]]

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        self._explain(sql, parameters)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
        rows = list(rows)
        if rows:
            self._explain(sql, rows[0])
        return super().executemany(sql, rows)

    def _explain(self, sql: str, parameters: Any) -> None:
        explained = super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        self.plans[" ".join(sql.split())] = [row[-1] for row in explained]


def test_sqlite_looks_up_by_indexes_alone(tmp_path: Path) -> None:
    """Every statement of a busy organization, as it is made: none reads a table through."""
    path = tmp_path / "ledger.sqlite3"
    upgrade(path, MIGRATIONS)
    with closing(sqlite3.connect(path, factory=ExplainingConnection)) as connection:
        connection.plans = {}
        for one in ({}, {"user_id": "ada"}, {"run_id": "run"}):
            put = stored_budgets.put_budget(budget(str(one), 10_000, **one), NOW_MS)
            sqlite_books.ask(connection, put)
        connection.plans = {}
        cards = {CARD.id: CARD}
        for command in COMMANDS:
            sqlite_books.carry_out(connection, [command], NOW_MS, cards)
        sqlite_books.free_expired(connection, ORGANIZATION, NOW_MS + HOUR_MS)
        for asking in askings():
            sqlite_books.ask(connection, asking)
    for sql, plan in connection.plans.items():
        scanned = [line for line in plan if line.startswith("SCAN") and not is_small(line)]
        assert scanned == [], sql
    used = " ".join(line for plan in connection.plans.values() for line in plan)
    found_by = "budgets_by_scope (organization_id=? AND user_id=? AND agent_id=? AND run_id=?)"
    for index in (found_by, "reservations_open", "budgets_of_runs", "usage_entries_by_corrected"):
        assert index in used


def askings() -> Iterator[Asking[Any]]:
    """Yields what is asked of budgets, but for the putting of a new one, which sums up."""
    yield stored_budgets.put_budget(budget("{}", 5_000), NOW_MS)
    yield stored_budgets.get_budget(ORGANIZATION, "{}", NOW_MS)
    yield stored_budgets.list_budgets(ORGANIZATION, NOW_MS, 10, "")
    yield stored_budgets.budget_events(ORGANIZATION, 10, "", 0)
    yield stored_budgets.budget_events(ORGANIZATION, 10, "{}", 7)
    yield stored_budgets.delete_budget(ORGANIZATION, "{}")


def is_small(line: str) -> bool:
    """Tells the keys that are looked up, and single rows."""
    return (
        line in {"SCAN keys", "SCAN CONSTANT ROW"}
        or re.fullmatch(r"SCAN \d+ CONSTANT ROWS?", line) is not None
    )


def test_an_organization_without_budgets_is_asked_for_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    upgrade(path, MIGRATIONS)
    with closing(sqlite3.connect(path, factory=ExplainingConnection)) as connection:
        connection.plans = {}
        sqlite_books.carry_out(connection, COMMANDS, NOW_MS, {CARD.id: CARD})
        asked = [sql for sql in connection.plans if re.search(r"budget\w* AS it", sql)]
        assert asked == []
        assert sqlite_statements.ANY_BUDGET in connection.plans


async def test_postgresql_looks_up_by_indexes_alone(postgres_server: PostgresServer) -> None:
    """The plans of a ledger that has been analyzed, for whatever values."""
    name = await postgres_server.new_database(MIGRATIONS)
    connection = await asyncpg.connect(postgres_server.url(name))
    for table, values in (
        ("budgets", "'b' || n, 1, 'day', 'user ' || n, '', '', 'UTC', '[]', 0, 0"),
        ("reservations", f"{RESERVATION_OF_N}"),
    ):
        await connection.execute(
            f"INSERT INTO {table} SELECT 'acme', {values} FROM generate_series(1, {MANY}) AS n"
        )
    await connection.execute(
        "INSERT INTO budget_balances SELECT 'acme', 'b' || n, m, 0, 0"
        f" FROM generate_series(1, {MANY // 10}) AS n, generate_series(1, 10) AS m"
    )
    await connection.execute(ENTRIES_OF_N)
    await connection.execute(store_postgres._ANALYZE)
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    for statement_name in (
        *("ANCESTORS", "ANY_EXPIRED", "RESERVATION", "ENTRIES", "CORRECTIONS", "BUDGETS"),
        *("BALANCES", "CHANGE_RESERVATIONS", "CHANGE_RESERVED"),
    ):
        statement = getattr(postgres_statements, statement_name)
        values = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", statement))))
        await connection.execute(f"PREPARE {statement_name} AS {statement}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE {statement_name} ({values})")
        plan = "\n".join(row[0] for row in rows)
        assert "Seq Scan" not in plan, f"{statement_name}\n{plan}"
        assert "Hash" not in plan, f"{statement_name}\n{plan}"
    await connection.close()
    await postgres_server.drop_database(name)


RESERVATION_OF_N = """
    'r' || n, 'u', 'a', 'run ' || n, 'm', '', '', 1, 1, 1, 0, 0, 'c', '', 1, 0, 0, 0, n, n, n,
    CASE WHEN n % 100 = 0 THEN 'open' ELSE 'settled' END
"""
ENTRIES_OF_N = f"""
    INSERT INTO usage_entries SELECT n, 'acme', 'e' || n, 'model_call', 'u', 'a', 'run ' || n, 'm',
        '', 1, 1, 0, 0, 0, 1, 'c', '', '', 0, 0, 1, '', 'none',
        CASE WHEN n % 100 = 0 THEN 'e1' ELSE '' END, '', '', 0, 0, 0, n, n
    FROM generate_series(1, {MANY}) AS n
"""


async def test_a_new_ledger_is_analyzed_once_there_is_something_to_see(
    postgres_server: PostgresServer,
) -> None:
    name = await postgres_server.new_database(MIGRATIONS)
    database = PostgresDatabase(postgres_server.url(name))
    opened = PostgresAccountingStore(database)

    async def analyzed() -> bool:
        query = "SELECT reltuples >= 0 FROM pg_class WHERE relname = 'usage_entries'"
        found: bool = await database.read_statement(lambda reader: reader.fetchval(query))
        return found

    await opened.put_rate_card(CARD, "test")
    numbers = range(store_postgres.ANALYZED_AFTER_COMMANDS)
    await opened.apply([Record(priced(f"entry-{number}")) for number in numbers[1:]], NOW_MS)
    assert not await analyzed()
    await opened.apply([Record(priced("one more"))], NOW_MS)
    assert await analyzed()
    await opened.close()
    await postgres_server.drop_database(name)
